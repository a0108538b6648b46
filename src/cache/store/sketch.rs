//! How often something was asked for, about: a count–min sketch that forgets by halves.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// Counters in a row; a power of two.
const WIDTH: usize = 1 << 16;

/// After so many counts everything is halved.
const PERIOD: u32 = 8 * WIDTH as u32;

/// Counts what was asked for.
pub(super) struct Sketch {
    rows: [Box<[AtomicU8]>; 2],
    counted: AtomicU32,
}

impl Sketch {
    pub(super) fn new() -> Self {
        let row = || std::iter::repeat_with(AtomicU8::default).take(WIDTH).collect();
        Self {
            rows: [row(), row()],
            counted: AtomicU32::new(0),
        }
    }

    /// Counts one more; how often it was counted by now, never too few since the last halving.
    pub(super) fn count(&self, hash: u128) -> u8 {
        let counters = self.counters(hash);
        let now = counters
            .map(|counter| counter.load(Relaxed))
            .into_iter()
            .min()
            .unwrap_or(0);
        for counter in counters {
            // Only the smallest: so that others who share the larger one are counted less too often.
            if counter.load(Relaxed) == now && now < u8::MAX {
                counter.store(now + 1, Relaxed);
            }
        }
        if self.counted.fetch_add(1, Relaxed) == PERIOD {
            self.counted.store(0, Relaxed);
            for counter in self.rows.iter().flat_map(|row| row.iter()) {
                counter.store(counter.load(Relaxed) / 2, Relaxed);
            }
        }
        now.saturating_add(1)
    }

    fn counters(&self, hash: u128) -> [&AtomicU8; 2] {
        let place = |shift: u32| usize::try_from((hash >> shift) & (WIDTH as u128 - 1)).unwrap_or(0);
        [&self.rows[0][place(0)], &self.rows[1][place(64)]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_forgets() {
        let sketch = Sketch::new();
        let key = 0x1234_5678_9abc_def0_1357_9bdf_0246_8ace;
        assert_eq!([sketch.count(key), sketch.count(key), sketch.count(key)], [1, 2, 3]);
        assert_eq!(sketch.count(key ^ 1 ^ (1 << 64)), 1);
        for other in 0..u128::from(PERIOD) {
            sketch.count(other.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        }
        assert!(sketch.count(key) < 20, "halved, and little that is shared");
    }
}
