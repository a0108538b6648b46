//! All or nothing, reservations, threads, and a flood.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::limit::key::Key;
use crate::limit::policy::Policy;

const SECOND: u64 = 1_000_000_000;

fn policy(name: &str, count: u64, per: u64, capacity: u32) -> Policy {
    Policy::new(name, Bucket::new(count, Duration::from_secs(per), capacity))
}

fn key(id: u128) -> Key {
    // Real ones are hashes; their lowest bit is not used.
    Key {
        id: id << 1,
        aggregate: 0,
    }
}

fn charges<'a>(policies: &[&'a Policy], id: u128) -> Charges<'a> {
    let key = |place: usize| key(id << 64 | place as u128);
    let charge = |(place, policy): (usize, &&'a Policy)| Charge {
        policy,
        key: key(place),
        cost: policy.cost,
    };
    policies.iter().enumerate().map(charge).collect()
}

fn store() -> Arc<Local> {
    Arc::new(Local::new(4096))
}

fn passes(store: &Arc<Local>, charges: &Charges<'_>, now: u64) -> bool {
    !matches!(store.check(charges, now).verdict, Verdict::Denied { .. })
}

#[test]
fn all_limits_are_charged_or_none() {
    let (wide, narrow) = (policy("wide", 10, 1, 10), policy("narrow", 1, 1, 2));
    let store = store();
    let both = charges(&[&wide, &narrow], 1);
    for left in [(9, 1), (8, 0)] {
        let Verdict::Allowed { levels } = store.check(&both, SECOND).verdict else {
            panic!("denied");
        };
        assert_eq!((levels[0].room, levels[1].room), left);
    }
    for _ in 0..5 {
        let Verdict::Denied {
            by,
            retry_after,
            levels,
        } = store.check(&both, SECOND).verdict
        else {
            panic!("admitted");
        };
        assert_eq!((by, retry_after), (1, Duration::from_secs(1)));
        // The wide one would have passed: it shows what there would be.
        assert_eq!((levels[0].retry_in, levels[1].retry_in), (0, SECOND));
    }
    let Verdict::Allowed { levels } = store.check(&charges(&[&wide], 1), SECOND).verdict else {
        panic!("denied");
    };
    assert_eq!(levels[0].room, 7, "a refusal charged something");
    assert!(passes(&store, &charges(&[&wide, &narrow], 2), SECOND), "another client");
    assert!(passes(&store, &Charges::default(), SECOND));
}

#[test]
fn the_longest_wait_and_the_longest_refusal_count() {
    let slow = Policy {
        bucket: Bucket::new(1, Duration::from_secs(1), 3).delaying_beyond(0),
        ..policy("slow", 1, 1, 3)
    };
    let slower = Policy {
        bucket: Bucket::new(1, Duration::from_secs(2), 2).delaying_beyond(0),
        ..policy("slower", 1, 2, 2)
    };
    let store = store();
    let both = charges(&[&slow, &slower], 1);
    assert!(matches!(store.check(&both, SECOND).verdict, Verdict::Allowed { .. }));
    let second = store.check(&both, SECOND).verdict;
    assert!(matches!(second, Verdict::Delayed { wait, .. } if wait == Duration::from_secs(2)));
    assert!(matches!(
        store.check(&both, SECOND).verdict,
        Verdict::Denied { by: 1, .. }
    ));
}

#[test]
fn a_limit_that_reports_stands_in_nobodys_way() {
    let trial = Policy {
        mode: Mode::Report,
        bucket: Bucket::new(1, Duration::from_secs(1), 2).delaying_beyond(0),
        ..policy("trial", 1, 1, 2)
    };
    let wide = policy("wide", 10, 1, 4);
    let store = store();
    let both = charges(&[&trial, &wide], 1);
    let seen: Vec<_> = (0..5).map(|_| store.check(&both, SECOND).verdict).collect();
    for (verdict, retry_in) in seen.iter().zip([0, 0, SECOND, SECOND]) {
        assert!(matches!(verdict, Verdict::Allowed { levels } if levels[0].retry_in == retry_in));
    }
    assert!(matches!(seen[4], Verdict::Denied { by: 1, .. }));
}

