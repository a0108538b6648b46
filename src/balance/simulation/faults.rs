//! What servers that fail do to the whole.

use std::cell::Cell;
use std::collections::VecDeque;

use super::*;
use crate::balance::{
    AdaptiveSettings, BreakerSettings, BreakerState, Condition, Drain, Outcome, OutlierSettings, Thresholds,
};

#[test]
fn a_server_that_fails_fast_attracts_next_to_nothing() {
    for fault in [Work::Fail(1.0), Work::Err(1.0)] {
        fails_fast(fault);
    }
}

fn fails_fast(fault: Work) {
    let system = System {
        work: &|server, _| if server == 0 { fault } else { Work::Serve(8.0) },
        seconds: 120.0,
        ..System::default()
    };
    let with_ejection = |strategy| Settings {
        outlier: Some(OutlierSettings::default()),
        slow_start: Duration::from_secs(10),
        ..plain(strategy)
    };
    // Without the penalty it would look like the best of them.
    let blind = run(&system, plain(Strategy::LeastRequests), &[1; 4]);
    assert!(blind.share(0) > 0.2, "{:?}", blind.picks);
    let penalised = run(&system, plain(Strategy::PeakEwma), &[1; 4]);
    assert!(penalised.share(0) < 0.005, "{:?}", penalised.picks);
    for strategy in STRATEGIES {
        let report = run(&system, with_ejection(strategy), &[1; 4]);
        assert!(report.share(0) < 0.005, "{strategy:?}: {:?}", report.picks);
        assert!(strategy == Strategy::PeakEwma || report.ejections >= 2);
    }
}

/// Somebody knows a request that breaks the application, and sends it ten times a second among two hundred and fifty good
/// ones: an error between good answers says nothing about the server, so nobody is pushed anywhere.
#[test]
fn requests_that_break_the_application_push_nobody_off_a_server() {
    let dice = Dice::seeded(2);
    let work = |_, _| {
        if dice.unit() < 0.04 {
            Work::Err(1.0)
        } else {
            Work::Serve(8.0)
        }
    };
    let system = System {
        work: &work,
        ..System::default()
    };
    let settings = Settings {
        outlier: Some(OutlierSettings::default()),
        ..plain(Strategy::PeakEwma)
    };
    let mut report = run(&system, settings, &[1; 4]);
    assert_eq!(report.ejections, 0);
    for server in 0..4 {
        assert!((0.15..0.35).contains(&report.share(server)), "{:?}", report.picks);
    }
    let mut without = run(&System::default(), plain(Strategy::PeakEwma), &[1; 4]);
    let (with, without) = (report.percentile(99), without.percentile(99));
    assert!(with < without * 1.5, "p99 {with} ms, without them {without} ms");
}

#[test]
fn one_that_mostly_succeeds_is_found_by_its_rate() {
    let dice = Dice::seeded(9);
    let work = |server: usize, _: f64| match server {
        0 if dice.unit() < 0.4 => Work::Fail(8.0),
        _ => Work::Serve(8.0),
    };
    let system = System {
        work: &work,
        servers: 6,
        rate: 300.0,
        ..System::default()
    };
    let settings = Settings {
        outlier: Some(OutlierSettings {
            consecutive_failures: 0,
            ..OutlierSettings::default()
        }),
        ..plain(Strategy::RoundRobin)
    };
    let report = run(&system, settings, &[1; 6]);
    assert!(report.ejections >= 1);
    assert!(report.share(0) < 0.08, "{:?}", report.picks);
}

#[test]
fn ejection_never_leaves_nobody() {
    for strategy in STRATEGIES {
        let settings = Settings {
            outlier: Some(OutlierSettings {
                max_ejected: 1.0,
                ..OutlierSettings::default()
            }),
            ..plain(strategy)
        };
        let pool = pool(settings, &[1; 4]);
        let system = System {
            work: &|_, _| Work::Fail(1.0),
            ..System::default()
        };
        let report = system.run(&pool, Instant::now(), |_, _| assert!(pool.usable() >= 1));
        assert!(report.refused.is_empty(), "{:?}", report.refused);
        assert!(report.ejections >= 3, "{strategy:?}");
    }
}

