//! How requests are spread over servers that work.

use std::collections::HashMap;

use super::*;
use crate::balance::AdaptiveSettings;

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

/// One request after the other: nothing is ever in flight, so only what is known of the servers decides. They are the same,
/// and what differs is what happened at the moment: most answers take about as long, some twenty times as long.
#[test]
fn without_load_equal_servers_get_equal_shares_too() {
    for strategy in [Strategy::PeakEwma, Strategy::LeastRequests] {
        for (millis, least, most) in [(0.3, 0.6, 1.4), (2.0, 0.5, 1.6), (40.0, 0.3, 2.0)] {
            let shares = one_by_one(strategy, &[1; 4], |dice, _| {
                let millis = millis * (0.7 + 0.6 * dice.unit());
                if dice.unit() < 0.01 { millis * 20.0 } else { millis }
            });
            let bounds = least / 4.0..most / 4.0;
            assert!(
                shares.iter().all(|share| bounds.contains(share)),
                "{strategy:?}, {millis} ms: {shares:?}"
            );
        }
    }
}

#[test]
fn without_load_shares_follow_the_weights() {
    for strategy in [Strategy::PeakEwma, Strategy::LeastRequests] {
        let shares = one_by_one(strategy, &[1, 2, 5], |dice, _| 0.5 + dice.unit());
        for (share, part) in shares.iter().zip([0.125, 0.25, 0.625]) {
            assert!((share / part - 1.0).abs() < 0.25, "{strategy:?}: {shares:?}");
        }
    }
}

/// And yet a server that is slower in earnest is left to itself.
#[test]
fn without_load_a_slow_server_gets_next_to_nothing() {
    for (fast, slow) in [(1.0, 10.0), (8.0, 80.0), (20.0, 60.0)] {
        let shares = one_by_one(Strategy::PeakEwma, &[1; 4], |dice, server| {
            let millis = if server == 0 { slow } else { fast };
            millis * (0.9 + 0.2 * dice.unit())
        });
        assert!(shares[0] < 0.02, "{fast} and {slow} ms: {shares:?}");
    }
}

/// The share of each server of two thousand requests, one after the other with a pause of 10 ms.
fn one_by_one(strategy: Strategy, weights: &[u32], millis: impl Fn(&Dice, usize) -> f64) -> Vec<f64> {
    const REQUESTS: usize = 2000;
    let (pool, dice) = (pool(plain(strategy), weights), Dice::seeded(3));
    let mut now = Instant::now();
    let mut picks = vec![0usize; weights.len()];
    for _ in 0..REQUESTS {
        let mut lease = pool.pick(&Ask::any(now)).unwrap();
        let server = usize::from(lease.endpoint().address().port()) - 1;
        picks[server] += 1;
        let latency = Duration::from_secs_f64(millis(&dice, server) / 1000.0);
        now += latency;
        lease.finish(Finish {
            outcome: AttemptOutcome::Success,
            latency: Some(latency),
            now,
        });
        drop(lease);
        now += Duration::from_millis(10);
    }
    picks.iter().map(|&picks| picks as f64 / REQUESTS as f64).collect()
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
