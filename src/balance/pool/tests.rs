//! Tests of the module above.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicUsize;
use std::thread;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::*;
use crate::balance::{
    AttemptOutcome, BreakerSettings, BudgetSettings, Condition, Ejection, Finish, OutlierSettings, State, Strategy,
    Thresholds,
};

/// Round robin without anything else.
const UNCHECKED: Settings = Settings {
    strategy: Strategy::RoundRobin,
    health: None,
    outlier: None,
    slow_start: Duration::ZERO,
    panic_threshold: 0.5,
    breaker: None,
    adaptive: None,
    retry_budget: BudgetSettings::RETRY,
    hedge_budget: BudgetSettings::HEDGE,
};
const CHECKED: Settings = Settings {
    health: Some(Thresholds {
        unhealthy_after: 2,
        healthy_after: 2,
    }),
    ..UNCHECKED
};

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1000 + number))
}

fn member(number: u16, weight: u32) -> Member {
    Member::new(format!("server-{number}:80"), address(number), weight)
}

fn pool(settings: Settings, weights: &[u32]) -> Pool {
    let pool = Pool::new("api".into(), settings);
    pool.update(
        (0..)
            .zip(weights)
            .map(|(number, &weight)| member(number, weight))
            .collect(),
    );
    pool
}

fn pick(pool: &Pool, tried: &[SocketAddr]) -> Result<Lease, PickError> {
    pool.pick(&Ask {
        tried,
        ..Ask::any(Instant::now())
    })
}

fn ports(pool: &Pool, picks: usize, tried: &[SocketAddr]) -> Vec<u16> {
    let port = |_| pick(pool, tried).unwrap().endpoint().address().port() - 1000;
    (0..picks).map(port).collect()
}

fn fail(pool: &Pool, number: usize) -> Option<Transition> {
    pool.observe(&pool.endpoints()[number], Outcome::Fail("status 500"), Instant::now())
}

fn pass(pool: &Pool, number: usize) -> Option<Transition> {
    pool.observe(&pool.endpoints()[number], Outcome::Pass, Instant::now())
}

fn drain(pool: &Pool, number: usize, how: Drain) {
    pool.drain(pool.endpoints()[number].session(), how).unwrap();
}

fn refuse(pool: &Pool, number: usize) -> Option<Transition> {
    pool.connect_failed(&pool.endpoints()[number], Instant::now())
}

#[test]
fn an_empty_pool_gives_nothing() {
    let pool = pool(CHECKED, &[]);
    assert_eq!(pick(&pool, &[]).unwrap_err(), PickError::NoneFit);
    assert_eq!(pick(&pool, &[address(1)]).unwrap_err(), PickError::NoneFit);
    assert_eq!(pool.usable(), 0);
}

#[test]
fn picks_follow_the_weights() {
    assert_eq!(
        ports(&pool(UNCHECKED, &[5, 1, 1]), 14, &[]),
        [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]
    );
    assert_eq!(ports(&pool(UNCHECKED, &[1000, 1000]), 4, &[]), [0, 1, 0, 1]);
}

#[test]
fn tried_servers_are_skipped_while_there_are_others() {
    let pool = pool(UNCHECKED, &[5, 1, 1]);
    assert!(!ports(&pool, 20, &[address(0)]).contains(&0));
    assert_eq!(ports(&pool, 3, &[address(0), address(1)]), [2, 2, 2]);
    let all = [address(0), address(1), address(2)];
    assert_eq!(pick(&pool, &all).unwrap_err(), PickError::AllTried);
}

#[test]
fn a_tried_address_is_skipped_under_every_name() {
    let pool = pool(UNCHECKED, &[1, 1]);
    let twin = Member {
        address: address(0),
        ..member(2, 1)
    };
    pool.update(vec![member(0, 1), twin, member(1, 1)]);
    assert_eq!(pool.usable(), 3);
    assert_eq!(ports(&pool, 4, &[address(0)]), [1, 1, 1, 1]);
}

