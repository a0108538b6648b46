//! What is asked of a store that several gateways share, and what it says; the store itself is Redis and a script.
//!
//! A store that is asked about every request is exact and costs a round trip each. So large limits are *leased*: a gateway
//! asks for some units at once and spends them within a short time `L`, the length of the lease.
//!
//! # The bound
//! What the store grants conforms to the bucket (R units a second, at most B at once): in any time `w` it grants at most
//! `B + R·w`. Every unit that is admitted was granted at most `L` earlier. So the admissions of all gateways together in any
//! window `w` are among the grants of a window `w + L`: at most `B + R·w + R·L`. Neither the number of gateways, nor their
//! clocks, nor their crashes come into it: a gateway measures `L` by its own monotonic clock from before it asked, and a
//! lease that is lost is not spent. With `strict`, the bucket is granted with a capacity of `B - R·L`: then no window ever
//! sees more than `B + R·w`.
//!
//! # What is given back
//! Units that were not spent are given back with the next question. Giving all of them back would be wrong: had they never
//! been taken, the bucket might have been full meanwhile and have lost just as much. So the store keeps a clock `V` that
//! runs while the bucket, less what is out on leases, would be full (`W - O·T <= 0`, with the backlog `W`, the units out
//! `O`, and the period `T`); of `u` units, `u·T - (V now - V at the grant)` is given back. The invariant is
//! `W - W_true >= Σ max(0, u·T - (V - V at the grant))` over the leases that are out, where `W_true` is the backlog had the
//! unspent units not been taken: the surplus can only decay while `W_true = 0`, then `W <= O·T` and `V` runs, as fast as
//! time. So a refund never makes the bucket more generous than that. Crashed leases leave `O` too large: `V` runs more than
//! it need, refunds are smaller, the bound stands.

use std::sync::OnceLock;

use super::gcra::{Bucket, Level};
use super::policy::{Count, Policy};

/// Shortest and longest lease, nanoseconds.
const SHORTEST: u64 = 20_000_000;
const LONGEST: u64 = 2_000_000_000;

/// How long a refusal by a limit on failures is remembered, nanoseconds: what others give back is not known here.
const FORGIVING: u64 = 1_000_000_000;

/// How a limit is counted in the shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The bucket as the store has it.
    pub bucket: Bucket,
    /// Length of a lease, nanoseconds; 0: every decision is made in the store.
    pub lease: u64,
    /// How long a denial is remembered at most, nanoseconds.
    pub denial: u64,
}

/// The terms of a limit for any number of gateways; worked out when they are needed first.
#[derive(Debug, Clone, Default)]
pub struct AllTerms(OnceLock<Among>);

#[derive(Debug, Clone, Copy)]
struct Among {
    /// Among more gateways than this every decision is made in the store.
    most: u32,
    few: Terms,
    many: Terms,
}

impl Terms {
    /// The terms of a limit among so many gateways.
    #[must_use]
    pub fn of(policy: &Policy, gateways: u32) -> Self {
        let Among { most, few, many } = policy.terms.0.get_or_init(|| Among::of(policy));
        if gateways.max(1) > *most { *many } else { *few }
    }

    /// Whether every decision is made in the store.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.lease == 0
    }

    /// How much more than the bucket's capacity all gateways together may admit at once, units: R·L.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.lease.div_ceil(self.bucket.period())
    }
}

impl Among {
    /// A lease lasts as long as a tenth of the bucket takes to fill, within 20 ms and 2 s. Nothing is leased where every
    /// gateway could hold hardly more than one unit, where less than one comes back during a lease, or where the exact
    /// backlog matters: to give back what a success had reserved, or to say how long a request waits.
    fn of(policy: &Policy) -> Self {
        let bucket = policy.bucket.in_microseconds();
        let cost = u64::from(policy.cost.min(bucket.capacity()).max(1));
        let lease = (bucket.fill_time() / 10).clamp(SHORTEST, LONGEST);
        let ahead = lease / bucket.period();
        let failures = policy.count == Count::Failures;
        let waits = bucket.prompt() < bucket.capacity();
        let exact = Terms {
            bucket,
            lease: 0,
            denial: if failures { FORGIVING } else { u64::MAX },
        };
        let always_exact = Self {
            most: 0,
            few: exact,
            many: exact,
        };
        if policy.exact || failures || waits || ahead < cost {
            return always_exact;
        }
        // More than two units for each.
        let most = (u64::from(bucket.capacity()) / cost).saturating_sub(1) / 2;
        let among = |few| Self {
            most: u32::try_from(most).unwrap_or(u32::MAX),
            few,
            many: exact,
        };
        let leased = Terms {
            lease,
            denial: u64::MAX,
            ..exact
        };
        if !policy.strict {
            return among(leased);
        }
        // A tenth of the bucket; more where leases could not be shorter.
        let reserve = u32::try_from(lease.div_ceil(bucket.period())).unwrap_or(u32::MAX);
        if reserve > bucket.capacity() / 4 {
            return always_exact;
        }
        among(Terms {
            bucket: bucket.less(reserve),
            ..leased
        })
    }
}

