//! The paths under one host, compiled for look-up.

use regex::Regex;

use super::PathPattern;
use super::pattern::PathKey;
use super::precedence::Entry;
use super::tree::{Tree, Way};

/// The paths under one host: a tree of segments for exact paths and prefixes, another one for those whose routes ignore
/// case, then the expressions in their order.
///
/// A look-up goes down a tree once, segment by segment, and stops where the file knows no longer path: its work is
/// bounded by the deepest path in the file, however many slashes the request has. Then it climbs: the longest prefix
/// comes first. Nothing is allocated, unless a route ignores case.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    as_written: Tree,
    /// In lower case; `None`: no route ignores case.
    any_case: Option<Tree>,
    /// Expressions, each with its routes in order of precedence.
    expressions: Vec<(Regex, Vec<usize>)>,
}

impl PathTable {
    /// Adds a path of a route. Must be called in order of precedence.
    pub(super) fn insert(&mut self, entry: &Entry<'_>) {
        let tree = if entry.any_case {
            self.any_case.get_or_insert_default()
        } else {
            &mut self.as_written
        };
        match (entry.key, entry.path) {
            (PathKey::Format(path), _) => tree.insert_format(path, entry.route),
            (_, PathPattern::Exact(path)) => tree.insert_exact(path, entry.route),
            (_, PathPattern::Prefix(path)) => tree.insert_prefix(path, entry.route),
            (_, PathPattern::Regex(regex)) => match self.expressions.last_mut() {
                Some((last, routes)) if last.as_str() == regex.as_str() => routes.push(entry.route),
                _ => self.expressions.push((regex.clone(), vec![entry.route])),
            },
        }
    }

    /// The first route in order of precedence whose path matches and that this predicate takes.
    pub(super) fn find(&self, path: &str, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let first = |routes: &[usize]| routes.iter().copied().find(|&route| takes(route));
        let segments = path.strip_prefix('/')?;
        let found = match &self.any_case {
            None => self.as_written.find(segments, first),
            Some(any_case) => {
                let lower = segments.to_ascii_lowercase();
                find_in_both(self.as_written.way(segments), any_case.way(&lower), first)
            }
        };
        found.or_else(|| {
            self.expressions
                .iter()
                .filter(|(regex, _)| regex.is_match(path))
                .find_map(|(_, routes)| first(routes))
        })
    }
}

/// Of two paths that are as specific, the one that minds case comes first.
fn find_in_both(written: Way<'_>, any_case: Way<'_>, first: impl Fn(&[usize]) -> Option<usize>) -> Option<usize> {
    let kinds = [written.exact(), any_case.exact(), written.format(), any_case.format()];
    if let Some(route) = kinds.into_iter().find_map(&first) {
        return Some(route);
    }
    let (mut written, mut any_case) = (Some(written), Some(any_case));
    loop {
        let deeper = |any_case: &Way<'_>| written.is_none_or(|written| any_case.depth() > written.depth());
        let deepest = match any_case.filter(deeper) {
            Some(way) => {
                any_case = way.up();
                way
            }
            None => {
                let way = written?;
                written = way.up();
                way
            }
        };
        if let Some(route) = first(deepest.below()) {
            return Some(route);
        }
    }
}
