//! One connection to the store, and the one task that serves it: what came in while a pipeline was under way goes into the
//! next one, so questions are gathered without waiting for a timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Core;
use super::failure::{Failure, Refusal};
use super::script;
use super::target::{Connection, Target};
use crate::limit::book::settlement;
use crate::limit::{Ask, Breaker, Reply};

/// Questions that wait at most; beyond it a decision is made without the store.
const QUEUE: usize = 8192;

/// Questions in one pipeline at most.
const PIPELINE: usize = 512;

/// A connection on which nothing comes back for so long is given up, unless decisions may wait for longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a gateway says that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// How often a store that failed is tried, half of it at least.
const PROBE: Duration = Duration::from_millis(250);

/// Pauses between attempts to connect: anything up to the bound, which doubles. At most a second, so that the store is in
/// use again within two.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A question, all or nothing, and who waits for the answer.
#[derive(Default)]
pub(super) struct Job {
    pub(super) asks: Vec<Ask>,
    pub(super) answer: Option<oneshot::Sender<Result<Vec<Reply>, Failure>>>,
}

/// One connection, as requests see it.
pub(super) struct Line {
    pub(super) place: usize,
    /// The key where gateways say that they live.
    gateways: String,
    /// What an answer may take before the connection is given up.
    pub(super) patience: Duration,
    jobs: mpsc::Sender<Job>,
    /// Whether it can be asked.
    up: AtomicBool,
    breaker: Mutex<Breaker>,
    tripped: Notify,
    /// The connection, for what is asked seldom and by nobody who waits in a request.
    handle: Mutex<Option<MultiplexedConnection>>,
}

impl Line {
    /// A line that is not connected, and what its task receives. `budget`: what a decision may wait.
    pub(super) fn new(place: usize, gateways: String, budget: Duration) -> (Arc<Self>, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let line = Self {
            place,
            gateways,
            patience: PATIENCE.max(budget),
            jobs,
            up: AtomicBool::new(false),
            breaker: Mutex::default(),
            tripped: Notify::new(),
            handle: Mutex::default(),
        };
        (Arc::new(line), receiver)
    }

    /// Whether it can be asked.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Asks something that is no decision; it waits behind nothing, and not long.
    pub(super) async fn call(&self, call: &Cmd) -> Result<Value, Failure> {
        let handle = self.handle.lock().clone();
        let (true, Some(mut handle)) = (self.is_up(), handle) else {
            return Err(Failure::Unreachable("it is not connected".to_owned()));
        };
        let answer = tokio::time::timeout(self.patience, call.query_async(&mut handle)).await;
        answer
            .unwrap_or_else(|_| Err(slow()))
            .map_err(|error| Failure::of(&error))
    }

    /// Puts a question in line.
    ///
    /// # Errors
    /// The question, if too many wait already.
    pub(super) fn send(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job) => job,
        })
    }

    /// A question was answered in time, or was not.
    pub(super) fn note(&self, failure: Option<&Failure>, core: &Core) {
        let opened = self.breaker.lock().note(failure.is_some(), core.now());
        if let (true, Some(failure)) = (opened, failure) {
            self.close(failure, core);
            self.tripped.notify_one();
        }
    }

    fn close(&self, why: &Failure, core: &Core) {
        self.breaker.lock().open();
        self.up.store(false, Relaxed);
        core.health.down(self.place, why);
    }

    fn open(&self, core: &Core) {
        self.breaker.lock().close();
        if !self.up.swap(true, Relaxed) {
            core.health.up(self.place);
        }
    }
}

/// Serves a line until its senders are gone.
pub(super) async fn run(line: Arc<Line>, mut jobs: mpsc::Receiver<Job>, target: Target, core: Arc<Core>) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        core.health.metrics.connecting();
        let lost = match target.connect().await {
            Ok(connection) => {
                *line.handle.lock() = Some(connection.handle.clone());
                let mut service = Service {
                    line: &line,
                    core: &core,
                    connection,
                    batch: Vec::new(),
                    opened: false,
                };
                let lost = service.serve(&mut jobs).await;
                if service.opened {
                    pause = SHORTEST_PAUSE;
                }
                lost
            }
            Err(failure) => failure,
        };
        *line.handle.lock() = None;
        core.health.metrics.failed(lost.word());
        core.moved.notify_one();
        line.close(&lost, &core);
        let again = tokio::time::Instant::now() + pause.mul_f32(fastrand::f32());
        pause = (pause * 2).min(LONGEST_PAUSE);
        // What is still in line is answered at once.
        while let Ok(Some(job)) = tokio::time::timeout_at(again, jobs.recv()).await {
            core.fail(job, &lost, false);
        }
    }
}

struct Service<'a> {
    line: &'a Arc<Line>,
    core: &'a Arc<Core>,
    connection: Connection,
    batch: Vec<Job>,
    /// The line was opened on this connection.
    opened: bool,
}

