//! Tests of the module above.

mod changes;
mod ejection;
mod fitness;
mod picks;
mod sessions;
mod threads;

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
