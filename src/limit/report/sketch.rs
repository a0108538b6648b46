//! How many different keys there were: HyperLogLog (Flajolet et al. 2007) with 1024 registers of a byte.

const BITS: u32 = 10;
const REGISTERS: usize = 1 << BITS;

/// A kibibyte that estimates any number of different keys with a standard error of 3.3 %.
pub(super) struct Sketch(Box<[u8; REGISTERS]>);

impl Default for Sketch {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sketch").field(&self.estimate()).finish()
    }
}

impl Sketch {
    /// Notes a key: a hash, of which the low half is looked at.
    pub(super) fn note(&mut self, id: u128) {
        // The lowest bit may be the same for all keys.
        let hash = (id >> 1) as u64;
        let register = &mut self.0[hash as usize & (REGISTERS - 1)];
        let rank = ((hash >> BITS).leading_zeros() + 1 - BITS) as u8;
        *register = rank.max(*register);
    }

    /// About how many different keys were noted.
    pub(super) fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let empty = self.0.iter().filter(|rank| **rank == 0).count();
        // Few keys are counted better by the registers that none of them hit.
        let estimate = if raw <= 2.5 * registers && empty > 0 {
            registers * (registers / empty as f64).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near() {
        let mut random = fastrand::Rng::with_seed(1);
        for count in [0_u64, 1, 10, 500, 2_000, 5_000, 100_000] {
            let mut sketch = Sketch::default();
            for _ in 0..count {
                let id = random.u128(..);
                sketch.note(id);
                sketch.note(id);
            }
            let off = sketch.estimate().abs_diff(count);
            assert!(off * 10 <= count, "{count}: {}", sketch.estimate());
        }
    }
}