#[test]
fn only_failures_count_and_parallel_guesses_gain_nothing() {
    let login = Policy {
        count: Count::Failures,
        ..policy("login", 5, 60, 5)
    };
    let store = store();
    let of = charges(&[&login], 1);
    // Successes, one after the other, as many as there are.
    for _ in 0..50 {
        let checked = store.check(&of, SECOND);
        checked.reservation.expect("held").give_back();
        assert!(matches!(checked.verdict, Verdict::Allowed { levels } if levels[0].room == 4));
    }
    // Five at once are all that is let through before the outcome is known.
    let mut open: Vec<_> = (0..5)
        .map(|_| store.check(&of, SECOND).reservation.expect("held"))
        .collect();
    let sixth = store.check(&of, SECOND);
    assert!(sixth.reservation.is_none());
    assert!(matches!(sixth.verdict, Verdict::Denied { retry_after, .. } if retry_after == Duration::from_secs(12)));
    assert_eq!(store.occupancy(SECOND).open, 1);
    // Two succeed, three fail; a failure counts from when it came.
    open.pop().expect("open").give_back();
    open.pop().expect("open").give_back();
    drop(open);
    assert_eq!(store.occupancy(SECOND).open, 0);
    let checked = store.check(&of, 7 * SECOND);
    let level = checked.verdict.levels()[0];
    assert_eq!((level.room, level.full_in), (1, (3 * 12 - 6 + 12) * SECOND));
}

#[test]
fn the_same_key_twice_is_charged_twice() {
    let api = policy("api", 1, 1, 4);
    let charge = Charge {
        policy: &api,
        key: key(1),
        cost: 1,
    };
    let twice: Charges<'_> = [charge, charge].into_iter().collect();
    let store = store();
    assert!(passes(&store, &twice, SECOND) && passes(&store, &twice, SECOND));
    assert!(!passes(&store, &twice, SECOND));
}

#[test]
fn threads_admit_exactly_what_there_is() {
    let (one, two) = (policy("one", 1, 3600, 300), policy("two", 1, 3600, 500));
    let store = store();
    let admitted: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (store, one, two) = (&store, &one, &two);
                scope.spawn(move || {
                    // In either order, so that locks taken in the order of the charges would block each other.
                    let (a, b) = (key(1), key(2 << 64));
                    let mut both = [
                        Charge {
                            policy: one,
                            key: a,
                            cost: 1,
                        },
                        Charge {
                            policy: two,
                            key: b,
                            cost: 1,
                        },
                    ];
                    if worker % 2 == 0 {
                        both.reverse();
                    }
                    let both: Charges<'_> = both.into_iter().collect();
                    (0..400).filter(|_| passes(store, &both, SECOND)).count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(admitted, 300);
    let left = store.check(
        &[Charge {
            policy: &two,
            key: key(2 << 64),
            cost: 1,
        }]
        .into_iter()
        .collect(),
        SECOND,
    );
    assert_eq!(left.verdict.levels()[0].room, 199);
}

proptest! {
    #[test]
    fn a_store_with_room_is_a_bucket_for_each_key(
        arrivals in vec((0_u64..SECOND / 4, 0_u128..5, 0_u32..4), 1..200),
    ) {
        let api = policy("api", 5, 1, 6);
        let store = store();
        let mut states = [0_u64; 5];
        let mut now = SECOND;
        for (gap, id, cost) in arrivals {
            now += gap;
            let charge = Charge { policy: &api, key: key(id), cost };
            let verdict = store.check(&[charge].into_iter().collect(), now).verdict;
            let state = &mut states[id as usize];
            match api.bucket.decide(*state, now, cost) {
                Decision::Allowed { tat, level } => {
                    *state = tat;
                    prop_assert_eq!(verdict.levels()[0], level);
                    prop_assert!(matches!(verdict, Verdict::Allowed { .. }), "{:?}", verdict);
                }
                Decision::Denied { level } => {
                    prop_assert_eq!(verdict.levels()[0], level);
                    prop_assert!(matches!(verdict, Verdict::Denied { .. }), "{:?}", verdict);
                }
                Decision::Delayed { .. } => prop_assert!(false, "nothing waits here"),
            }
        }
    }

    #[test]
    fn failures_never_exceed_the_bucket(
        // Each step: a pause, and the fate of some request: begin one, end the oldest well, end it badly.
        steps in vec((0_u64..SECOND, 0_u8..4), 1..200),
    ) {
        let login = Policy { count: Count::Failures, ..policy("login", 1, 1, 4) };
        let store = store();
        let of = charges(&[&login], 1);
        let (mut open, mut failed) = (std::collections::VecDeque::new(), Vec::new());
        let mut now = SECOND;
        for (pause, step) in steps {
            now += pause;
            match step {
                0 => drop(open.pop_front().map(|(_, held): (u64, Reservation)| held.give_back())),
                1 => if let Some((began, held)) = open.pop_front() {
                    drop(held);
                    failed.push(began);
                },
                _ => open.extend(store.check(&of, now).reservation.map(|held| (now, held))),
            }
            prop_assert!(open.len() <= 4);
        }
        failed.extend(open.drain(..).map(|(began, _)| began));
        failed.sort_unstable();
        for (index, from) in failed.iter().enumerate() {
            for (more, until) in failed[index..].iter().enumerate() {
                prop_assert!((more as u64) < 4 + (until - from) / SECOND, "{:?}", failed);
            }
        }
    }
}
