//! Tests of the module above.

use super::*;
use proptest::prelude::*;

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

type Fields = &'static [(&'static str, &'static str)];

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

#[test]
fn preconditions_by_section() {
    use Precondition::{Failed, NotModified, Proceed};
    let strong = &[("etag", "\"a\""), ("last-modified", THEN)][..];
    let weak = &[("etag", "W/\"a\"")][..];
    let dated = &[("last-modified", THEN)][..];
    let bare = &[][..];
    let table: &[(&str, Method, Fields, Fields, Precondition)] = &[
        ("13.2.1 none", Method::GET, &[], strong, Proceed),
        ("13.1.1 strong", Method::PUT, &[("if-match", "\"a\"")], strong, Proceed),
        (
            "13.1.1 list",
            Method::PUT,
            &[("if-match", "\"x\", \"a\"")],
            strong,
            Proceed,
        ),
        (
            "13.1.1 lines",
            Method::PUT,
            &[("if-match", "\"x\""), ("if-match", "\"a\"")],
            strong,
            Proceed,
        ),
        ("13.1.1 other", Method::PUT, &[("if-match", "\"x\"")], strong, Failed),
        (
            "13.1.1 weak given",
            Method::PUT,
            &[("if-match", "W/\"a\"")],
            strong,
            Failed,
        ),
        ("13.1.1 weak own", Method::PUT, &[("if-match", "\"a\"")], weak, Failed),
        ("13.1.1 star", Method::PUT, &[("if-match", "*")], bare, Proceed),
        ("13.1.1 no tag", Method::GET, &[("if-match", "\"a\"")], bare, Failed),
        ("13.1.1 garbage", Method::PUT, &[("if-match", "a")], strong, Failed),
        ("13.1.1 on GET", Method::GET, &[("if-match", "\"x\"")], strong, Failed),
        (
            "13.1.2 strong",
            Method::GET,
            &[("if-none-match", "\"a\"")],
            strong,
            NotModified,
        ),
        (
            "13.1.2 HEAD",
            Method::HEAD,
            &[("if-none-match", "\"a\"")],
            strong,
            NotModified,
        ),
        (
            "13.1.2 weak given",
            Method::GET,
            &[("if-none-match", "W/\"a\"")],
            strong,
            NotModified,
        ),
        (
            "13.1.2 weak own",
            Method::GET,
            &[("if-none-match", "\"a\"")],
            weak,
            NotModified,
        ),
        (
            "13.1.2 list",
            Method::GET,
            &[("if-none-match", ", \"x\" ,W/\"a\"")],
            strong,
            NotModified,
        ),
        (
            "13.1.2 comma in tag",
            Method::GET,
            &[("if-none-match", "\"x,\"a\"")],
            strong,
            Proceed,
        ),
        (
            "13.1.2 other",
            Method::GET,
            &[("if-none-match", "\"x\"")],
            strong,
            Proceed,
        ),
        ("13.1.2 star", Method::GET, &[("if-none-match", "*")], bare, NotModified),
        ("13.1.2 star PUT", Method::PUT, &[("if-none-match", "*")], bare, Failed),
        ("13.1.2 PUT", Method::PUT, &[("if-none-match", "\"a\"")], strong, Failed),
        (
            "13.1.2 unquoted",
            Method::GET,
            &[("if-none-match", "a")],
            strong,
            Proceed,
        ),
        (
            "13.1.2 lower w",
            Method::GET,
            &[("if-none-match", "w/\"a\"")],
            strong,
            Proceed,
        ),
        (
            "13.1.2 no tag",
            Method::GET,
            &[("if-none-match", "\"a\"")],
            dated,
            Proceed,
        ),
        (
            "13.1.3 same",
            Method::GET,
            &[("if-modified-since", THEN)],
            strong,
            NotModified,
        ),
        (
            "13.1.3 later",
            Method::GET,
            &[("if-modified-since", AFTER)],
            dated,
            NotModified,
        ),
        (
            "13.1.3 earlier",
            Method::GET,
            &[("if-modified-since", BEFORE)],
            dated,
            Proceed,
        ),
        (
            "13.1.3 bad date",
            Method::GET,
            &[("if-modified-since", "yesterday")],
            dated,
            Proceed,
        ),
        (
            "13.1.3 two",
            Method::GET,
            &[("if-modified-since", THEN), ("if-modified-since", THEN)],
            dated,
            Proceed,
        ),
        (
            "13.1.3 no date",
            Method::GET,
            &[("if-modified-since", THEN)],
            weak,
            Proceed,
        ),
        (
            "13.1.3 POST",
            Method::POST,
            &[("if-modified-since", THEN)],
            dated,
            Proceed,
        ),
        (
            "5.6.7 rfc850",
            Method::GET,
            &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
            dated,
            NotModified,
        ),
        (
            "13.1.3 ignored",
            Method::GET,
            &[("if-none-match", "\"x\""), ("if-modified-since", THEN)],
            strong,
            Proceed,
        ),
        (
            "13.1.4 same",
            Method::PUT,
            &[("if-unmodified-since", THEN)],
            dated,
            Proceed,
        ),
        (
            "13.1.4 earlier",
            Method::PUT,
            &[("if-unmodified-since", BEFORE)],
            dated,
            Failed,
        ),
        (
            "13.1.4 no date",
            Method::PUT,
            &[("if-unmodified-since", BEFORE)],
            weak,
            Proceed,
        ),
        (
            "13.1.4 bad date",
            Method::PUT,
            &[("if-unmodified-since", "never")],
            dated,
            Proceed,
        ),
        (
            "13.2.2 step 1 hides 2",
            Method::GET,
            &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)],
            strong,
            Proceed,
        ),
        (
            "13.2.2 step 1 before 3",
            Method::GET,
            &[("if-match", "\"x\""), ("if-none-match", "\"a\"")],
            strong,
            Failed,
        ),
    ];
    for (section, method, request, answer, expected) in table {
        let answer = map(answer);
        assert_eq!(
            evaluate(method, &map(request), Validators::from_headers(&answer)),
            *expected,
            "{section}"
        );
    }
}

