//! The paths under one host, compiled for look-up.

use std::collections::HashMap;

use regex::Regex;

use super::PathPattern;

/// The paths under one host: a tree of segments for exact paths and prefixes, then the expressions in their order.
///
/// A look-up goes down the tree once, segment by segment, and stops where the file knows no longer path: its work is
/// bounded by the deepest path in the file, however many slashes the request has. Then it climbs: the longest prefix
/// comes first. Nothing is allocated.
#[derive(Debug)]
pub(super) struct PathTable {
    /// The first one is the root.
    nodes: Vec<Node>,
    /// Expressions, each with its routes in order of precedence.
    expressions: Vec<(Regex, Vec<usize>)>,
}

#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: HashMap<Box<str>, usize>,
    /// Routes that ask for exactly this path, in order of precedence.
    exact: Vec<usize>,
    /// Routes that ask for this path and everything below it, in order of precedence.
    below: Vec<usize>,
}

impl Default for PathTable {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            expressions: Vec::new(),
        }
    }
}

impl PathTable {
    /// Adds a path of a route. Must be called in order of precedence.
    pub(super) fn insert(&mut self, path: &PathPattern, route: usize) {
        match path {
            PathPattern::Exact(path) => {
                let node = self.node(path);
                self.nodes[node].exact.push(route);
            }
            PathPattern::Prefix(path) => {
                let node = self.node(path);
                self.nodes[node].below.push(route);
            }
            PathPattern::Regex(regex) => match self.expressions.last_mut() {
                Some((last, routes)) if last.as_str() == regex.as_str() => routes.push(route),
                _ => self.expressions.push((regex.clone(), vec![route])),
            },
        }
    }

    /// The first route in order of precedence whose path matches and that this predicate takes.
    pub(super) fn find(&self, path: &str, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let first = |routes: &[usize]| routes.iter().copied().find(|&route| takes(route));
        let (deepest, whole) = self.descend(path)?;
        if whole && let Some(route) = first(&self.nodes[deepest].exact) {
            return Some(route);
        }
        let mut climbing = Some(deepest);
        while let Some(node) = climbing {
            if let Some(route) = first(&self.nodes[node].below) {
                return Some(route);
            }
            climbing = self.nodes[node].parent;
        }
        self.expressions
            .iter()
            .filter(|(regex, _)| regex.is_match(path))
            .find_map(|(_, routes)| first(routes))
    }

    /// The deepest node on the way of this path, and whether it is the path's own.
    fn descend(&self, path: &str) -> Option<(usize, bool)> {
        let mut at = 0;
        for segment in path.strip_prefix('/')?.split('/') {
            match self.nodes[at].children.get(segment) {
                Some(&child) => at = child,
                None => return Some((at, false)),
            }
        }
        Some((at, true))
    }

    /// The node of this path, made if it is not there yet; `""` is the root.
    fn node(&mut self, path: &str) -> usize {
        let mut at = 0;
        for segment in path.split('/').skip(1) {
            at = match self.nodes[at].children.get(segment) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    self.nodes[at].children.insert(segment.into(), child);
                    self.nodes.push(Node {
                        parent: Some(at),
                        ..Node::default()
                    });
                    child
                }
            };
        }
        at
    }
}
