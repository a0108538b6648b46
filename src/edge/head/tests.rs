//! Heads that are good, and heads that are not, each with its reason.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    size: 2048,
    fields: 20,
    uri: 256,
};

fn judged(head: &str) -> Result<Head, Reason> {
    judge(head.as_bytes(), &LIMITS)
}

#[test]
fn good_heads() {
    let head = judged("GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("good");
    assert_eq!(
        head,
        Head {
            framing: Framing::None,
            keep_alive: true,
            upgrade: false,
            absolute: None
        }
    );
    let head =
        judged("POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nConnection: Close\r\n\r\n").expect("good");
    assert_eq!((head.framing, head.keep_alive), (Framing::Length(12), false));
    let head = judged("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").expect("good");
    assert_eq!(head.framing, Framing::Chunked);
    assert!(!judged("GET / HTTP/1.0\r\n\r\n").expect("no Host in 1.0").keep_alive);
    assert!(
        judged("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .expect("good")
            .keep_alive
    );
    assert!(judged("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(judged(upgrade).expect("good").upgrade);
    assert!(judged("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-Continue\r\n\r\n").is_ok());
}

#[test]
fn bad_heads_each_with_its_reason() {
    use Reason::*;
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", BadRequest),                          // no Host
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", BadRequest),                 // empty Host
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BadRequest),    // two Hosts
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BadRequest),             // Host with a path
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BadRequest),            // Host list
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", BadRequest),         // bad port
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", BadRequest),              // space before colon
        ("GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", BadRequest), // obs-fold
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),              // two spaces
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),            // space in target
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),            // fragment
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),         // beyond ASCII
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),               // relative target
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),               // asterisk without OPTIONS
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),        // another scheme
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),     // userinfo
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", BadRequest), // NUL
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{b}: b\r\n\r\n", BadRequest),  // bad name
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            BadRequest,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", BadRequest),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", BadRequest),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
            BadRequest,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", BadRequest),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\nTransfer-Encoding: x\r\n\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            NotImplemented,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n",
            BadRequest,
        ),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            BadRequest,
        ),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", MethodNotAllowed),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", MethodNotAllowed),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", VersionNotSupported),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", ExpectationFailed),
    ];
    for (head, reason) in cases {
        assert_eq!(judged(head), Err(reason), "{head:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(300));
    assert_eq!(judged(&long), Err(UriTooLong));
}

#[test]
fn absolute_form_becomes_origin_form_with_its_own_host() {
    let head = b"GET http://b.test/x?y HTTP/1.1\r\nhost: a\r\nX: 1\r\n\r\n";
    let absolute = judge(head, &LIMITS).expect("good").absolute.expect("absolute");
    let mut out = Vec::new();
    to_origin_form(head, &absolute, &mut out);
    assert_eq!(out, b"GET /x?y HTTP/1.1\r\nHost: b.test\r\nX: 1\r\n\r\n");
    let bare = judged("GET http://b.test?q HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("good")
        .absolute
        .expect("absolute");
    assert_eq!(bare.path, "/?q");
}
