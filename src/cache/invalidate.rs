//! What a change at the application makes of stored answers (RFC 9111 §4.4, RFC 9875 §3).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

/// `Cache-Group-Invalidation` (RFC 9875 §3).
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Whether an answer says that something was changed: a method that is not safe (RFC 9110 §9.2.1), and no error.
#[must_use]
pub fn changes(method: &Method, status: StatusCode) -> bool {
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    !safe && (status.is_success() || status.is_redirection())
}

/// The paths and queries beside the target that an answer names as changed: `Location` and `Content-Location`, of the
/// same origin.
pub fn named<'a>(scheme: &str, authority: &str, target: &str, answer: &'a HeaderMap) -> Vec<(String, Option<String>)> {
    let same_origin = |uri: &Uri| match (uri.scheme_str(), uri.authority()) {
        (Some(other), Some(host)) => {
            other.eq_ignore_ascii_case(scheme) && host.as_str().eq_ignore_ascii_case(authority)
        }
        (None, None) => true,
        _ => false,
    };
    let resolve = |value: &'a http::HeaderValue| {
        let text = value.to_str().ok()?;
        let text = text.split('#').next().unwrap_or_default();
        if text.starts_with("//") {
            return None; // another authority, most of the time; a change is then noticed by its time
        }
        let absolute = if text.starts_with('/') || text.contains("://") {
            text.to_owned()
        } else if text.is_empty() || text.starts_with('?') {
            format!("{target}{text}")
        } else {
            let folder = target.rfind('/').map_or("/", |at| &target[..=at]);
            format!("{folder}{text}")
        };
        let uri: Uri = absolute.parse().ok().filter(same_origin)?;
        Some((uri.path().to_owned(), uri.query().map(str::to_owned)))
    };
    [LOCATION, CONTENT_LOCATION]
        .iter()
        .filter_map(|name| resolve(answer.get(name)?))
        .collect()
}

/// The groups that an answer to a change makes stale.
#[must_use]
pub fn groups(answer: &HeaderMap) -> Vec<String> {
    super::groups::strings(answer, &CACHE_GROUP_INVALIDATION)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn unsafe_methods_that_succeed_change_something() {
        for (method, status, expected) in [
            ("POST", 200, true),
            ("PUT", 204, true),
            ("DELETE", 303, true),
            ("M-SEARCH", 200, true),
            ("POST", 500, false),
            ("POST", 404, false),
            ("GET", 200, false),
            ("HEAD", 200, false),
            ("OPTIONS", 200, false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(changes(&method, status), expected, "{method} {status}");
        }
    }

    #[test]
    fn places_of_the_same_origin() {
        for (place, expected) in [
            ("/a?b=1#c", Some(("/a", Some("b=1")))),
            ("http://site.test/x", Some(("/x", None))),
            ("HTTP://SITE.TEST/x", Some(("/x", None))),
            ("b", Some(("/api/b", None))),
            ("?p=1", Some(("/api/deals", Some("p=1")))),
            ("", Some(("/api/deals", None))),
            ("https://site.test/x", None),
            ("http://other.test/x", None),
            ("//other.test/x", None),
            ("http://[", None),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert(CONTENT_LOCATION, HeaderValue::from_static(place));
            let found = named("http", "site.test", "/api/deals", &answer);
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(path, query)| (path.to_owned(), query.map(str::to_owned)))
                .collect();
            assert_eq!(found, expected, "{place}");
        }
    }
}
