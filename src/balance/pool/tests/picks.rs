//! Who is picked.

use std::num::NonZeroU32;

use super::*;

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
fn a_server_named_twice_has_both_shares() {
    let pool = pool(UNCHECKED, &[]);
    pool.update(vec![member(0, 1), member(1, 1), member(0, 1)]);
    assert_eq!(pool.endpoints().len(), 2);
    assert_eq!(ports(&pool, 3, &[]), [0, 1, 0]);
}

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
