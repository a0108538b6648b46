//! The fields as they go onto the wire. What express-rate-limit sends is compared in `tests/it/limits`.

use super::*;
use crate::limit::charge::{Charge, Verdict};
use crate::limit::gcra::Bucket;
use crate::limit::key::Key;
use crate::limit::policy::Policy;

/// A policy, what is left of it in a request that costs 1 after so many others at once, and the fields.
struct Case {
    policies: Vec<Policy>,
    earlier: u32,
}

impl Case {
    fn tell<T>(&self, with: impl FnOnce(&Charges<'_>, &Levels) -> T) -> T {
        let key = Key {
            id: 0x0123_4567_89ab_cdef << 64,
            aggregate: 0,
        };
        let charges: Charges<'_> = (self.policies.iter())
            .map(|policy| Charge { policy, key, cost: 1 })
            .collect();
        let mut levels = Levels::default();
        for policy in &self.policies {
            let tat = policy.bucket.charge(0, 0, self.earlier);
            levels.push(match policy.bucket.decide(tat, 0, 1) {
                crate::limit::gcra::Decision::Allowed { level, .. }
                | crate::limit::gcra::Decision::Delayed { level, .. }
                | crate::limit::gcra::Decision::Denied { level } => level,
            });
        }
        with(&charges, &levels)
    }

    fn announced(&self, mut fields: HeaderMap) -> Vec<String> {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        self.tell(|charges, levels| announce(stands(charges, levels), || now, &mut fields));
        let mut lines: Vec<String> = (fields.iter())
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }
}

fn policy(name: &str, rate: (u64, u64), capacity: u32, announce: Announce) -> Policy {
    Policy {
        announce,
        ..Policy::new(name, Bucket::new(rate.0, Duration::from_secs(rate.1), capacity))
    }
}

#[test]
fn every_style_has_its_fields() {
    let cases: [(Announce, u32, &[&str]); 8] = [
        (
            Announce::Draft10,
            0,
            &["ratelimit-policy: \"api\";q=41;w=4", "ratelimit: \"api\";r=40;t=1"],
        ),
        (
            Announce::Draft10,
            40,
            &["ratelimit-policy: \"api\";q=41;w=4", "ratelimit: \"api\";r=0;t=1"],
        ),
        (
            Announce::Draft8,
            0,
            &[
                "ratelimit-policy: \"api\"; q=41; w=5; pk=:MDEyMzQ1Njc4OWFi:",
                "ratelimit: \"api\"; r=40; t=1",
            ],
        ),
        (
            Announce::Draft7,
            20,
            &["ratelimit-policy: 41;w=5", "ratelimit: limit=41, remaining=20, reset=3"],
        ),
        (
            Announce::Draft6,
            20,
            &[
                "ratelimit-limit: 41",
                "ratelimit-policy: 41;w=5",
                "ratelimit-remaining: 20",
                "ratelimit-reset: 3",
            ],
        ),
        (
            Announce::Legacy,
            20,
            // 1 700 000 000.25 s and 2.1 s.
            &[
                "x-ratelimit-limit: 41",
                "x-ratelimit-remaining: 20",
                "x-ratelimit-reset: 1700000003",
            ],
        ),
        (Announce::Off, 0, &[]),
        (Announce::Off, 41, &[]),
    ];
    for (style, earlier, expected) in cases {
        let case = Case {
            policies: vec![policy("api", (10, 1), 41, style)],
            earlier,
        };
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(case.announced(HeaderMap::new()), expected, "{style:?}");
    }
}

#[test]
fn several_limits_are_listed_or_the_tightest_is_shown() {
    let both = |style| Case {
        policies: vec![
            policy("burst", (10, 1), 41, style),
            policy("d\"y", (100, 86_400), 100, style),
        ],
        earlier: 38,
    };
    assert_eq!(
        both(Announce::Draft10).announced(HeaderMap::new()),
        [
            "ratelimit-policy: \"burst\";q=41;w=4, \"d\\\"y\";q=100;w=86400",
            "ratelimit: \"burst\";r=2;t=1, \"d\\\"y\";r=61;t=864",
        ]
    );
    assert_eq!(both(Announce::Draft8).announced(HeaderMap::new()).len(), 4);
    assert_eq!(
        both(Announce::Draft7).announced(HeaderMap::new())[1],
        "ratelimit: limit=41, remaining=2, reset=4"
    );
    let mut mixed = both(Announce::Draft7);
    mixed.policies[0].mode = Mode::Report;
    assert_eq!(
        mixed.announced(HeaderMap::new())[1],
        "ratelimit: limit=100, remaining=61, reset=33696"
    );
}

#[test]
fn what_the_application_says_stays() {
    let sends = |name: &'static str, value: &'static str| {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    };
    for (style, name, value, lines) in [
        (Announce::Draft10, "ratelimit", "\"own\";r=1", 3),
        (Announce::Draft8, "ratelimit", "\"own\";r=1", 3),
        (Announce::Draft7, "ratelimit-limit", "7", 1),
        (Announce::Draft7, "x-ratelimit-limit", "7", 3),
        (Announce::Draft6, "ratelimit-policy", "7;w=1", 1),
        (Announce::Legacy, "x-ratelimit-remaining", "7", 1),
        (Announce::Legacy, "ratelimit-limit", "7", 4),
    ] {
        let case = Case {
            policies: vec![policy("api", (10, 1), 41, style)],
            earlier: 0,
        };
        let announced = case.announced(sends(name, value));
        assert!(
            announced.contains(&format!("{name}: {value}")),
            "{style:?} {announced:?}"
        );
        assert_eq!(announced.len(), lines, "{style:?} {announced:?}");
    }
}

#[test]
fn a_refusal_says_when_to_come_back_and_why() {
    // 5/min, all used: the next in 12 s, all in 60 s.
    for (style, retry_after) in [
        (Announce::Draft10, "12"),
        (Announce::Off, "12"),
        (Announce::Draft8, "60"),
        (Announce::Draft7, "60"),
        (Announce::Draft6, "60"),
        (Announce::Legacy, "60"),
    ] {
        let case = Case {
            policies: vec![
                policy("auth", (5, 60), 5, style),
                policy("wide", (1000, 1), 1000, style),
                Policy {
                    mode: Mode::Report,
                    ..policy("trial", (1, 3600), 1, style)
                },
            ],
            earlier: 5,
        };
        case.tell(|charges, levels| {
            assert!(matches!(
                Verdict::of(charges, levels.clone(), 0),
                Verdict::Denied { by: 0, .. }
            ));
            let rendered = refuse(charges, levels, || UNIX_EPOCH).render(None, "id");
            assert_eq!(rendered.status, 429);
            assert_eq!(rendered.headers["retry-after"], retry_after, "{style:?}");
            assert_eq!(rendered.headers["cache-control"], "no-store");
            let problem: Value = serde_json::from_slice(&rendered.body).unwrap();
            if style == Announce::Off {
                assert_eq!(problem.get("violated-policies"), None);
            } else {
                assert_eq!(problem["violated-policies"], serde_json::json!(["auth"]));
            }
        });
    }
}

#[test]
fn numbers_are_written_whole() {
    for value in [0, 1, 9, 10, 99, 100, 4_294_967_295, u64::MAX] {
        let mut out = b"r=".to_vec();
        number(&mut out, value);
        assert_eq!(out, format!("r={value}").into_bytes());
        assert_eq!(digits(value), value.to_string().len());
    }
}
