//! How fast bytes may flow: a bucket of bytes that nobody is refused by, only made to wait.
//!
//! The state is one moment, as in [`gcra`](super::gcra): when everything that was sent is paid for. What is sent is always
//! charged; who sends more than the burst waits until the rest of it is paid for. So all who share a bucket get its rate
//! together, in the order in which they come.

/// The longest that a part waits, nanoseconds: beyond it bytes are not charged, so that a moment of crowding is over at
/// some time.
const LONGEST: u64 = 60_000_000_000;

/// A rate of bytes, and how many may come before anybody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Bytes a second, at least 1.
    rate: u64,
    /// The time in which the burst is paid for, nanoseconds.
    burst: u64,
}

impl Flow {
    /// `rate` bytes a second, `burst` bytes at once before that.
    #[must_use]
    pub fn new(rate: u64, burst: u64) -> Self {
        let rate = rate.max(1);
        Self {
            rate,
            // A burst of more than a year is as good as none.
            burst: time(burst, rate).min(365 * 24 * 3600 * 1_000_000_000),
        }
    }

    /// Charges so many bytes: the new state, and how long they wait, nanoseconds. `tat`: the state, 0 for a flow that was
    /// never seen.
    #[must_use]
    pub fn take(self, tat: u64, now: u64, bytes: u64) -> (u64, u64) {
        let most = self.burst + LONGEST;
        let owed = tat.saturating_sub(now).min(most);
        let owed = owed.saturating_add(time(bytes, self.rate)).min(most);
        (now.saturating_add(owed), owed.saturating_sub(self.burst))
    }
}

/// The time that so many bytes take, nanoseconds.
fn time(bytes: u64, rate: u64) -> u64 {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_burst_is_free_and_the_rest_waits() {
        let flow = Flow::new(1000, 500);
        let (tat, wait) = flow.take(0, SECOND, 500);
        assert_eq!(wait, 0);
        let (tat, wait) = flow.take(tat, SECOND, 1000);
        assert_eq!(wait, SECOND);
        // After its wait the next part of the same size waits as long again.
        let (tat, wait) = flow.take(tat, 2 * SECOND, 1000);
        assert_eq!(wait, SECOND);
        // A pause pays for the burst again.
        let (_, wait) = flow.take(tat, 10 * SECOND, 500);
        assert_eq!(wait, 0);
    }

    #[test]
    fn nobody_waits_longer_than_a_minute() {
        let flow = Flow::new(1, 0);
        let (tat, wait) = flow.take(0, SECOND, u64::MAX);
        assert_eq!((tat, wait), (SECOND + LONGEST, LONGEST));
        assert_eq!(flow.take(u64::MAX, SECOND, 1).1, LONGEST);
    }

    proptest! {
        /// Whoever waits as told gets no more than burst and rate.
        #[test]
        fn the_rate_holds(rate in 1_000_u64..1_000_000_000, burst in 0_u64..10_000_000, parts in proptest::collection::vec(1_u64..65_536, 1..100)) {
            let flow = Flow::new(rate, burst);
            let (mut tat, mut now, mut sent) = (0, SECOND, 0_u128);
            for bytes in parts {
                let (next, wait) = flow.take(tat, now, bytes);
                prop_assume!(wait < LONGEST);
                (tat, now) = (next, now + wait);
                sent += u128::from(bytes);
                let admitted = u128::from(burst) + u128::from(rate) * u128::from(now - SECOND) / u128::from(SECOND);
                // Each part and the burst are cut to whole nanoseconds.
                prop_assert!(sent <= admitted + u128::from(rate) * 200 / u128::from(SECOND) + 200, "{sent} {admitted}");
            }
        }
    }
}
