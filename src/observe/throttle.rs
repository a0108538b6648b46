//! How often something is told, when it can happen at every request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one through in a time and counts the others.
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    next: Mutex<Option<Instant>>,
    left_out: AtomicU64,
}

impl Throttle {
    /// One in `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            next: Mutex::new(None),
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether this one passes, and how many did not since the last one that did.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        // Whoever finds the lock taken comes at the same time as another one, who decides.
        if let Some(mut next) = self.next.try_lock()
            && next.is_none_or(|next| next <= now)
        {
            *next = now.checked_add(self.every);
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_time() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let table = [
            (0, Some(0)),
            (0, None),
            (9, None),
            (10, Some(2)),
            (19, None),
            (100, Some(1)),
        ];
        for (seconds, passes) in table {
            assert_eq!(throttle.admit(after(seconds)), passes, "{seconds}");
        }
    }
}
