//! When a connection is at rest: which requests are being worked on, and for how long there have been none.

use std::pin::Pin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The requests that are being worked on, those among them that the client has taken back.
#[derive(Debug)]
pub(super) struct Running {
    count: AtomicUsize,
    begun: Instant,
    /// When the last one was over, milliseconds since the connection began.
    quiet: AtomicU64,
}

impl Running {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            begun: Instant::now(),
            quiet: AtomicU64::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub(super) fn begin(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        // Before it is counted: who finds none must find when that was.
        let now = self.begun.elapsed().as_millis() as u64;
        self.quiet.fetch_max(now, Relaxed);
        self.count.fetch_sub(1, Release);
    }

    /// Since when there are none; now, while there are some.
    fn since(&self) -> Instant {
        match self.count.load(Acquire) {
            0 => self.begun + Duration::from_millis(self.quiet.load(Relaxed)),
            _ => Instant::now(),
        }
    }
}

/// Rings when there has been nothing to do for too long. One timer for all requests: it is looked at when it rings.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// At the earliest after this time.
    pub(super) fn after(patience: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(patience)))
    }

    /// Waits until there has been nothing to do for as long as `patience` says.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        running: &Running,
        patience: impl Fn() -> Duration,
    ) -> Poll<()> {
        loop {
            ready!(self.0.as_mut().poll(cx));
            let due = running.since() + patience();
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn rings(alarm: &mut Alarm, running: &Running) -> Duration {
        let asked = Instant::now();
        poll_fn(|cx| alarm.poll(cx, running, || PATIENCE)).await;
        asked.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn rest_begins_with_the_end_of_the_last_request() {
        let (running, mut alarm) = (Running::new(), Alarm::after(PATIENCE));
        running.begin();
        running.begin();
        tokio::time::sleep(Duration::from_secs(15)).await;
        running.end();
        let waited = tokio::time::timeout(Duration::from_secs(60), rings(&mut alarm, &running)).await;
        assert!(waited.is_err(), "one is still worked on");
        running.end();
        let waited = rings(&mut alarm, &running).await;
        assert!((10..=11).contains(&waited.as_secs()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_rests_from_the_start() {
        let (running, mut alarm) = (Running::new(), Alarm::after(PATIENCE));
        let waited = rings(&mut alarm, &running).await;
        assert!((10..=11).contains(&waited.as_secs()), "{waited:?}");
    }
}
