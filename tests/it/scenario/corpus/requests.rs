//! Requests.

use super::{Case, Fate, refused};

/// What is smuggled where somebody sees the end of a body elsewhere.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";

/// A POST with these field lines, and what follows its head.
fn post(fields: &str, rest: &str) -> Vec<u8> {
    format!("POST /case HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n{rest}").into_bytes()
}

/// A GET with these field lines.
fn get(fields: &str) -> Vec<u8> {
    format!("GET /case HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n").into_bytes()
}

/// A GET of this target.
fn target(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n").into_bytes()
}

fn raw(bytes: &str) -> Vec<u8> {
    bytes.as_bytes().to_vec()
}

/// A chunked POST with this body on the wire.
fn chunked(wire: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", wire)
}

pub(super) fn all() -> Vec<Case> {
    let bad = framings()
        .into_iter()
        .chain(chunks())
        .chain(hosts())
        .chain(fields())
        .map(refused(&[400]));
    let mut cases: Vec<Case> = bad.collect();
    cases.extend(targets().into_iter().map(refused(&[400])));
    cases.extend(answered().into_iter().map(|(rule, bytes)| Case {
        rule,
        bytes,
        fate: Fate::Answered(400),
    }));
    cases.extend(others());
    cases.extend(passing());
    cases
}

/// RFC 9112 §6: two lengths, lengths that are none, codings that are none.
fn framings() -> Vec<(&'static str, Vec<u8>)> {
    let both = format!("0\r\n\r\n{SMUGGLED}");
    let length = |value: &str| post(&format!("Content-Length: {value}\r\n"), SMUGGLED);
    let coding = |value: &str| post(&format!("Transfer-Encoding: {value}\r\n"), &both);
    vec![
        (
            "9112 §6.1: both framings",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &both),
        ),
        (
            "9112 §6.1: both framings, the other way",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &both),
        ),
        (
            "9112 §6.1: both framings, no length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", &both),
        ),
        (
            "9112 §6.1: both framings, in upper case",
            post("CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n", &both),
        ),
        (
            "9112 §6.3: one length twice",
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ),
        (
            "9112 §6.3: two lengths",
            post("Content-Length: 5\r\nContent-Length: 0\r\n", SMUGGLED),
        ),
        (
            "9112 §6.3: two lengths, one in lower case",
            post("Content-Length: 0\r\ncontent-length: 50\r\n", SMUGGLED),
        ),
        ("9110 §8.6: a list of lengths", length("5, 5")),
        ("9110 §8.6: a list of two lengths", length("0, 50")),
        ("9110 §8.6: a list with nothing", length("5,")),
        ("9110 §8.6: a sign", length("+5")),
        ("9110 §8.6: a negative length", length("-1")),
        ("9110 §8.6: hexadecimal", length("0x5")),
        ("9110 §8.6: a point", length("5.0")),
        ("9110 §8.6: an exponent", length("5e0")),
        ("9110 §8.6: a space within", length("1 0")),
        ("9110 §8.6: a tab within", length("1\t0")),
        ("9110 §8.6: no digits", length("")),
        ("9110 §8.6: a word", length("five")),
        ("9110 §8.6: a parameter", length("5;a=b")),
        ("9110 §8.6: quotes", length("\"5\"")),
        ("9110 §8.6: an underscore within", length("1_0")),
        ("9110 §8.6: another script's digits", length("\u{665}")),
        ("9110 §8.6: a space that is none", length("\u{a0}5")),
        ("9110 §8.6: a vertical tab", length("\u{b}5")),
        ("9110 §8.6: beyond 2^63", length("9223372036854775808")),
        ("9110 §8.6: 2^64 and a little", length("18446744073709551621")),
        ("9110 §8.6: thirty digits", length("000000000000000000000000000005")),
        (
            "9112 §6.1: the coding twice, in two lines",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &both),
        ),
        (
            "9112 §6.1: two codings in two lines",
            post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", &both),
        ),
        ("9112 §6.1: a coding that is gone", coding("identity")),
        ("9112 §6.1: chunked is not the last", coding("chunked, gzip")),
        ("9112 §6.1: chunked and one that is gone", coding("chunked, identity")),
        ("9112 §7: a coding that is longer", coding("xchunked")),
        ("9112 §7: a coding that goes on", coding("chunkedx")),
        ("9112 §7: quotes", coding("\"chunked\"")),
        ("9112 §7: a parameter", coding("chunked;q=1")),
        ("9112 §7: a list with nothing", coding("chunked,")),
        ("9112 §7: nothing", coding("")),
        ("9112 §7: a vertical tab before", coding("\u{b}chunked")),
        ("9112 §7: a form feed behind", coding("chunked\u{c}")),
        ("9112 §7: a NUL behind", coding("chunked\u{0}")),
        ("9112 §7: a letter that looks like it", coding("ch\u{fc}nked")),
        (
            "9112 §5.1: a space before the colon",
            post("Transfer-Encoding : chunked\r\n", &both),
        ),
        (
            "9112 §5.1: a tab before the colon",
            post("Content-Length\t: 5\r\n", "hello"),
        ),
        (
            "9112 §5.2: a folded coding",
            post("Transfer-Encoding:\r\n chunked\r\n", &both),
        ),
        (
            "9112 §5.2: a folded length",
            post("X: 1\r\n Content-Length: 50\r\n", SMUGGLED),
        ),
        (
            "9112 §2.2: a field behind a bare CR",
            post("X: 1\rTransfer-Encoding: chunked\r\n", &both),
        ),
        (
            "9112 §2.2: a field behind a bare LF",
            post("X: 1\nTransfer-Encoding: chunked\r\n", &both),
        ),
        (
            "9112 §6.1: HTTP/1.0 knows no codings",
            raw(&format!(
                "POST /case HTTP/1.0\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n{both}"
            )),
        ),
        (
            "9110 §7.8: an upgrade with a body",
            post(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
                "hello",
            ),
        ),
        (
            "9112 §6.3: an upgrade in two framings",
            post(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                &both,
            ),
        ),
    ]
}

