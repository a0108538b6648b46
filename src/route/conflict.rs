//! Routes that can never be reached. Only what is certain is claimed.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::pattern::PathKey;
use super::precedence::{Entry, entries};
use super::{Condition, Conditions, HostPattern, Matcher, PathPattern, ValuePattern};

/// How two routes stand in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// They match exactly the same requests.
    Duplicate,
    /// Every request of the route is taken by the other one, or by others before it.
    Shadowed,
}

/// Two routes of which one can never be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// What is wrong.
    pub kind: ConflictKind,
    /// Index of the route that is never reached.
    pub route: usize,
    /// Index of the route that takes its requests; where several do, of the one that takes its most specific path.
    pub by: usize,
}

/// Finds every route that can never be reached, in file order.
///
/// A route is unreachable where each of its hosts and paths is asked after another route that matches at least as
/// much: the same path under the same host with conditions that hold whenever the route's own do; or, for an
/// expression, a prefix that all its matches lie under, as prefixes win over expressions.
#[must_use]
pub fn conflicts(matchers: &[Matcher]) -> Vec<Conflict> {
    let mut asked = Asked::default();
    let mut taken_by: Vec<Option<usize>> = vec![None; matchers.len()];
    let mut reachable = vec![false; matchers.len()];
    for entry in entries(matchers) {
        let own = &matchers[entry.route].conditions;
        let taker = asked
            .at_least_as_wide(&entry)
            .find(|&other| other != entry.route && implies(own, &matchers[other].conditions));
        match taker {
            Some(other) => _ = taken_by[entry.route].get_or_insert(other),
            None => reachable[entry.route] = true,
        }
        asked.add(&entry);
    }
    // Of routes that say the same in other words the one with more conditions is asked first, then the one that comes first.
    let rank = |route: usize| (Reverse(matchers[route].conditions.count()), route);
    let unreachable = (0..matchers.len()).filter(|&route| !reachable[route]);
    unreachable
        .filter_map(|route| {
            let by = taken_by[route]?;
            let before = (0..matchers.len()).filter(|&other| rank(other) < rank(route));
            let mut twins = [by].into_iter().chain(before);
            let twin = twins.find(|&other| same(&matchers[route], &matchers[other]));
            Some(Conflict {
                kind: twin.map_or(ConflictKind::Shadowed, |_| ConflictKind::Duplicate),
                route,
                by: twin.unwrap_or(by),
            })
        })
        .collect()
}

/// The entries so far, in order of precedence, by host and path, and whether case is ignored.
#[derive(Default)]
struct Asked<'a> {
    by_path: HashMap<(Option<&'a HostPattern>, PathKey<'a>, bool), Vec<usize>>,
    /// Expressions that match every path, by host.
    everything: HashMap<Option<&'a HostPattern>, Vec<usize>>,
}

impl<'a> Asked<'a> {
    fn add(&mut self, entry: &Entry<'a>) {
        let key = (entry.host, entry.key, entry.any_case);
        self.by_path.entry(key).or_default().push(entry.route);
        if let PathPattern::Regex(regex) = entry.path
            && matches_everything(regex.as_str())
        {
            self.everything.entry(entry.host).or_default().push(entry.route);
        }
    }

    /// Routes asked before this entry under the same host whose path takes all that the entry's path takes. Another
    /// host cannot do so: where one takes all of the other, it is asked later.
    fn at_least_as_wide(&self, entry: &Entry<'a>) -> impl Iterator<Item = usize> {
        let mut found = Vec::new();
        let mut add = |routes: Option<&Vec<usize>>| found.extend(routes.into_iter().flatten().copied());
        add(self.by_path.get(&(entry.host, entry.key, entry.any_case)));
        if let PathPattern::Regex(regex) = entry.path {
            for prefix in prefixes_above(regex.as_str()) {
                add(self.by_path.get(&(entry.host, PathKey::Prefix(prefix), false)));
            }
            add(self.everything.get(&entry.host));
        }
        found.into_iter()
    }
}

/// Whether an expression certainly matches every path. Paths begin with a slash and hold no line breaks.
fn matches_everything(regex: &str) -> bool {
    let start = regex.strip_prefix('^').unwrap_or(regex);
    let start = start.strip_prefix('/').unwrap_or(start);
    matches!(start, "" | ".*" | ".*$") || matches!(regex, "." | "^." | ".+" | "^.+" | ".+$" | "^.+$")
}

