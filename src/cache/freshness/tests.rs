//! Freshness, by the section that defines it.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const START: u64 = 1_700_000_000_000;

fn at(seconds: i64) -> Moment {
    Moment(START.saturating_add_signed(seconds * 1000))
}

fn date(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_millis(at(seconds).0);
    httpdate::fmt_http_date(time)
}

fn fields(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    fields
}

fn terms_by(policy: &Policy, status: u16, lines: &[(&'static str, String)]) -> Terms {
    let answer = fields(lines);
    let exchanged = Exchanged {
        asked: at(0),
        answered: at(0),
    };
    let status = StatusCode::from_u16(status).expect("a status");
    Terms::new(policy, &ResponseDirectives::of(&answer), status, &answer, exchanged)
}

fn terms(lines: &[(&'static str, String)]) -> Terms {
    terms_by(&Policy::new("x"), 200, lines)
}

#[test]
fn lifetimes_of_rfc_9111_4_2_1() {
    let control = |text: &str| ("cache-control", text.to_owned());
    for (lines, seconds) in [
        (vec![control("max-age=5")], 5),
        (vec![control("max-age=5, s-maxage=9")], 9),
        (vec![control("s-maxage=3, max-age=9")], 3),
        (vec![control("max-age=5"), ("expires", date(-100))], 5),
        (vec![("expires", date(10)), ("date", date(0))], 10),
        // `Expires` counts from `Date`, whatever our clock says.
        (vec![("expires", date(1010)), ("date", date(1000))], 10),
        (vec![("expires", date(-990)), ("date", date(-1000))], 10),
        (vec![("expires", date(900)), ("date", date(1000))], 0),
        (vec![("expires", date(10)), ("date", "yesterday".into())], 10),
        (vec![("expires", "0".into()), ("date", date(0))], 0),
        (vec![("expires", date(10)), ("expires", date(20))], 0),
        (vec![("expires", date(10)), control("s-maxage=1")], 1),
        (vec![("cdn-cache-control", "max-age=7".into()), control("max-age=1")], 7),
        (vec![("cdn-cache-control", "public".into()), ("expires", date(9))], 0),
        (vec![], 0),
    ] {
        assert_eq!(terms(&lines).lifetime, Duration::from_secs(seconds), "{lines:?}");
    }
}

#[test]
fn heuristics_of_rfc_9111_4_2_2() {
    let modified = |seconds: i64| vec![("last-modified", date(seconds)), ("date", date(0))];
    let of = |status, lines: &[(&'static str, String)]| terms_by(&Policy::new("x"), status, lines).lifetime.as_secs();
    assert_eq!(of(200, &modified(-1000)), 100);
    assert_eq!(of(200, &modified(-1_000_000)), 3600, "no longer than the policy says");
    assert_eq!(of(200, &modified(50)), 0);
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(of(status, &modified(-1000)), 100, "{status}");
    }
    for status in [201, 202, 302, 303, 307, 400, 401, 403, 429, 500, 502, 503, 504, 599] {
        assert_eq!(of(status, &modified(-1000)), 0, "{status}");
        let public = [modified(-1000), vec![("cache-control", "public".into())]].concat();
        assert_eq!(of(status, &public), 100, "{status} public");
    }
    let mut never = Policy::new("x");
    never.heuristic = Duration::ZERO;
    assert_eq!(terms_by(&never, 200, &modified(-1000)).source, Source::Nobody);
}

#[test]
fn ages_of_rfc_9111_4_2_3() {
    for (lines, seconds) in [
        (vec![], 0),
        (vec![("age", "7".into())], 7),
        (vec![("age", "7, 0".into())], 7),
        (vec![("age", "0".into()), ("age", "7".into())], 0),
        (vec![("age", "-7".into())], 0),
        (vec![("age", "7.0".into())], 0),
        (vec![("age", "abc".into())], 0),
        (vec![("age", "99999999999".into())], 1 << 31),
        (vec![("date", date(-30))], 30),
        (vec![("date", date(-30)), ("age", "7".into())], 30),
        (vec![("date", date(30)), ("age", "7".into())], 7),
    ] {
        let lines = [lines, vec![("cache-control", "max-age=1000".into())]].concat();
        assert_eq!(terms(&lines).initial_age, Duration::from_secs(seconds), "{lines:?}");
    }
    // The time that the exchange took is a part of the age.
    let answer = fields(&[("cache-control", "max-age=10".into()), ("age", "2".into())]);
    let exchanged = Exchanged {
        asked: at(0),
        answered: at(3),
    };
    let directives = ResponseDirectives::of(&answer);
    let terms = Terms::new(&Policy::new("x"), &directives, StatusCode::OK, &answer, exchanged);
    assert_eq!(terms.age(at(4)), Duration::from_secs(6));
    assert_eq!(terms.fresh_for(at(4)), Ok(Duration::from_secs(4)));
    assert_eq!(terms.fresh_for(at(8)), Err(Duration::ZERO));
    assert_eq!(terms.fresh_for(at(9)), Err(Duration::from_secs(1)));
}

#[test]
fn the_operator_overrules_or_stands_in() {
    let hour = Duration::from_secs(3600);
    let mut hashed = Policy::new("hashed");
    hashed.ttl = Some(hour);
    let said = |text: &str| vec![("cache-control", text.to_owned()), ("age", "50".into())];
    let overruled = terms_by(&hashed, 200, &said("no-cache, must-revalidate, max-age=1"));
    assert_eq!((overruled.lifetime, overruled.source), (hour, Source::Ttl));
    assert_eq!(overruled.initial_age, Duration::ZERO);
    assert!(!overruled.no_cache && !overruled.must_revalidate);
    // An error that lasted a moment does not last an hour.
    for status in [404, 500, 503, 302] {
        assert_eq!(terms_by(&hashed, status, &[]).source, Source::Nobody, "{status}");
    }

    let mut api = Policy::new("api");
    api.default_ttl = Some(hour);
    api.negative_ttl = Some(Duration::from_secs(5));
    assert_eq!(terms_by(&api, 200, &[]).lifetime, hour);
    assert_eq!(terms_by(&api, 404, &[]).lifetime, Duration::from_secs(5));
    assert_eq!(terms_by(&api, 401, &[]).source, Source::Nobody);
    assert_eq!(terms_by(&api, 200, &said("max-age=1")).lifetime, Duration::from_secs(1));
    assert!(terms_by(&api, 200, &said("no-cache")).no_cache);
    assert_eq!(terms_by(&api, 200, &said("no-cache")).lifetime, Duration::ZERO);
    // `public` alone says nothing about time.
    assert_eq!(terms_by(&api, 200, &said("public")).lifetime, hour);
}

#[test]
fn stale_windows_of_rfc_5861() {
    let mut policy = Policy::new("x");
    let of = |policy: &Policy, text: &str| {
        let terms = terms_by(policy, 200, &[("cache-control", text.to_owned())]);
        (
            terms.stale_while_revalidate.as_secs(),
            terms.stale_if_error.map(|time| time.as_secs()),
        )
    };
    assert_eq!(of(&policy, "max-age=1"), (0, None));
    assert_eq!(
        of(&policy, "max-age=1, stale-while-revalidate=5, stale-if-error=6"),
        (5, Some(6))
    );
    policy.stale_while_revalidate = Duration::from_secs(60);
    policy.stale_if_error = Some(Duration::from_secs(70));
    assert_eq!(of(&policy, "max-age=1"), (60, Some(70)));
    assert_eq!(of(&policy, "max-age=1, stale-while-revalidate=90"), (90, Some(70)));
    for strict in ["must-revalidate", "proxy-revalidate", "s-maxage=1"] {
        let lines = [("cache-control", format!("max-age=1, {strict}"))];
        assert!(terms_by(&policy, 200, &lines).must_revalidate, "{strict}");
    }
}

proptest! {
    /// An answer grows old, and once stale it stays so.
    #[test]
    fn freshness_ends_once(age in 0_u32..10_000, max_age in 0_u32..10_000, first in 0_i64..20_000, later in 0_i64..20_000) {
        let terms = terms(&[("cache-control", format!("max-age={max_age}")), ("age", age.to_string())]);
        let (one, two) = (at(first), at(first + later));
        prop_assert!(terms.age(one) <= terms.age(two));
        prop_assert!(terms.fresh_for(one).is_ok() || terms.fresh_for(two).is_err());
        prop_assert_eq!(terms.fresh_for(one).is_ok(), i64::from(age) + first < i64::from(max_age));
    }
}
