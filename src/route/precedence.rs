//! The order in which routes are asked: the most specific first.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::pattern::PathKey;
use super::{HostPattern, Matcher, PathPattern};

/// How specific an entry is. Smaller is asked first; the fields are compared from top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    host: HostRank,
    path: PathRank,
    /// More conditions first.
    conditions: Reverse<usize>,
    /// Index of the route: file order.
    route: usize,
}

/// Exact, then the longest suffix, then any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Exact,
    Wildcard(Reverse<usize>),
    Any,
}

/// Exact, then with a format behind it, then the longest prefix, then expressions as they come in the file. Of two that
/// are as specific, the one that minds case comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact {
        any_case: bool,
    },
    Format {
        any_case: bool,
    },
    Prefix {
        length: Reverse<usize>,
        any_case: bool,
    },
    /// Where this expression first stands under this host, so that routes with the same one are told apart by their
    /// conditions, as routes with the same prefix are.
    Regex(usize),
}

/// One host and one path of a route; a route with two hosts and three paths has six, and where formats are ignored twice
/// as many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    precedence: Precedence,
    /// `None`: any host.
    pub(super) host: Option<&'a HostPattern>,
    pub(super) path: &'a PathPattern,
    /// What of the path this entry is about.
    pub(super) key: PathKey<'a>,
    /// Whether it is compared in lower case.
    pub(super) any_case: bool,
    /// Index of the route.
    pub(super) route: usize,
}

/// Every host and path of every route, the most specific first.
pub(super) fn entries(matchers: &[Matcher]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut first_seen = HashMap::new();
    for (route, matcher) in matchers.iter().enumerate() {
        let conditions = Reverse(matcher.conditions.count());
        for host in hosts(matcher) {
            for (path, key) in paths(matcher) {
                let any_case = matcher.ignored.case;
                let path_rank = match key {
                    PathKey::Exact(_) => PathRank::Exact { any_case },
                    PathKey::Format(_) => PathRank::Format { any_case },
                    PathKey::Prefix(prefix) => PathRank::Prefix {
                        length: Reverse(prefix.len()),
                        any_case,
                    },
                    PathKey::Regex(_) => PathRank::Regex(*first_seen.entry((host, key)).or_insert(entries.len())),
                };
                let precedence = Precedence {
                    host: host_rank(host),
                    path: path_rank,
                    conditions,
                    route,
                };
                entries.push(Entry {
                    precedence,
                    host,
                    path,
                    key,
                    any_case,
                    route,
                });
            }
        }
    }
    entries.sort_by_key(|entry| entry.precedence);
    entries
}

fn hosts(matcher: &Matcher) -> impl Iterator<Item = Option<&HostPattern>> {
    let any = matcher.hosts.is_empty().then_some(None);
    any.into_iter().chain(matcher.hosts.iter().map(Some))
}

/// The paths of a route, and what may have a format behind it.
fn paths(matcher: &Matcher) -> impl Iterator<Item = (&PathPattern, PathKey<'_>)> {
    let keys = |path| {
        let format = matcher.ignored.format.then(|| PathPattern::format_key(path)).flatten();
        [Some(path.key()), format]
            .into_iter()
            .flatten()
            .map(move |key| (path, key))
    };
    matcher.paths.iter().flat_map(keys)
}

fn host_rank(host: Option<&HostPattern>) -> HostRank {
    match host {
        Some(HostPattern::Exact(_)) => HostRank::Exact,
        Some(HostPattern::Wildcard(suffix)) => HostRank::Wildcard(Reverse(suffix.len())),
        None => HostRank::Any,
    }
}
