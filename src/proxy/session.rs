//! What only Pingora's lane needs: its session's limits, its errors in the terms of the exchange.

use std::time::{Duration, Instant};

use http::{StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorSource, ErrorType, HttpPeer, Result};
use pingora::proxy::Session;

use super::failure::{Fault, is_our_own};
use super::peer::Template;
use super::retry::Sent;
use super::upstream::Verdict;
use super::{Exchange, hygiene, upgrade};
use crate::answer::Reason;
use crate::config::model::Protocol;
use crate::edge::{Framing, Handed};
use crate::onward::Onward;

impl Exchange {
    /// What the gate knows of a request over HTTP/2.
    pub(super) fn take_arrival(&mut self, request: &RequestHeader) {
        if self.arrival.is_none() {
            self.arrival = request.extensions.get::<Handed>().and_then(Handed::take);
        }
    }

    /// The connection's limits for this exchange.
    pub(super) fn configure(&self, session: &mut Session) {
        let server = &self.snapshot.server;
        session.set_write_timeout(Some(server.write_timeout));
        // The lane keeps the pace of a body; this only catches what it could not.
        session.set_read_timeout(Some(server.body_timeout * 2));
        let keep_alive = self.arrival.as_ref().is_some_and(|arrival| arrival.keep_alive);
        session.set_keepalive(keep_alive.then_some(server.keepalive_timeout.as_secs().max(1)));
    }

    /// Says in the answer that it is the connection's last, where it is.
    pub(super) fn say_goodbye(&self, session: &mut Session, status: StatusCode) {
        if status != StatusCode::SWITCHING_PROTOCOLS && self.is_last() {
            session.set_keepalive(None);
        }
    }

