//! One request on its way through the store: pays with what is in hand, waits for what others have asked, asks.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::failure::Failure;
use super::line::{Job, Line};
use super::routes::Routes;
use super::{Core, Outstanding, Settled, Shared};
use crate::limit::book::settlement;
use crate::limit::{Ask, Charge, Claim, Count, Each, Level, Levels, Manner, Mode, Reply, Source};
use crate::limit::{Taken, Terms, Verdict};
use crate::observe::metrics::DecisionSource;

/// One request on its way through the store.
pub(super) struct Attempt<'a> {
    shared: &'a Shared,
    routes: &'a Routes,
    charges: &'a [Charge<'a>],
    /// In the order of the charges.
    parts: Each<Part<'a>>,
}

/// One charge on its way.
struct Part<'a> {
    /// Not the same for all where keys are on several nodes.
    line: &'a Arc<Line>,
    claim: Claim,
    level: Level,
    source: DecisionSource,
    /// With units in hand.
    paid: bool,
}

/// What comes next.
pub(super) enum Step {
    Decided(Settled),
    Next(Wait),
    Failed,
}

/// What is waited for.
pub(super) enum Wait {
    /// The answer to a question of somebody else.
    Other(oneshot::Receiver<()>),
    /// The answers to all of these, which are several where keys are on several nodes.
    Answers(Vec<Question>, bool),
}

/// A question that was sent, about the charges in these places.
pub(super) struct Question {
    answered: oneshot::Receiver<Result<Vec<Reply>, Failure>>,
    asks: Vec<(usize, Ask)>,
}

/// What several nodes granted, until it is known that all of them did. Dropped before that, it is given back.
struct Granted<'a> {
    core: &'a Core,
    list: Vec<((usize, Ask), Reply)>,
    split: bool,
}

