//! The order in which routes are asked: the most specific first.

use std::cmp::Reverse;
use std::collections::HashMap;

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

/// Exact, then the longest prefix, then expressions as they come in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Prefix(Reverse<usize>),
    /// Where this expression first stands under this host, so that routes with the same one are told apart by their
    /// conditions, as routes with the same prefix are.
    Regex(usize),
}

/// One host and one path of a route; a route with two hosts and three paths has six.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    precedence: Precedence,
    /// `None`: any host.
    pub(super) host: Option<&'a HostPattern>,
    pub(super) path: &'a PathPattern,
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
            for path in &matcher.paths {
                let path_rank = match path {
                    PathPattern::Exact(_) => PathRank::Exact,
                    PathPattern::Prefix(prefix) => PathRank::Prefix(Reverse(prefix.len())),
                    PathPattern::Regex(_) => {
                        PathRank::Regex(*first_seen.entry((host, path.key())).or_insert(entries.len()))
                    }
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

fn host_rank(host: Option<&HostPattern>) -> HostRank {
    match host {
        Some(HostPattern::Exact(_)) => HostRank::Exact,
        Some(HostPattern::Wildcard(suffix)) => HostRank::Wildcard(Reverse(suffix.len())),
        None => HostRank::Any,
    }
}
