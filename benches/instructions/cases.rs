//! What is counted: each part of the path of a request, on what an ordinary browser sends.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deals247_gateway::cache::{self, Asked, Exchanged, KeyRules, Moment, ResponseDirectives, Seed, Terms, Wish};
use deals247_gateway::config::model::HeadLimits;
use deals247_gateway::edge::{Scanner, take_apart};
use deals247_gateway::limit::{Asker, Bucket, KeyHasher, Limits, Local, Policy};
use deals247_gateway::observe::access_log::{Entry, Format, Redaction};
use deals247_gateway::route::{Conditions, HostPattern, Ignored, Matcher, PathPattern, Request, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

/// A case by its name in the file; its argument: how often.
pub(crate) type Case = (&'static str, fn(u32));

pub(crate) const CASES: &[Case] = &[
    ("admission", admission),
    ("router", router),
    ("limiter", limiter),
    ("cache_key", cache_key),
    ("freshness", freshness),
    ("access_log_json", |times| access_log("json", times)),
    ("access_log_line", |times| access_log("combined", times)),
];

const HEAD: &[u8] = b"GET /api/deals?page=2&category=shoes HTTP/1.1\r\nHost: www.deals247.online\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\nAccept: application/json\r\n\
    Accept-Language: en-GB,en;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: https://www.deals247.online/\r\n\
    Cookie: session=0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";

/// The head of a request: found, judged and taken apart.
fn admission(times: u32) {
    let limits = HeadLimits {
        size: 32 << 10,
        fields: 100,
        uri: 8 << 10,
    };
    let head = Bytes::from_static(HEAD);
    for _ in 0..times {
        let extent = Scanner::default().scan(black_box(&head), &limits).ok().flatten();
        assert!(extent.is_some());
        let taken = take_apart(black_box(&head), &limits);
        assert!(black_box(taken).is_ok());
    }
}

fn fields() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        (header::HOST, "www.deals247.online"),
        (
            header::USER_AGENT,
            "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
        ),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"),
        (header::REFERER, "https://www.deals247.online/"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields
}

/// One of a hundred hosts with ten routes each, and a wildcard.
fn router(times: u32) {
    let mut matchers = Vec::new();
    for host in 0..100 {
        for path in 0..10 {
            matchers.push(matcher(&format!("site{host}.example"), &format!("/api/v{path}/*")));
        }
    }
    matchers.push(matcher("*.deals247.online", "/api/*"));
    let router = Router::new(matchers);
    let headers = fields();
    for _ in 0..times {
        let found = router.find(black_box(&Request {
            method: &Method::GET,
            host: "www.deals247.online",
            path: "/api/deals",
            query: Some("page=2&category=shoes"),
            headers: &headers,
        }));
        assert_eq!(black_box(found), Some(1000));
    }
}

fn matcher(host: &str, path: &str) -> Matcher {
    Matcher {
        hosts: vec![HostPattern::parse(host).expect("a host")],
        paths: vec![PathPattern::parse(path).expect("a path")],
        ignored: Ignored::default(),
        conditions: Conditions::default(),
    }
}

/// Two limits, counted by address in this process.
fn limiter(times: u32) {
    let policy = |name, count| Arc::new(Policy::new(name, Bucket::new(count, Duration::from_secs(1), u32::MAX)));
    let hasher = KeyHasher::shared(b"the same each time");
    let limits = Limits::new(vec![policy("api", 1_000_000), policy("all", 2_000_000)], &hasher).expect("few");
    let store = Arc::new(Local::new(100_000));
    let headers = fields();
    let asker = Asker {
        client: IpAddr::from([192, 0, 2, 7]),
        method: &Method::GET,
        headers: &headers,
        query: None,
        subject: None,
        route: "api",
        host: "www.deals247.online",
    };
    for time in 0..times {
        let charges = limits.charges(black_box(&asker)).expect("an address");
        let checked = store.check(&charges, 1_000_000_000 + u64::from(time) * 1_000_000);
        assert!(black_box(checked).reservation.is_none());
    }
}

/// The key of an answer, with a cookie that counts and a parameter that does not.
fn cache_key(times: u32) {
    let rules = KeyRules {
        ignore: vec!["utm_*".into()],
        headers: vec![header::ACCEPT],
        ..KeyRules::default()
    };
    let headers = fields();
    for _ in 0..times {
        let query = rules.query(black_box(Some("page=2&utm_source=mail&category=shoes")));
        let asked = Asked {
            scheme: "https",
            authority: "www.deals247.online",
            path: "/api/deals",
            query: query.as_deref(),
        };
        black_box(rules.key(Seed(1, 2), &asked, "api", &headers));
    }
}

/// What an answer may be used for, and whether it may be given to a request.
fn freshness(times: u32) {
    let policy = cache::Policy::new("pages");
    let request = fields();
    let mut answer = HeaderMap::new();
    answer.insert(header::DATE, HeaderValue::from_static("Fri, 02 Jan 2026 03:04:05 GMT"));
    answer.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=60, stale-while-revalidate=30"),
    );
    let at = Moment(1_767_323_045_678);
    let exchanged = Exchanged {
        asked: at,
        answered: at,
    };
    for _ in 0..times {
        let directives = ResponseDirectives::of(black_box(&answer));
        let terms = Terms::new(&policy, &directives, StatusCode::OK, &answer, exchanged);
        let wish = Wish::of(&policy, &request);
        let reuse = cache::judge(&policy, &terms, &wish, at.plus(Duration::from_secs(20)));
        assert!(matches!(black_box(reuse), cache::Reuse::Fresh(_)));
    }
}

fn access_log(format: &str, times: u32) {
    let format = Format::parse(format).expect("a format");
    let mut redaction = Redaction::default();
    redaction.add("query:token").expect("an entry");
    let mut line = Vec::with_capacity(1024);
    for _ in 0..times {
        line.clear();
        format.write(
            &mut line,
            &redaction,
            black_box(&Entry {
                time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
                request_id: "0123456789abcdef0123456789abcdef",
                trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
                client: IpAddr::from([192, 0, 2, 7]),
                route: Some("api"),
                method: "GET",
                host: Some(b"www.deals247.online"),
                path: b"/api/deals",
                query: Some(b"page=2&token=secret"),
                version: Version::HTTP_11,
                status: 200,
                bytes_in: 0,
                bytes_out: 20_480,
                duration: Duration::from_micros(12_345),
                upstream: Some("api"),
                server: Some("127.0.0.1:3001"),
                upstream_time: Some(Duration::from_micros(11_222)),
                attempts: 1,
                cache: Some("hit"),
                limit: Some("pass"),
                refusal: None,
                tls: Some("TLSv1.3"),
                user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
                referer: Some(b"https://www.deals247.online/"),
                headers: None,
            }),
        );
        assert!(black_box(&line).len() > 100);
    }
}
