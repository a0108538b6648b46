//! What may be kept, by the rule that forbids it.

use http::HeaderValue;

use super::*;
use crate::cache::moment::Moment;

type Lines = &'static [(&'static str, &'static str)];

fn fields(lines: Lines) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_static(value));
    }
    fields
}

fn judged(policy: &Policy, path: &str, request: Lines, status: u16, answer: Lines) -> Result<Source, Unstorable> {
    let now = Moment(1_700_000_000_000);
    let request = For {
        path,
        fields: &fields(request),
        no_store: false,
    };
    let exchanged = Exchanged {
        asked: now,
        answered: now,
    };
    let status = StatusCode::from_u16(status).expect("a status");
    storable(policy, &request, status, &fields(answer), exchanged).map(|terms| terms.source)
}

fn of(status: u16, answer: Lines) -> Result<Source, Unstorable> {
    judged(&Policy::new("x"), "/", &[], status, answer)
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn rules_of_rfc_9111_3() {
    let kept = Ok(Source::Application);
    for (status, answer, expected) in [
        (200, &[FRESH][..], kept),
        // Any final status, if the application says how long.
        (599, &[FRESH], kept),
        (302, &[FRESH], kept),
        (500, &[FRESH], kept),
        (103, &[FRESH], Err(Unstorable::Partial)),
        (206, &[FRESH], Err(Unstorable::Partial)),
        (304, &[FRESH], Err(Unstorable::Partial)),
        (
            200,
            &[("cache-control", "max-age=60, no-store")],
            Err(Unstorable::NoStore),
        ),
        (
            200,
            &[("cache-control", "max-age=60, private")],
            Err(Unstorable::Private),
        ),
        (200, &[("cache-control", "max-age=60, private=\"x-a\"")], kept),
        (200, &[FRESH, ("vary", "a, *")], Err(Unstorable::VaryStar)),
        (200, &[FRESH, ("vary", ""), ("vary", "*")], Err(Unstorable::VaryStar)),
        (200, &[FRESH, ("set-cookie", "a=b")], Err(Unstorable::SetCookie)),
        (
            200,
            &[
                ("cache-control", "max-age=9, no-cache=\"set-cookie\""),
                ("set-cookie", "a=b"),
            ],
            kept,
        ),
        (200, &[], Err(Unstorable::NoLifetime)),
        (200, &[("cache-control", "max-age=0")], Err(Unstorable::NoLifetime)),
        (200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], kept),
        (200, &[("cache-control", "no-cache")], Err(Unstorable::NoLifetime)),
        (200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], kept),
        (200, &[("etag", "\"a\"")], Err(Unstorable::NoLifetime)),
        (
            200,
            &[("cache-control", "max-age=60"), ("age", "70")],
            Err(Unstorable::NoLifetime),
        ),
        // RFC 9111 §5.2.2.3
        (200, &[("cache-control", "max-age=60, must-understand, no-store")], kept),
        (
            299,
            &[("cache-control", "max-age=60, must-understand, no-store")],
            Err(Unstorable::NotUnderstood),
        ),
        // RFC 9213
        (
            200,
            &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")],
            kept,
        ),
        (
            200,
            &[FRESH, ("cdn-cache-control", "no-store")],
            Err(Unstorable::NoStore),
        ),
        (
            200,
            &[FRESH, ("cdn-cache-control", "private")],
            Err(Unstorable::Private),
        ),
    ] {
        assert_eq!(of(status, answer), expected, "{status} {answer:?}");
    }
}