#[test]
fn leases_count() {
    let pool = pool(UNCHECKED, &[1]);
    let endpoint = Arc::clone(&pool.endpoints()[0]);
    let first = pick(&pool, &[]);
    let second = pick(&pool, &[]);
    assert_eq!(endpoint.in_flight(), 2);
    drop(first);
    assert_eq!(endpoint.in_flight(), 1);
    drop(second);
    assert_eq!((endpoint.in_flight(), endpoint.picks()), (0, 2));
}

#[test]
fn only_fit_servers_are_picked() {
    let pool = pool(CHECKED, &[1, 1]);
    assert_eq!(ports(&pool, 2, &[]), [0, 1]);
    assert!(fail(&pool, 0).is_some());
    assert_eq!(ports(&pool, 2, &[]), [1, 1]);
    assert_eq!(pick(&pool, &[address(1)]).unwrap_err(), PickError::AllTried);
    assert!(fail(&pool, 1).is_some());
    assert_eq!(pick(&pool, &[]).unwrap_err(), PickError::NoneFit);
    assert_eq!(pass(&pool, 0), None);
    assert_eq!(pick(&pool, &[]).unwrap_err(), PickError::NoneFit);
    assert!(pass(&pool, 0).is_some());
    assert_eq!(ports(&pool, 2, &[]), [0, 0]);
}

#[test]
fn requests_take_out_a_server_but_not_the_last() {
    let pool = pool(CHECKED, &[1, 1]);
    pass(&pool, 0);
    pass(&pool, 1);
    assert_eq!(refuse(&pool, 0), None);
    assert_eq!(refuse(&pool, 0).map(|transition| transition.to), Some(State::Unhealthy));
    for _ in 0..10 {
        assert_eq!(refuse(&pool, 1), None);
    }
    assert_eq!(ports(&pool, 2, &[]), [1, 1]);
    assert_eq!(pool.endpoints()[1].connect_failures(), 10);
    assert!(fail(&pool, 1).is_some(), "one probe confirms what requests saw");
    assert_eq!(pick(&pool, &[]).unwrap_err(), PickError::NoneFit);
}

#[test]
fn a_connection_forgives() {
    let pool = pool(CHECKED, &[1, 1]);
    pass(&pool, 0);
    for _ in 0..10 {
        assert_eq!(refuse(&pool, 0), None);
        pool.endpoints()[0].connected();
    }
    assert_eq!(pool.usable(), 2);
}

#[test]
fn without_health_checks_every_server_is_always_fit() {
    let pool = pool(UNCHECKED, &[1, 1]);
    for _ in 0..10 {
        assert_eq!(fail(&pool, 0), None);
        assert_eq!(refuse(&pool, 0), None);
    }
    assert_eq!(ports(&pool, 2, &[]), [0, 1]);
    assert_eq!(pool.endpoints()[0].connect_failures(), 10);
}

#[test]
fn servers_that_stay_keep_their_state() {
    let pool = pool(CHECKED, &[1, 1, 1]);
    let before = pool.endpoints();
    fail(&pool, 0);
    let lease = pick(&pool, &[]).unwrap();
    assert_eq!(lease.endpoint().address(), address(1));
    let change = pool.update(vec![member(3, 1), member(0, 2)]);
    assert_eq!(change.joined.len(), 1);
    assert_eq!(change.left.len(), 2);
    let after = pool.endpoints();
    assert!(Arc::ptr_eq(&before[0], &after[1]));
    assert_eq!((after[1].weight(), after[1].state()), (2, State::Unhealthy));
    assert_eq!(ports(&pool, 2, &[]), [3, 3]);
    assert_eq!(lease.endpoint().in_flight(), 1, "requests of a removed server go on");
}

#[test]
fn a_server_named_twice_has_both_shares() {
    let pool = pool(UNCHECKED, &[]);
    pool.update(vec![member(0, 1), member(1, 1), member(0, 1)]);
    assert_eq!(pool.endpoints().len(), 2);
    assert_eq!(ports(&pool, 3, &[]), [0, 1, 0]);
}

