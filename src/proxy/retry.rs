//! When a request is sent again: `retry` of its upstream, and what RFC 9110 §9.2.2 allows without being asked.

use std::time::Instant;

use http::{HeaderMap, Method, StatusCode, header};

use super::Exchange;
use crate::runtime::Upstream;

/// So many attempts that came to nothing at once do not count, where there are other servers.
const VOID_MAX: u32 = 8;

/// Why an attempt is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing was sent.
    Connect,
    /// The server says that it has not begun with the request.
    Untouched,
    /// The connection broke.
    Broke,
    /// What came is no answer.
    Nonsense,
    /// There was no answer in time.
    Timeout,
    /// The server answered with this status.
    Status(StatusCode),
}

/// What decides about a request whether it may be sent again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) method: &'a Method,
    /// The client has not been told anything yet, and its whole body (if any) is still at hand.
    pub(super) repeatable: bool,
}

impl Exchange {
    /// Whether the request is to be sent again. Counts the attempt that it allows.
    pub(super) fn tries_again(&mut self, sent: Sent<'_>, cause: Cause) -> bool {
        let Some(upstream) = self.upstream().cloned() else {
            return false;
        };
        let retry = &upstream.model.retry;
        // An exchange that broke and was begun anew by right has not used up what the file grants for other causes.
        let by_right = u32::from(self.attempt.repeated && !retry.on.reset);
        let granted = retry.attempts + by_right + u32::from(self.attempt.hedged);
        // When several servers die at once, who meets two of them has not had an answer from anybody yet.
        let begun = self.attempt.count.saturating_sub(self.attempt.void.min(VOID_MAX));
        let left =
            self.attempt.count < granted || (retry.attempts > 1 && begun < granted && self.has_others(&upstream));
        if cause == Cause::Connect {
            let again = left && retry.on.connect;
            if again {
                upstream.metrics.retried();
            }
            return again;
        }
        let method = sent.method;
        if !sent.repeatable || self.arrival.as_ref().is_some_and(|arrival| arrival.upgrade) {
            return false;
        }
        // Once without being asked: the server may have closed an idle connection at the moment it was used, or died.
        let by_right = match cause {
            Cause::Untouched => true,
            Cause::Broke => method.is_idempotent(),
            _ => false,
        };
        if by_right && !self.attempt.repeated {
            self.attempt.repeated = true;
            upstream.metrics.retried();
            return true;
        }
        let asked = match cause {
            Cause::Broke | Cause::Untouched | Cause::Nonsense => retry.on.reset,
            Cause::Timeout => retry.on.timeout,
            Cause::Status(status) => retry.on.statuses.contains(&status),
            Cause::Connect => false,
        };
        // The budget last: what is not sent again must not use it up.
        let again = asked && left && retry.methods.contains(method) && upstream.pool.budget().withdraw(Instant::now());
        if again {
            upstream.metrics.retried();
        }
        again
    }

    /// Whether a server that is fit has not had this request yet.
    fn has_others(&self, upstream: &Upstream) -> bool {
        let current = self.attempt.lease.as_ref().map(|lease| lease.endpoint().address());
        let tried = |address| Some(address) == current || self.attempt.tried.contains(&address);
        let endpoints = upstream.pool.endpoints();
        let mut others = endpoints.iter().filter(|one| !tried(one.address()));
        others.any(|one| one.state().is_usable() && !one.is_draining())
    }

    /// Whether an answer is thrown away for a better one. A server that says when to come back is believed.
    pub(super) fn discards(&mut self, sent: Sent<'_>, status: StatusCode, fields: &HeaderMap) -> bool {
        !fields.contains_key(header::RETRY_AFTER) && self.tries_again(sent, Cause::Status(status))
    }
}
