//! Reuse, by the section that defines it.

use http::{HeaderValue, StatusCode};

use super::*;
use crate::cache::directives::ResponseDirectives;
use crate::cache::freshness::Exchanged;

const START: Moment = Moment(1_700_000_000_000);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn terms(policy: &Policy, control: &'static str) -> Terms {
    let mut answer = HeaderMap::new();
    answer.insert("cache-control", HeaderValue::from_static(control));
    let exchanged = Exchanged {
        asked: START,
        answered: START,
    };
    Terms::new(
        policy,
        &ResponseDirectives::of(&answer),
        StatusCode::OK,
        &answer,
        exchanged,
    )
}

fn wish(policy: &Policy, lines: &[(&'static str, &'static str)]) -> Wish {
    let mut request = HeaderMap::new();
    for (name, value) in lines {
        request.insert(*name, HeaderValue::from_static(value));
    }
    Wish::of(policy, &request)
}

#[test]
fn requests_and_answers() {
    use Reuse::{Ask, Fresh, NotForThis, Stale, StaleWhileRevalidate};
    let policy = Policy::new("x");
    for (control, request, after, expected) in [
        ("max-age=10", "", 4, Fresh(secs(6))),
        ("max-age=10", "", 10, Ask(Why::Stale)),
        ("max-age=10, no-cache", "", 1, Ask(Why::NoCache)),
        ("max-age=10", "no-cache", 1, Ask(Why::Request)),
        ("max-age=10", "max-age=3", 4, Ask(Why::Request)),
        ("max-age=10", "max-age=4", 4, Fresh(secs(6))),
        ("max-age=10", "max-age=0", 1, Ask(Why::Request)),
        ("max-age=10", "min-fresh=7", 4, Ask(Why::Request)),
        ("max-age=10", "min-fresh=6", 4, Fresh(secs(6))),
        ("max-age=10", "max-stale", 99, Stale(secs(89))),
        ("max-age=10", "max-stale=5", 15, Stale(secs(5))),
        ("max-age=10", "max-stale=5", 16, Ask(Why::Stale)),
        ("max-age=10, must-revalidate", "max-stale", 15, Ask(Why::Stale)),
        ("max-age=10, proxy-revalidate", "max-stale", 15, Ask(Why::Stale)),
        ("s-maxage=10", "max-stale", 15, Ask(Why::Stale)),
        (
            "max-age=10, stale-while-revalidate=5",
            "",
            14,
            StaleWhileRevalidate(secs(4)),
        ),
        ("max-age=10, stale-while-revalidate=5", "", 15, Ask(Why::Stale)),
        (
            "max-age=10, stale-while-revalidate=5",
            "min-fresh=1",
            14,
            Ask(Why::Stale),
        ),
        ("s-maxage=10, stale-while-revalidate=5", "", 14, Ask(Why::Stale)),
    ] {
        let expected = match expected {
            Ask(Why::Stale) if request.starts_with("min-fresh") => Ask(Why::Request),
            expected => expected,
        };
        let lines = [("cache-control", request)];
        let wish = wish(&policy, &lines[usize::from(request.is_empty())..]);
        let now = START.plus(secs(after));
        assert_eq!(
            judge(&policy, &terms(&policy, control), &wish, now),
            expected,
            "{control} | {request} | {after}"
        );
    }
    let named = wish(&policy, &[("authorization", "x")]);
    assert_eq!(judge(&policy, &terms(&policy, "max-age=10"), &named, START), NotForThis);
    assert_eq!(
        judge(&policy, &terms(&policy, "max-age=10, public"), &named, START),
        Fresh(secs(10))
    );
}

#[test]
fn whoever_has_a_cookie_gets_no_answer_that_only_the_operator_gave_a_lifetime() {
    let mut policy = Policy::new("x");
    policy.default_ttl = Some(secs(9));
    let cookie = wish(&policy, &[("cookie", "s=1")]);
    assert_eq!(judge(&policy, &terms(&policy, "x"), &cookie, START), Reuse::NotForThis);
    assert_eq!(
        judge(&policy, &terms(&policy, "max-age=3"), &cookie, START),
        Reuse::Fresh(secs(3))
    );
    policy.ttl = Some(secs(9));
    assert_eq!(
        judge(&policy, &terms(&policy, "x"), &cookie, START),
        Reuse::Fresh(secs(9))
    );
}

#[test]
fn clients_have_no_say_where_the_policy_says_so() {
    let mut policy = Policy::new("x");
    policy.client_control = false;
    let wish = wish(&policy, &[("cache-control", "no-cache, no-store")]);
    assert_eq!(
        judge(&policy, &terms(&policy, "max-age=3"), &wish, START),
        Reuse::Fresh(secs(3))
    );
}

#[test]
fn stale_instead_of_a_failure() {
    let policy = Policy::new("x");
    let wish = Wish::default();
    let now = START.plus(secs(15));
    for (control, failure, expected) in [
        ("max-age=10", Failure::Disconnected, true),
        ("max-age=10", Failure::Error, false),
        ("max-age=10, stale-if-error=6", Failure::Error, true),
        ("max-age=10, stale-if-error=5", Failure::Error, false),
        ("max-age=10, stale-if-error=5", Failure::Disconnected, false),
        (
            "max-age=10, stale-if-error=60, must-revalidate",
            Failure::Disconnected,
            false,
        ),
        ("max-age=10, proxy-revalidate", Failure::Disconnected, false),
        ("max-age=10, no-cache", Failure::Disconnected, false),
        ("s-maxage=10", Failure::Disconnected, false),
    ] {
        assert_eq!(
            rescues(&terms(&policy, control), &wish, failure, now),
            expected,
            "{control} {failure:?}"
        );
    }
    assert!(!rescues(
        &terms(&policy, "max-age=10"),
        &wish,
        Failure::Disconnected,
        START.plus(secs(71))
    ));
}
