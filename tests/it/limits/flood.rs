//! Ten million sources, in small: what a flood costs, and whom. `cargo run --release --example limit_flood` is the whole.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use deals247_gateway::limit::local::Occupancy;
use deals247_gateway::limit::{Asker, Bucket, KeyHasher, Limits, Local, Policy, Verdict};
use fastrand::Rng;
use http::HeaderMap;

const SECOND: u64 = 1_000_000_000;

/// A flood over people who go on with what they do.
pub(crate) struct Flood {
    /// Places in the store.
    pub(crate) capacity: usize,
    /// Sources of the attack, each asking once.
    pub(crate) sources: u64,
    /// How long it takes, seconds. People come for as long before it.
    pub(crate) seconds: u64,
    /// People, each asking at half of what the limit admits.
    pub(crate) people: u64,
    /// The limit: units, seconds, capacity.
    pub(crate) limit: (u64, u64, u32),
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests of people whose network is not attacked, and how many were refused.
    pub(crate) innocent: (u64, u64),
    /// The same of people whose network is under attack: of those who were there before it began.
    pub(crate) neighbours: (u64, u64),
    /// And of those who were not.
    pub(crate) strangers: (u64, u64),
    /// Requests of the attack from few networks, and how many were refused.
    pub(crate) dense: (u64, u64),
    /// Requests of the attack from anywhere, and how many were refused.
    pub(crate) sparse: (u64, u64),
    /// The store in the end.
    pub(crate) occupancy: Occupancy,
    /// Requests in all.
    pub(crate) requests: u64,
}

/// A half of the attack has IPv6 addresses in a few /48s, a quarter fills IPv4 /24s, a quarter is anywhere.
fn attacker(sources: u64, random: &mut Rng) -> (IpAddr, bool) {
    match random.u8(..4) {
        0 | 1 => (dense_v6(sources, random), true),
        2 => (dense_v4(sources, random), true),
        _ => (v4(random.u32(0x10_0000..0xd0_0000), random), false),
    }
}

fn dense_v6(sources: u64, random: &mut Rng) -> IpAddr {
    v6(0x2001_0db8_0000 + random.u64(..sources.div_ceil(100_000)), random)
}

fn dense_v4(sources: u64, random: &mut Rng) -> IpAddr {
    let networks = u32::try_from(sources / 4 / 256).unwrap_or(u32::MAX).clamp(1, 0x5_0000);
    v4(0x0a_0000 + random.u32(..networks), random)
}

fn v6(network: u64, random: &mut Rng) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(network << 16 | random.u64(..1 << 16)) << 64 | 1).into()
}

fn v4(network: u32, random: &mut Rng) -> IpAddr {
    Ipv4Addr::from_bits(network << 8 | random.u32(..256)).into()
}

impl Flood {
    pub(crate) fn run(&self) -> Outcome {
        let (count, seconds, capacity) = self.limit;
        let policy = Policy::new("api", Bucket::new(count, Duration::from_secs(seconds), capacity));
        let limits = Limits::new(vec![Arc::new(policy)], &KeyHasher::random()).expect("one limit");
        let store = Arc::new(Local::new(self.capacity));
        let headers = HeaderMap::new();
        let refused = |client: IpAddr, now: u64| {
            let asker = Asker {
                client,
                method: &http::Method::GET,
                headers: &headers,
                query: None,
                subject: None,
                route: "api",
                host: "",
            };
            let charges = limits.charges(&asker).expect("nothing is missing");
            matches!(store.check(&charges, now).verdict, Verdict::Denied { .. })
        };

        let mut random = Rng::with_seed(247);
        // One in a hundred lives in a network from which the attack comes.
        let homes: Vec<IpAddr> = (0..self.people)
            .map(|person| match person % 200 {
                0 => dense_v6(self.sources, &mut random),
                1 => dense_v4(self.sources, &mut random),
                even if even % 2 == 0 => v6(0x2a00_0000_0000 + random.u64(..1 << 32), &mut random),
                _ => v4(random.u32(0x10_0000..0xd0_0000), &mut random),
            })
            .collect();
        let pause = 2 * seconds * SECOND / count; // of each person
        let mut known = vec![false; homes.len()];
        let mut due: BinaryHeap<_> = (0..homes.len())
            .map(|person| Reverse((SECOND + random.u64(..pause), person)))
            .collect();

        let (start, end) = ((1 + self.seconds) * SECOND, (1 + 2 * self.seconds) * SECOND);
        let gap = (end - start) / self.sources;
        let mut outcome = Outcome {
            innocent: (0, 0),
            neighbours: (0, 0),
            strangers: (0, 0),
            dense: (0, 0),
            sparse: (0, 0),
            occupancy: Occupancy::default(),
            requests: 0,
        };
        let mut note = |of: &mut (u64, u64), refused: bool| {
            of.0 += 1;
            of.1 += u64::from(refused);
            outcome.requests += 1;
        };
        // Steps of a millisecond: people first, then the share of the attack.
        let (mut attacked, step) = (0, SECOND / 1000);
        let mut now = SECOND;
        while now < end {
            while let Some(Reverse((at, person))) = due.peek().copied().filter(|first| first.0.0 <= now) {
                due.pop();
                let refused = refused(homes[person], at);
                known[person] |= at < start;
                let of = match (person % 200, known[person]) {
                    (0 | 1, true) => &mut outcome.neighbours,
                    (0 | 1, false) => &mut outcome.strangers,
                    _ => &mut outcome.innocent,
                };
                note(of, refused);
                due.push(Reverse((at + pause / 2 + random.u64(..pause), person)));
            }
            while now >= start && attacked < self.sources && start + attacked * gap <= now {
                let (address, dense) = attacker(self.sources, &mut random);
                let refused = refused(address, now);
                note(if dense { &mut outcome.dense } else { &mut outcome.sparse }, refused);
                attacked += 1;
            }
            now += step;
        }
        outcome.occupancy = store.occupancy(now);
        outcome
    }
}
