//! Which request an answer is for.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    fields
}

fn selects(answer: &[(&'static str, &str)], first: &[(&'static str, &str)], second: &[(&'static str, &str)]) -> bool {
    Selector::new(&Policy::new("x"), &fields(first), &fields(answer)).selects(&fields(second))
}

#[test]
fn selection_of_rfc_9111_4_1() {
    let foo = [("vary", "Foo")];
    let one = [("foo", "1")];
    for (answer, first, second, expected) in [
        (&foo[..], &one[..], &one[..], true),
        (&foo, &one, &[("foo", "2")], false),
        (&foo, &one, &[], false),
        (&foo, &[], &one, false),
        (&foo, &[], &[], true),
        (&foo, &[], &[("foo", "")], false),
        (&foo, &[("foo", "1"), ("x", "1")], &[("foo", "1"), ("x", "2")], true),
        (&foo, &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
        (&foo, &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
        (&foo, &[("foo", "1,2")], &[("foo", "2,1")], false),
        (
            &[("vary", "Foo, Bar")],
            &[("foo", "1"), ("bar", "a")],
            &[("bar", "a"), ("foo", "1")],
            true,
        ),
        (
            &[("vary", "Foo"), ("vary", "Bar")],
            &[("foo", "1"), ("bar", "a")],
            &one,
            false,
        ),
        (&[], &one, &[("foo", "2")], true),
    ] {
        assert_eq!(
            selects(answer, first, second),
            expected,
            "{answer:?} {first:?} {second:?}"
        );
    }
    for star in ["*", "*, *", ", *", "*, Foo", "Foo, *"] {
        assert!(is_star(&fields(&[("vary", star)])), "{star}");
    }
    assert!(is_star(&fields(&[("vary", ""), ("vary", "*")])));
    assert!(!is_star(&fields(&[("vary", "Foo")])));
}

#[test]
fn languages_by_what_they_mean() {
    let by = |answer: &[(&'static str, &str)], first: &str, second: &str| {
        selects(answer, &[("accept-language", first)], &[("accept-language", second)])
    };
    let plain = [("vary", "Accept-Language")];
    assert!(by(&plain, "en, de", "de, en"));
    assert!(by(&plain, "en, de", "eN, De"));
    assert!(by(&plain, "en, de", " en ,   de"));
    assert!(!by(&plain, "en, de", "en, de;q=0.5"));
    let german = [("vary", "Accept-Language"), ("content-language", "de")];
    assert!(by(&german, "en, de", "fr;q=0.5, de;q=1.0"));
    assert!(!by(&german, "en, de", "fr, de"));
    assert!(!by(&german, "en, de", "fr"));
    assert!(!by(&german, "en, de", "de;q=0"));
}

#[test]
fn codings_by_what_they_mean() {
    let by = |answer: &[(&'static str, &str)], first: &str, second: &str| {
        selects(answer, &[("accept-encoding", first)], &[("accept-encoding", second)])
    };
    let plain = [("vary", "Accept-Encoding")];
    assert!(by(&plain, "gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0"));
    assert!(by(&plain, "gzip;q=0", "identity"));
    assert!(!by(&plain, "gzip", "br"));
    assert!(selects(&plain, &[], &[("accept-encoding", "deflate")]));
    assert_eq!(accept_encoding(&fields(&[("accept-encoding", "*")])), "br, gzip, zstd");
    assert_eq!(
        accept_encoding(&fields(&[("accept-encoding", "x-gzip, *;q=0")])),
        "gzip"
    );

    // An application that encodes and does not say so in `Vary`.
    let silent = [("content-encoding", "gzip")];
    assert!(by(&silent, "gzip", "br, gzip"));
    assert!(!by(&silent, "gzip", "br"));
    assert!(!selects(&silent, &[("accept-encoding", "gzip")], &[]));
    let page = [("content-type", "text/html"), ("content-length", "9999")];
    assert!(
        !selects(&page, &[], &[("accept-encoding", "gzip")]),
        "it may have been left plain for this client only"
    );
    assert!(
        selects(&page, &[("accept-encoding", "gzip")], &[]),
        "it was not encoded though it could have been"
    );
    let picture = [("content-type", "image/png"), ("content-length", "9999")];
    assert!(selects(&picture, &[], &[("accept-encoding", "gzip")]));
}

#[test]
fn the_operator_names_the_fields() {
    let mut policy = Policy::new("x");
    policy.vary = Some(vec![ACCEPT_LANGUAGE]);
    let answer = fields(&[("vary", "Origin")]);
    let first = fields(&[("origin", "a"), ("accept-language", "de")]);
    let selector = Selector::new(&policy, &first, &answer);
    assert!(selector.selects(&fields(&[("origin", "b"), ("accept-language", "de")])));
    assert!(!selector.selects(&fields(&[("origin", "a"), ("accept-language", "en")])));
}

proptest! {
    #[test]
    fn a_request_selects_its_own_answer(
        value in "\\PC{0,20}", vary in "[A-Za-z, -]{0,30}", language in "[a-z,;=0-9. -]{0,20}", encoding in "[a-z*,;=0-9. -]{0,20}"
    ) {
        let line = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
        let mut request = HeaderMap::new();
        for (name, text) in [("foo", &value), ("accept-language", &language), ("accept-encoding", &encoding)] {
            if let Some(value) = line(text) {
                request.append(name, value);
            }
        }
        let mut answer = fields(&[("vary", "foo, accept-language, accept-encoding")]);
        answer.append("vary", line(&vary).expect("a value"));
        let selector = Selector::new(&Policy::new("x"), &request, &answer);
        prop_assert!(selector.selects(&request));
    }
}
