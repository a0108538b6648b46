//! What the strategies do to whole systems.

use std::cell::Cell;
use std::collections::HashMap;

use super::*;
use crate::balance::{
    AdaptiveSettings, BreakerSettings, BreakerState, Condition, Drain, Outcome, OutlierSettings, Strategy, Thresholds,
};

const STRATEGIES: [Strategy; 5] = [
    Strategy::PeakEwma,
    Strategy::LeastRequests,
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::CONSISTENT_HASH,
];

fn plain(strategy: Strategy) -> Settings {
    Settings {
        strategy,
        outlier: None,
        slow_start: Duration::ZERO,
        ..Settings::default()
    }
}

fn run(system: &System<'_>, settings: Settings, weights: &[u32]) -> Report {
    system.run(&pool(settings, weights), Instant::now(), |_, _| ())
}

#[test]
fn equal_servers_get_equal_shares() {
    for strategy in STRATEGIES {
        let report = run(&System::default(), plain(strategy), &[1; 4]);
        assert!(report.attempts > 14_000 && report.failed == 0);
        for server in 0..4 {
            let share = report.share(server);
            assert!((0.20..0.30).contains(&share), "{strategy:?}: {:?}", report.picks);
        }
    }
}

#[test]
fn shares_follow_the_weights() {
    // Weights mean that servers are so much larger.
    let weights = [1u32, 2, 5];
    let work = |server: usize, _: f64| Work::Serve(16.0 / f64::from(weights[server]));
    let system = System {
        work: &work,
        servers: 3,
        rate: 350.0,
        ..System::default()
    };
    for strategy in STRATEGIES {
        let report = run(&system, plain(strategy), &weights);
        // Those that look at the load send more to the large ones while there is little to do: it is done sooner there.
        let looks = matches!(strategy, Strategy::PeakEwma | Strategy::LeastRequests);
        let (least, most) = if looks { (0.15, 1.4) } else { (0.7, 1.3) };
        for (server, &weight) in weights.iter().enumerate() {
            let part = report.share(server) / (f64::from(weight) / 8.0);
            assert!((least..most).contains(&part), "{strategy:?}: {:?}", report.picks);
        }
    }
}

#[test]
fn large_pools_are_balanced_too() {
    let system = System {
        servers: 40,
        rate: 2500.0,
        seconds: 20.0,
        ..System::default()
    };
    for strategy in STRATEGIES {
        let report = run(&system, plain(strategy), &[1; 40]);
        for server in 0..40 {
            let part = report.share(server) * 40.0;
            assert!((0.5..1.6).contains(&part), "{strategy:?}: {:?}", report.picks);
        }
    }
}

#[test]
fn a_slow_server_gets_what_it_can_do() {
    let system = System {
        work: &|server, _| Work::Serve(if server == 0 { 80.0 } else { 8.0 }),
        servers: 8,
        rate: 500.0,
        ..System::default()
    };
    let mut peak = run(&system, plain(Strategy::PeakEwma), &[1; 8]);
    let mut least = run(&system, plain(Strategy::LeastRequests), &[1; 8]);
    let mut rotation = run(&system, plain(Strategy::RoundRobin), &[1; 8]);
    assert!(peak.share(0) < 0.02, "{:?}", peak.picks);
    assert!(least.share(0) < 0.04, "{:?}", least.picks);
    let (peak, least, rotation) = (peak.percentile(99), least.percentile(99), rotation.percentile(99));
    assert!(
        peak < least && least < rotation / 5.0,
        "p99 {peak} {least} {rotation} ms"
    );
}