/// What is told about units that were granted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settlement {
    /// Units that are no longer out.
    pub units: u32,
    /// Those of them that were not spent.
    pub unspent: u32,
    /// The store's clock `V` when they were granted.
    pub clock: u64,
}

impl Settlement {
    /// Adds another one. Of two clocks the earlier is told, which gives back less rather than more.
    pub fn add(&mut self, other: Self) {
        self.clock = match (self.unspent, other.unspent) {
            (0, 0) => self.clock.max(other.clock),
            (0, _) => other.clock,
            (_, 0) => self.clock,
            _ => self.clock.min(other.clock),
        };
        self.units = self.units.saturating_add(other.units);
        self.unspent = self.unspent.saturating_add(other.unspent);
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units == 0
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It is told, and stands in nobody's way.
    Report,
    /// It refuses everything that is asked at the same time.
    Enforce,
    /// There is none: what can no longer be refused is charged, and the bucket is empty at worst.
    Force,
}

/// A question about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whose.
    pub id: u128,
    /// Keys with the same tag are kept together: they can be asked about in one step.
    pub tag: u64,
    /// How it is counted.
    pub terms: Terms,
    /// Fewest units that are of use; 0: it is only told what is settled.
    pub least: u32,
    /// Most units that are wanted.
    pub most: u32,
    /// The units are out until they are settled.
    pub out: bool,
    /// What a refusal means.
    pub manner: Manner,
    /// What is told.
    pub settle: Settlement,
}

impl Ask {
    /// Whether units are asked for that somebody may spend.
    #[must_use]
    pub fn wants_units(&self) -> bool {
        self.least > 0 && self.manner != Manner::Force
    }
}

/// What the store says about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reply {
    /// Units that were granted; 0: it was refused, here or by what was asked with it.
    pub granted: u32,
    /// What is charged and not yet drained, nanoseconds.
    pub backlog: u64,
    /// When so many units would be granted, nanoseconds; 0: it was not refused here.
    pub retry_in: u64,
    /// The clock `V`.
    pub clock: u64,
}

impl Reply {
    /// What is left, with so many units of it in hand.
    #[must_use]
    pub fn level(&self, bucket: Bucket, in_hand: u32) -> Level {
        let unspent = bucket.span(in_hand.min(bucket.capacity()));
        let mut level = bucket.look(self.backlog.saturating_sub(unspent), 0);
        level.retry_in = self.retry_in;
        level
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy(count: u64, seconds: u64, capacity: u32) -> Policy {
        Policy::new("a", Bucket::new(count, Duration::from_secs(seconds), capacity))
    }

    #[test]
    fn large_limits_are_leased_and_small_ones_exact() {
        const MS: u64 = 1_000_000;
        for (limit, gateways, lease, ahead) in [
            ((1000, 1, 1000), 4, 100 * MS, 100),
            ((100, 1, 20), 4, 20 * MS, 2),
            ((100, 1, 61), 1, 61 * MS, 7),
            ((10, 1, 41), 4, 410 * MS, 5),
            ((1000, 3600, 1000), 4, 0, 0), // not one comes back in 2 s
            ((5, 60, 5), 1, 0, 0),
            ((100, 1, 8), 4, 0, 0), // two for each
            ((100, 1, 9), 4, 20 * MS, 2),
        ] {
            let (count, seconds, capacity) = limit;
            let terms = Terms::of(&policy(count, seconds, capacity), gateways);
            assert_eq!((terms.lease, terms.ahead()), (lease, ahead), "{limit:?} {gateways}");
        }
    }

    #[test]
    fn what_needs_the_exact_backlog_is_exact() {
        assert!(!Terms::of(&policy(1000, 1, 1000), 4).is_exact());
        for change in [
            |policy: &mut Policy| policy.exact = true,
            |policy: &mut Policy| policy.count = Count::Failures,
            |policy: &mut Policy| policy.bucket = policy.bucket.delaying_beyond(10),
            |policy: &mut Policy| policy.cost = 200,
        ] {
            let mut policy = policy(1000, 1, 1000);
            change(&mut policy);
            assert!(Terms::of(&policy, 4).is_exact(), "{policy:?}");
        }
    }

    #[test]
    fn strict_limits_keep_a_reserve() {
        let strict = |capacity| Policy {
            strict: true,
            ..policy(1000, 1, capacity)
        };
        let terms = Terms::of(&strict(1000), 4);
        assert_eq!((terms.bucket.capacity(), terms.ahead()), (900, 100));
        // A reserve of half the bucket would be worse than a round trip.
        assert!(Terms::of(&strict(40), 4).is_exact());
    }

    #[test]
    fn settlements_add_up_to_no_more_than_each() {
        let one = |units, unspent, clock| Settlement { units, unspent, clock };
        let mut all = Settlement::default();
        assert!(all.is_empty());
        all.add(one(5, 0, 90));
        all.add(one(5, 2, 50));
        all.add(one(5, 1, 70));
        all.add(one(1, 0, 10));
        assert_eq!(all, one(16, 3, 50));
    }
}