#[test]
fn the_breaker_opens_and_closes_again() {
    let settings = Settings {
        breaker: Some(BreakerSettings::default()),
        ..plain(Strategy::RoundRobin)
    };
    let pool = pool(settings, &[1; 4]);
    let outage = |_, seconds| {
        if (20.0..40.0).contains(&seconds) {
            Work::Fail(1.0)
        } else {
            Work::Serve(8.0)
        }
    };
    let opened = Cell::new(false);
    let start = Instant::now();
    let system = System {
        work: &outage,
        ..System::default()
    };
    let report = system.run(&pool, start, |seconds, now| {
        let state = pool.breaker(now).unwrap();
        opened.set(opened.get() || state == BreakerState::Open);
        if !(20.0..47.0).contains(&seconds) {
            assert_eq!(state, BreakerState::Closed, "after {seconds} s");
        }
    });
    assert!(opened.get());
    // 5000 requests came in these twenty seconds.
    assert!(report.failed < 1500, "{} reached servers that were down", report.failed);
    assert_eq!(
        pool.breaker(start + Duration::from_secs(61)),
        Some(BreakerState::Closed)
    );
}

#[test]
fn a_retry_storm_is_bounded_by_the_budget() {
    let system = System {
        work: &|_, _| Work::Fail(1.0),
        retries: 10,
        ..System::default()
    };
    let report = run(&system, plain(Strategy::RoundRobin), &[1; 4]);
    let retries = report.attempts - report.requests;
    let bound = report.requests as f64 * 0.2 + 10.0 * system.seconds + 100.0;
    assert!(
        retries as f64 <= bound,
        "{retries} retries of {} requests",
        report.requests
    );
    assert!(
        retries as f64 > bound * 0.8,
        "but what the budget has is given: {retries} of {bound}"
    );
}

#[test]
fn nothing_panics_on_nonsense() {
    let now = Instant::now();
    for strategy in STRATEGIES.into_iter().chain([
        Strategy::ConsistentHash { load_factor: f64::NAN },
        Strategy::ConsistentHash { load_factor: -1.0 },
    ]) {
        let settings = Settings {
            strategy,
            health: Some(Thresholds {
                unhealthy_after: 0,
                healthy_after: 0,
            }),
            outlier: Some(OutlierSettings {
                consecutive_failures: 1,
                success_rate: true,
                interval: Duration::ZERO,
                base_time: Duration::MAX,
                max_time: Duration::MAX,
                max_ejected: f64::NAN,
            }),
            slow_start: Duration::MAX,
            panic_threshold: f64::NAN,
            breaker: Some(BreakerSettings {
                failure_share: f64::NAN,
                min_requests: 0,
                consecutive_failures: 0,
                open_for: Duration::MAX,
                probes: 0,
            }),
            adaptive: Some(AdaptiveSettings {
                min: u32::MAX,
                initial: 0,
                max: 0,
            }),
            ..Settings::default()
        };
        for weights in [&[][..], &[0], &[0, 0], &[u32::MAX, 0, 1], &[u32::MAX; 20]] {
            let pool = pool(settings, weights);
            pool.update(members(weights));
            for turn in 0..50u64 {
                let now = now + Duration::from_secs(turn);
                let ask = Ask {
                    hash: Some(turn),
                    sticky: Some("@"),
                    ..Ask::any(now)
                };
                let picked = pool.pick(&ask);
                assert_eq!(picked.is_err(), weights.is_empty());
                if let Ok(mut lease) = picked {
                    let outcome = if turn % 3 == 0 {
                        AttemptOutcome::Failure {
                            retry_after: Some(Duration::MAX),
                        }
                    } else {
                        AttemptOutcome::Success
                    };
                    let latency = Some(Duration::MAX);
                    lease.finish(Finish { outcome, latency, now });
                }
            }
            assert!(pool.snapshot(now).iter().all(|view| view.in_flight == 0));
        }
    }
}

