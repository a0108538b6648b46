//! From a request to the index of its route.

use std::collections::HashMap;

use http::{HeaderMap, Method};

use super::precedence::entries;
use super::table::PathTable;
use super::{Conditions, HostPattern, Matcher};

/// What the router looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Host as [`super::normalise_host`] gave it; empty where a HTTP/1.0 client sent none.
    pub host: &'a str,
    /// Path as [`super::normalise`] gave it.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Header fields.
    pub headers: &'a HeaderMap,
}

/// Routes compiled for look-up.
///
/// The most specific route wins: host (exact, then the longest wildcard, then any), path (exact, then with a format that
/// is ignored, then the longest prefix, then expressions in file order), then more conditions, then file order. A route whose conditions fail is
/// passed over for the next one, also into less specific hosts.
#[derive(Debug)]
pub struct Router {
    /// Of each route, by its index.
    conditions: Vec<Conditions>,
    exact_hosts: HashMap<Box<str>, PathTable>,
    /// By suffix with its leading dot.
    wildcard_hosts: HashMap<Box<str>, PathTable>,
    /// Length of the longest suffix, bytes: longer ones need no look-up.
    longest_suffix: usize,
    any_host: PathTable,
}

impl Router {
    /// Compiles the matchers of the routes, in file order.
    #[must_use]
    pub fn new(matchers: Vec<Matcher>) -> Self {
        let mut exact_hosts: HashMap<Box<str>, PathTable> = HashMap::new();
        let mut wildcard_hosts: HashMap<Box<str>, PathTable> = HashMap::new();
        let mut any_host = PathTable::default();
        for entry in entries(&matchers) {
            let table = match entry.host {
                Some(HostPattern::Exact(name)) => exact_hosts.entry(name.clone()).or_default(),
                Some(HostPattern::Wildcard(suffix)) => wildcard_hosts.entry(suffix.clone()).or_default(),
                None => &mut any_host,
            };
            table.insert(&entry);
        }
        Self {
            conditions: matchers.into_iter().map(|matcher| matcher.conditions).collect(),
            longest_suffix: wildcard_hosts.keys().map(|suffix| suffix.len()).max().unwrap_or(0),
            exact_hosts,
            wildcard_hosts,
            any_host,
        }
    }

