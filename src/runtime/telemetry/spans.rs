//! The queue of spans, and who empties it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::collector::{Answer, Signal};
use super::trouble::Trouble;
use super::{LAST, Telemetry};
use crate::observe::metrics::TelemetryMetrics;
use crate::observe::otlp;
use crate::observe::span::Span;

/// Most spans that wait; further ones are dropped and counted.
const WAITING: usize = 4096;
/// Most spans of a message: some 500 KB at the very most.
const BATCH: usize = 512;
/// How often a batch is tried that the collector could not take: then newer ones are worth more.
const TRIES: u32 = 5;
/// After a failure it is tried again this soon, then half as often each time.
const PAUSE: Duration = Duration::from_secs(1);
/// However long a collector asks us to stay away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The queue of spans.
pub struct Spans {
    sender: mpsc::Sender<Span>,
    /// A batch is full. Until then whoever empties the queue sleeps: a request wakes nobody.
    many: Notify,
    /// Whoever empties it holds it: after a reload that may be somebody else.
    receiver: Mutex<mpsc::Receiver<Span>>,
    counts: TelemetryMetrics,
}

impl Spans {
    pub(super) fn new(counts: TelemetryMetrics) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            many: Notify::new(),
            receiver: Mutex::new(receiver),
            counts,
        }
    }

    /// Leaves a span to be sent. Never waits: where the queue is full, the span is dropped and counted.
    pub fn tell(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.counts.dropped(1);
        }
        if WAITING - self.sender.capacity() >= BATCH {
            self.many.notify_one();
        }
    }
}

/// Sends spans until it is to stop; then what is left, in the time that there is.
pub(super) async fn run(telemetry: Arc<Telemetry>, mut stop: watch::Receiver<bool>) {
    let Some(spans) = telemetry.spans.clone() else { return };
    let mut queue = spans.receiver.lock().await;
    let mut sending = Sending {
        telemetry: &telemetry,
        batch: Vec::with_capacity(BATCH),
        tries: 0,
        trouble: Trouble::new(Signal::Traces, &telemetry.model.endpoint),
    };
    let mut due = Instant::now() + telemetry.model.interval;
    let mut until = None;
    while !*stop.borrow_and_update() {
        if sending.tries == 0 {
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                () = spans.many.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
            sending.fill(&mut queue);
        }
        let sent = {
            let mut send = pin!(sending.send());
            tokio::select! {
                biased;
                pause = &mut send => Ok(pause),
                _ = stop.changed() => {
                    // Begun is begun: the collector may have it already, and would have it twice.
                    timeout_at(*until.insert(Instant::now() + LAST), send).await
                }
            }
        };
        let Ok(pause) = sent else {
            telemetry.counts.dropped(sending.batch.len());
            return;
        };
        due = Instant::now() + telemetry.model.interval;
        if let Some(pause) = pause {
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    let last = async {
        loop {
            sending.fill(&mut queue);
            if sending.batch.is_empty() || sending.send().await.is_some() {
                return;
            }
        }
    };
    let _ = timeout_at(until.unwrap_or_else(|| Instant::now() + LAST), last).await;
    telemetry.counts.dropped(sending.batch.len());
}

struct Sending<'a> {
    telemetry: &'a Telemetry,
    batch: Vec<Span>,
    /// How often this batch was sent in vain.
    tries: u32,
    trouble: Trouble,
}

impl Sending<'_> {
    /// Takes what waits, as far as there is room in the batch.
    fn fill(&mut self, queue: &mut mpsc::Receiver<Span>) {
        while self.batch.len() < BATCH
            && let Ok(span) = queue.try_recv()
        {
            self.batch.push(span);
        }
    }

    /// Sends the batch; how long the collector is to be left alone. Dropped on the way, the batch stays.
    async fn send(&mut self) -> Option<Duration> {
        if self.batch.is_empty() {
            return None;
        }
        let counts = &self.telemetry.counts;
        let message = otlp::spans(&self.telemetry.resource, &self.batch).encode_to_vec();
        let answer = self.telemetry.collector.send(Signal::Traces, message).await;
        counts.exported(Signal::Traces.word(), answer.is_taken());
        let count = self.batch.len();
        self.trouble.judge(&answer);
        match answer {
            Answer::Taken { rejected, .. } => {
                let rejected = usize::try_from(rejected).unwrap_or(0).min(count);
                counts.sent(count - rejected);
                counts.dropped(rejected);
                self.done();
                None
            }
            Answer::Later { after, .. } if self.tries + 1 < TRIES => {
                let pause = PAUSE * (1 << self.tries);
                self.tries += 1;
                Some(after.unwrap_or(pause).clamp(pause.min(LONGEST_PAUSE), LONGEST_PAUSE))
            }
            Answer::Later { .. } => {
                counts.dropped(count);
                self.done();
                Some(LONGEST_PAUSE)
            }
            Answer::Refused { .. } => {
                counts.dropped(count);
                self.done();
                // What it does not understand now it will hardly understand in a second.
                Some(self.telemetry.model.interval.min(LONGEST_PAUSE))
            }
        }
    }

    fn done(&mut self) {
        self.batch.clear();
        self.tries = 0;
    }
}
