//! What went wrong, what may be tried again, and what the client is told.

use std::time::{Duration, Instant};

use pingora::prelude::{Error, ErrorSource, ErrorType};
use pingora::proxy::Session;

use super::Exchange;
use crate::answer::Reason;
use crate::balance::{AttemptOutcome, Ejection, Finish};
use crate::observe::metrics::FailureKind;
use crate::runtime::prober;

impl Exchange {
    /// No connection: nothing was sent, so any request may try another server.
    pub(super) fn connect_failed(&mut self, mut error: Box<Error>) -> Box<Error> {
        let timed_out = is_timeout(&error);
        self.count_failure(if timed_out {
            FailureKind::Timeout
        } else {
            FailureKind::Connect
        });
        let mut retry = false;
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
            retry = self.attempt.count < upstream.attempts;
            if retry {
                upstream.metrics.retried();
            }
        }
        error.set_retry(retry);
        error
    }

    /// The connection broke during the exchange. Once, a request that may be repeated (RFC 9110 §9.2.2) is sent again:
    /// the server may have closed an idle connection at the very moment it was used, or may have died.
    pub(super) fn attempt_failed(&mut self, session: &Session, mut error: Box<Error>, reused: bool) -> Box<Error> {
        error.set_retry(false);
        if *error.esource() != ErrorSource::Upstream || self.fault().is_some() {
            return error;
        }
        let timed_out = is_timeout(&error);
        self.count_failure(match error.etype() {
            _ if timed_out => FailureKind::Timeout,
            ErrorType::InvalidHTTPHeader => FailureKind::Invalid,
            _ => FailureKind::Reset,
        });
        let broke = matches!(
            error.etype(),
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectError
        );
        // That a connection which lay idle is dead says nothing about the server.
        if !(broke && reused) {
            self.finish_attempt(AttemptOutcome::FAILURE, None, Instant::now());
        }
        let retry = broke
            && !self.attempt.repeated
            && session.req_header().method.is_idempotent()
            && session.response_written().is_none()
            && !session.as_ref().retry_buffer_truncated()
            && !self.arrival.as_ref().is_some_and(|arrival| arrival.upgrade);
        if retry && let Some(lease) = self.attempt.lease.take() {
            self.attempt.repeated = true;
            if !reused {
                self.attempt.tried.push(lease.endpoint().address());
            }
            if let Some(upstream) = self.upstream() {
                upstream.metrics.retried();
            }
            error.set_retry(true);
        }
        error
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

    fn fault(&self) -> Option<Reason> {
        self.arrival.as_ref()?.link.fault()
    }

    /// What the client is told; `None`: it is gone.
    pub(super) fn reason_for(&mut self, session: &Session, error: &Error) -> Option<Reason> {
        let reason = self.refusal.or_else(|| self.fault()).or_else(|| match error.esource() {
            ErrorSource::Upstream if is_timeout(error) => Some(Reason::GatewayTimeout),
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