#[test]
fn another_server_at_the_same_address_is_another() {
    let pool = pool(CHECKED, &[1]);
    fail(&pool, 0);
    pool.update(vec![Member {
        address: address(0),
        ..member(1, 1)
    }]);
    assert_eq!(pool.endpoints()[0].state(), State::Unknown);
}

#[test]
fn a_successor_has_the_same_servers() {
    let old = pool(CHECKED, &[1, 1]);
    fail(&old, 0);
    let new = old.successor(CHECKED);
    assert!(Arc::ptr_eq(&old.endpoints()[0], &new.endpoints()[0]));
    assert_eq!(ports(&new, 2, &[]), [1, 1]);
    pass(&new, 0);
    pass(&new, 0);
    new.update(vec![member(0, 1)]);
    for _ in 0..10 {
        assert_eq!(refuse(&old, 0), None, "the last one of the new pool");
    }
    new.update(vec![member(0, 1), member(1, 1)]);
    fail(&new, 0);
    fail(&new, 0);
    // The verdict of the old one reaches the new one with its next result.
    fail(&old, 1);
    fail(&new, 1);
    assert_eq!(pick(&new, &[]).unwrap_err(), PickError::NoneFit);

    let unchecked = old.successor(UNCHECKED);
    assert_eq!(unchecked.usable(), 2);
    assert_eq!(unchecked.endpoints()[0].state(), State::Unknown);
}

#[test]
fn the_hook_sees_the_new_servers() {
    let pool = Arc::new(pool(UNCHECKED, &[1]));
    let seen = Arc::new(AtomicUsize::new(0));
    let (weak, sum) = (Arc::downgrade(&pool), Arc::clone(&seen));
    pool.on_update(move || {
        sum.fetch_add(weak.upgrade().unwrap().endpoints().len(), Relaxed);
    });
    pool.update(vec![member(0, 1), member(1, 1)]);
    assert_eq!(seen.load(Relaxed), 2);
}

#[test]
fn concurrent_picks_keep_the_proportions() {
    let pool = pool(UNCHECKED, &[5, 2, 1]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8_000 {
                    drop(pick(&pool, &[]));
                }
            });
        }
    });
    let endpoints = pool.endpoints();
    let picks: Vec<u64> = endpoints.iter().map(|endpoint| endpoint.picks()).collect();
    assert_eq!(picks, [20_000, 8_000, 4_000]);
    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[test]
fn changes_while_picking_lose_nothing() {
    let pool = pool(CHECKED, &[3, 1, 1]);
    pass(&pool, 0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    assert!(pick(&pool, &[address(1)]).is_ok(), "server 0 is always fit");
                }
            });
        }
        for _ in 0..50 {
            pool.update(vec![member(0, 1), member(2, 1)]);
            fail(&pool, 1);
            pool.update(vec![member(0, 3), member(1, 1), member(2, 1)]);
            pass(&pool, 2);
        }
    });
    assert!(pool.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}

fn end(pool: &Pool, number: u16, outcome: AttemptOutcome, now: Instant) -> Vec<Ejection> {
    let others: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|e| e.address())
        .filter(|a| *a != address(number))
        .collect();
    let ask = Ask {
        tried: &others,
        ..Ask::any(now)
    };
    let mut lease = pool.pick(&ask).unwrap();
    assert_eq!(lease.endpoint().address(), address(number));
    let latency = Some(Duration::from_millis(10));
    lease.finish(Finish { outcome, latency, now })
}

fn eject(pool: &Pool, number: u16, now: Instant) -> usize {
    (0..5)
        .map(|_| end(pool, number, AttemptOutcome::FAILURE, now).len())
        .sum()
}

fn picks(pool: &Pool, count: usize, now: Instant) -> Vec<u16> {
    let port = |_| pool.pick(&Ask::any(now)).unwrap().endpoint().address().port() - 1000;
    (0..count).map(port).collect()
}

const EJECTING: Settings = Settings {
    outlier: Some(OutlierSettings {
        consecutive_failures: 5,
        success_rate: true,
        interval: Duration::from_secs(10),
        base_time: Duration::from_secs(30),
        max_time: Duration::from_secs(300),
        max_ejected: 0.5,
    }),
    ..CHECKED
};

