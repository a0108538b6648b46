//! What probes and refused connections do.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::*;

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
