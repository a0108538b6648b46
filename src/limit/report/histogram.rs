//! Counts by size: exact below eight, then eight steps to each doubling.

const STEPS: u32 = 8;
const SIZES: usize = (STEPS * (64 - 2)) as usize;

#[derive(Debug)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; SIZES].into(),
            most: 0,
        }
    }
}

impl Histogram {
    pub(super) fn note(&mut self, size: u64) {
        self.counts[place(size)] += 1;
        self.most = self.most.max(size);
    }

    /// The largest size that was noted.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// A size that `part` of `whole` do not exceed, at most an eighth too large; 0 if nothing was noted.
    pub(super) fn quantile(&self, part: u64, whole: u64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = (u128::from(total) * u128::from(part)).div_ceil(u128::from(whole));
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen >= rank {
                return largest(place).min(self.most);
            }
        }
        0
    }
}

/// Where a size is counted.
fn place(size: u64) -> usize {
    if size < u64::from(STEPS) {
        return size as usize;
    }
    let doubling = size.ilog2() - STEPS.ilog2();
    // The leading bit and the three behind it: 8 to 15.
    (STEPS * doubling) as usize + (size >> doubling) as usize
}

/// The largest size that is counted there.
fn largest(place: usize) -> u64 {
    let (place, steps) = (place as u64, u64::from(STEPS));
    if place < steps {
        return place;
    }
    let doubling = place / steps - 1;
    let leading = u128::from(place - steps * doubling + 1);
    u64::try_from((leading << doubling) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(99, 100), 0);
        for size in 0..=100 {
            histogram.note(size);
        }
        assert_eq!(histogram.quantile(1, 2), 51);
        assert_eq!(histogram.quantile(99, 100), 100);
        assert_eq!(histogram.most(), 100);
    }

    proptest! {
        #[test]
        fn every_size_has_its_place(size in any::<u64>(), shift in 0_u32..64) {
            let size = size >> shift;
            let at = place(size);
            prop_assert!(at < SIZES);
            prop_assert!(size <= largest(at));
            prop_assert!(largest(at) - size <= size / 8);
            prop_assert!(at == 0 || largest(at - 1) < size);
        }
    }
}