impl Granted<'_> {
    fn give_back(&mut self) {
        if !self.split {
            self.list.clear(); // one step: all or nothing was granted
        }
        let now = self.core.now();
        for ((_, ask), reply) in self.list.drain(..).filter(|(_, reply)| reply.granted > 0) {
            if ask.terms.is_exact() {
                self.core.settle(settlement(&ask, &reply, true));
            } else {
                self.core.book.put_back_units(ask.id, ask.least, now);
            }
        }
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<'a> Attempt<'a> {
    /// `None`: one of the lines that may be needed cannot be asked.
    pub(super) fn new(shared: &'a Shared, routes: &'a Routes, charges: &'a [Charge<'a>]) -> Option<Self> {
        let part = |charge| {
            let claim = claimed(charge, shared.gateways());
            let line = routes.line(&shared.core, claim.id, claim.tag)?;
            line.is_up().then_some(Part {
                line,
                claim,
                level: Level::default(),
                source: DecisionSource::Lease,
                paid: false,
            })
        };
        Some(Self {
            shared,
            routes,
            charges,
            parts: charges.iter().map(part).collect::<Option<_>>()?,
        })
    }

    /// It came to nothing: the lines that were asked are to blame.
    pub(super) fn failed(&self, failure: &Failure) {
        if let Some(first) = self.parts.first() {
            first.line.note(Some(failure), &self.shared.core);
        }
    }

    /// Pays what can be paid with what is in hand, and asks about the rest. `now`: by the clock of the core.
    pub(super) fn begin(&mut self, now: u64) -> Step {
        let Core { book, .. } = &*self.shared.core;
        let mut asks = Vec::new(); // no allocation before the first
        let (mut refused, mut wait) = (false, None);
        for (place, part) in self.parts.iter_mut().enumerate() {
            if refused {
                part.level = book.level(&part.claim, now);
                continue;
            }
            let mut waiter = None;
            let taken = book.take(&part.claim, now, || {
                let (waker, woken) = oneshot::channel();
                waiter = Some(woken);
                waker
            });
            match taken {
                Taken::Paid(level, more) => {
                    (part.level, part.source, part.paid) = (level, DecisionSource::Lease, true);
                    if let Some(more) = more {
                        fetch(self.shared, self.routes, more);
                    }
                }
                Taken::Refused(level) => {
                    (part.level, part.source) = (level, DecisionSource::Memory);
                    refused = part.claim.manner == Manner::Enforce;
                }
                Taken::Ask(ask) => asks.push((place, ask)),
                Taken::Wait => {
                    wait = waiter;
                    break;
                }
            }
        }
        if refused || wait.is_some() {
            self.put_back(now);
            for (place, ask) in &asks {
                book.unanswered(ask, false);
                let part = &mut self.parts[*place];
                part.level = book.level(&part.claim, now);
            }
        }
        match wait {
            Some(wait) => Step::Next(Wait::Other(wait)),
            None if refused || asks.is_empty() => Step::Decided(self.decided(Vec::new())),
            None => self.ask(asks),
        }
    }

    /// Asks in one step; where the keys are on several nodes, in one step for each tag.
    fn ask(&mut self, mut asks: Vec<(usize, Ask)>) -> Step {
        let core = &self.shared.core;
        let split = self.routes.is_split() && asks.iter().any(|(_, ask)| ask.tag != asks[0].1.tag);
        if split {
            asks.sort_by_key(|(_, ask)| ask.tag);
            for (_, ask) in &mut asks {
                ask.out = true; // it may have to be given back
            }
        }
        let same = |(_, one): &(usize, Ask), (_, other): &(usize, Ask)| !split || one.tag == other.tag;
        let mut questions = Vec::new();
        let mut unsent = false;
        for group in asks.chunk_by(same) {
            let (answer, answered) = oneshot::channel();
            let job = Job {
                asks: group.iter().map(|(_, ask)| *ask).collect(),
                answer: Some(answer),
            };
            let sent = match unsent {
                false => self.parts[group[0].0].line.send(job),
                true => Err(job),
            };
            match sent {
                Ok(()) => questions.push(Question {
                    answered,
                    asks: group.to_vec(),
                }),
                Err(job) => {
                    core.fail(job, &Failure::Full, false);
                    unsent = true;
                }
            }
        }
        if unsent {
            core.health.metrics.failed(Failure::Full.word());
            self.put_back(core.now());
            return Step::Failed; // what was sent is given back when its answer finds nobody
        }
        Step::Next(Wait::Answers(questions, split))
    }

    /// Waits, and goes on until everything is decided.
    pub(super) async fn finish(&mut self, mut wait: Wait) -> Result<Settled, Failure> {
        loop {
            match wait {
                Wait::Other(woken) => {
                    let _ = woken.await; // it is woken by being dropped
                    wait = match self.begin(self.shared.core.now()) {
                        Step::Decided(settled) => return Ok(settled),
                        Step::Next(wait) => wait,
                        Step::Failed => return Err(Failure::Full),
                    };
                }
                Wait::Answers(questions, split) => {
                    let mut granted = Granted {
                        core: &self.shared.core,
                        list: Vec::new(),
                        split,
                    };
                    for Question { answered, asks } in questions {
                        let replies = match answered.await {
                            Ok(Ok(replies)) => replies,
                            Ok(Err(failure)) => return Err(failure),
                            Err(_) => return Err(Failure::Full), // the task is gone: the gateway stops
                        };
                        self.parts[asks[0].0].line.note(None, &self.shared.core);
                        granted.list.extend(asks.into_iter().zip(replies));
                    }
                    return Ok(self.judge(granted));
                }
            }
        }
    }

    /// The store has answered everything that was asked.
    fn judge(&mut self, mut granted: Granted<'_>) -> Settled {
        let mut out = Vec::new();
        let mut refused = false;
        for ((place, ask), reply) in &granted.list {
            let in_hand = if ask.terms.is_exact() {
                0
            } else {
                reply.granted.saturating_sub(ask.least)
            };
            let part = &mut self.parts[*place];
            (part.level, part.source) = (reply.level(ask.terms.bucket, in_hand), DecisionSource::Store);
            refused |= ask.manner == Manner::Enforce && reply.retry_in > 0;
        }
        if refused {
            self.put_back(granted.core.now());
            granted.give_back();
        } else {
            for ((place, ask), reply) in granted.list.drain(..) {
                if !(ask.terms.is_exact() && ask.out && reply.granted > 0) {
                    continue;
                }
                if self.parts[place].claim.out {
                    out.push((ask, reply));
                } else {
                    granted.core.settle(settlement(&ask, &reply, false)); // it was out only until the others had passed
                }
            }
        }
        self.decided(out)
    }

    fn decided(&mut self, out: Vec<(Ask, Reply)>) -> Settled {
        let (mut levels, mut wait) = (Levels::default(), 0);
        for (charge, part) in self.charges.iter().zip(&mut self.parts) {
            let level = part.level;
            levels.push(level);
            if charge.policy.mode == Mode::Enforce && level.retry_in == 0 {
                wait = wait.max(charge.policy.bucket.wait(level.full_in));
            }
            part.paid = false;
        }
        Settled {
            verdict: Verdict::of(self.charges, levels, wait),
            outstanding: (!out.is_empty()).then(|| Outstanding {
                core: Arc::clone(&self.shared.core),
                out,
            }),
            sources: self.parts.iter().map(|part| part.source).collect(),
        }
    }

    fn put_back(&mut self, now: u64) {
        for part in &mut self.parts {
            if std::mem::take(&mut part.paid) {
                self.shared.core.book.put_back(&part.claim, now);
            }
        }
    }
}

impl Drop for Attempt<'_> {
    /// It was given up: what was paid for it is put back.
    fn drop(&mut self) {
        if self.parts.iter().any(|part| part.paid) {
            self.put_back(self.shared.core.now());
        }
    }
}

/// Asks for the next lease; nobody waits for it.
fn fetch(shared: &Shared, routes: &Routes, ask: Ask) {
    let job = Job {
        asks: vec![ask],
        answer: None,
    };
    let sent = match routes.line(&shared.core, ask.id, ask.tag) {
        Some(line) => line.send(job),
        None => Err(job),
    };
    if let Err(job) = sent {
        shared.core.fail(job, &Failure::Full, false);
    }
}

pub(super) fn claimed(charge: &Charge<'_>, gateways: u32) -> Claim {
    let policy = charge.policy;
    let terms = Terms::of(policy, gateways);
    // Everything of one client is kept together where its address is part of what identifies it.
    let by_client = policy.key.sources.contains(&Source::ClientIp);
    Claim {
        id: charge.key.id,
        tag: if by_client {
            charge.key.aggregate
        } else {
            charge.key.id as u64
        },
        terms,
        cost: charge.cost.clamp(1, terms.bucket.capacity()),
        out: policy.count == Count::Failures,
        manner: match policy.mode {
            Mode::Enforce => Manner::Enforce,
            Mode::Report => Manner::Report,
        },
    }
}