    /// Waits for the turn of the request, or until its client leaves.
    pub(super) async fn pause(&self, session: &mut Session, wait: Duration) -> Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        let turn = tokio::time::sleep(wait);
        if self.has_body() {
            // To look for the end of the connection would be to read the body.
            turn.await;
            return Ok(());
        }
        tokio::pin!(turn);
        loop {
            tokio::select! {
                () = &mut turn => return Ok(()),
                // It yields only an error: there is no body.
                gone = session.as_downstream_mut().read_body_or_idle(true) => { gone.map_err(|error| error.into_down())?; }
            }
        }
    }

    fn has_body(&self) -> bool {
        let framing = self.arrival.as_ref().map(|arrival| arrival.framing);
        framing.is_none_or(|framing| framing != Framing::None)
    }

    /// A part of the request's body goes to the upstream.
    pub(super) fn body_progressed(&mut self) {
        self.attempt.fed = Some(Instant::now());
        self.upstream_progressed();
    }

    /// The server that was chosen, as Pingora connects to it.
    pub(super) fn peer(&mut self) -> Result<Box<HttpPeer>> {
        let (Some(upstream), Some(lease)) = (self.upstream().cloned(), &self.attempt.lease) else {
            return Err(Error::explain(ErrorType::InternalError, "no server was chosen"));
        };
        let template = upstream.prepared.filled(|| Template::new(&upstream));
        let Some(template) = template else {
            return Err(Error::explain(
                ErrorType::InternalError,
                "an upstream prepared by another",
            ));
        };
        let upgrading = self.arrival.as_ref().is_some_and(|arrival| arrival.upgrade);
        let mut peer = template.peer(lease.endpoint(), upgrading, self.announcement())?;
        if upgrading {
            upgrade::prepare(&mut peer);
        }
        if let Some(left) = self.time_left() {
            let limit = peer
                .options
                .total_connection_timeout
                .map_or(left, |limit| limit.min(left));
            peer.options.connection_timeout = Some(limit);
            peer.options.total_connection_timeout = Some(limit);
        }
        self.attempt.read_limit = peer.options.read_timeout.unwrap_or(Duration::MAX);
        let first_byte = self.first_byte_limit();
        if let Some(arrival) = self.arrival.as_ref().filter(|_| self.has_body() && !upgrading) {
            arrival.link.set_stall(Some(first_byte.min(upstream.timeouts.write)));
            // The wait for the answer begins anew with every part of the body: only the alarm can do that.
            self.attempt.read_limit = Duration::MAX;
        }
        self.enter_phase(first_byte);
        Ok(peer)
    }

    /// Writes the request as the upstream is to see it.
    pub(super) fn address_upstream(&mut self, session: &Session, request: &mut RequestHeader) -> Result<()> {
        let Some(upstream) = self.upstream().cloned() else {
            return Ok(());
        };
        if let Some(target) = self.rewritten(&request.uri) {
            request.set_raw_path(target.as_bytes())?;
        }
        let h2 = request.version == Version::HTTP_2;
        if upstream.protocol == Protocol::H2 && !h2 && !self.arrival.as_ref().is_some_and(|arrival| arrival.upgrade) {
            // The server chose HTTP/1.1 in the TLS handshake, or nothing.
            return Err(Error::explain(ErrorType::H2Error, "the server does not speak HTTP/2").into_up());
        }
        let version = session.req_header().version;
        hygiene::edit_request(request, |fields| {
            *fields = {
                let mut onward = Onward::of(fields);
                self.forward(&mut onward, version, h2);
                onward.to_map()
            };
        })
    }

    /// Asks the client for the body that it holds back (RFC 9110 §10.1.1), where the server cannot.
    pub(super) async fn ask_for_body(&mut self, session: &mut Session, request: &RequestHeader) -> Result<()> {
        let asks = request.version == Version::HTTP_2
            && session.req_header().version == Version::HTTP_11
            && request.headers.contains_key(header::EXPECT);
        if asks && !std::mem::replace(&mut self.continued, true) {
            session.as_mut().write_continue_response().await?;
        }
        Ok(())
    }

    /// The head of an answer has arrived, an interim one perhaps.
    pub(super) fn upstream_answered(&mut self, session: &mut Session, response: &mut ResponseHeader) -> Result<()> {
        let sent = sent(session);
        let status = response.status;
        if response.version <= Version::HTTP_11
            && let Err(rule) = hygiene::judge_framing(&response.headers, response.version)
        {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, rule).into_up());
        }
        match self.answered(sent, status, &response.headers) {
            Verdict::Interim => hygiene::clean_response(response, false),
            Verdict::Discarded => {
                self.attempt.discarded = true;
                return Err(Error::explain(ErrorType::HTTPStatus(status.as_u16()), "tried again elsewhere").into_up());
            }
            Verdict::Unasked => {
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that nobody asked for").into_up());
            }
            Verdict::Tunnel => {
                if let (Some(arrival), Some(upstream)) = (&self.arrival, self.upstream()) {
                    arrival.link.open_tunnel();
                    session.set_read_timeout(Some(upstream.timeouts.tunnel));
                    self.enter_phase(upstream.timeouts.tunnel);
                }
                hygiene::edit_response(response, |fields| self.take_in(fields, true));
            }
            Verdict::Answer => {
                if let Some(arrival) = &self.arrival {
                    arrival.link.set_stall(None); // nothing else can be answered any more
                }
                if let Some(upstream) = self.upstream() {
                    self.enter_phase(upstream.timeouts.read);
                }
                hygiene::edit_response(response, |fields| self.take_in(fields, false));
            }
        }
        Ok(())
    }

    /// A part of the body has arrived: the alarm of this phase is for the next one.
    pub(super) fn upstream_progressed(&self) {
        if self.attempt.phase.is_some() || self.deadline.is_some() {
            self.watch();
        }
    }

    /// Whether only the end of the connection tells a client of HTTP/1.0 where the body ends.
    pub(super) fn ends_with_connection(&self, session: &Session, response: &ResponseHeader) -> bool {
        let request = session.req_header();
        request.version == Version::HTTP_10
            && request.method != http::Method::HEAD
            && !hygiene::never_has_body(response.status)
            && !response.headers.contains_key(header::CONTENT_LENGTH)
    }

    /// From now on a read may take this long.
    fn enter_phase(&mut self, limit: Duration) {
        self.attempt.phase = (limit < self.attempt.read_limit).then_some(limit);
        self.watch();
    }

    /// Sets the lane's alarm for what comes first: the end of this phase or the caller's deadline.
    fn watch(&self) {
        if let Some(arrival) = &self.arrival {
            let left = self.time_left();
            let limits = self.attempt.phase.into_iter().chain(left);
            arrival.link.set_alarm(limits.min());
        }
    }

    /// No connection. Whether another server is tried is told in the error.
    pub(super) fn pingora_connect_failed(&mut self, session: &Session, mut error: Box<Error>) -> Box<Error> {
        let fault = connect_fault(&error);
        let retry = self.connect_failed(sent(session), fault, &error);
        error.set_retry(retry);
        error
    }

    /// The exchange failed after the request was begun. What an HTTP/2 server says it has not begun with (RFC 9113 §8.7)
    /// is sent again whatever the method.
    pub(super) fn pingora_attempt_failed(
        &mut self,
        session: &Session,
        mut error: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
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
        let fault = match rang {
            true => Fault::Timeout,
            false => fault(&error, untouched),
        };
        if self.attempt_failed(sent(session), fault, reused, &error) {
            if let Some(arrival) = &self.arrival {
                arrival.link.forgive();
            }
            error.set_retry(true);
        }
        error
    }

    fn fault(&self) -> Option<Reason> {
        self.arrival.as_ref()?.link.fault()
    }

    /// What the client is told; `None`: it is gone.
    pub(super) fn reason_for(&mut self, session: &Session, error: &Error) -> Option<Reason> {
        let reason = self.refusal.or_else(|| self.fault()).or_else(|| match error.esource() {
            ErrorSource::Upstream if is_timeout(error) => Some(Reason::GatewayTimeout),
            ErrorSource::Upstream => Some(self.reason_of(Fault::Other)),
            ErrorSource::Downstream => match error.etype() {
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => None,
                ErrorType::WriteTimedout => None, // it takes nothing any more
                ErrorType::ReadTimedout => Some(Reason::RequestTimeout),
                _ => Some(Reason::BadRequest),
            },
            ErrorSource::Internal | ErrorSource::Unset => Some(Reason::Internal),
        });
        if final_answer(session).is_none() {
            self.refusal = reason;
        }
        if reason == Some(Reason::Internal) {
            tracing::error!(request_id = self.request_id(), %error, "a fault of the gateway");
        }
        reason
    }

    /// Our answer to a failed exchange is out. Pingora lets go of the connection; where the answer promised to keep it,
    /// the gate does.
    pub(super) fn answered_whole(&self, session: &Session) {
        let keeps = |answer: &ResponseHeader| {
            answer
                .headers
                .get(header::CONNECTION)
                .is_some_and(|value| value == "keep-alive")
        };
        if let Some(arrival) = &self.arrival
            && final_answer(session).is_some_and(keeps)
        {
            arrival.link.keep();
        }
    }

    /// Status and bytes both ways, for the log.
    pub(super) fn tally(&self, session: &Session) -> (StatusCode, u64, u64) {
        let status = final_answer(session).map_or_else(super::respond::client_left, |response| response.status);
        match &self.arrival {
            Some(arrival) => (status, arrival.link.received(), arrival.link.sent()),
            None => (
                status,
                session.body_bytes_read() as u64,
                session.body_bytes_sent() as u64,
            ),
        }
    }
}

/// The head of the final answer, once it is out: after an interim one the client still waits for it.
pub(super) fn final_answer(session: &Session) -> Option<&ResponseHeader> {
    let is_final = |status: StatusCode| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
    session.response_written().filter(|answer| is_final(answer.status))
}

/// What decides whether the session's request may be sent again.
fn sent(session: &Session) -> Sent<'_> {
    Sent {
        method: &session.req_header().method,
        repeatable: session.response_written().is_none() && !session.as_ref().retry_buffer_truncated(),
    }
}

/// Why there is no connection.
pub(super) fn connect_fault(error: &Error) -> Fault {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    match () {
        () if cause.is_some_and(is_our_own) => Fault::Exhausted,
        () if is_timeout(error) => Fault::ConnectTimeout,
        () => Fault::Connect,
    }
}

/// Why an exchange failed after it was begun. `untouched`: the server says that it had not begun with it.
pub(super) fn fault(error: &Error, untouched: bool) -> Fault {
    match error.etype() {
        _ if untouched => Fault::Untouched,
        _ if is_timeout(error) => Fault::Timeout,
        ErrorType::InvalidHTTPHeader => Fault::Invalid,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectError => {
            Fault::Broke
        }
        _ => Fault::Other,
    }
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
