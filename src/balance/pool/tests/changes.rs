//! Servers that come and go, and pools that follow one another.

use std::sync::atomic::AtomicUsize;

use super::*;

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
