//! Instants as numbers, so that they fit into atomics.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the origin, plus one: 0 is free to mean "never".
pub(super) type Tick = u64;

/// What all ticks are relative to. Read from the clock once a process; everything else is given.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The tick of an instant; one before the origin has the origin's.
pub(super) fn tick(now: Instant) -> Tick {
    ticks(now.saturating_duration_since(*ORIGIN)).saturating_add(1)
}

/// A duration in ticks.
pub(super) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// From one tick to a later one; zero where it is not later.
pub(super) fn between(from: Tick, to: Tick) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_order_and_distance() {
        let start = *ORIGIN;
        let later = start + Duration::from_millis(1500);
        assert_eq!(tick(start), 1);
        assert_eq!(between(tick(start), tick(later)), Duration::from_millis(1500));
        assert_eq!(between(tick(later), tick(start)), Duration::ZERO);
        assert_eq!(ticks(Duration::MAX), u64::MAX);
    }
}