#[test]
fn backups_take_over_when_no_other_is_left() {
    let pool = pool(CHECKED, &[]);
    let backup = Member {
        backup: true,
        ..member(9, 1)
    };
    pool.update(vec![backup, member(0, 1), member(1, 1)]);
    assert_eq!(ports(&pool, 4, &[]), [0, 1, 0, 1]);
    assert_eq!(ports(&pool, 1, &[address(0), address(1)]), [9], "the others were tried");
    assert_eq!(
        pick(&pool, &[address(0), address(1), address(9)]).unwrap_err(),
        PickError::AllTried
    );
    fail(&pool, 1);
    fail(&pool, 2);
    assert_eq!(ports(&pool, 2, &[]), [9, 9]);
    pass(&pool, 1);
    pass(&pool, 1);
    assert_eq!(ports(&pool, 2, &[]), [0, 0]);
    drain(&pool, 1, Drain::Everything);
    assert_eq!(ports(&pool, 2, &[]), [9, 9]);
    fail(&pool, 0);
    assert_eq!(pick(&pool, &[]).unwrap_err(), PickError::NoneFit);
}

#[test]
fn full_servers_are_passed_over() {
    for strategy in [
        Strategy::PeakEwma,
        Strategy::LeastRequests,
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::CONSISTENT_HASH,
    ] {
        let pool = pool(Settings { strategy, ..UNCHECKED }, &[]);
        let limited = |number, max| Member {
            max_requests: NonZeroU32::new(max),
            ..member(number, 1)
        };
        let backup = Member {
            backup: true,
            ..member(9, 1)
        };
        pool.update(vec![limited(0, 1), limited(1, 3), backup]);
        let mut leases: Vec<Lease> = (0..4).map(|_| pick(&pool, &[]).unwrap()).collect();
        let in_flight: Vec<usize> = pool.endpoints().iter().map(|endpoint| endpoint.in_flight()).collect();
        assert_eq!(in_flight, [1, 3, 0], "{strategy:?}");
        assert_eq!(
            pick(&pool, &[]).unwrap_err(),
            PickError::AllFull,
            "a backup is not for overflow"
        );
        assert_eq!(pick(&pool, &[address(0)]).unwrap_err(), PickError::AllFull);
        leases.pop();
        assert!(pick(&pool, &[]).is_ok());
    }
}

#[test]
fn limits_hold_between_threads() {
    let pool = pool(UNCHECKED, &[]);
    let limited = |number| Member {
        max_requests: NonZeroU32::new(3),
        ..member(number, 1)
    };
    pool.update(vec![limited(0), limited(1)]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let leases = [pick(&pool, &[]), pick(&pool, &[])];
                    assert!(pool.endpoints().iter().all(|endpoint| endpoint.in_flight() <= 3));
                    drop(leases);
                }
            });
        }
    });
    assert!(pool.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
}

#[test]
fn failing_requests_eject_for_a_while() {
    let pool = pool(EJECTING, &[1; 3]);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(eject(&pool, 0, at(0)), 1);
    assert!(!picks(&pool, 4, at(29)).contains(&0));
    assert_eq!((pool.usable(), pool.endpoints()[0].ejections()), (2, 1));
    assert_eq!(eject(&pool, 1, at(29)), 0, "half of three is one");
    assert!(picks(&pool, 3, at(31)).contains(&0));
    assert_eq!(pool.usable(), 3);
    assert_eq!(eject(&pool, 0, at(31)), 1);
    assert!(!picks(&pool, 3, at(90)).contains(&0), "twice as long");
    assert!(picks(&pool, 3, at(92)).contains(&0));
}

#[test]
fn the_last_fit_server_is_never_ejected() {
    let two = pool(EJECTING, &[1; 2]);
    let now = Instant::now();
    assert_eq!(eject(&two, 0, now), 1);
    assert_eq!(eject(&two, 1, now), 0);
    assert_eq!(picks(&two, 2, now), [1, 1]);
    assert_eq!(eject(&pool(EJECTING, &[1]), 0, now), 0);
    // The other one is out by its probes, or drains.
    for drains in [false, true] {
        let pool = pool(EJECTING, &[1; 2]);
        if drains {
            drain(&pool, 1, Drain::KeepSessions);
        } else {
            fail(&pool, 1);
        }
        assert_eq!(eject(&pool, 0, now), 0);
        assert_eq!(picks(&pool, 1, now), [0]);
    }
}

