//! Directives, by the section that defines them.

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

fn control(value: &str) -> ResponseDirectives {
    ResponseDirectives::of(&fields(&[("cache-control", value)]))
}

#[test]
fn times_of_rfc_9111_1_2_2() {
    for (text, expected) in [
        ("0", Some(0)),
        ("003600", Some(3600)),
        ("2147483647", Some(2_147_483_647)),
        ("2147483648", Some(MOST)),
        ("99999999999", Some(MOST)),
        ("-1", None),
        ("1.0", None),
        ("", None),
        ("'3600'", None),
    ] {
        assert_eq!(seconds(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn max_age_of_rfc_9111_5_2_2_1() {
    for (text, expected) in [
        ("max-age=3600", Some(3600)),
        ("MaX-AgE=3600", Some(3600)),
        ("max-age=\"3600\"", Some(3600)),
        ("max-age='3600'", Some(0)),
        ("max-age=-3600", Some(0)),
        ("max-age=3600.0", Some(0)),
        ("max-age", Some(0)),
        ("max-age=100, max-age=1", Some(1)),
        ("max-age=1, max-age=100", Some(1)),
        ("ext=\"max-age=100\"", None),
        ("ext=\"max-age=100,b\", max-age=7", Some(7)),
        ("foobar, max-age=9", Some(9)),
    ] {
        assert_eq!(control(text).max_age, expected, "{text}");
    }
    let two = ResponseDirectives::of(&fields(&[
        ("cache-control", "max-age=9"),
        ("cache-control", "s-maxage=3"),
    ]));
    assert_eq!((two.max_age, two.s_maxage), (Some(9), Some(3)));
}

#[test]
fn qualified_directives_of_rfc_9111_5_2_2_4_and_7() {
    assert_eq!(control("no-cache").no_cache, Scope::All);
    assert_eq!(
        control("No-Cache=\"set-cookie, x-a\"").no_cache,
        Scope::Fields(vec![http::header::SET_COOKIE, HeaderName::from_static("x-a")])
    );
    assert_eq!(control("no-cache=\"a\", no-cache").no_cache, Scope::All);
    assert_eq!(control("private=\"\"").private, Scope::All);
    assert_eq!(control("private, max-age=3").private, Scope::All);
}

#[test]
fn nothing_hides_a_prohibition() {
    let broken = HeaderValue::from_bytes(b"ext=\"\xff, no-store").expect("a value");
    let mut answer = HeaderMap::new();
    answer.insert("cache-control", broken);
    assert!(ResponseDirectives::of(&answer).no_store);
}

#[test]
fn targeted_fields_of_rfc_9213() {
    let of = |targeted: &str| {
        ResponseDirectives::of(&fields(&[
            ("cache-control", "no-store, max-age=1"),
            ("cdn-cache-control", targeted),
        ]))
    };
    let long = of("max-age=3600, stale-while-revalidate=60");
    assert!(long.targeted && !long.no_store);
    assert_eq!((long.max_age, long.stale_while_revalidate), (Some(3600), Some(60)));
    // Neither of these says anything that is valid: the other field counts.
    for ignored in ["", "max-age=10000, &&&&&", "MaX-aGe=3600", "max-age =100"] {
        assert!(of(ignored).no_store, "{ignored}");
    }
    // A member of the wrong type does not count; the field does.
    let wrong = of("max-age=\"10000\"");
    assert!(wrong.targeted);
    assert_eq!(wrong.max_age, None);
    assert!(of("no-store").no_store);
    assert_eq!(of("private").private, Scope::All);
}

#[test]
fn requests_of_rfc_9111_5_2_1() {
    let of = |value: &str| RequestDirectives::of(&fields(&[("cache-control", value)]));
    assert!(of("no-cache").no_cache);
    assert!(of("no-store").no_store);
    assert!(of("only-if-cached").only_if_cached);
    assert_eq!(of("max-age=5").max_age, Some(5));
    assert_eq!(of("max-age=x").max_age, Some(0));
    assert_eq!(of("min-fresh=5").min_fresh, Some(5));
    assert_eq!(of("max-stale").max_stale, MaxStale::Any);
    assert_eq!(of("max-stale=7").max_stale, MaxStale::By(7));
    assert_eq!(of("max-stale=x").max_stale, MaxStale::None);
    // RFC 9111 §5.4: `Pragma` where there is no `Cache-Control`.
    assert!(RequestDirectives::of(&fields(&[("pragma", "No-Cache")])).no_cache);
    assert!(!RequestDirectives::of(&fields(&[("pragma", "no-cache"), ("cache-control", "max-age=9")])).no_cache);
}

proptest! {
    #[test]
    fn any_field_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut fields = HeaderMap::new();
            fields.insert("cache-control", value.clone());
            fields.insert("cdn-cache-control", value);
            let _ = (ResponseDirectives::of(&fields), RequestDirectives::of(&fields));
        }
    }
}
