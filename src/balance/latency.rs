//! How long a server takes to answer: a peak-sensitive moving average in one atomic.
//!
//! A slower answer is believed at once, a faster one little by little (*peak* EWMA). With the time since the last answer
//! the estimate fades towards zero, so that a server which nobody asks any more is tried again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::clock::Tick;

/// In this time the weight of the past falls to 1/e.
const DECAY: f64 = 10.0;
/// No estimate is shorter, seconds: below it all servers are equal, and the requests in flight decide.
const SHORTEST: f64 = 10e-6;
/// And none is longer.
const LONGEST: f64 = 24.0 * 3600.0;
/// What a failure counts as, unless the server names a longer time itself; and the longest it may name.
const PENALTY: Duration = Duration::from_secs(5);
const PENALTY_MAX: Duration = Duration::from_secs(300);

/// Seconds as `f32` in the upper half, the time of the last answer in milliseconds in the lower; 0: nothing is known. The
/// time wraps after 49 days: a server that was idle for so long is judged as if by a recent answer, once.
#[derive(Debug, Default)]
pub(super) struct Estimate(AtomicU64);

impl Estimate {
    /// Seconds that an answer is expected to take; `None`: it never answered.
    pub(super) fn seconds(&self, now: Tick) -> Option<f64> {
        let (seconds, at) = unpack(self.0.load(Relaxed))?;
        Some((seconds * faded(at, millis(now))).max(SHORTEST))
    }

    /// Takes in an answer.
    pub(super) fn answered(&self, latency: Duration, now: Tick) {
        self.record(latency.as_secs_f64(), now);
    }

    /// Takes in a failure: however fast it was, it counts as a slow answer. Without this a server that fails fast would
    /// look like the best and attract nearly all requests.
    pub(super) fn failed(&self, retry_after: Option<Duration>, now: Tick) {
        let penalty = retry_after.unwrap_or_default().clamp(PENALTY, PENALTY_MAX);
        self.record(penalty.as_secs_f64(), now);
    }

    /// Takes in that an answer has not come in this time, and will not be waited for.
    pub(super) fn outlasted(&self, waited: Duration, now: Tick) {
        if self.seconds(now).is_none_or(|known| known < waited.as_secs_f64()) {
            self.answered(waited, now);
        }
    }

    fn record(&self, sample: f64, now: Tick) {
        let now = millis(now);
        let sample = sample.clamp(SHORTEST, LONGEST);
        // Which of two racing answers comes first is open; that none is lost to a torn value is all that matters.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |packed| match unpack(packed) {
            None => Some(pack(sample, now)),
            Some((seconds, at)) => {
                let weight = faded(at, now);
                if sample >= seconds * weight {
                    Some(pack(sample, now))
                } else if weight < 1.0 {
                    Some(pack(seconds * weight + sample * (1.0 - weight), now))
                } else {
                    None // within one millisecond: nothing would change
                }
            }
        });
    }
}

/// The weight that what was known at `at` has at `now`.
fn faded(at: u32, now: u32) -> f64 {
    let elapsed = now.wrapping_sub(at);
    // More than half way round: `now` is older, a thread was late.
    if elapsed == 0 || elapsed > u32::MAX / 2 {
        return 1.0;
    }
    let x = f64::from(elapsed) / 1000.0 / DECAY;
    if x < 0.01 { 1.0 - x + x * x / 2.0 } else { (-x).exp() }
}

fn millis(now: Tick) -> u32 {
    (now / 1_000_000) as u32
}

fn pack(seconds: f64, at: u32) -> u64 {
    (u64::from((seconds as f32).to_bits()) << 32) | u64::from(at)
}

fn unpack(packed: u64) -> Option<(f64, u32)> {
    (packed != 0).then(|| (f64::from(f32::from_bits((packed >> 32) as u32)), packed as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn after(samples: &[(u64, u64)]) -> Estimate {
        let estimate = Estimate::default();
        for &(at, millis) in samples {
            estimate.answered(Duration::from_millis(millis), at);
        }
        estimate
    }

    fn close(estimate: &Estimate, now: Tick, expected: f64) {
        let seconds = estimate.seconds(now).unwrap();
        assert!((seconds / expected - 1.0).abs() < 0.001, "{seconds}, not {expected}");
    }

    #[test]
    fn unknown_until_the_first_answer() {
        assert_eq!(Estimate::default().seconds(SECOND), None);
        close(&after(&[(SECOND, 20)]), SECOND, 0.020);
    }

    #[test]
    fn peaks_are_believed_at_once_and_forgotten_slowly() {
        close(&after(&[(SECOND, 20), (2 * SECOND, 500)]), 2 * SECOND, 0.5);
        let slower = after(&[(SECOND, 500), (11 * SECOND, 100)]);
        let weight = (-1.0f64).exp();
        close(&slower, 11 * SECOND, 0.5 * weight + 0.1 * (1.0 - weight));
        // Nobody asks it: it fades, so that it is tried again.
        close(&after(&[(SECOND, 500)]), 31 * SECOND, 0.5 * (-3.0f64).exp());
        close(&after(&[(SECOND, 500)]), 10_000 * SECOND, SHORTEST);
    }

    #[test]
    fn who_is_not_waited_for_is_at_least_so_slow() {
        let estimate = after(&[(SECOND, 20)]);
        estimate.outlasted(Duration::from_millis(5), SECOND);
        close(&estimate, SECOND, 0.020);
        estimate.outlasted(Duration::from_millis(50), SECOND);
        close(&estimate, SECOND, 0.050);
        let unknown = Estimate::default();
        unknown.outlasted(Duration::from_millis(50), SECOND);
        close(&unknown, SECOND, 0.050);
    }

    #[test]
    fn failures_cost_their_penalty() {
        for (retry_after, penalty) in [(None, 5), (Some(1), 5), (Some(60), 60), (Some(86_400), 300)] {
            let estimate = after(&[(SECOND, 20)]);
            estimate.failed(retry_after.map(Duration::from_secs), SECOND);
            close(&estimate, SECOND, f64::from(penalty));
        }
    }

    #[test]
    fn a_late_thread_changes_little() {
        let estimate = after(&[(5 * SECOND, 500), (4 * SECOND, 1)]);
        close(&estimate, 5 * SECOND, 0.5);
        close(&estimate, 4 * SECOND, 0.5);
    }

    proptest! {
        #[test]
        fn stays_between_the_samples(samples in proptest::collection::vec((0u64..5_000, 0u64..100_000), 1..50)) {
            let estimate = Estimate::default();
            let mut now = 1;
            for &(pause, millis) in &samples {
                now += pause * 1_000_000;
                estimate.answered(Duration::from_millis(millis), now);
            }
            let longest = samples.iter().map(|&(_, millis)| millis).max().unwrap() as f64 / 1000.0;
            let seconds = estimate.seconds(now).unwrap();
            prop_assert!(seconds >= SHORTEST && seconds <= longest.max(SHORTEST) * 1.001, "{seconds}");
        }
    }
}