/// Prefixes that all matches of an expression certainly lie under, `""` always among them.
fn prefixes_above(regex: &str) -> impl Iterator<Item = &str> {
    let literal = literal_start(regex).unwrap_or_default();
    let boundaries = literal.match_indices('/').map(|(at, _)| &literal[..at]);
    // `^/api$` matches nothing but `/api`.
    let whole = (regex.strip_prefix('^').and_then(|text| text.strip_suffix('$')) == Some(literal)).then_some(literal);
    [""].into_iter()
        .chain(boundaries.filter(|prefix| !prefix.is_empty()))
        .chain(whole)
}

/// What all matches of an expression certainly begin with: `/api/v` of `^/api/v[12]/`.
fn literal_start(regex: &str) -> Option<&str> {
    let text = regex.strip_prefix('^')?;
    if text.contains('|') {
        return None;
    }
    let stands_for_itself = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_~%@:,;=!&'".contains(&byte);
    let end = text
        .bytes()
        .position(|byte| !stands_for_itself(byte))
        .unwrap_or(text.len());
    // A repetition belongs to the byte before it.
    let repeated = matches!(text.as_bytes().get(end), Some(b'?' | b'*' | b'+' | b'{'));
    text.get(..end.saturating_sub(usize::from(repeated)))
}

/// Whether the second conditions hold whenever the first ones do.
fn implies(first: &Conditions, second: &Conditions) -> bool {
    let within = |narrow: bool, wide: bool, each: bool| wide || (!narrow && each);
    within(
        first.methods.is_empty(),
        second.methods.is_empty(),
        first.methods.iter().all(|method| second.methods.contains(method)),
    ) && within(
        first.extensions.is_empty(),
        second.extensions.is_empty(),
        first
            .extensions
            .iter()
            .all(|extension| second.extensions.contains(extension)),
    ) && all_implied(&first.headers, &second.headers)
        && all_implied(&first.query, &second.query)
        && all_implied(&first.cookies, &second.cookies)
}

fn all_implied(first: &[Condition], second: &[Condition]) -> bool {
    second.iter().all(|wanted| {
        first
            .iter()
            .any(|given| given.name == wanted.name && value_implies(&given.value, &wanted.value))
    })
}

fn value_implies(given: &ValuePattern, wanted: &ValuePattern) -> bool {
    match (given, wanted) {
        (_, ValuePattern::Present) => true,
        (ValuePattern::Exact(given), wanted) => wanted.takes(given.as_bytes()),
        (ValuePattern::Regex(given), ValuePattern::Regex(wanted)) => given.as_str() == wanted.as_str(),
        _ => false,
    }
}

/// Whether two routes match exactly the same requests, as far as their text tells; order does not matter.
fn same(a: &Matcher, b: &Matcher) -> bool {
    let hosts = |matcher: &Matcher| matcher.hosts.iter().cloned().collect::<HashSet<_>>();
    hosts(a) == hosts(b)
        && paths(a) == paths(b)
        && a.ignored == b.ignored
        && implies(&a.conditions, &b.conditions)
        && implies(&b.conditions, &a.conditions)
}