impl Service<'_> {
    /// Asks what comes in; returns why the connection is of no more use.
    async fn serve(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Failure {
        let mut beat = tokio::time::Instant::now();
        loop {
            let done = tokio::select! {
                biased;
                () = tokio::time::sleep_until(beat) => {
                    let done = self.beat().await;
                    beat = tokio::time::Instant::now() + self.pause();
                    done
                }
                () = self.line.tripped.notified() => {
                    beat = tokio::time::Instant::now() + self.pause();
                    Ok(())
                }
                lost = self.connection.lost() => Err(lost),
                _ = jobs.recv_many(&mut self.batch, PIPELINE) => self.ask().await,
            };
            if let Err(lost) = done {
                for job in self.batch.drain(..) {
                    self.core.fail(job, &lost, true);
                }
                return lost;
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.line.is_up() {
            BEAT
        } else {
            PROBE.mul_f32(fastrand::f32().mul_add(0.5, 0.5))
        }
    }

    /// Says that this gateway lives. It is the probe, too: a store that answers this within the budget is asked again.
    async fn beat(&mut self) -> Result<(), Failure> {
        for _ in 0..2 {
            let call = script::beat(&self.connection.digests, &self.line.gateways, &self.core.name);
            let asked = Instant::now();
            let mut handle = self.connection.handle.clone();
            let answer = tokio::time::timeout(self.line.patience, call.query_async::<u32>(&mut handle)).await;
            match answer.unwrap_or_else(|_| Err(slow())) {
                Ok(gateways) => {
                    self.core.health.count(gateways);
                    if asked.elapsed() <= self.core.budget {
                        self.line.open(self.core);
                        self.opened = true;
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                    self.load().await?;
                }
                Err(error) => {
                    let failure = Failure::of(&error);
                    if failure.ends_connection() {
                        return Err(failure);
                    }
                    if matches!(failure, Failure::Refused(Refusal::Moved, _)) {
                        self.core.moved.notify_one();
                    }
                    // It answers, but does not do as it is told: out of memory, for example.
                    self.line.close(&failure, self.core);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Failure> {
        let loading = tokio::time::timeout(self.line.patience, self.connection.load()).await;
        loading.unwrap_or(Err(Failure::Slow))
    }

    /// Asks everything that has come in, in one pipeline.
    async fn ask(&mut self) -> Result<(), Failure> {
        // Nobody waits any more for what came in before the last answer: to ask it would be to charge for nothing.
        let core = self.core;
        self.batch.retain_mut(|job| {
            let wanted = job.answer.as_ref().is_none_or(|answer| !answer.is_closed());
            if !wanted {
                core.fail(std::mem::take(job), &Failure::Slow, false);
            }
            wanted
        });
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        for attempt in 0..2 {
            if attempt > 0 {
                self.load().await?; // it has forgotten the scripts, and has not run them
            }
            let mut pipeline = Pipeline::with_capacity(self.batch.len());
            for job in &self.batch {
                script::decide(&mut pipeline, &self.connection.digests, &core.keys, &job.asks);
            }
            let (sent, asked) = (core.now(), Instant::now());
            core.health.metrics.asking(self.batch.len());
            let answers = self
                .connection
                .handle
                .send_packed_commands(&pipeline, 0, self.batch.len());
            let values = match tokio::time::timeout(self.line.patience, answers).await {
                Ok(Ok(values)) if values.len() == self.batch.len() => values,
                Ok(Ok(_)) => {
                    return Err(Failure::Unreachable(
                        "it answers something else than was asked".to_owned(),
                    ));
                }
                Ok(Err(error)) => return Err(Failure::of(&error)),
                Err(_) => return Err(Failure::Slow),
            };
            core.health.metrics.answered(asked.elapsed());
            let mut again = Vec::new();
            for (job, value) in std::mem::take(&mut self.batch).into_iter().zip(values) {
                if script::is_forgotten(&value) {
                    again.push(job);
                    continue;
                }
                match script::replies(value, &job.asks) {
                    Ok(replies) => core.answer(job, replies, sent),
                    Err(error) => {
                        let failure = Failure::of(&error);
                        core.health.metrics.failed(failure.word());
                        core.fail(job, &failure, false);
                        if matches!(failure, Failure::Refused(Refusal::Moved, _)) {
                            core.moved.notify_one();
                        }
                        if failure.ends_connection() {
                            outcome = Err(failure);
                        }
                    }
                }
            }
            self.batch = again;
            if self.batch.is_empty() || outcome.is_err() {
                break;
            }
        }
        for job in self.batch.drain(..) {
            core.fail(job, &Failure::Slow, false);
        }
        outcome
    }
}

impl Core {
    /// Nobody will answer this. `sent`: the store may have heard it.
    pub(super) fn fail(&self, job: Job, why: &Failure, sent: bool) {
        for ask in job.asks.iter().filter(|ask| ask.wants_units()) {
            self.book.unanswered(ask, sent);
        }
        if let Some(answer) = job.answer {
            let _ = answer.send(Err(why.clone())); // whoever waited may have left
        }
    }

    /// Notes what the store said, and tells whoever waits for it.
    fn answer(&self, job: Job, replies: Vec<Reply>, sent: u64) {
        let now = self.now();
        let waiting = job.answer.as_ref().is_some_and(|answer| !answer.is_closed());
        let all = job.asks.iter().zip(&replies).filter(|(ask, _)| ask.wants_units());
        for (ask, reply) in all.clone() {
            let spent = if waiting { ask.least.min(reply.granted) } else { 0 };
            self.book.answered(ask, reply, spent, sent, now);
        }
        let Some(answer) = job.answer else { return };
        let Err(unread) = answer.send(Ok(replies)) else { return };
        // It came too late. What was decided without the store has been charged here, which is right; but nobody will tell
        // how those requests ended that units are held for.
        let Ok(replies) = unread else { return };
        for (ask, reply) in job.asks.iter().zip(&replies) {
            if ask.out && ask.terms.is_exact() && reply.granted > 0 {
                self.settle(settlement(ask, reply, true));
            }
        }
    }

    /// Tells the store about units that were out. If that fails, the store believes for longer that they are.
    pub(super) fn settle(&self, ask: Ask) {
        let routes = self.routes.load();
        let Some(line) = routes.line(self, ask.id, ask.tag) else {
            return;
        };
        let job = Job {
            asks: vec![ask],
            answer: None,
        };
        let _ = line.send(job);
    }
}

fn slow() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
