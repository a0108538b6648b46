//! One request on its way through the store: pays with what is in hand, waits for what others have asked, asks.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::failure::Failure;
use super::line::{Job, Line};
use super::{Core, Outstanding, Settled, Shared};
use crate::limit::{Ask, Charge, Charges, Claim, Count, Level, Levels, MAX_LIMITS, Manner, Mode, Reply, Source};
use crate::limit::{Taken, Terms, Verdict};
use crate::observe::metrics::DecisionSource;

/// One request on its way through the store.
pub(super) struct Attempt<'a> {
    shared: &'a Shared,
    line: &'a Arc<Line>,
    charges: &'a Charges<'a>,
    claims: [Option<Claim>; MAX_LIMITS],
    levels: [Level; MAX_LIMITS],
    sources: [DecisionSource; MAX_LIMITS],
    /// Charges that are paid with units in hand.
    paid: [bool; MAX_LIMITS],
}

/// What comes next.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and mostly it is the large one"
)]
pub(super) enum Step {
    Decided(Settled),
    Next(Wait),
    Failed,
}

/// What is waited for.
pub(super) enum Wait {
    /// The answer to a question of somebody else.
    Other(oneshot::Receiver<()>),
    /// The answer to these, of the charges in these places.
    Answer(oneshot::Receiver<Result<Vec<Reply>, Failure>>, Vec<(usize, Ask)>),
}

impl<'a> Attempt<'a> {
    pub(super) fn new(shared: &'a Shared, line: &'a Arc<Line>, charges: &'a Charges<'a>) -> Self {
        let mut claims = [None; MAX_LIMITS];
        for (claim, charge) in claims.iter_mut().zip(charges.iter()) {
            *claim = Some(claimed(charge, shared.gateways()));
        }
        Self {
            shared,
            line,
            charges,
            claims,
            levels: [Level::default(); MAX_LIMITS],
            sources: [DecisionSource::Lease; MAX_LIMITS],
            paid: [false; MAX_LIMITS],
        }
    }

    /// Pays what can be paid with what is in hand, and asks about the rest.
    pub(super) fn begin(&mut self) -> Step {
        let Core { book, .. } = &*self.shared.core;
        let now = self.shared.core.now();
        let mut asks = Vec::new(); // no allocation before the first
        let (mut refused, mut wait) = (false, None);
        let claims = self.claims;
        for (place, claim) in claims.iter().flatten().enumerate() {
            if refused {
                self.levels[place] = book.level(claim, now);
                continue;
            }
            let mut waiter = None;
            let taken = book.take(claim, now, || {
                let (waker, woken) = oneshot::channel();
                waiter = Some(woken);
                waker
            });
            match taken {
                Taken::Paid(level, more) => {
                    self.levels[place] = level;
                    self.sources[place] = DecisionSource::Lease;
                    self.paid[place] = true;
                    if let Some(more) = more {
                        self.fetch(more);
                    }
                }
                Taken::Refused(level) => {
                    self.levels[place] = level;
                    self.sources[place] = DecisionSource::Memory;
                    refused = claim.manner == Manner::Enforce;
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
                self.levels[*place] = claims[*place].map_or_else(Level::default, |claim| book.level(&claim, now));
            }
        }
        match wait {
            Some(wait) => Step::Next(Wait::Other(wait)),
            None if refused || asks.is_empty() => Step::Decided(self.decided(Vec::new())),
            None => self.ask(asks),
        }
    }

    fn ask(&mut self, asks: Vec<(usize, Ask)>) -> Step {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            asks: asks.iter().map(|(_, ask)| *ask).collect(),
            answer: Some(answer),
        };
        match self.line.send(job) {
            Ok(()) => Step::Next(Wait::Answer(answered, asks)),
            Err(job) => {
                let core = &self.shared.core;
                core.fail(job, &Failure::Full, false);
                core.health.metrics.failed(Failure::Full.word());
                self.put_back(core.now());
                Step::Failed
            }
        }
    }

    /// Waits, and goes on until everything is decided.
    pub(super) async fn finish(&mut self, mut wait: Wait) -> Result<Settled, Failure> {
        loop {
            match wait {
                Wait::Other(woken) => {
                    let _ = woken.await; // it is woken by being dropped
                    wait = match self.begin() {
                        Step::Decided(settled) => return Ok(settled),
                        Step::Next(wait) => wait,
                        Step::Failed => return Err(Failure::Full),
                    };
                }
                Wait::Answer(answered, asks) => {
                    let replies = match answered.await {
                        Ok(Ok(replies)) => replies,
                        Ok(Err(failure)) => return Err(failure),
                        Err(_) => return Err(Failure::Full), // the task is gone: the gateway stops
                    };
                    self.line.note(None, &self.shared.core);
                    return Ok(self.judge(&asks, &replies));
                }
            }
        }
    }

    /// The store has answered everything that was asked.
    fn judge(&mut self, asks: &[(usize, Ask)], replies: &[Reply]) -> Settled {
        let mut out = Vec::new();
        let mut refused = false;
        for ((place, ask), reply) in asks.iter().zip(replies) {
            self.sources[*place] = DecisionSource::Store;
            let in_hand = if ask.terms.is_exact() {
                0
            } else {
                reply.granted.saturating_sub(ask.least)
            };
            self.levels[*place] = reply.level(ask.terms.bucket, in_hand);
            refused |= ask.manner == Manner::Enforce && reply.retry_in > 0;
            if ask.terms.is_exact() && ask.out && reply.granted > 0 {
                out.push((Arc::clone(self.line), *ask, *reply));
            }
        }
        if refused {
            self.put_back(self.shared.core.now());
        }
        self.decided(out)
    }

    fn decided(&mut self, out: Vec<(Arc<Line>, Ask, Reply)>) -> Settled {
        let (mut levels, mut wait) = (Levels::default(), 0);
        for (charge, level) in self.charges.iter().zip(&self.levels) {
            levels.push(*level);
            if charge.policy.mode == Mode::Enforce && level.retry_in == 0 {
                wait = wait.max(charge.policy.bucket.wait(level.full_in));
            }
        }
        self.paid = [false; MAX_LIMITS];
        Settled {
            verdict: Verdict::of(self.charges, levels, wait),
            outstanding: (!out.is_empty()).then(|| Outstanding {
                core: Arc::clone(&self.shared.core),
                out,
            }),
            sources: self.sources,
        }
    }

    /// Asks for the next lease; nobody waits for it.
    fn fetch(&self, ask: Ask) {
        let job = Job {
            asks: vec![ask],
            answer: None,
        };
        if let Err(job) = self.line.send(job) {
            self.shared.core.fail(job, &Failure::Full, false);
        }
    }

    fn put_back(&mut self, now: u64) {
        for (paid, claim) in self.paid.iter_mut().zip(&self.claims) {
            if let (true, Some(claim)) = (std::mem::take(paid), claim) {
                self.shared.core.book.put_back(claim, now);
            }
        }
    }
}

impl Drop for Attempt<'_> {
    /// It was given up: what was paid for it is put back.
    fn drop(&mut self) {
        if self.paid.contains(&true) {
            self.put_back(self.shared.core.now());
        }
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
