//! What went wrong, what may be tried again, and what the client is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::prelude::{Error, ErrorSource, ErrorType};
use pingora::proxy::Session;

use super::Exchange;
use super::retry::Cause;
use crate::answer::Reason;
use crate::balance::{AttemptOutcome, Ejection, Endpoint, Finish};
use crate::observe::metrics::FailureKind;
use crate::runtime::prober;

impl Exchange {
    /// No connection: nothing was sent, so any request may try another server.
    pub(super) fn connect_failed(&mut self, session: &Session, mut error: Box<Error>) -> Box<Error> {
        self.complain(&error);
        let timed_out = is_timeout(&error);
        self.count_failure(if timed_out {
            FailureKind::Timeout
        } else {
            FailureKind::Connect
        });
        let now = Instant::now();
        let own = is_our_own(&error);
        if !own {
            self.finish_attempt(AttemptOutcome::FAILURE, None, now);
        }
        if let (Some(upstream), Some(lease)) = (self.upstream().cloned(), self.attempt.lease.take()) {
            let endpoint = lease.endpoint();
            if !own && let Some(transition) = upstream.pool.connect_failed(endpoint, now) {
                prober::announce(endpoint, transition);
                upstream.show_health(endpoint);
            }
            self.attempt.tried.push(endpoint.address());
            self.attempt.refused.push(endpoint.address());
        }
        let retry = self.tries_again(session, Cause::Connect);
        error.set_retry(retry);
        error
    }

    /// The exchange failed after the request was begun. What an HTTP/2 server says it has not begun with (RFC 9113 §8.7)
    /// is sent again whatever the method.
    pub(super) fn attempt_failed(&mut self, session: &Session, mut error: Box<Error>, reused: bool) -> Box<Error> {
        error.retry.decide_reuse(reused);
        let untouched = *error.etype() == ErrorType::H2Error && error.retry();
        error.set_retry(false);
        if std::mem::take(&mut self.attempt.discarded) {
            self.give_up_server();
            error.set_retry(true);
            return error;
        }
        let rang = self.fault() == Some(Reason::GatewayTimeout);
        if !rang && (*error.esource() != ErrorSource::Upstream || self.fault().is_some()) {
            return error;
        }
        let timed_out = rang || is_timeout(&error);
        self.count_failure(match error.etype() {
            _ if timed_out => FailureKind::Timeout,
            ErrorType::InvalidHTTPHeader => FailureKind::Invalid,
            _ => FailureKind::Reset,
        });
        let broke = matches!(
            error.etype(),
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectError
        );
        // A pooled connection that turns out to be closed is nothing to tell, and says nothing about the server.
        if !(reused && broke) {
            self.complain(&error);
            self.finish_attempt(AttemptOutcome::FAILURE, None, Instant::now());
        }
        let cause = match () {
            () if untouched => Some(Cause::Untouched),
            () if timed_out => Some(Cause::Timeout),
            () if broke => Some(Cause::Broke),
            () => None,
        };
        if cause.is_some_and(|cause| self.tries_again(session, cause)) {
            self.give_up_server();
            if let Some(arrival) = &self.arrival {
                arrival.link.forgive();
            }
            error.set_retry(true);
        }
        error
    }

    /// The next attempt goes elsewhere, if there is another: a server that fails once will mostly fail again.
    fn give_up_server(&mut self) {
        if let Some(lease) = self.attempt.lease.take() {
            self.attempt.tried.push(lease.endpoint().address());
        }
    }

    /// Tells the log why a server could not be spoken with. Not of each request: under attack that would be the attack.
    fn complain(&self, error: &Error) {
        if let (Some(upstream), Some(lease)) = (self.upstream(), &self.attempt.lease)
            && let Some(left_out) = upstream.complaints.admit(Instant::now())
        {
            let (server, error) = (lease.endpoint().server(), legible(error));
            tracing::warn!(upstream = %upstream.name, %server, %error, left_out, "an attempt at a server failed");
        }
    }

    /// Tells the balancer how the attempt went; it counts what it is told first.
    pub(super) fn finish_attempt(&mut self, outcome: AttemptOutcome, latency: Option<Duration>, now: Instant) {
        let Some(lease) = &mut self.attempt.lease else { return };
        for Ejection { endpoint, cause, time } in lease.finish(Finish { outcome, latency, now }) {
            let (upstream, server, address) = (endpoint.upstream(), endpoint.server(), endpoint.address());
            tracing::warn!(%upstream, %server, %address, reason = %cause, seconds = time.as_secs(), "server is ejected");
        }
    }

    fn count_failure(&self, kind: FailureKind) {
        if let (Some(upstream), Some(lease)) = (self.upstream(), &self.attempt.lease)
            && let Some(metrics) = upstream.server_metrics(lease.endpoint().server())
        {
            metrics.failed(kind);
        }
    }

    /// Every server of an upstream whose health is watched has refused this request's connection: its next check will
    /// say that no server is fit, and the client can as well hear it now.
    fn nobody_connects(&self) -> bool {
        let Some(upstream) = self.upstream().filter(|upstream| upstream.model.health_check.is_some()) else {
            return false;
        };
        let refused = |endpoint: &Arc<Endpoint>| self.attempt.refused.contains(&endpoint.address());
        upstream
            .pool
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.state().is_usable())
            .all(refused)
    }

    fn fault(&self) -> Option<Reason> {
        self.arrival.as_ref()?.link.fault()
    }

    /// What the client is told; `None`: it is gone.
    pub(super) fn reason_for(&mut self, session: &Session, error: &Error) -> Option<Reason> {
        let reason = self.refusal.or_else(|| self.fault()).or_else(|| match error.esource() {
            ErrorSource::Upstream if is_timeout(error) => Some(Reason::GatewayTimeout),
            ErrorSource::Upstream if self.nobody_connects() => Some(Reason::NoServer),
            ErrorSource::Upstream => Some(Reason::BadGateway),
            ErrorSource::Downstream => match error.etype() {
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => None,
                ErrorType::WriteTimedout => None, // it takes nothing any more
                ErrorType::ReadTimedout => Some(Reason::RequestTimeout),
                _ => Some(Reason::BadRequest),
            },
            ErrorSource::Internal | ErrorSource::Unset => Some(Reason::Internal),
        });
        if session.response_written().is_none() {
            self.refusal = reason;
        }
        if reason == Some(Reason::Internal) {
            tracing::error!(request_id = self.request_id(), %error, "a fault of the gateway");
        }
        reason
    }
}

/// One line of bounded length, whatever the server sent.
fn legible(error: &Error) -> String {
    const MOST: usize = 400;
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    error.to_string().chars().take(MOST).map(visible).collect()
}

/// The gateway itself is out of descriptors, ports or memory: no server is to blame.
fn is_our_own(error: &Error) -> bool {
    const OWN: [i32; 5] = [
        rustix::io::Errno::MFILE.raw_os_error(),
        rustix::io::Errno::NFILE.raw_os_error(),
        rustix::io::Errno::NOBUFS.raw_os_error(),
        rustix::io::Errno::NOMEM.raw_os_error(),
        rustix::io::Errno::ADDRNOTAVAIL.raw_os_error(),
    ];
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause
        .and_then(std::io::Error::raw_os_error)
        .is_some_and(|code| OWN.contains(&code))
}

fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    )
}
