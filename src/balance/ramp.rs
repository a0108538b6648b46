//! Slow start: a server that is new or back grows into its weight, because its caches and compilers are cold.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::clock::{Tick, ticks};

/// No ramp.
const WARM: Tick = 0;
/// It joined; the clock starts when the pool next looks at one.
const JOINED: Tick = Tick::MAX;
/// With less, too few requests would warm it up. Also the height of one step.
const STEP: u32 = 10;
/// Steps are not shorter, however short the whole: each builds the pool's order anew.
const SHORTEST_STEP: u64 = 10_000_000;

/// Where a server is on its way to full weight.
#[derive(Debug, Default)]
pub(super) struct Ramp(AtomicU64);

impl Ramp {
    /// The server is new beside others that are warm.
    pub(super) fn join(&self) {
        self.0.store(JOINED, Relaxed);
    }

    /// The server is back, or will be at that time.
    pub(super) fn start(&self, at: Tick) {
        self.0.store(at, Relaxed);
    }

    /// Starts the clock of a server that joined; to be called with a current time.
    pub(super) fn notice(&self, now: Tick) {
        if self.0.load(Relaxed) == JOINED {
            self.0.store(now, Relaxed);
        }
    }

    /// Percent of the weight that count now, in steps; 100 once it is over.
    pub(super) fn percent(&self, now: Tick, slow_start: Duration) -> u32 {
        let whole = ticks(slow_start);
        match self.0.load(Relaxed) {
            WARM => 100,
            _ if whole == 0 => 100,
            JOINED => STEP,
            started => {
                let passed = u128::from(now.saturating_sub(started)) * 100 / u128::from(whole);
                (passed.min(100) as u32 / STEP * STEP).max(STEP)
            }
        }
    }

    /// How long until [`Ramp::percent`] may be asked again.
    pub(super) fn step(slow_start: Duration) -> u64 {
        (ticks(slow_start) / u64::from(100 / STEP)).max(SHORTEST_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn grows_in_a_line_from_a_tenth_to_all() {
        let ramp = Ramp::default();
        let over = Duration::from_secs(20);
        assert_eq!(ramp.percent(5, over), 100, "warm");
        ramp.join();
        assert_eq!(ramp.percent(5, over), 10, "its clock does not run yet");
        ramp.notice(100 * SECOND);
        ramp.notice(200 * SECOND);
        for (seconds, percent) in [
            (99, 10),
            (100, 10),
            (103, 10),
            (104, 20),
            (110, 50),
            (119, 90),
            (120, 100),
            (999, 100),
        ] {
            assert_eq!(ramp.percent(seconds * SECOND, over), percent, "{seconds}");
        }
        assert_eq!(ramp.percent(100 * SECOND, Duration::ZERO), 100);
        assert_eq!(ramp.percent(100 * SECOND, Duration::MAX), 10);
        assert_eq!(Ramp::step(over), 2 * SECOND);
        assert_eq!(Ramp::step(Duration::from_nanos(3)), SHORTEST_STEP);
    }
}