#[test]
fn in_panic_ejections_are_ignored_but_probes_are_not() {
    let pool = pool(EJECTING, &[1; 4]);
    let now = Instant::now();
    assert_eq!(eject(&pool, 0, now), 1);
    assert!(!pool.is_panicking());
    fail(&pool, 1);
    assert!(!pool.is_panicking(), "half are fit");
    fail(&pool, 2);
    assert!(pool.is_panicking());
    assert_eq!(pool.usable(), 1);
    let mut picked = picks(&pool, 20, now);
    picked.sort_unstable();
    picked.dedup();
    assert_eq!(picked, [0, 3]);
    fail(&pool, 3);
    assert_eq!(picks(&pool, 2, now), [0, 0]);
    fail(&pool, 0);
    assert_eq!(pool.pick(&Ask::any(now)).unwrap_err(), PickError::NoneFit, "at once");
    // Never, if so set.
    let steady = pool.successor(Settings {
        panic_threshold: 0.0,
        ..EJECTING
    });
    pass(&steady, 3);
    pass(&steady, 3);
    pass(&steady, 0);
    pass(&steady, 0);
    assert_eq!(picks(&steady, 2, now), [3, 3]);
}

#[test]
fn sessions_stick() {
    let pool = pool(EJECTING, &[]);
    let now = Instant::now();
    let of = |name: &str, number| Member::new(name, address(number), 1);
    pool.update(vec![
        of("app:80", 0),
        of("app:80", 1),
        of("one:80", 2),
        of("127.0.0.1:1003", 3),
    ]);
    let endpoints = pool.endpoints();
    let sessions: Vec<_> = endpoints.iter().map(|endpoint| endpoint.session()).collect();
    assert_eq!(
        sessions,
        [
            "app:80@127.0.0.1:1000",
            "app:80@127.0.0.1:1001",
            "one:80@127.0.0.1:1002",
            "127.0.0.1:1003"
        ]
    );
    let stuck = |session: &str, tried: &[SocketAddr]| {
        let ask = Ask {
            tried,
            sticky: Some(session),
            ..Ask::any(now)
        };
        let mut picked: Vec<u16> = (0..8)
            .map(|_| pool.pick(&ask).unwrap().endpoint().address().port() - 1000)
            .collect();
        picked.dedup();
        picked
    };
    for (number, session) in sessions.iter().enumerate() {
        assert_eq!(stuck(session, &[]), [number as u16]);
    }
    assert_eq!(stuck("one:80@127.0.0.1:9", &[]), [2], "it has another address now");
    assert_eq!(stuck("one:80", &[]), [2]);
    for lost in ["app:80@127.0.0.1:9", "app:80", "gone:80", "", "@", "one:80@x"] {
        assert!(stuck(lost, &[]).len() > 1, "{lost}");
    }
    assert!(
        !stuck(sessions[2], &[address(2)]).contains(&2),
        "it failed this request"
    );
    drain(&pool, 2, Drain::Everything);
    assert!(
        !stuck(sessions[2], &[]).contains(&2),
        "sessions are given another server"
    );
    drain(&pool, 2, Drain::KeepSessions);
    assert_eq!(stuck(sessions[2], &[]), [2], "sessions stay");
    assert!(!picks(&pool, 20, now).contains(&2), "nobody else comes");
    eject(&pool, 0, now);
    assert!(!stuck(sessions[0], &[]).contains(&0));
    fail(&pool, 2);
    assert!(!stuck(sessions[2], &[]).contains(&2));
}

