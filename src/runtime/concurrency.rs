//! How many requests of a route may be in progress at once; the next ones wait briefly, in a bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit of one route.
#[derive(Debug)]
pub struct Concurrency {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    wait: Duration,
}

/// A place; given back when dropped.
pub type Place = OwnedSemaphorePermit;

/// Every place is taken, and so is the queue, or the wait was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Concurrency {
    /// `limit` requests at once; `queue` more wait for at most `wait`.
    #[must_use]
    pub fn new(limit: usize, queue: usize, wait: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limit)),
            waiting: AtomicUsize::new(0),
            queue,
            wait,
        }
    }

    /// Takes a place, at once where one is free.
    ///
    /// # Errors
    /// [`Full`].
    pub async fn enter(&self) -> Result<Place, Full> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::begin(&self.waiting, self.queue)?;
        match tokio::time::timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Full),
        }
    }
}

/// A place in the queue; given back when dropped, by a client that leaves as well.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, most: usize) -> Result<Self, Full> {
        let taken = count.fetch_add(1, Relaxed);
        let waiting = Self(count);
        if taken < most { Ok(waiting) } else { Err(Full) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one() {
        let limit = Arc::new(Concurrency::new(1, 1, Duration::from_secs(5)));
        let first = limit.enter().await.expect("free");
        let second = tokio::spawn({
            let limit = Arc::clone(&limit);
            async move { limit.enter().await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(limit.enter().await.err(), Some(Full), "the queue holds one");
        drop(first);
        assert_eq!(second.await.expect("task"), Ok(()));
        assert!(limit.enter().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_an_end_and_leaves_no_trace() {
        let limit = Concurrency::new(1, 1, Duration::from_millis(100));
        let first = limit.enter().await.expect("free");
        for _ in 0..3 {
            assert_eq!(limit.enter().await.err(), Some(Full));
        }
        drop(first);
        assert!(limit.enter().await.is_ok());
        assert_eq!(limit.waiting.load(Relaxed), 0);
    }
}
