//! Validation, by the section that defines it.

use http::HeaderValue;

use super::*;

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_static(value));
    }
    fields
}

#[test]
fn questions_of_rfc_9111_4_3_1() {
    let mut request = fields(&[
        ("if-none-match", "\"client\""),
        ("range", "bytes=0-1"),
        ("if-match", "*"),
        ("abc", "1"),
    ]);
    assert!(conditional(
        &mut request,
        &fields(&[("etag", "W/\"a\""), ("last-modified", "then")])
    ));
    assert_eq!(request["if-none-match"], "W/\"a\"");
    assert_eq!(request["if-modified-since"], "then");
    assert_eq!(request["abc"], "1");
    assert!(!request.contains_key(RANGE) && !request.contains_key(IF_MATCH));
    assert!(!conditional(&mut request, &fields(&[("date", "now")])));
    assert!(!request.contains_key(IF_NONE_MATCH));
}

#[test]
fn updates_of_rfc_9111_3_2() {
    let stored = fields(&[
        ("x-a", "1"),
        ("x-b", "1"),
        ("age", "9"),
        ("content-length", "10"),
        ("content-type", "text/plain"),
        ("cache-control", "max-age=1"),
    ]);
    let not_modified = fields(&[
        ("x-b", "2"),
        ("x-b", "3"),
        ("x-c", "4"),
        ("content-length", "0"),
        ("content-type", "text/html"),
        ("cache-control", "max-age=9"),
    ]);
    let merged = merged(&stored, &not_modified);
    let all = |name: &str| -> Vec<&HeaderValue> { merged.get_all(name).iter().collect() };
    assert_eq!(all("x-a"), ["1"]);
    assert_eq!(all("x-b"), ["2", "3"]);
    assert_eq!(all("x-c"), ["4"]);
    assert_eq!(all("content-length"), ["10"]);
    assert_eq!(all("content-type"), ["text/plain"]);
    assert_eq!(all("cache-control"), ["max-age=9"]);
    assert!(all("age").is_empty());
}

#[test]
fn confirmations_of_rfc_9111_4_3_4() {
    for (stored, answer, expected) in [
        (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
        (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], true),
        (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
        (&[("etag", "\"a\"")], &[], true),
        (&[("last-modified", "x")], &[("last-modified", "y")], false),
        (&[("last-modified", "x")], &[("last-modified", "x")], true),
    ] {
        assert_eq!(
            confirms(&fields(stored), &fields(answer)),
            expected,
            "{stored:?} {answer:?}"
        );
    }
}

#[test]
fn heads_of_rfc_9111_4_3_5() {
    let stored = fields(&[("etag", "\"a\""), ("content-length", "10")]);
    for (status, head, expected) in [
        (200, &[("etag", "\"a\"")][..], HeadSays::Same),
        (200, &[("etag", "\"b\"")], HeadSays::Changed),
        (200, &[("content-length", "11")], HeadSays::Changed),
        (200, &[], HeadSays::Same),
        (410, &[("etag", "\"b\"")], HeadSays::Nothing),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(head_says(&stored, status, &fields(head)), expected, "{status} {head:?}");
    }
}