#[test]
fn a_server_that_fails_fast_attracts_next_to_nothing() {
    let system = System {
        work: &|server, _| if server == 0 { Work::Fail(1.0) } else { Work::Serve(8.0) },
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
fn a_newcomer_is_not_drowned() {
    // A hundred requests in flight, and one server joins that answers only after ten seconds.
    for slow_start in [Duration::ZERO, Duration::from_secs(10)] {
        let settings = Settings {
            slow_start,
            ..plain(Strategy::PeakEwma)
        };
        let pool = pool(settings, &[1; 3]);
        let start = Instant::now();
        let mut busy: Vec<Lease> = Vec::new();
        for _ in 0..99 {
            let mut lease = pool.pick(&Ask::any(start)).unwrap();
            lease.finish(Finish {
                outcome: AttemptOutcome::Success,
                latency: Some(Duration::from_millis(8)),
                now: start,
            });
            busy.push(lease);
        }
        pool.update(members(&[1; 4]));
        for _ in 0..100 {
            busy.push(pool.pick(&Ask::any(start)).unwrap());
        }
        let newcomer = pool.endpoints()[3].in_flight();
        assert!((1..=50).contains(&newcomer), "{newcomer} of 199 in flight");
    }
}

#[test]
fn slow_start_is_a_ramp() {
    for strategy in [Strategy::RoundRobin, Strategy::Random, Strategy::LeastRequests] {
        let settings = Settings {
            slow_start: Duration::from_secs(20),
            ..plain(strategy)
        };
        let pool = pool(settings, &[1, 1]);
        let start = Instant::now();
        pool.update(members(&[1, 1, 1]));
        let mut before = 0.0;
        for (second, least, most) in [(0, 0.03, 0.07), (10, 0.15, 0.25), (30, 0.28, 0.38)] {
            let now = start + Duration::from_secs(second);
            // Held, so that the fewest in flight is what follows the weights.
            let leases: Vec<Lease> = (0..600).map(|_| pool.pick(&Ask::any(now)).unwrap()).collect();
            let newcomer = leases
                .iter()
                .filter(|lease| lease.endpoint().address() == address(2))
                .count();
            let share = newcomer as f64 / 600.0;
            assert!((least..most).contains(&share), "{strategy:?} after {second} s: {share}");
            assert!(share > before);
            before = share;
        }
    }
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
fn a_learnt_limit_keeps_the_queue_short() {
    // Twice as much as two servers can do.
    let system = System {
        servers: 2,
        rate: 500.0,
        ..System::default()
    };
    let limited = Settings {
        adaptive: Some(AdaptiveSettings::default()),
        ..plain(Strategy::LeastRequests)
    };
    let mut with = run(&system, limited, &[1; 2]);
    let mut without = run(&system, plain(Strategy::LeastRequests), &[1; 2]);
    assert!(with.refused.len() == 1 && with.refused.contains_key(&PickError::AllFull.to_string()));
    let done = with.latencies.len() as f64 / (60.0 * 250.0);
    assert!(done > 0.85, "the servers are still busy: {done}");
    assert!(
        with.percentile(99) < 500.0 && without.percentile(99) > 5_000.0,
        "{}",
        with.percentile(99)
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
fn a_key_keeps_its_server_and_few_keys_move() {
    let settings = plain(Strategy::CONSISTENT_HASH);
    let pool = pool(settings, &[1; 8]);
    let now = Instant::now();
    let owners = || -> HashMap<u64, SocketAddr> {
        let owner = |key| {
            let ask = Ask {
                hash: Some(key),
                ..Ask::any(now)
            };
            (key, pool.pick(&ask).unwrap().endpoint().address())
        };
        (0..8000).map(owner).collect()
    };
    let eight = owners();
    assert_eq!(owners(), eight);
    pool.update(members(&[1; 7]));
    let seven = owners();
    let moved = eight.iter().filter(|(key, owner)| seven[key] != **owner).count();
    assert!((600..1500).contains(&moved), "about an eighth: {moved}");
    assert!(
        eight
            .iter()
            .all(|(key, owner)| *owner == address(7) || seven[key] == *owner)
    );
    pool.update(members(&[1; 8]));
    assert_eq!(owners(), eight, "and back");
}

#[test]
fn a_popular_key_does_not_drown_its_server() {
    let pool = pool(plain(Strategy::CONSISTENT_HASH), &[1; 4]);
    let ask = Ask {
        hash: Some(42),
        ..Ask::any(Instant::now())
    };
    let leases: Vec<Lease> = (0..400).map(|_| pool.pick(&ask).unwrap()).collect();
    let most = pool.endpoints().iter().map(|endpoint| endpoint.in_flight()).max();
    assert!(most <= Some(126), "a quarter more than a quarter of 400: {most:?}");
    drop(leases);
    let leases: Vec<Lease> = (0..2).map(|_| pool.pick(&ask).unwrap()).collect();
    assert_eq!(leases[0].endpoint().address(), leases[1].endpoint().address());
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
    let mut working: std::collections::VecDeque<(u64, crate::balance::Lease)> = Default::default();
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
