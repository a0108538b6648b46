//! What failing requests do.

use super::*;

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
