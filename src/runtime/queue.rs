//! Requests that wait while every server of an upstream is full: [`Line`] says who goes first, this wakes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Full;
use crate::balance::{Line, Priority, Ticket};

/// Who waits looks by himself after this time: a server may have joined, recovered, or been granted more.
const LOOK: Duration = Duration::from_millis(50);

/// The queue of one upstream: bounded in length and in time.
#[derive(Debug)]
pub struct Queue {
    /// The length of the line, for those who only want to know whether there is one.
    waiting: AtomicUsize,
    line: Mutex<Line<Arc<Call>>>,
}

/// How somebody who waits is told something.
#[derive(Debug, Default)]
struct Call {
    notify: Notify,
    /// Somebody of a higher class has the place now.
    evicted: AtomicBool,
}

impl Queue {
    /// `size` requests wait for at most `timeout`.
    #[must_use]
    pub fn new(size: usize, timeout: Duration) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            line: Mutex::new(Line::new(size, timeout)),
        }
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether a newcomer of this class has to wait for others, although a server may have room at this moment.
    #[must_use]
    pub fn is_ahead_of(&self, priority: Priority) -> bool {
        self.waiting() > 0 && self.line.lock().is_ahead_of(priority)
    }

    /// Takes a place in the queue.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&self, priority: Priority) -> Result<Waiting<'_>, Full> {
        let call = Arc::new(Call::default());
        let mut line = self.line.lock();
        let now = Instant::now();
        let joined = line
            .join(priority, Arc::clone(&call), now.into_std())
            .map_err(|_| Full)?;
        self.waiting.store(line.len(), Relaxed);
        drop(line);
        if let Some(evicted) = joined.evicted {
            evicted.evicted.store(true, Relaxed);
            evicted.notify.notify_one();
        }
        Ok(Waiting {
            queue: self,
            ticket: joined.ticket,
            give_up: joined.until.into(),
            call,
        })
    }

    /// A server has become less full, or may have: whose turn it is may look again.
    pub fn freed(&self) {
        if self.waiting() > 0
            && let Some((_, call)) = self.line.lock().first(Instant::now().into_std())
        {
            call.notify.notify_one();
        }
    }

    fn is_turn_of(&self, ticket: Ticket) -> bool {
        let line = self.line.lock();
        line.first(Instant::now().into_std())
            .is_some_and(|(first, _)| first == ticket)
    }
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    ticket: Ticket,
    give_up: Instant,
    call: Arc<Call>,
}

impl Waiting<'_> {
    /// Waits until it may be worth to look again; `false`: the time is up, or somebody more important has the place.
    pub async fn turn(&mut self) -> bool {
        loop {
            let look = (Instant::now() + LOOK).min(self.give_up);
            let called = tokio::time::timeout_at(look, self.call.notify.notified()).await.is_ok();
            if self.call.evicted.load(Relaxed) || Instant::now() >= self.give_up {
                return false;
            }
            if called || self.queue.is_turn_of(self.ticket) {
                return true;
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        line.leave(self.ticket);
        self.queue.waiting.store(line.len(), Relaxed);
        drop(line);
        // Served: perhaps there is room for one more. Gone: perhaps the call was for him.
        self.queue.freed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn length_and_time_are_bounded() {
        let queue = Queue::new(1, Duration::from_millis(120));
        let mut first = queue.enter(Priority::Normal).expect("room");
        assert_eq!(queue.enter(Priority::Normal).err(), Some(Full));
        queue.freed();
        assert!(first.turn().await);
        let mut turns = 0;
        while first.turn().await {
            turns += 1;
        }
        assert_eq!(turns, 2, "looks now and then, until the time is up");
        drop(first);
        assert!(queue.enter(Priority::Normal).is_ok());
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_important_go_first_and_take_the_places_of_others() {
        let queue = Queue::new(2, Duration::from_secs(1));
        let mut low = queue.enter(Priority::Low).expect("room");
        let mut normal = queue.enter(Priority::Normal).expect("room");
        assert!(queue.is_ahead_of(Priority::Normal) && !queue.is_ahead_of(Priority::High));
        queue.freed();
        assert!(normal.turn().await, "the call was for it");
        let mut high = queue.enter(Priority::High).expect("somebody else has to go");
        assert!(!low.turn().await, "at once, not when the time is up");
        drop(low);
        queue.freed();
        assert!(high.turn().await);
        drop(high);
        assert!(normal.turn().await, "who leaves calls the next");
        drop(normal);
        assert_eq!(queue.waiting(), 0);
    }
}
