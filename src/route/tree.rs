//! Paths as a tree of segments.

use std::collections::HashMap;

/// A tree of segments, each with the routes that ask for it.
#[derive(Debug)]
pub(super) struct Tree {
    /// The first one is the root.
    nodes: Vec<Node>,
    /// Whether any route takes formats.
    has_formats: bool,
}

#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    /// How many segments are above it.
    depth: usize,
    children: HashMap<Box<str>, usize>,
    /// Routes that ask for exactly this path, in order of precedence.
    exact: Vec<usize>,
    /// Routes that ask for this path with a format behind it, in order of precedence.
    format: Vec<usize>,
    /// Routes that ask for this path and everything below it, in order of precedence.
    below: Vec<usize>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            has_formats: false,
        }
    }
}

impl Tree {
    pub(super) fn insert_exact(&mut self, path: &str, route: usize) {
        self.node(path).exact.push(route);
    }

    pub(super) fn insert_prefix(&mut self, path: &str, route: usize) {
        self.node(path).below.push(route);
    }

    pub(super) fn insert_format(&mut self, path: &str, route: usize) {
        self.has_formats = true;
        self.node(path).format.push(route);
    }

    /// What `first` says of the routes on the way of a path, without its leading slash: the most specific ones first.
    pub(super) fn find(&self, segments: &str, first: impl Fn(&[usize]) -> Option<usize>) -> Option<usize> {
        let (mut at, whole) = self.descend(segments);
        if whole && let Some(route) = first(&self.nodes[at].exact) {
            return Some(route);
        }
        if self.has_formats
            && let Some(route) = first(self.format(segments))
        {
            return Some(route);
        }
        loop {
            if let Some(route) = first(&self.nodes[at].below) {
                return Some(route);
            }
            at = self.nodes[at].parent?;
        }
    }

    /// The way of a path, without its leading slash.
    pub(super) fn way(&self, segments: &str) -> Way<'_> {
        let (deepest, whole) = self.descend(segments);
        Way {
            tree: self,
            node: &self.nodes[deepest],
            whole,
            format: self.format(segments),
        }
    }

    /// Those that ask for `/deals` where the path is `/deals.json`, or `/deals.json/`, which is the same to Rails.
    fn format(&self, segments: &str) -> &[usize] {
        let last = segments.strip_suffix('/').unwrap_or(segments);
        match last.rsplit_once('.') {
            Some((stem, format)) if !format.is_empty() && !format.contains('/') => match self.descend(stem) {
                (node, true) => &self.nodes[node].format,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// The deepest node on the way of a path, and whether it is the path's own.
    fn descend(&self, segments: &str) -> (usize, bool) {
        let mut at = 0;
        for segment in segments.split('/') {
            match self.nodes[at].children.get(segment) {
                Some(&child) => at = child,
                None => return (at, false),
            }
        }
        (at, true)
    }

    /// The node of this path, made if it is not there yet; `""` is the root.
    fn node(&mut self, path: &str) -> &mut Node {
        let mut at = 0;
        for segment in path.split('/').skip(1) {
            at = match self.nodes[at].children.get(segment) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    self.nodes[at].children.insert(segment.into(), child);
                    self.nodes.push(Node {
                        parent: Some(at),
                        depth: self.nodes[at].depth + 1,
                        ..Node::default()
                    });
                    child
                }
            };
        }
        &mut self.nodes[at]
    }
}

/// How far down a tree a path leads, and up again.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    tree: &'a Tree,
    node: &'a Node,
    /// Whether the node is the path's own.
    whole: bool,
    format: &'a [usize],
}

impl<'a> Way<'a> {
    /// Routes that ask for exactly the path.
    pub(super) fn exact(&self) -> &'a [usize] {
        if self.whole { &self.node.exact } else { &[] }
    }

    /// Routes that ask for what the path is without its format.
    pub(super) fn format(&self) -> &'a [usize] {
        self.format
    }

    /// Routes that ask for this node and everything below it.
    pub(super) fn below(&self) -> &'a [usize] {
        &self.node.below
    }

    /// How many segments are above this node.
    pub(super) fn depth(&self) -> usize {
        self.node.depth
    }

    /// The node above.
    pub(super) fn up(self) -> Option<Self> {
        let node = &self.tree.nodes[self.node.parent?];
        Some(Self { node, ..self })
    }
}
