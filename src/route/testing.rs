//! Routes and requests for the tests of this module, in few letters.

use http::Method;
use proptest::prelude::*;

use super::{Condition, Conditions, HostPattern, Ignored, Matcher, PathPattern, ValuePattern};

/// Reads `host /path /below/* ~regex METHOD parameter=value !case !format`; the last two are ignored; words without a slash, tilde, `=` or upper case are hosts.
pub(super) fn matcher(text: &str) -> Matcher {
    let mut matcher = Matcher {
        hosts: Vec::new(),
        paths: Vec::new(),
        ignored: Ignored::default(),
        conditions: Conditions::default(),
    };
    for word in text.split_whitespace() {
        if word.starts_with(['/', '~']) {
            matcher.paths.push(PathPattern::parse(word).expect(word));
        } else if let Some(ignored) = word.strip_prefix('!') {
            matcher.ignored.case |= ignored == "case";
            matcher.ignored.format |= ignored == "format";
        } else if let Some((name, value)) = word.split_once('=') {
            matcher.conditions.query.push(Condition {
                name: name.into(),
                value: ValuePattern::parse(value).expect(word),
            });
        } else if word.bytes().all(|byte| byte.is_ascii_uppercase()) {
            matcher.conditions.methods.push(word.parse().expect(word));
        } else {
            matcher.hosts.push(HostPattern::parse(word).expect(word));
        }
    }
    if matcher.ignored.case {
        let lower = |path: &PathPattern| path.ignoring_case().expect(text);
        matcher.paths = matcher.paths.iter().map(lower).collect();
    }
    matcher
}

/// Routes that get into each other's way a lot.
pub(super) fn matchers() -> impl Strategy<Value = Vec<Matcher>> {
    let host = prop::sample::subsequence(vec!["h", "a.h", "*.h", "*.a.h", "b.a.h"], 0..=2);
    let path = prop::sample::subsequence(
        vec![
            "/", "/*", "/a", "/a/", "/a/*", "/A/*", "/a/b", "/a/b/*", "/a.j", "~^/a", "~^/a/", "~b", "~.*", "~^/a/b$",
        ],
        1..=3,
    );
    let condition = prop::sample::subsequence(vec!["GET", "PUT", "x=1", "x=*", "x=~.", "y=*"], 0..=3);
    let ignored = prop::sample::subsequence(vec!["!case", "!format"], 0..=2);
    let route = (host, path.prop_shuffle(), condition, ignored)
        .prop_map(|(host, path, condition, ignored)| matcher(&[host, path, condition, ignored].concat().join(" ")));
    prop::collection::vec(route, 1..12)
}

/// Method, host, path and query of a request that such routes may take.
pub(super) fn requests() -> impl Strategy<Value = (Method, &'static str, String, Option<String>)> {
    (
        prop::sample::select(vec![Method::GET, Method::PUT, Method::POST]),
        prop::sample::select(vec!["", "h", "a.h", "b.a.h", "c.a.h", "i"]),
        prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "", "A", "a.j", "B.j"]), 1..4)
            .prop_map(|segments| format!("/{}", segments.join("/"))),
        prop::option::of(prop::sample::select(vec!["x=1", "x", "y=2&x=1", "y"]).prop_map(str::to_owned)),
    )
}
