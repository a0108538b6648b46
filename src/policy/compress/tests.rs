//! Tests of the module above.

use http::HeaderValue;
use http::header::{ACCEPT_RANGES, ETAG, VARY};

use super::*;

type Fields = &'static [(&'static str, &'static str)];

const PAGE: Fields = &[("content-type", "text/html; charset=utf-8"), ("content-length", "5000")];
const EVERYTHING: &str = "gzip, deflate, br, zstd";

fn map(fields: Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().map(|value| value.to_str().unwrap());
    assert!(lines.next().is_none(), "{name} has one line");
    line
}

#[test]
fn the_coding_follows_rfc_9110_12_5_3() {
    use Coding::{Brotli, Gzip, Zstd};
    let compression = Compression::default();
    for (accept, expected) in [
        (None, None),
        (Some(""), None),
        (Some("gzip"), Some(Gzip)),
        (Some("GZIP"), Some(Gzip)),
        (Some("x-gzip"), Some(Gzip)),
        (Some("gzip, deflate"), Some(Gzip)),
        (Some("gzip, deflate, br"), Some(Brotli)),
        (Some("gzip, deflate, br, zstd"), Some(Zstd)),
        (Some("gzip;q=1.0, br;q=0.5"), Some(Gzip)),
        (Some("gzip;q=0.5, br;q=0.8, zstd;q=0.2"), Some(Brotli)),
        (Some("gzip;q=0"), None),
        (Some("gzip;q=0, *"), Some(Zstd)),
        (Some("zstd;q=0, *"), Some(Brotli)),
        (Some("*"), Some(Zstd)),
        (Some("gzip, *"), Some(Gzip)),
        (Some("gzip;q=0.5, *"), Some(Zstd)),
        (Some("*;q=0"), None),
        (Some("gzip, *;q=0"), Some(Gzip)),
        (Some("identity"), None),
        (Some("identity, gzip"), Some(Gzip)),
        (Some("identity;q=1, gzip;q=0.5"), None),
        (Some("identity;q=0.5, gzip;q=1.0"), Some(Gzip)),
        (Some("identity;q=0, gzip;q=0.1"), Some(Gzip)),
        (Some("identity;q=0"), None),
        (Some("deflate, compress"), None),
        (Some("gzip;q=nonsense"), None),
        (Some("gzip;q=0, gzip"), None),
        (Some(";;,,;q=1"), None),
    ] {
        let mut headers = map(PAGE);
        let coding = compression.negotiate(accept, false, StatusCode::OK, &mut headers);
        assert_eq!(coding, expected, "{accept:?}");
        assert_eq!(
            text(&headers, "content-encoding"),
            expected.map(Coding::name),
            "{accept:?}"
        );
        assert_eq!(headers.contains_key(CONTENT_LENGTH), expected.is_none(), "{accept:?}");
        assert_eq!(text(&headers, "vary"), Some("Accept-Encoding"), "{accept:?}");
    }
}

#[test]
fn only_codings_on_offer_are_used_in_their_order() {
    let mut compression = Compression {
        codings: vec![Coding::Gzip, Coding::Zstd],
        ..Compression::default()
    };
    for (accept, expected) in [
        (EVERYTHING, Some(Coding::Gzip)),
        ("zstd", Some(Coding::Zstd)),
        ("br", None),
    ] {
        let coding = compression.negotiate(Some(accept), false, StatusCode::OK, &mut map(PAGE));
        assert_eq!(coding, expected, "{accept}");
    }
    compression.codings.clear();
    let mut headers = map(PAGE);
    assert_eq!(
        compression.negotiate(Some(EVERYTHING), false, StatusCode::OK, &mut headers),
        None
    );
    assert_eq!(headers, map(PAGE));
}

/// What becomes of an answer: encoded, only marked as varying, or neither.
#[derive(Debug, PartialEq)]
enum Became {
    Encoded,
    Varying,
    Untouched,
}

