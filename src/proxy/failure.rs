//! What went wrong with an attempt, what may be tried again, and what that says about the server.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Exchange;
use super::retry::{Cause, Sent};
use crate::answer::Reason;
use crate::balance::{AttemptOutcome, Ejection, Endpoint, Finish};
use crate::observe::metrics::FailureKind;
use crate::runtime::prober;

/// How an attempt at a server failed, whoever carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection. Nothing was sent.
    Connect,
    /// No connection in time. Nothing was sent.
    ConnectTimeout,
    /// The gateway itself is out of descriptors, ports or memory: no server is to blame. Nothing was sent.
    Exhausted,
    /// The connection broke.
    Broke,
    /// The server took too long.
    Timeout,
    /// The answer breaks the rules of HTTP.
    Invalid,
    /// The server says that it has not begun with the request (RFC 9113 §8.7).
    Untouched,
    /// Something else, of which nothing may be concluded.
    Other,
}

impl Fault {
    /// The cause that the client is told.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::ConnectTimeout | Self::Timeout => Reason::GatewayTimeout,
            Self::Connect | Self::Exhausted | Self::Broke | Self::Invalid | Self::Untouched | Self::Other => {
                Reason::BadGateway
            }
        }
    }

    fn kind(self) -> FailureKind {
        match self {
            Self::Connect | Self::Exhausted => FailureKind::Connect,
            Self::ConnectTimeout | Self::Timeout => FailureKind::Timeout,
            Self::Invalid => FailureKind::Invalid,
            Self::Broke | Self::Untouched | Self::Other => FailureKind::Reset,
        }
    }
}

impl Exchange {
    /// No connection: nothing was sent, so any request may try another server. Whether it is to.
    pub(super) fn connect_failed(&mut self, sent: Sent<'_>, fault: Fault, why: &dyn fmt::Display) -> bool {
        self.count_unreachable(fault, why);
        self.tries_again(sent, Cause::Connect)
    }

    /// Tells everybody that there was no connection to the server, and lets go of it.
    pub(super) fn count_unreachable(&mut self, fault: Fault, why: &dyn fmt::Display) {
        self.complain(why);
        self.count_failure(fault.kind());
        self.note_failure(fault.kind().word());
        let now = Instant::now();
        let own = fault == Fault::Exhausted;
        if !own {
            self.finish_attempt(AttemptOutcome::FAILURE, None, now);
        }
        if let (Some(upstream), Some(lease)) = (self.upstream().cloned(), self.attempt.lease.take()) {
            let endpoint = lease.endpoint();
            if !own && let Some(transition) = upstream.pool.connect_failed(endpoint, now) {
                prober::announce(endpoint, transition);
                upstream.show_health(endpoint);
            }
            self.attempt.void += u32::from(fault == Fault::Connect);
            self.attempt.tried.push(endpoint.address());
            self.attempt.refused.push(endpoint.address());
        }
    }

    /// Tells everybody that an attempt failed after it was begun.
    pub(super) fn count_broken(&mut self, fault: Fault, reused: bool, why: &dyn fmt::Display) {
        self.count_failure(fault.kind());
        self.note_failure(fault.kind().word());
        // A pooled connection that turns out to be closed is nothing to tell, and says nothing about the server.
        if !(reused && fault == Fault::Broke) {
            self.complain(why);
            self.finish_attempt(AttemptOutcome::FAILURE, None, Instant::now());
        }
    }

    /// The exchange failed after the request was begun. Whether it is to be sent again. `reused`: on a connection out of
    /// the pool.
    pub(super) fn attempt_failed(
        &mut self,
        sent: Sent<'_>,
        fault: Fault,
        reused: bool,
        why: &dyn fmt::Display,
    ) -> bool {
        self.count_broken(fault, reused, why);
        self.attempt.void += u32::from(reused && fault == Fault::Broke);
        let cause = match fault {
            Fault::Untouched => Cause::Untouched,
            Fault::Timeout | Fault::ConnectTimeout => Cause::Timeout,
            Fault::Broke | Fault::Connect => Cause::Broke,
            Fault::Invalid => Cause::Nonsense,
            Fault::Exhausted | Fault::Other => return false,
        };
        let again = self.tries_again(sent, cause);
        if again {
            self.give_up_server();
        }
        again
    }

    /// The server took no more of the request's body.
    pub(super) fn upload_stalled(&mut self) {
        self.count_failure(FailureKind::Timeout);
        self.note_failure(FailureKind::Timeout.word());
        self.complain(&"it takes no more of the body");
        self.finish_attempt(AttemptOutcome::FAILURE, None, Instant::now());
    }

    /// The body of an answer that is being delivered already ended too early: nothing can be sent again. The head has been
    /// told to the balancer.
    pub(super) fn body_failed(&mut self, fault: Fault, why: &dyn fmt::Display) {
        self.count_failure(fault.kind());
        self.note_failure(fault.kind().word());
        self.complain(why);
    }

    /// The next attempt goes elsewhere, if there is another: a server that fails once will mostly fail again.
    pub(super) fn give_up_server(&mut self) {
        if let Some(lease) = &self.attempt.lease {
            self.attempt.tried.push(lease.endpoint().address());
            self.release();
        }
    }

    /// Tells the log why a server could not be spoken with. Not of each request: under attack that would be the attack.
    fn complain(&self, error: &dyn fmt::Display) {
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
        let ejections = lease.finish(Finish { outcome, latency, now });
        for Ejection { endpoint, cause, time } in ejections {
            let (upstream, server, address) = (endpoint.upstream(), endpoint.server(), endpoint.address());
            tracing::warn!(%upstream, %server, %address, reason = %cause, seconds = time.as_secs(), "server is ejected");
            if let Some(metrics) = self.upstream().and_then(|upstream| upstream.server_metrics(&endpoint)) {
                metrics.ejected();
            }
        }
    }

    fn count_failure(&self, kind: FailureKind) {
        if let (Some(upstream), Some(lease)) = (self.upstream(), &self.attempt.lease)
            && let Some(metrics) = upstream.server_metrics(lease.endpoint())
        {
            metrics.failed(kind);
        }
    }

    /// What the client is told of an attempt that failed for good.
    pub(super) fn reason_of(&self, fault: Fault) -> Reason {
        match fault.reason() {
            Reason::BadGateway if self.nobody_connects() => Reason::NoServer,
            reason => reason,
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
}

/// One line of bounded length, whatever the server sent.
fn legible(error: &dyn fmt::Display) -> String {
    const MOST: usize = 400;
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    error.to_string().chars().take(MOST).map(visible).collect()
}

/// Whether an error of the system says that the gateway itself is out of descriptors, ports or memory.
pub(super) fn is_our_own(error: &std::io::Error) -> bool {
    const OWN: [i32; 5] = [
        rustix::io::Errno::MFILE.raw_os_error(),
        rustix::io::Errno::NFILE.raw_os_error(),
        rustix::io::Errno::NOBUFS.raw_os_error(),
        rustix::io::Errno::NOMEM.raw_os_error(),
        rustix::io::Errno::ADDRNOTAVAIL.raw_os_error(),
    ];
    error.raw_os_error().is_some_and(|code| OWN.contains(&code))
}
