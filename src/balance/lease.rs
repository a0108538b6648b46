//! A server that was picked for one attempt, and what the attempt tells of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::Ticket;
use super::clock::tick;
use super::shared::Shared;
use super::{Ejection, Endpoint};

/// A server that was picked; the request counts as in flight there until this is dropped.
///
/// Dropped without [`Lease::finish`] the attempt counts as cancelled: nothing is learnt from it.
#[derive(Debug)]
#[must_use = "the request is in flight only as long as this is held"]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    ticket: Option<Ticket>,
    finished: bool,
    /// Whether the server's silence counts while this waits.
    awaited: bool,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    /// Whether the server did its work.
    pub outcome: AttemptOutcome,
    /// From the pick to the head of the answer; `None`: there is no answer, or it says nothing about the server (an upgrade,
    /// a long poll).
    pub latency: Option<Duration>,
    /// Now.
    pub now: Instant,
}

/// Whether a server did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It answered, and not with 5xx.
    Success,
    /// It failed with this request: 500. That may be the request's fault as well as the server's, so its latency counts as
    /// a failure's only where most attempts fail: who knows a request that breaks the application must not be able to push
    /// everybody off a server with it.
    Error,
    /// It answered with another 5xx, could not be connected to, broke the connection or took too long.
    Failure {
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
}

impl AttemptOutcome {
    /// A failure whose server does not say when to come back.
    pub const FAILURE: Self = Self::Failure { retry_after: None };
}

impl Lease {
    pub(super) fn new(endpoint: Arc<Endpoint>, shared: Arc<Shared>, ticket: Option<Ticket>) -> Self {
        Self {
            endpoint,
            shared,
            ticket,
            finished: false,
            awaited: true,
        }
    }

    /// The server.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The request has a body: while that is on its way, the server's silence says nothing about the server.
    pub fn uploads(&mut self) {
        if std::mem::take(&mut self.awaited) {
            self.endpoint.abandoned();
        }
    }

    /// Takes in that another server has answered the same request, which waited here for so long: this one is not waited for
    /// any more. Nothing else is concluded, but without this a server that froze would look as fast as before.
    pub fn outrun(&self, waited: Duration, now: Instant) {
        if self.awaited && !self.finished {
            self.endpoint.latency.outlasted(waited, tick(now));
        }
    }

    /// Takes in how the attempt went, once: what is said later counts no more. To be called when the head of the answer has
    /// arrived or the attempt has failed; the request stays in flight until the lease is dropped.
    ///
    /// Gives the servers that are ejected now, this one or another: to be announced.
    pub fn finish(&mut self, finish: Finish) -> Vec<Ejection> {
        if std::mem::replace(&mut self.finished, true) {
            return Vec::new();
        }
        if self.awaited {
            self.endpoint.responded(tick(finish.now));
        }
        if let (Some(ticket), Some(breaker)) = (self.ticket.take(), &self.shared.breaker) {
            let success = finish.outcome == AttemptOutcome::Success;
            breaker.record(ticket, success, tick(finish.now), &self.shared.dice);
        }
        self.shared.learn(&self.endpoint, &finish)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.awaited && !self.finished {
            self.endpoint.abandoned();
        }
        self.endpoint.leave();
        if let (Some(ticket), Some(breaker)) = (self.ticket, &self.shared.breaker) {
            breaker.cancel(ticket);
        }
    }
}
