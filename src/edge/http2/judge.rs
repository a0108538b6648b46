//! A request over HTTP/2 by the rules of the gate, and as the rest of the gateway reads it.

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Version, request};

use super::super::head::{Framing, judge_target};
use crate::answer::Reason;
use crate::config::model::HeadLimits;
use crate::route;

/// Judges a request and writes it anew: `Host` for `:authority`, a target in origin-form, one `Cookie`. `ends`: there is no
/// body. What the library has refused before does not come here: broken pseudo-fields, fields of a connection, upper
/// case, a body that is not as long as it says (RFC 9113 §8.1.1, §8.2, §8.3).
///
/// # Errors
/// The reason for which it is refused.
pub(super) fn judge(parts: &mut request::Parts, limits: &HeadLimits, ends: bool) -> Result<Framing, Reason> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Reason::MethodNotAllowed);
    }
    if parts.headers.len() > limits.fields {
        return Err(Reason::HeadTooLarge);
    }
    let whole = parts.uri.path_and_query().cloned();
    let whole = whole.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let target = whole.as_str();
    if target.len() > limits.uri {
        return Err(Reason::UriTooLong);
    }
    if !target.starts_with('/') && target != "*" {
        return Err(Reason::BadRequest);
    }
    judge_target(&parts.method, target, 1)?;
    if !parts.headers.values().all(|value| is_sound(value.as_bytes())) {
        return Err(Reason::BadRequest);
    }
    let host = host(parts)?;
    parts.headers.insert(header::HOST, host);
    parts.uri = whole.into();
    parts.version = Version::HTTP_2;
    join_cookies(parts);
    let expects = parts.headers.get(header::EXPECT);
    if expects.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Reason::ExpectationFailed);
    }
    parts.headers.remove(header::EXPECT); // the library knows no interim answers: the body is asked for by reading it
    framing(parts, ends)
}

/// RFC 9113 §8.2.1: no control characters, and no space around it.
fn is_sound(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_space(value.first())
        && !is_space(value.last())
        && !value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f)
}

/// RFC 9113 §8.3.1: `:authority`, or `Host` where there is none; where there are both they agree.
fn host(parts: &request::Parts) -> Result<HeaderValue, Reason> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (first, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Reason::BadRequest);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let value = match (authority, first) {
        (Some(authority), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => {
            return Err(Reason::BadRequest);
        }
        (Some(authority), _) => HeaderValue::from_str(authority).map_err(|_| Reason::BadRequest)?,
        (None, Some(host)) => host.clone(),
        (None, None) => return Err(Reason::BadRequest),
    };
    let text = value.to_str().map_err(|_| Reason::BadRequest)?;
    route::normalise_host(text).map_err(|_| Reason::BadRequest)?;
    Ok(value)
}

/// RFC 9113 §8.2.3: crumbs are put together before the request leaves HTTP/2.
fn join_cookies(parts: &mut request::Parts) {
    let mut crumbs = parts.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        parts.headers.insert(header::COOKIE, joined);
    }
}

fn framing(parts: &request::Parts, ends: bool) -> Result<Framing, Reason> {
    let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    let (first, more) = (lengths.next(), lengths.next());
    let length = match (first, more) {
        (None, _) => None,
        (Some(length), None) => {
            let digits = length.as_bytes();
            // 18 digits stay far below 2^63, beyond which readers disagree.
            if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
                return Err(Reason::BadRequest);
            }
            Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
        }
        (Some(_), Some(_)) => return Err(Reason::BadRequest),
    };
    match length {
        Some(1..) if ends => Err(Reason::BadRequest),
        Some(length @ 1..) => Ok(Framing::Length(length)),
        Some(0) => Ok(Framing::None),
        None if ends => Ok(Framing::None),
        None => Ok(Framing::Chunked),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        size: 4096,
        fields: 5,
        uri: 64,
    };

    fn judged(
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Result<(request::Parts, Framing), Reason> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        judge(&mut parts, &LIMITS, ends).map(|framing| (parts, framing))
    }

    #[test]
    fn good_requests_are_written_anew() {
        let (parts, framing) = judged(
            "GET",
            "https://Site.test:443/a?b",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("host", "site.test:443")],
            true,
        )
        .unwrap();
        assert_eq!((parts.uri.to_string().as_str(), framing), ("/a?b", Framing::None));
        assert_eq!(parts.headers["host"], "Site.test:443");
        assert_eq!(parts.headers["cookie"], "a=1; b=2");
        assert_eq!(
            judged("POST", "https://a/", &[("content-length", "5")], false)
                .unwrap()
                .1,
            Framing::Length(5)
        );
        assert_eq!(judged("POST", "https://a/", &[], false).unwrap().1, Framing::Chunked);
        assert_eq!(
            judged("GET", "/a", &[("host", "a")], true).unwrap().0.headers["host"],
            "a"
        );
    }

    #[test]
    fn bad_requests_each_with_its_reason() {
        use Reason::*;
        let long = format!("https://a/{}", "x".repeat(80));
        for (method, uri, fields, ends, reason) in [
            ("TRACE", "https://a/", &[][..], true, MethodNotAllowed),
            ("GET", "https://a/", &[("host", "b")], true, BadRequest),
            ("GET", "/", &[], true, BadRequest),
            ("GET", "/", &[("host", "a"), ("host", "a")], true, BadRequest),
            ("GET", "/", &[("host", "a/b")], true, BadRequest),
            ("GET", "https://user@a/", &[], true, BadRequest),
            ("GET", &long, &[], true, UriTooLong),
            ("GET", "*", &[("host", "a")], true, BadRequest),
            (
                "POST",
                "https://a/",
                &[("content-length", "5"), ("content-length", "5")],
                false,
                BadRequest,
            ),
            ("POST", "https://a/", &[("content-length", "+5")], false, BadRequest),
            ("POST", "https://a/", &[("content-length", "5")], true, BadRequest),
            ("POST", "https://a/", &[("expect", "tea")], false, ExpectationFailed),
            (
                "GET",
                "https://a/",
                &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "")],
                true,
                HeadTooLarge,
            ),
        ] {
            assert_eq!(
                judged(method, uri, fields, ends).map(|_| ()),
                Err(reason),
                "{method} {uri} {fields:?}"
            );
        }
    }
}