#[test]
fn who_is_drained_stays_drained() {
    let app = |last: u8| Member::new("app:80", SocketAddr::from(([10, 0, 0, last], 80)), 1);
    let pool = pool(UNCHECKED, &[]);
    let drained = |pool: &Pool| -> Vec<bool> { pool.endpoints().iter().map(|one| one.is_draining()).collect() };
    pool.update(vec![app(1), app(2)]);
    pool.drain("app:80@10.0.0.1:80", Drain::Everything).unwrap();
    assert_eq!(drained(&pool), [true, false], "one address");
    assert!(!pool.is_drained("app:80"));
    pool.update(vec![app(2), app(1), app(3)]);
    assert_eq!(drained(&pool), [false, true, false]);
    pool.update(vec![app(2)]);
    pool.update(vec![app(1), app(2)]);
    assert_eq!(
        drained(&pool),
        [false, false],
        "another server may have the address now"
    );

    pool.drain("app:80", Drain::KeepSessions).unwrap();
    pool.update(vec![]);
    pool.update(vec![app(4), Member::new("web:80", address(7), 1)]);
    assert_eq!(drained(&pool), [true, false], "a name keeps it");
    let reloaded = pool.successor(EJECTING);
    reloaded.update(vec![app(5)]);
    assert_eq!(drained(&reloaded), [true]);
    assert_eq!(pick(&reloaded, &[]).unwrap_err(), PickError::NoneFit);
    reloaded.drain("app:80", Drain::Off).unwrap();
    assert_eq!(drained(&reloaded), [false]);
    assert!(!reloaded.is_drained("app:80"));
    let many = (0..2000).map(|number| reloaded.drain(&format!("server-{number}:80"), Drain::Everything));
    assert_eq!(many.filter(Result::is_err).count(), 2000 - 1024);
}

#[test]
fn an_attempt_counts_once_and_a_cancelled_one_never() {
    let pool = pool(EJECTING, &[1; 2]);
    let now = Instant::now();
    let finish = Finish {
        outcome: AttemptOutcome::FAILURE,
        latency: None,
        now,
    };
    let mut lease = pool.pick(&Ask::any(now)).unwrap();
    let endpoint = Arc::clone(lease.endpoint());
    for _ in 0..10 {
        lease.finish(finish);
    }
    assert_eq!(
        (endpoint.failures(), endpoint.in_flight()),
        (1, 1),
        "in flight until it is dropped"
    );
    drop(lease);
    for _ in 0..20 {
        drop(pool.pick(&Ask::any(now)).unwrap());
    }
    assert_eq!((endpoint.failures(), endpoint.in_flight()), (1, 0));
    assert_eq!(pool.usable(), 2);
}

#[test]
fn a_successor_keeps_what_was_learnt() {
    let breaker = BreakerSettings {
        failure_share: 2.0,
        consecutive_failures: 5,
        ..BreakerSettings::default()
    };
    let settings = Settings {
        breaker: Some(breaker),
        ..EJECTING
    };
    let old = pool(settings, &[1; 3]);
    let now = Instant::now();
    assert_eq!(eject(&old, 0, now), 1);
    assert!(old.budget().withdraw(now));
    assert_eq!(old.breaker(now), Some(BreakerState::Open));
    let left = old.budget().left(now);
    let new = old.successor(Settings {
        strategy: Strategy::PeakEwma,
        ..settings
    });
    assert!(matches!(new.pick(&Ask::any(now)), Err(PickError::BreakerOpen { .. })));
    assert_eq!((new.budget().left(now), new.hedge_budget().left(now)), (left, 0));
    let view = &new.snapshot(now)[0];
    assert!(matches!(view.state, Condition::Ejected { .. }));
    assert_eq!((view.failures, view.ejections), (5, 1));
    assert!(view.latency_estimate > Some(Duration::from_secs(4)));
    assert_eq!(new.usable(), 2);

    // What reaches the old one does not eject any more.
    let newest = new.successor(Settings {
        retry_budget: BudgetSettings { ratio: 0.0, floor: 1 },
        ..EJECTING
    });
    assert_eq!(newest.budget().left(now), 10);
    assert_eq!(newest.breaker(now), None);
    let later = now + Duration::from_secs(60);
    assert_eq!(eject(&newest.successor(EJECTING), 1, later), 1);
    assert_eq!(eject(&newest, 2, later), 0);
    let never = newest.successor(UNCHECKED);
    assert_eq!(never.usable(), 3, "where nothing ejects, nobody is ejected");
}