fn paths(matcher: &Matcher) -> HashSet<PathKey<'_>> {
    matcher.paths.iter().map(PathPattern::key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::{matcher, matchers, requests};
    use crate::route::{Request, Router};
    use http::HeaderMap;
    use proptest::prelude::*;

    fn found(routes: &[Matcher]) -> Vec<(usize, usize, bool)> {
        let duplicate = |conflict: &Conflict| conflict.kind == ConflictKind::Duplicate;
        conflicts(routes)
            .iter()
            .map(|conflict| (conflict.route, conflict.by, duplicate(conflict)))
            .collect()
    }

    #[test]
    fn duplicates_and_shadows() {
        // (route 0, route 1, unreachable route, duplicate)
        let table = [
            ("/a/*", "/a/*", Some((1, true))),
            ("h /a g i /b", "i /b h /a g", Some((1, true))),
            ("/a GET HEAD", "/a HEAD GET", Some((1, true))),
            ("/a GET HEAD", "/a GET", Some((1, false))),
            ("/a GET", "/a GET HEAD", None),
            ("/a GET", "/a", None),
            ("/a", "/a GET", None),
            ("/a x=*", "/a x=1", Some((1, false))),
            ("/a x=~^[0-9]", "/a x=1", Some((1, false))),
            ("/a x=~^[0-9]", "/a x=z", None),
            ("/a x=1", "/a x=*", None),
            ("/a x=1", "/a y=1", None),
            ("/a /b", "/a", Some((1, false))),
            ("/a", "/a /b", None),
            ("h /a", "/a", None),
            ("/a", "h /a", None),
            ("h i /a", "h /a", Some((1, false))),
            ("*.h /a", "*.h /a", Some((1, true))),
            ("*.h /a", "*.i.h /a", None),
            ("/a/*", "/a", None),
            ("/a/*", "/a/b/*", None),
            ("~^/x", "~^/x", Some((1, true))),
            ("~^/x", "~^/x/y", None),
            ("~.*", "~^/x", Some((1, false))),
            ("~^/", "~x$", Some((1, false))),
            ("~x$", "~^/", None),
            ("~.* GET", "~^/x", None),
            ("~.* GET", "~^/x GET", Some((1, false))),
            // Prefixes win over expressions, wherever they stand in the file.
            ("~x$", "/*", Some((0, false))),
            ("/* GET", "~x$", None),
            ("/* GET", "~x$ GET y=1", Some((1, false))),
            ("h /*", "~x$", None),
            ("/api/*", "~^/api/v[12]/", Some((1, false))),
            ("/api/*", "~^/api$", Some((1, false))),
            ("/api/*", "~^/api/?v", None),
            ("/api/*", "~^/api/{0}", None),
            ("/api/*", "~^/api", None),
            ("/api/*", "~^/api/x|^/y", None),
            ("/api/*", "~/api/x", None),
            ("/a/* !case", "/A/* !case", Some((1, true))),
            ("/a/* !case", "/a/*", None),
            ("/a/*", "/A/* !case", None),
            ("/a/* !format", "/a/*", Some((1, false))),
            ("/a/*", "/a/* !format", None),
            ("/a !format", "/a.json", None),
        ];
        for (first, second, unreachable) in table {
            let wanted: Vec<_> = unreachable
                .into_iter()
                .map(|(route, twin)| (route, 1 - route, twin))
                .collect();
            assert_eq!(found(&[matcher(first), matcher(second)]), wanted, "{first} | {second}");
        }
    }

    #[test]
    fn taken_by_several() {
        let routes = ["/a", "/b", "/a /b"].map(matcher);
        assert_eq!(found(&routes), [(2, 0, false)]);
        let routes = ["/a", "/a", "/a"].map(matcher);
        assert_eq!(found(&routes), [(1, 0, true), (2, 0, true)]);
    }

    /// The second one is asked first, for its two conditions: what the first one takes is not taken from it.
    #[test]
    fn the_same_in_more_words() {
        let routes = ["~b x=1", "~b x=1 x=*", "/*"].map(matcher);
        assert_eq!(found(&routes), [(0, 1, true), (1, 2, false)]);
        let routes = ["/b x=1", "/b x=1 x=*"].map(matcher);
        assert_eq!(found(&routes), [(0, 1, true)]);
    }

    #[test]
    fn a_route_does_not_shadow_itself() {
        assert_eq!(found(&[matcher("/a /a /* ~x")]), []);
    }

    #[test]
    fn the_routes_of_deals247_stand_in_nobodys_way() {
        let routes = [
            "/health",
            "/api/metrics",
            "/api/*",
            "/api/deals/* GET HEAD",
            "/api/search/*",
            "/api/analytics/*",
            "/api/users/* POST",
            "/s/*",
            "/assets/*",
            "/*",
        ]
        .map(matcher);
        assert_eq!(found(&routes), []);
    }

    proptest! {
        /// Nothing is claimed that a request could disprove, and of two that stand in each other's way one is left.
        #[test]
        fn what_is_claimed_is_certain(routes in matchers(), requests in prop::collection::vec(requests(), 40)) {
            let claimed = conflicts(&routes);
            let router = Router::new(routes);
            let headers = HeaderMap::new();
            for (method, host, path, query) in &requests {
                let request = Request { method, host, path, query: query.as_deref(), headers: &headers };
                let taken = router.find(&request);
                prop_assert!(!claimed.iter().any(|conflict| Some(conflict.route) == taken), "{claimed:?} {requests:?}");
            }
            for conflict in &claimed {
                prop_assert!(conflict.route != conflict.by);
                prop_assert!(!claimed.iter().any(|other| (other.route, other.by) == (conflict.by, conflict.route)));
            }
        }

        #[test]
        fn a_route_written_twice_is_always_found(routes in matchers(), pick in any::<prop::sample::Index>()) {
            let mut routes = routes;
            let mut twin = pick.get(&routes).clone();
            twin.paths.reverse();
            twin.hosts.reverse();
            routes.push(twin);
            let last = routes.len() - 1;
            prop_assert!(conflicts(&routes).iter().any(|conflict| conflict.route == last));
        }
    }
}