    /// Index of the most specific route that takes this request. Allocates nothing, unless a route ignores case, or has
    /// conditions on the query and the query is percent-encoded.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> Option<usize> {
        self.tables(request.host)
            .find_map(|table| table.find(request.path, |route| self.conditions[route].hold(request)))
    }

    /// The tables whose host matches, the most specific first.
    fn tables<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a PathTable> {
        let exact = self.exact_hosts.get(host);
        // From the left: the longest suffix first. A suffix needs a label before it.
        let suffixes = host.match_indices('.').map(|(at, _)| at).filter(|&at| at > 0);
        let wildcard = suffixes
            .filter(|at| host.len() - at <= self.longest_suffix)
            .filter_map(|at| self.wildcard_hosts.get(&host[at..]));
        exact.into_iter().chain(wildcard).chain([&self.any_host])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::PathPattern;
    use crate::route::testing::{matcher, matchers, requests};
    use proptest::prelude::*;

    fn find(routes: &[&str], method: &str, host: &str, target: &str) -> Option<usize> {
        let router = Router::new(routes.iter().map(|route| matcher(route)).collect());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        router.find(&Request {
            method: &method.parse().unwrap(),
            host,
            path,
            query,
            headers: &HeaderMap::new(),
        })
    }

    #[test]
    fn the_most_specific_path_wins() {
        let routes = ["~^/api/x", "/*", "/api/*", "/api", "/api/deals/*", r"~\.js$", "/api/"];
        let table = [
            ("/", 1),
            ("/api", 3),
            ("/api/", 6),
            ("/apix", 1),
            ("/api/x", 2),
            ("/api/deals", 4),
            ("/api/deals/7/reviews", 4),
            ("/api/dealsx", 2),
            ("/a.js", 1),
        ];
        for (path, route) in table {
            assert_eq!(find(&routes, "GET", "h", path), Some(route), "{path}");
        }
        // Without a prefix that takes everything, expressions in file order.
        let routes = ["/api/*", "~^/x", r"~\.js$", "~^/x/y"];
        for (path, route) in [
            ("/x.js", Some(1)),
            ("/a.js", Some(2)),
            ("/x/y", Some(1)),
            ("/q", None),
            ("*", None),
        ] {
            assert_eq!(find(&routes, "GET", "h", path), route, "{path}");
        }
    }

    #[test]
    fn the_most_specific_host_wins() {
        let routes = [
            "/*",
            "*.example.com /a/*",
            "*.b.example.com /*",
            "a.b.example.com /a/*",
            "example.com /*",
        ];
        let table = [
            ("example.com", "/", 4),
            ("a.b.example.com", "/a", 3),
            // No path under the exact host: on to the wildcards.
            ("a.b.example.com", "/", 2),
            ("c.b.example.com", "/a", 2),
            ("c.example.com", "/a", 1),
            ("c.example.com", "/", 0),
            (".example.com", "/a", 0),
            ("example.org", "/", 0),
            ("", "/", 0),
        ];
        for (host, path, route) in table {
            assert_eq!(find(&routes, "GET", host, path), Some(route), "{host}{path}");
        }
    }

    #[test]
    fn conditions_come_after_the_path() {
        let routes = ["/a/* x=1", "/a/*", "/a/* GET x=1", "/a/b", "~^/a GET x=1", "/a/* GET"];
        let table = [
            ("GET", "/a/c?x=1", 2),
            ("POST", "/a/c?x=1", 0),
            ("GET", "/a/c", 5),
            ("POST", "/a/c", 1),
            ("GET", "/a/b?x=1", 3),
        ];
        for (method, target, route) in table {
            assert_eq!(find(&routes, method, "h", target), Some(route), "{method} {target}");
        }
        // Those that fail are passed over, up to a shorter prefix and an expression.
        let routes = ["/a/b POST", "/a/b/* POST", "/a/* PUT", "~b$"];
        assert_eq!(find(&routes, "GET", "h", "/a/b"), Some(3));
        assert_eq!(find(&routes, "PUT", "h", "/a/b"), Some(2));
        assert_eq!(find(&routes, "GET", "h", "/a/c"), None);
    }

    #[test]
    fn routes_with_the_same_expression_are_told_apart_by_their_conditions() {
        let routes = ["h ~b", "h ~a", "~a", "~b", "~a GET"];
        assert_eq!(find(&routes, "GET", "i", "/ab"), Some(4));
        assert_eq!(find(&routes, "PUT", "i", "/ab"), Some(2));
        assert_eq!(find(&routes, "GET", "h", "/ab"), Some(0));
    }

    #[test]
    fn what_is_ignored() {
        let routes = [
            "/*",
            "/Admin/* !case !format",
            "/admin/open",
            "/Deals.json",
            "/deals !format",
            "~^/X$ !case",
        ];
        let table = [
            ("/admin", 1),
            ("/ADMIN/x", 1),
            ("/Admin/", 1),
            ("/admin.json", 1),
            ("/aDmin.json/", 1),
            ("/admin.a.b", 0),
            ("/admin.", 0),
            ("/admin./", 0),
            ("/admin.json/x", 0),
            ("/administrators", 0),
            // Written as it is asked for, by another route.
            ("/admin/open", 2),
            ("/admin/OPEN", 1),
            ("/admin/open.json", 1),
            ("/Deals.json", 3),
            ("/deals.json", 4),
            ("/deals.json/", 4),
            ("/DEALS", 0),
            ("/.json", 0),
        ];
        for (path, route) in table {
            assert_eq!(find(&routes, "GET", "h", path), Some(route), "{path}");
        }
        assert_eq!(find(&routes[5..], "GET", "h", "/x"), Some(0));
        // Of the same length, the one that minds case comes first; a longer one before both.
        let routes = ["/a/* !case", "/a/*", "/a/b/* !case", "/A/b/c/*"];
        for (path, route) in [("/a/x", 1), ("/A/x", 0), ("/a/B", 2), ("/A/b/c", 3), ("/a/b/c", 2)] {
            assert_eq!(find(&routes, "GET", "h", path), Some(route), "{path}");
        }
    }

    #[test]
    fn ten_thousand_routes() {
        let routes = (0..10_000)
            .map(|n| matcher(&format!("h{}.example /r{n}/* /x/{n}/y", n % 100)))
            .collect();
        let router = Router::new(routes);
        let headers = HeaderMap::new();
        let deep = "/a".repeat(4_000);
        for (host, path, route) in [
            ("h42.example", "/r4242/a/b", Some(4242)),
            ("h42.example", "/x/9942/y", Some(9942)),
            ("h42.example", "/r4243", None),
            ("h42.example", &*deep, None),
        ] {
            let request = Request {
                method: &Method::GET,
                host,
                path,
                query: None,
                headers: &headers,
            };
            assert_eq!(router.find(&request), route, "{host}{path}");
        }
    }

    /// Precedence in the plainest words: rank everything that matches, take the first.
    fn reference(routes: &[Matcher], request: &Request<'_>) -> Option<usize> {
        let mut ranked = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let hosts: Vec<_> = if route.hosts.is_empty() {
                vec![None]
            } else {
                route.hosts.iter().map(Some).collect()
            };
            for host in hosts {
                for (path, format) in route.paths.iter().flat_map(|path| [(path, false), (path, true)]) {
                    let case = usize::from(route.ignored.case);
                    let host_rank = match host {
                        Some(HostPattern::Exact(_)) => (0, 0),
                        Some(HostPattern::Wildcard(suffix)) => (1, 1000 - suffix.len()),
                        None => (2, 0),
                    };
                    let path_rank = match path {
                        PathPattern::Exact(_) | PathPattern::Prefix(_) if format => (1, case, 0),
                        PathPattern::Exact(_) => (0, case, 0),
                        PathPattern::Prefix(prefix) => (2, 1000 - prefix.len(), case),
                        PathPattern::Regex(regex) => {
                            let (index, at) = first_under_host(routes, host, regex.as_str());
                            (3, index, at)
                        }
                    };
                    let asked = match (route.ignored.case, path) {
                        (true, PathPattern::Exact(_) | PathPattern::Prefix(_)) => request.path.to_ascii_lowercase(),
                        _ => request.path.to_owned(),
                    };
                    let taken = match path {
                        PathPattern::Exact(path) | PathPattern::Prefix(path) if format => {
                            route.ignored.format
                                && !path.ends_with('/')
                                && asked.strip_suffix('/').unwrap_or(&asked).rsplit_once('.').is_some_and(
                                    |(stem, format)| {
                                        !path.is_empty()
                                            && stem == &**path
                                            && !format.is_empty()
                                            && !format.contains('/')
                                    },
                                )
                        }
                        PathPattern::Regex(_) if format => false,
                        path => path.matches(&asked),
                    };
                    let matches =
                        host.is_none_or(|host| host.matches(request.host)) && taken && route.conditions.hold(request);
                    if matches {
                        ranked.push((host_rank, path_rank, 1000 - route.conditions.count(), index));
                    }
                }
            }
        }
        ranked.into_iter().min().map(|(_, _, _, index)| index)
    }

    fn first_under_host(routes: &[Matcher], host: Option<&HostPattern>, text: &str) -> (usize, usize) {
        let mut places = routes.iter().enumerate().filter_map(|(index, route)| {
            let under = match host {
                None => route.hosts.is_empty(),
                Some(host) => route.hosts.contains(host),
            };
            let is_it = |path: &PathPattern| matches!(path, PathPattern::Regex(regex) if regex.as_str() == text);
            let at = route.paths.iter().position(is_it)?;
            under.then_some((index, at))
        });
        places.next().expect("the expression is one of the routes'")
    }

    proptest! {
        #[test]
        fn finds_what_the_reference_finds(routes in matchers(), requests in prop::collection::vec(requests(), 20)) {
            let router = Router::new(routes.clone());
            let headers = HeaderMap::new();
            for (method, host, path, query) in &requests {
                let request = Request { method, host, path, query: query.as_deref(), headers: &headers };
                prop_assert_eq!(router.find(&request), reference(&routes, &request), "{:?}", request);
            }
        }
    }
}
