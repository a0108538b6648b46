//! Where chance comes from: the thread's generator, or a seeded one that makes a simulation repeatable.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A source of chance that nobody gains from guessing.
#[derive(Debug)]
pub(super) enum Dice {
    /// Every thread its own: nothing is shared on the way of a request.
    Thread,
    /// One sequence for all threads.
    Seeded(AtomicU64),
}

impl Dice {
    pub(super) fn seeded(seed: u64) -> Self {
        Self::Seeded(AtomicU64::new(seed))
    }

    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Thread => fastrand::u64(..),
            Self::Seeded(state) => mix(state.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed)),
        }
    }

    /// From 0 up to, but without, 1.
    pub(super) fn unit(&self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `value`, up to a fifth more or less.
    pub(super) fn jitter(&self, value: f64) -> f64 {
        value * (0.8 + 0.4 * self.unit())
    }
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_range_is_kept() {
        let (one, two) = (Dice::seeded(7), Dice::seeded(7));
        for _ in 0..100 {
            assert_eq!(one.number(), two.number());
        }
        for dice in [one, Dice::Thread] {
            let mean = (0..10_000).map(|_| dice.unit()).sum::<f64>() / 10_000.0;
            assert!((0.45..0.55).contains(&mean), "{mean}");
            assert!((80.0..120.0).contains(&dice.jitter(100.0)));
        }
    }
}