#[test]
fn probes_and_requests_are_one_picture() {
    let settings = Settings {
        health: Some(Thresholds {
            unhealthy_after: 1,
            healthy_after: 1,
        }),
        outlier: Some(OutlierSettings::default()),
        slow_start: Duration::from_secs(10),
        ..plain(Strategy::RoundRobin)
    };
    let pool = pool(settings, &[1; 4]);
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let endpoints = pool.endpoints();
    let conditions = |seconds| {
        pool.snapshot(at(seconds))
            .into_iter()
            .map(|view| view.state)
            .collect::<Vec<_>>()
    };
    for endpoint in &endpoints[..3] {
        pool.observe(endpoint, Outcome::Pass, at(0));
    }
    pool.observe(&endpoints[1], Outcome::Fail("status 500"), at(0));
    while pool.usable() == 3 {
        let mut lease = pool.pick(&Ask::any(at(0))).unwrap();
        let outcome = match lease.endpoint().address() == address(0) {
            true => AttemptOutcome::FAILURE,
            false => AttemptOutcome::Success,
        };
        for ejection in lease.finish(Finish {
            outcome,
            latency: None,
            now: at(0),
        }) {
            assert_eq!(ejection.endpoint.address(), address(0));
            assert_eq!(ejection.cause.to_string(), "5 failures in a row");
            assert_eq!(ejection.time, Duration::from_secs(30));
        }
    }
    pool.drain(endpoints[3].session(), Drain::KeepSessions).unwrap();
    let remaining = Duration::from_secs(20);
    use Condition::{Draining, Ejected, Healthy, SlowStart, Unhealthy};
    assert_eq!(conditions(10), [Ejected { remaining }, Unhealthy, Healthy, Draining]);
    let reasons: Vec<_> = pool.snapshot(at(10)).into_iter().map(|view| view.reason).collect();
    assert_eq!(reasons[0].as_deref(), Some("5 failures in a row"));
    assert_eq!(reasons[1].as_deref(), Some("status 500"));
    assert_eq!(reasons[2], None);
    pool.observe(&endpoints[1], Outcome::Pass, at(32));
    assert_eq!(
        conditions(34),
        [SlowStart { percent: 40 }, SlowStart { percent: 20 }, Healthy, Draining]
    );
    assert_eq!(conditions(50)[..2], [Healthy, Healthy]);
}

/// Four servers that answer in 2 ms, a request each millisecond; one of them freezes. Until its first time limit nothing
/// tells but its silence.
#[test]
fn a_server_that_freezes_is_noticed_by_its_silence() {
    let pool = pool(plain(Strategy::PeakEwma), &[1; 4]);
    let start = Instant::now();
    let mut hung = Vec::new();
    let mut working: VecDeque<(u64, Lease)> = Default::default();
    for millis in 0..3000 {
        let now = start + Duration::from_millis(millis);
        while working.front().is_some_and(|(end, _)| *end <= millis)
            && let Some((_, mut lease)) = working.pop_front()
        {
            let latency = Some(Duration::from_millis(2));
            let outcome = AttemptOutcome::Success;
            lease.finish(Finish { outcome, latency, now });
        }
        let lease = pool.pick(&Ask::any(now)).unwrap();
        if millis >= 1000 && lease.endpoint().address() == address(2) {
            hung.push(lease);
        } else {
            working.push_back((millis + 2, lease));
        }
    }
    assert!((1..=4).contains(&hung.len()), "{} of 2000", hung.len());
    assert!(pool.snapshot(start + Duration::from_secs(3))[2].latency_estimate > Some(Duration::from_secs(1)));
}