#[test]
fn what_is_encoded_and_what_varies() {
    use Became::{Encoded, Untouched, Varying};
    let table: &[(&str, u16, Fields, Became)] = &[
        ("a page", 200, PAGE, Encoded),
        ("an error page", 500, PAGE, Encoded),
        ("no length", 200, &[("content-type", "text/css")], Encoded),
        (
            "json",
            200,
            &[("content-type", "application/json; charset=utf-8")],
            Encoded,
        ),
        ("csv", 200, &[("content-type", "text/csv")], Encoded),
        (
            "manifest",
            200,
            &[("content-type", "application/manifest+json")],
            Encoded,
        ),
        ("problem", 404, &[("content-type", "Application/Problem+JSON")], Encoded),
        ("svg", 200, &[("content-type", "image/svg+xml")], Encoded),
        ("feed", 200, &[("content-type", "application/atom+xml")], Encoded),
        ("ttf", 200, &[("content-type", "font/ttf")], Encoded),
        (
            "said identity",
            200,
            &[("content-type", "text/css"), ("content-encoding", "identity")],
            Encoded,
        ),
        (
            "exactly long enough",
            200,
            &[("content-type", "text/css"), ("content-length", "1024")],
            Encoded,
        ),
        (
            "too short",
            200,
            &[("content-type", "text/css"), ("content-length", "1023")],
            Untouched,
        ),
        (
            "empty",
            200,
            &[("content-type", "text/css"), ("content-length", "0")],
            Untouched,
        ),
        ("woff2", 200, &[("content-type", "font/woff2")], Untouched),
        ("png", 200, &[("content-type", "image/png")], Untouched),
        ("no type", 200, &[("content-length", "5000")], Untouched),
        ("not a type", 200, &[("content-type", "text")], Untouched),
        (
            "events",
            200,
            &[("content-type", "text/event-stream; charset=utf-8")],
            Untouched,
        ),
        ("grpc", 200, &[("content-type", "application/grpc+proto")], Untouched),
        ("suffix alone", 200, &[("content-type", "json/+json")], Untouched),
        ("204", 204, PAGE, Untouched),
        ("205", 205, PAGE, Untouched),
        ("103", 103, PAGE, Untouched),
        (
            "206",
            206,
            &[("content-type", "text/css"), ("content-range", "bytes 0-9/5000")],
            Varying,
        ),
        (
            "multipart 206",
            206,
            &[("content-type", "multipart/byteranges")],
            Untouched,
        ),
        (
            "416 of the app",
            416,
            &[("content-type", "text/css"), ("content-range", "bytes */50")],
            Varying,
        ),
        (
            "no-transform",
            200,
            &[("content-type", "text/css"), ("cache-control", "public, No-Transform")],
            Untouched,
        ),
        (
            "encoded by the app",
            200,
            &[("content-type", "text/css"), ("content-encoding", "gzip")],
            Varying,
        ),
        (
            "encoded archive",
            200,
            &[("content-type", "image/png"), ("content-encoding", "gzip")],
            Varying,
        ),
        ("304", 304, &[], Varying),
        ("304 of an image", 304, &[("content-type", "image/png")], Untouched),
    ];
    for (name, status, fields, expected) in table {
        let compression = Compression::default();
        let status = StatusCode::from_u16(*status).unwrap();
        let mut headers = map(fields);
        let coding = compression.negotiate(Some(EVERYTHING), false, status, &mut headers);
        let became = match (coding, headers.contains_key(VARY)) {
            (Some(_), true) => Encoded,
            (None, true) => Varying,
            (None, false) => Untouched,
            (Some(_), false) => panic!("{name}: encoded without Vary"),
        };
        assert_eq!(became, *expected, "{name}");
        if became != Encoded {
            headers.remove(VARY);
            assert_eq!(headers, map(fields), "{name}: nothing else changes");
        }
        let mut headers = map(fields);
        assert_eq!(compression.negotiate(None, false, status, &mut headers), None, "{name}");
        assert_eq!(
            headers.contains_key(VARY),
            *expected != Untouched,
            "{name}: for a client without codings"
        );
    }
}

#[test]
fn fields_of_the_plain_bytes_go() {
    let mut headers = map(&[
        ("content-type", "text/css"),
        ("content-length", "5000"),
        ("accept-ranges", "bytes"),
        ("content-md5", "x"),
        ("digest", "x"),
        ("content-digest", "x"),
        ("repr-digest", "x"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    let coding = Compression::default().negotiate(Some("gzip"), false, StatusCode::OK, &mut headers);
    assert_eq!(coding, Some(Coding::Gzip));
    let mut left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-encoding", "content-type", "last-modified", "vary"]);
    assert!(!headers.contains_key(ACCEPT_RANGES));
}

#[test]
fn a_strong_tag_becomes_weak_where_the_bytes_change() {
    for (etag, accept, status, expected) in [
        ("\"a\"", Some("gzip"), 200, Some("W/\"a\"")),
        ("W/\"a\"", Some("gzip"), 200, Some("W/\"a\"")),
        ("a", Some("gzip"), 200, None),
        ("\"a\"", None, 200, Some("\"a\"")),
        ("\"a\"", Some("gzip"), 206, Some("\"a\"")),
        ("\"a\"", Some("gzip"), 304, Some("W/\"a\"")),
        ("\"a\"", None, 304, Some("\"a\"")),
    ] {
        let mut headers = map(PAGE);
        headers.insert(ETAG, HeaderValue::from_static(etag));
        let status = StatusCode::from_u16(status).unwrap();
        Compression::default().negotiate(accept, false, status, &mut headers);
        assert_eq!(text(&headers, "etag"), expected, "{etag} {accept:?} {status}");
    }
}

#[test]
fn vary_names_accept_encoding_once() {
    for (before, expected) in [
        (&[][..], &["Accept-Encoding"][..]),
        (&["Origin"], &["Origin, Accept-Encoding"]),
        (&["Origin", "Accept"], &["Origin, Accept, Accept-Encoding"]),
        (&["origin,accept-encoding"], &["origin,accept-encoding"]),
        (&["Origin", "ACCEPT-ENCODING"], &["Origin", "ACCEPT-ENCODING"]),
        (&["*"], &["*"]),
        (&[""], &["Accept-Encoding"]),
        (&["X-Accept-Encoding"], &["X-Accept-Encoding, Accept-Encoding"]),
    ] {
        let mut headers = map(PAGE);
        for line in before {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        Compression::default().negotiate(Some("gzip"), false, StatusCode::OK, &mut headers);
        assert_eq!(Vec::from_iter(headers.get_all(VARY)), expected, "{before:?}");
    }
}

#[test]
fn head_gets_the_fields_of_get_and_no_encoder() {
    let compression = Compression::default();
    for accept in [None, Some("gzip"), Some(EVERYTHING)] {
        let (mut get, mut head) = (map(PAGE), map(PAGE));
        compression.negotiate(accept, false, StatusCode::OK, &mut get);
        assert_eq!(compression.negotiate(accept, true, StatusCode::OK, &mut head), None);
        assert_eq!(get, head, "{accept:?}");
    }
}
