//! Requests that wait while every server of an upstream is full.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Full;

/// The queue of one upstream: bounded in length and in time.
#[derive(Debug)]
pub struct Queue {
    waiting: AtomicUsize,
    freed: Notify,
    size: usize,
    timeout: Duration,
}

impl Queue {
    /// `size` requests wait for at most `timeout`.
    #[must_use]
    pub fn new(size: usize, timeout: Duration) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            size,
            timeout,
        }
    }

    /// Takes a place in the queue.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&self) -> Result<Waiting<'_>, Full> {
        let taken = self.waiting.fetch_add(1, Relaxed);
        let waiting = Waiting {
            queue: self,
            give_up: Instant::now() + self.timeout,
        };
        if taken < self.size { Ok(waiting) } else { Err(Full) }
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// A server has become less full: the one that has waited longest may look again.
    pub fn freed(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.freed.notify_one();
        }
    }
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    give_up: Instant,
}

impl Waiting<'_> {
    /// Waits until it may be worth to look again; `false`: the time is up.
    pub async fn turn(&mut self) -> bool {
        // Not only when one is freed: a server may join, recover, or be granted more.
        let look = (Instant::now() + Duration::from_millis(50)).min(self.give_up);
        let _ = tokio::time::timeout_at(look, self.queue.freed.notified()).await;
        Instant::now() < self.give_up
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn length_and_time_are_bounded() {
        let queue = Queue::new(1, Duration::from_millis(120));
        let mut first = queue.enter().expect("room");
        assert_eq!(queue.enter().err(), Some(Full));
        queue.freed();
        assert!(first.turn().await);
        let mut turns = 0;
        while first.turn().await {
            turns += 1;
        }
        assert_eq!(turns, 2, "looks now and then, until the time is up");
        drop(first);
        assert!(queue.enter().is_ok());
    }
}