/// RFC 9112 §7.1: chunks.
fn chunks() -> Vec<(&'static str, Vec<u8>)> {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(400));
    let long_trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(3000));
    vec![
        ("9112 §7.1: no size", chunked("\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a size without digits", chunked(";a\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: another letter", chunked("g\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a prefix", chunked("0x5\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a sign", chunked("+5\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a negative size", chunked("-5\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a space before", chunked(" 5\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a space behind", chunked("5 \r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: an underscore within", chunked("0_5\r\nhello\r\n0\r\n\r\n")),
        (
            "9112 §7.1: a size that overflows",
            chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "9112 §7.1: a size of sixteen digits",
            chunked("0000000000000005\r\nhello\r\n0\r\n\r\n"),
        ),
        ("9112 §7.1: a bare LF behind the size", chunked("5\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a bare CR behind the size", chunked("5\rhello\r\n0\r\n\r\n")),
        (
            "9112 §7.1: a bare LF behind the content",
            chunked("5\r\nhello\n0\r\n\r\n"),
        ),
        ("9112 §7.1: content that is longer", chunked("5\r\nhello!\r\n0\r\n\r\n")),
        ("9112 §7.1: content that is shorter", chunked("6\r\nhello\r\n0\r\n\r\n")),
        ("9112 §7.1: a bare LF at the end", chunked("0\r\n\n")),
        (
            "9112 §7.1.1: a bare LF in an extension",
            chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "9112 §7.1.1: a bare CR in an extension",
            chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "9112 §7.1.1: a NUL in an extension",
            chunked("5;\u{0}\r\nhello\r\n0\r\n\r\n"),
        ),
        ("9112 §7.1.1: an extension without end", chunked(&long_extension)),
        (
            "9112 §7.1.2: a bare LF in a trailer",
            chunked("0\r\nA: b\nC: d\r\n\r\n"),
        ),
        ("9112 §7.1.2: a NUL in a trailer", chunked("0\r\nA: \u{0}\r\n\r\n")),
        ("9112 §7.1.2: trailers without end", chunked(&long_trailers)),
    ]
}

/// RFC 9112 §3.2: whom a request is for.
fn hosts() -> Vec<(&'static str, Vec<u8>)> {
    let host = |value: &str| raw(&format!("GET /case HTTP/1.1\r\nHost: {value}\r\n\r\n"));
    vec![
        ("9112 §3.2: no Host", raw("GET /case HTTP/1.1\r\n\r\n")),
        (
            "9112 §3.2: Host twice",
            raw("GET /case HTTP/1.1\r\nHost: site.test\r\nHost: site.test\r\n\r\n"),
        ),
        (
            "9112 §3.2: two Hosts",
            raw("GET /case HTTP/1.1\r\nHost: site.test\r\nhost: other.test\r\n\r\n"),
        ),
        ("9110 §7.2: an empty Host", host("")),
        ("9110 §7.2: a list", host("site.test, other.test")),
        ("9110 §7.2: two words", host("site.test other.test")),
        ("9110 §7.2: a path", host("site.test/case")),
        ("9110 §7.2: a query", host("site.test?x")),
        ("9110 §7.2: a fragment", host("site.test#x")),
        ("9110 §7.2: a scheme", host("http://site.test")),
        ("9110 §4.2.4: userinfo", host("user@site.test")),
        ("9110 §7.2: a port that is none", host("site.test:http")),
        ("9110 §7.2: a port that is too large", host("site.test:65536")),
        ("9110 §7.2: two ports", host("site.test:80:80")),
        ("9110 §7.2: a signed port", host("site.test:+80")),
        ("9110 §7.2: a backslash", host("site.test\\other.test")),
        ("9110 §7.2: an address that is cut off", host("[::1")),
        ("9110 §7.2: an address that is none", host("[site.test]")),
        ("9110 §7.2: quotes", host("\"site.test\"")),
        ("9110 §7.2: a control byte", host("site\u{1}.test")),
        ("9110 §7.2: a tab within", host("site\t.test")),
        (
            "9112 §5.2: a folded Host",
            raw("GET /case HTTP/1.1\r\nHost:\r\n site.test\r\n\r\n"),
        ),
        (
            "9112 §5.1: a space before the colon",
            raw("GET /case HTTP/1.1\r\nHost : site.test\r\n\r\n"),
        ),
    ]
}

/// RFC 9112 §3, RFC 3986: what is asked for.
fn targets() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("9112 §3: a space in the target", target("/case x")),
        ("9112 §3: a tab in the target", target("/case\tx")),
        (
            "9112 §3: two spaces",
            raw("GET  /case HTTP/1.1\r\nHost: site.test\r\n\r\n"),
        ),
        (
            "9112 §3: a space before the method",
            raw(" GET /case HTTP/1.1\r\nHost: site.test\r\n\r\n"),
        ),
        (
            "9112 §3: a space behind the version",
            raw("GET /case HTTP/1.1 \r\nHost: site.test\r\n\r\n"),
        ),
        ("9112 §3: no version", raw("GET /case\r\nHost: site.test\r\n\r\n")),
        ("9112 §3: no target", raw("GET HTTP/1.1\r\nHost: site.test\r\n\r\n")),
        (
            "9112 §2.3: a version in lower case",
            raw("GET /case http/1.1\r\nHost: site.test\r\n\r\n"),
        ),
        (
            "9112 §2.3: a version with three digits",
            raw("GET /case HTTP/1.10\r\nHost: site.test\r\n\r\n"),
        ),
        (
            "9110 §9.1: a method that is no token",
            raw("GE(T /case HTTP/1.1\r\nHost: site.test\r\n\r\n"),
        ),
        ("3986 §3.5: a fragment", target("/case#x")),
        ("3986 §2: a NUL", target("/case\u{0}")),
        ("3986 §2: DEL", target("/case\u{7f}")),
        ("3986 §2: a control byte", target("/case\u{1}")),
        ("3986 §2: a bare CR", target("/case\rx")),
        ("3986 §2: beyond ASCII", target("/caf\u{e9}")),
        ("9112 §3.2: relative", target("case")),
        ("9112 §3.2: only a query", target("?x")),
        ("9112 §3.2.4: `*` without OPTIONS", target("*")),
        ("9112 §3.2.3: an authority without CONNECT", target("site.test:80")),
        ("9112 §3.2.2: another scheme", target("ftp://site.test/")),
        ("9112 §3.2.2: a scheme without authority", target("http:///case")),
        ("9110 §4.2.4: userinfo", target("http://user@site.test/")),
        (
            "9112 §3.2.2: an authority that is none",
            target("http://site.test:http/"),
        ),
    ]
}

/// RFC 9112 §5: fields.
fn fields() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("9112 §5.1: a name with a space", get("A B: c\r\n")),
        ("9112 §5: no name", get(": c\r\n")),
        ("9112 §5: no colon", get("Nothing\r\n")),
        ("9112 §5: a name with a control byte", get("A\u{1}: c\r\n")),
        ("9112 §5: a name with brackets", get("A(b): c\r\n")),
        ("9112 §5: a name beyond ASCII", get("\u{e9}: c\r\n")),
        ("9112 §5.2: a folded line", get("A: b\r\n c\r\n")),
        (
            "9112 §2.2: white space before the first field",
            raw("GET /case HTTP/1.1\r\n Host: site.test\r\n\r\n"),
        ),
        ("9110 §5.5: a NUL in a value", get("A: b\u{0}c\r\n")),
        ("9110 §5.5: a bare CR in a value", get("A: b\rc\r\n")),
        ("9110 §5.5: a bare LF in a value", get("A: b\nc: d\r\n")),
        ("9110 §5.5: an escape in a value", get("A: \u{1b}[0m\r\n")),
        ("9110 §5.5: DEL in a value", get("A: \u{7f}\r\n")),
        (
            "9112 §2.2: bare LF throughout",
            raw("GET /case HTTP/1.1\nHost: site.test\n\n"),
        ),
    ]
}

/// What is no path that a route could be found for, or wants to hide something: its end is known.
fn answered() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("3986 §2.1: a percent sign alone", target("/case%")),
        ("3986 §2.1: a percent sign and one digit", target("/case%2")),
        ("3986 §2.1: a percent sign and letters", target("/case%zz")),
        ("3986 §2.1: an encoded NUL", target("/case%00")),
        ("3986 §3.3: a backslash", target("/case\\x")),
        ("3986 §5.2.4: above the root", target("/../case")),
        ("3986 §5.2.4: above the root, encoded", target("/%2e%2e/case")),
        ("3986 §5.2.4: above the root, half encoded", target("/a/.%2e/%2E./case")),
        (
            "9110 §7.6.1: the way to the host is nominated away",
            get("Connection: Host\r\n"),
        ),
    ]
}

/// What has an answer of its own.
fn others() -> Vec<Case> {
    let many = "A: b\r\n".repeat(150);
    let large = format!("A: {}\r\n", "b".repeat(40_000));
    let long = format!("/{}", "a".repeat(9000));
    let cases: [(&'static str, Vec<u8>, &'static [u16]); 12] = [
        (
            "9112 §6.1: a coding that is not known",
            post("Transfer-Encoding: gzip, chunked\r\n", SMUGGLED),
            &[501],
        ),
        (
            "9112 §6.1: chunked twice",
            post("Transfer-Encoding: chunked, chunked\r\n", SMUGGLED),
            &[501],
        ),
        (
            "9112 §2.3: another major version",
            raw("GET /case HTTP/2.0\r\nHost: site.test\r\n\r\n"),
            &[505],
        ),
        (
            "9112 §2.3: an old major version",
            raw("GET /case HTTP/0.9\r\nHost: site.test\r\n\r\n"),
            &[505],
        ),
        (
            "9110 §9.3.8: TRACE shows what is added",
            raw("TRACE /case HTTP/1.1\r\nHost: site.test\r\n\r\n"),
            &[405],
        ),
        (
            "9110 §9.3.8: TRACE that goes no further",
            raw("TRACE /case HTTP/1.1\r\nHost: site.test\r\nMax-Forwards: 0\r\n\r\n"),
            &[405],
        ),
        (
            "9110 §9.3.6: CONNECT",
            raw("CONNECT site.test:80 HTTP/1.1\r\nHost: site.test:80\r\n\r\n"),
            &[405],
        ),
        ("9110 §10.1.1: another expectation", get("Expect: 200-ok\r\n"), &[417]),
        ("6585 §5: too many fields", get(&many), &[431]),
        ("6585 §5: a field that is too large", get(&large), &[431]),
        ("9110 §15.5.15: a target that is too long", target(&long), &[414]),
        (
            "9113 §3.4: the preface of HTTP/2 in clear text",
            raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            &[400, 505],
        ),
    ];
    cases
        .map(|(rule, bytes, statuses)| refused(statuses)((rule, bytes)))
        .into()
}

/// What is good, or can be made good: what reaches the application is one request, framed once, with fields of the gateway's.
fn passing() -> Vec<Case> {
    let passes = |rule, bytes, body, without| Case {
        rule,
        bytes,
        fate: Fate::Passes { body, without },
    };
    let plain = |rule, fields: &str, without| passes(rule, get(fields), b"", without);
    vec![
        passes(
            "9112 §6.2: a length",
            post("Content-Length: 5\r\n", "hello"),
            b"hello",
            &[],
        ),
        passes(
            "9110 §8.6: zeros before",
            post("Content-Length: 0005\r\n", "hello"),
            b"hello",
            &[],
        ),
        passes(
            "9110 §5.5: white space around a length",
            post("Content-Length: \t5 \r\n", "hello"),
            b"hello",
            &[],
        ),
        passes(
            "9112 §7.1: chunks",
            chunked("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
            b"hello world",
            &[],
        ),
        passes(
            "9112 §7.1: a coding in upper case",
            post("TRANSFER-ENCODING: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            b"hello",
            &[],
        ),
        passes(
            "9112 §7.1: zeros before a size",
            chunked("0005\r\nhello\r\n000\r\n\r\n"),
            b"hello",
            &[],
        ),
        passes(
            "9112 §7.1: a size in either case",
            chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
            b"01234567890123456789",
            &[],
        ),
        passes(
            "9112 §7.1.1: extensions end here",
            chunked("5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"),
            b"hello",
            &[],
        ),
        passes(
            "9112 §7.1.2: trailers end here",
            chunked("5\r\nhello\r\n0\r\nHost: other.test\r\nContent-Length: 9\r\n\r\n"),
            b"hello",
            &["trailer"],
        ),
        passes(
            "9112 §2.2: empty lines before",
            raw("\r\n\r\nGET /case HTTP/1.1\r\nHost: site.test\r\n\r\n"),
            b"",
            &[],
        ),
        passes(
            "9112 §3.2.2: an absolute target",
            raw("GET http://site.test/case HTTP/1.1\r\nHost: other.test\r\n\r\n"),
            b"",
            &[],
        ),
        passes(
            "9110 §10.1.1: a body that waits to be asked for",
            post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"),
            b"hello",
            &[],
        ),
        passes(
            "9110 §9.3.2: HEAD",
            raw("HEAD /case HTTP/1.1\r\nHost: site.test\r\n\r\n"),
            b"",
            &[],
        ),
        plain(
            "9110 §7.6.1: nominated fields",
            "Connection: X-A, X-B\r\nX-A: 1\r\nX-B: 2\r\n",
            &["x-a", "x-b"],
        ),
        plain(
            "9110 §7.6.1: nominated beside close",
            "Connection: X-A, keep-alive\r\nX-A: 1\r\n",
            &["x-a", "keep-alive"],
        ),
        plain("9110 §7.6.1: Keep-Alive", "Keep-Alive: timeout=5\r\n", &["keep-alive"]),
        plain(
            "9110 §7.6.1: Proxy-Connection",
            "Proxy-Connection: keep-alive\r\n",
            &["proxy-connection"],
        ),
        plain("9110 §10.1.4: TE", "TE: trailers\r\nConnection: TE\r\n", &["te"]),
        plain("9110 §6.6.2: Trailer", "Trailer: X-Sum\r\n", &["trailer"]),
        plain(
            "9110 §7.8: an upgrade to something else",
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            &["upgrade"],
        ),
        plain(
            "9113 §3.1: HTTP2-Settings",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            &["upgrade", "http2-settings"],
        ),
        plain(
            "9110 §11.7.1: Proxy-Authorization",
            "Proxy-Authorization: Basic YTpi\r\n",
            &["proxy-authorization"],
        ),
        plain("7239 §8: Forwarded of a stranger", "Forwarded: for=192.0.2.1\r\n", &[]),
        plain(
            "twins: X_Forwarded_For",
            "X_Forwarded_For: 192.0.2.1\r\n",
            &["x_forwarded_for"],
        ),
        plain(
            "twins: X-Forwarded_For",
            "X-Forwarded_For: 192.0.2.1\r\n",
            &["x-forwarded_for"],
        ),
        plain("twins: Content_Length", "Content_Length: 50\r\n", &["content_length"]),
        plain(
            "twins: Transfer_Encoding",
            "Transfer_Encoding: chunked\r\n",
            &["transfer_encoding"],
        ),
        plain(
            "overrides: X-Original-URL",
            "X-Original-URL: /admin\r\n",
            &["x-original-url"],
        ),
        plain(
            "overrides: X-Rewrite-URL",
            "X-Rewrite-URL: /admin\r\n",
            &["x-rewrite-url"],
        ),
        plain(
            "overrides: X-HTTP-Method-Override",
            "X-HTTP-Method-Override: DELETE\r\n",
            &["x-http-method-override"],
        ),
        plain(
            "overrides: X-Method-Override",
            "X-Method-Override: DELETE\r\n",
            &["x-method-override"],
        ),
        plain("CVE-2016-5385: Proxy", "Proxy: http://192.0.2.1\r\n", &["proxy"]),
        plain("strangers: X-Client-IP", "X-Client-IP: 192.0.2.1\r\n", &["x-client-ip"]),
        plain(
            "strangers: CF-Connecting-IP",
            "CF-Connecting-IP: 192.0.2.1\r\n",
            &["cf-connecting-ip"],
        ),
        plain(
            "strangers: X-Forwarded-Server",
            "X-Forwarded-Server: inside\r\n",
            &["x-forwarded-server"],
        ),
    ]
}