#[test]
fn a_test_that_found_no_server_or_was_cancelled_leaves_the_breaker_as_it_is() {
    let settings = Settings {
        breaker: Some(BreakerSettings {
            failure_share: 2.0,
            consecutive_failures: 1,
            probes: 1,
            ..BreakerSettings::default()
        }),
        ..UNCHECKED
    };
    let pool = pool(settings, &[1]);
    let now = Instant::now();
    end(&pool, 0, AttemptOutcome::FAILURE, now);
    let now = now + Duration::from_secs(10);
    for _ in 0..3 {
        assert_eq!(pool.breaker(now), Some(BreakerState::HalfOpen));
        let tried = [address(0)];
        let ask = Ask {
            tried: &tried,
            ..Ask::any(now)
        };
        assert_eq!(pool.pick(&ask).unwrap_err(), PickError::AllTried);
        drop(pool.pick(&Ask::any(now)).unwrap());
    }
    end(&pool, 0, AttemptOutcome::Success, now);
    assert_eq!(pool.breaker(now), Some(BreakerState::Closed));
}

/// What may happen to a pool, to compare it with what must hold.
#[derive(Debug, Clone)]
enum Event {
    Update(Vec<(u16, u32)>),
    Pass(usize),
    Fail(usize),
    Refuse(usize),
    Pick,
}

fn event() -> impl Generator<Value = Event> {
    prop_oneof![
        proptest::collection::vec((0u16..6, 0u32..=1000), 0..6).prop_map(Event::Update),
        (0usize..6).prop_map(Event::Pass),
        (0usize..6).prop_map(Event::Fail),
        (0usize..6).prop_map(Event::Refuse),
        Just(Event::Pick),
    ]
}

proptest! {
    #[test]
    fn the_rotation_is_always_the_fit_servers(events in proptest::collection::vec(event(), 1..60)) {
        let pool = pool(CHECKED, &[1, 1, 1]);
        let mut identities = HashMap::new();
        for event in events {
            let endpoints = pool.endpoints();
            let usable = pool.usable();
            let now = Instant::now();
            match event {
                Event::Update(members) => {
                    pool.update(members.into_iter().map(|(number, weight)| member(number, weight)).collect());
                    let kept: HashMap<_, _> = pool.endpoints().iter().map(|e| (identity(e), Arc::as_ptr(e))).collect();
                    for (key, endpoint) in &kept {
                        if let Some(before) = identities.get(key) {
                            prop_assert_eq!(before, endpoint, "a server that stays is the same one");
                        }
                    }
                    identities = kept;
                }
                Event::Pass(number) => {
                    endpoints.get(number).map(|endpoint| pool.observe(endpoint, Outcome::Pass, now));
                    prop_assert!(pool.usable() >= usable);
                }
                Event::Fail(number) => {
                    endpoints.get(number).map(|endpoint| pool.observe(endpoint, Outcome::Fail("x"), now));
                    prop_assert!(pool.usable() <= usable);
                }
                Event::Refuse(number) => {
                    endpoints.get(number).map(|endpoint| pool.connect_failed(endpoint, now));
                    prop_assert!(pool.usable() <= usable);
                    prop_assert!(pool.usable() > 0 || usable == 0, "requests took out the last server");
                }
                Event::Pick => {
                    match pick(&pool, &[address(0)]) {
                        Ok(lease) => {
                            prop_assert!(lease.endpoint().state().is_usable());
                            prop_assert!(lease.endpoint().address() != address(0));
                        }
                        Err(PickError::NoneFit) => prop_assert_eq!(usable, 0),
                        Err(error) => prop_assert_eq!((error, usable), (PickError::AllTried, 1)),
                    }
                }
            }
            let fit = pool.endpoints().iter().filter(|endpoint| endpoint.state().is_usable()).count();
            prop_assert_eq!(pool.usable(), fit);
        }
    }
}