#[test]
fn a_cache_leaves_the_conditions_of_the_origin_alone() {
    let answer = map(&[("etag", "\"a\"")]);
    let current = Validators::from_headers(&answer);
    assert!(!not_modified(&map(&[("if-match", "\"x\"")]), current));
    assert!(not_modified(
        &map(&[("if-match", "\"x\""), ("if-none-match", "\"a\"")]),
        current
    ));
}

#[test]
fn ranges_by_section_14() {
    use ByteRange::{Full, Partial, Unsatisfiable};
    let part = |first, last| Partial { first, last };
    for (field, total, expected) in [
        ("bytes=0-0", 10, part(0, 0)),
        ("bytes=0-", 10, part(0, 9)),
        ("bytes=3-5", 10, part(3, 5)),
        ("bytes=3-99", 10, part(3, 9)),
        ("BYTES=3-5", 10, part(3, 5)),
        ("bytes= 3-5 ", 10, part(3, 5)),
        ("bytes=9-", 10, part(9, 9)),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=10-12", 10, Unsatisfiable),
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=-1", 10, part(9, 9)),
        ("bytes=-100", 10, part(0, 9)),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=-5", 0, Full),
        ("bytes=5-3", 10, Full),
        ("bytes=5-3", 2, Full),
        ("bytes=-", 10, Full),
        ("bytes=", 10, Full),
        ("bytes", 10, Full),
        ("bytes=a-b", 10, Full),
        ("bytes=1-b", 10, Full),
        ("bytes=--1", 10, Full),
        ("bytes=+1-2", 10, Full),
        ("bytes=0-1,3-4", 10, Full),
        ("bytes=0-1,", 10, Full),
        ("items=0-1", 10, Full),
        ("bytes=0-99999999999999999999999999", 10, part(0, 9)),
        ("bytes=99999999999999999999999999-", 10, Unsatisfiable),
        (
            "bytes=18446744073709551615-18446744073709551615",
            u64::MAX,
            Unsatisfiable,
        ),
        (
            "bytes=18446744073709551614-",
            u64::MAX,
            part(u64::MAX - 1, u64::MAX - 1),
        ),
        ("bytes=-99999999999999999999999999", 10, part(0, 9)),
    ] {
        let request = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(field))]);
        let read = byte_range(&Method::GET, &request, total, Validators::default());
        assert_eq!(read, expected, "{field} of {total}");
    }
}

#[test]
fn ranges_are_for_get_and_one_field() {
    let one = map(&[("range", "bytes=0-1")]);
    let two = map(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
    for (method, request, expected) in [
        (Method::GET, &one, ByteRange::Partial { first: 0, last: 1 }),
        (Method::HEAD, &one, ByteRange::Full),
        (Method::POST, &one, ByteRange::Full),
        (Method::GET, &two, ByteRange::Full),
    ] {
        assert_eq!(byte_range(&method, request, 10, Validators::default()), expected);
    }
}

#[test]
fn if_range_by_section_13_1_5() {
    for (validator, etag, expected) in [
        ("\"a\"", "\"a\"", true),
        ("\"b\"", "\"a\"", false),
        ("W/\"a\"", "\"a\"", false),
        ("\"a\"", "W/\"a\"", false),
        ("W/\"a\"", "W/\"a\"", false),
        (THEN, "\"a\"", true),
        (BEFORE, "\"a\"", false),
        (AFTER, "\"a\"", false),
        ("garbage", "\"a\"", false),
        ("*", "\"a\"", false),
    ] {
        let answer = map(&[("etag", etag), ("last-modified", THEN)]);
        let request = map(&[("range", "bytes=0-1"), ("if-range", validator)]);
        let read = byte_range(&Method::GET, &request, 10, Validators::from_headers(&answer));
        assert_eq!(read != ByteRange::Full, expected, "{validator} {etag}");
    }
}

proptest! {
    #[test]
    fn a_part_is_inside_of_the_whole(field in "bytes=[0-9]{0,21}-[0-9]{0,21}", total in any::<u64>()) {
        if let ByteRange::Partial { first, last } = parse_range(field.as_bytes(), total) {
            prop_assert!(first <= last && last < total);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..64), total in any::<u64>()) {
        let _ = parse_range(&bytes, total);
        let tags = EntityTags(&bytes).count();
        prop_assert!(tags <= bytes.len() / 2);
    }
}
