//! Several threads at a time.

use std::num::NonZeroU32;
use std::thread;

use super::*;

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