#[test]
fn credentials_of_rfc_9111_3_5() {
    let policy = Policy::new("x");
    let named: Lines = &[("authorization", "Bearer x")];
    for (answer, expected) in [
        (&[FRESH][..], Err(Unstorable::Authorization)),
        (&[("cache-control", "max-age=60, public")], Ok(Source::Application)),
        (
            &[("cache-control", "max-age=60, must-revalidate")],
            Ok(Source::Application),
        ),
        (&[("cache-control", "s-maxage=60")], Ok(Source::Application)),
    ] {
        assert_eq!(judged(&policy, "/", named, 200, answer), expected, "{answer:?}");
    }
    let mut year = Policy::new("x");
    year.ttl = Some(std::time::Duration::from_secs(9));
    assert_eq!(judged(&year, "/", named, 200, &[]), Err(Unstorable::Authorization));
}

#[test]
fn cookies_and_the_operators_lifetimes() {
    let cookies: Lines = &[("cookie", "s=1")];
    let mut policy = Policy::new("x");
    policy.default_ttl = Some(std::time::Duration::from_secs(9));
    assert_eq!(judged(&policy, "/", cookies, 200, &[]), Err(Unstorable::Cookie));
    assert_eq!(judged(&policy, "/", cookies, 200, &[FRESH]), Ok(Source::Application));
    policy.key.cookies = vec!["s".into()];
    assert_eq!(judged(&policy, "/", cookies, 200, &[]), Ok(Source::DefaultTtl));
    let mut hashed = Policy::new("x");
    hashed.ttl = policy.default_ttl;
    assert_eq!(judged(&hashed, "/a.js", cookies, 200, &[]), Ok(Source::Ttl));
    assert_eq!(
        judged(&hashed, "/", &[], 200, &[("set-cookie", "a=b")]),
        Err(Unstorable::SetCookie)
    );
    hashed.strip_cookies = true;
    assert_eq!(
        judged(&hashed, "/", &[], 200, &[("set-cookie", "a=b")]),
        Ok(Source::Ttl)
    );
}

#[test]
fn a_page_under_the_name_of_a_file() {
    let policy = Policy::new("x");
    let html: Lines = &[FRESH, ("content-type", "Text/HTML; charset=utf-8")];
    let json: Lines = &[FRESH, ("content-type", "application/json")];
    let script: Lines = &[FRESH, ("content-type", "text/javascript")];
    for (path, answer, expected) in [
        ("/account/x.css", html, Err(Unstorable::Deception)),
        ("/account/X.CSS", html, Err(Unstorable::Deception)),
        ("/api/me/a.js", json, Err(Unstorable::Deception)),
        ("/a.js", script, Ok(Source::Application)),
        ("/a.js.map", json, Ok(Source::Application)),
        ("/page.html", html, Ok(Source::Application)),
        ("/v1.css/me", html, Ok(Source::Application)),
        ("/", html, Ok(Source::Application)),
    ] {
        assert_eq!(judged(&policy, path, &[], 200, answer), expected, "{path} {answer:?}");
    }
}

#[test]
fn limits_of_the_policy() {
    let mut policy = Policy::new("x");
    policy.max_object = 10;
    policy.statuses = Some(vec![StatusCode::OK]);
    let long: Lines = &[FRESH, ("content-length", "11")];
    assert_eq!(judged(&policy, "/", &[], 200, long), Err(Unstorable::TooLarge));
    assert_eq!(judged(&policy, "/", &[], 404, &[FRESH]), Err(Unstorable::Status));
    assert_eq!(judged(&policy, "/", &[], 200, &[FRESH]), Ok(Source::Application));
}

#[test]
fn what_concerns_a_connection_is_not_kept() {
    let mut answer = fields(&[
        ("connection", "close, x-b"),
        ("keep-alive", "timeout=5"),
        ("proxy-authentication-info", "x"),
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-c", "3"),
        ("cache-control", "max-age=9, private=\"x-c\""),
        ("set-cookie", "a=b"),
    ]);
    let mut policy = Policy::new("x");
    policy.strip_cookies = true;
    clean(&policy, &mut answer);
    let names: Vec<&str> = answer.keys().map(HeaderName::as_str).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"x-a") && names.contains(&"cache-control"));
}
