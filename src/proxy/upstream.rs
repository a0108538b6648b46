//! Towards the upstream and back: the server, the request it gets, the answer it gives.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::proxy::Session;

use super::peer::Template;
use super::{Exchange, deadline, hygiene, upgrade};
use crate::answer::Reason;
use crate::balance::{Ask, AttemptOutcome, PickError};
use crate::client::{self, Forwarding};
use crate::config::model::Protocol;
use crate::policy::{Encoder, Recipient};
use crate::runtime::{Action, Full, UNIX};

/// Tells a server that it is not the first to be asked: 2 is the first further attempt.
const ATTEMPT: HeaderName = HeaderName::from_static("x-gateway-attempt");

/// What choosing came to.
enum Choice {
    Peer(Box<HttpPeer>),
    /// Every server that is fit has as many requests as it takes.
    AllFull,
}

impl Exchange {
    /// Chooses a server; while all of them are full, waits for one in the upstream's queue.
    pub(super) async fn choose_peer(&mut self, session: &Session) -> Result<Box<HttpPeer>> {
        let Some(upstream) = self.upstream().cloned() else {
            return Err(Error::explain(ErrorType::InternalError, "a route without an upstream"));
        };
        if self.attempt.count == 0 {
            upstream.pool.budget().deposit(Instant::now());
            self.attempt.bound = self.bound_to(&upstream, session.req_header());
            self.attempt.hash = self.hash(&upstream, session.req_header());
        }
        let mut place = None;
        loop {
            match self.try_peer() {
                Ok(Choice::Peer(peer)) => return Ok(peer),
                Ok(Choice::AllFull) => {}
                Err(error) => return Err(error),
            }
            // Taken once: who waits keeps the place until there is a server or the time is up.
            let waiting = match place.take() {
                Some(waiting) => Ok(waiting),
                None => upstream.queue.enter(),
            };
            place = match waiting {
                Ok(mut waiting) => waiting.turn().await.then_some(waiting),
                Err(Full) => None,
            };
            if place.is_none() {
                upstream.metrics.no_server();
                self.refusal = Some(Reason::Busy);
                return Err(Error::explain(ErrorType::ConnectError, "every server is full"));
            }
        }
    }

    /// Chooses a server among those that were not tried.
    fn try_peer(&mut self) -> Result<Choice> {
        let Some(upstream) = self.upstream().cloned() else {
            return Err(Error::explain(ErrorType::InternalError, "a route without an upstream"));
        };
        let left = self.time_left();
        if left.is_some_and(|left| left.is_zero()) {
            self.refusal = Some(Reason::GatewayTimeout);
            return Err(Error::explain(
                ErrorType::ConnectTimedout,
                "the caller's deadline has passed",
            ));
        }
        let now = Instant::now();
        let ask = Ask {
            tried: &self.attempt.tried,
            hash: self.attempt.hash,
            sticky: self.attempt.bound.as_deref(),
            now,
        };
        let picked = match upstream.pool.pick(&ask) {
            // Better one that failed a moment ago than none.
            Err(PickError::AllTried) => upstream.pool.pick(&Ask { tried: &[], ..ask }),
            picked => picked,
        };
        let lease = match picked {
            Ok(lease) => lease,
            Err(PickError::AllFull) => return Ok(Choice::AllFull),
            Err(error) => {
                if let PickError::BreakerOpen { retry_after } = error {
                    self.retry_after = Some(retry_after);
                }
                upstream.metrics.no_server();
                self.refusal = Some(Reason::NoServer);
                return Err(Error::because(ErrorType::ConnectError, "choosing a server", error));
            }
        };
        let endpoint = lease.endpoint();
        if let Some(metrics) = upstream.server_metrics(endpoint.server()) {
            metrics.picked();
            self.attempt.in_flight = Some(metrics.in_flight());
        }
        let template = upstream.prepared.filled(|| Template::new(&upstream));
        let Some(template) = template else {
            return Err(Error::explain(
                ErrorType::InternalError,
                "an upstream prepared by another",
            ));
        };
        let upgrading = self.arrival.as_ref().is_some_and(|arrival| arrival.upgrade);
        let mut peer = template.peer(endpoint, upgrading)?;
        if upgrading {
            upgrade::prepare(&mut peer);
        }
        if let Some(left) = left {
            let limit = peer
                .options
                .total_connection_timeout
                .map_or(left, |limit| limit.min(left));
            peer.options.connection_timeout = Some(limit);
            peer.options.total_connection_timeout = Some(limit);
        }
        self.attempt.read_limit = peer.options.read_timeout.unwrap_or(Duration::MAX);
        let first_byte = upstream.timeouts.first_byte;
        self.enter_phase(
            upstream
                .model
                .retry
                .per_try_timeout
                .map_or(first_byte, |limit| limit.min(first_byte)),
        );
        self.attempt.count += 1;
        self.attempt.started = Some(now);
        self.attempt.lease = Some(lease);
        Ok(Choice::Peer(peer))
    }

    pub(super) fn connected(&mut self, reused: bool) {
        if let (Some(upstream), Some(lease)) = (self.upstream(), &self.attempt.lease) {
            if !reused {
                lease.endpoint().connected();
            }
            if let Some(metrics) = upstream.server_metrics(lease.endpoint().server()) {
                metrics.connected(reused);
            }
        }
    }

    /// Writes the request as the upstream is to see it.
    pub(super) fn address_upstream(&mut self, session: &Session, request: &mut RequestHeader) -> Result<()> {
        let Some(Action::Proxy { upstream, rewrite }) = self.route.as_ref().map(|route| &route.action) else {
            return Ok(());
        };
        let Some(arrival) = &self.arrival else { return Ok(()) };
        if let Some(rewrite) = rewrite {
            let mut target = rewrite.apply(request.uri.path());
            if let Some(query) = request.uri.query() {
                target.push('?');
                target.push_str(query);
            }
            request.set_raw_path(target.as_bytes())?;
        }
        let h2 = request.version == Version::HTTP_2;
        if upstream.protocol == Protocol::H2 && !h2 && !arrival.upgrade {
            // The server chose HTTP/1.1 in the TLS handshake, or nothing.
            return Err(Error::explain(ErrorType::H2Error, "the server does not speak HTTP/2").into_up());
        }
        let host = request.headers.get(header::HOST).cloned();
        let left = self.time_left();
        hygiene::edit_request(request, |fields| {
            client::write_forwarding(
                fields,
                &Forwarding {
                    client: &self.client,
                    peer: arrival.peer.ip(),
                    host: host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(&self.host),
                    local_port: arrival.local.port(),
                    version: if session.req_header().version == Version::HTTP_10 {
                        "1.0"
                    } else {
                        "1.1"
                    },
                },
            );
            if let Some(identity) = &self.identity {
                identity.write(fields);
            }
            if self.attempt.count > 1 {
                fields.insert(ATTEMPT, HeaderValue::from(self.attempt.count));
            } else {
                fields.remove(ATTEMPT);
            }
            if let Some(left) = left {
                fields.insert(deadline::FIELD, deadline::format(left));
            }
            if h2 {
                fields.remove(header::EXPECT); // answered here: interim answers of HTTP/2 do not reach us
                if self.grpc.is_some() {
                    // Pingora removed it as a matter of the client's connection; servers of gRPC insist on it.
                    fields.insert(header::TE, HeaderValue::from_static("trailers"));
                }
            }
            match &upstream.host {
                Some(host) => drop(fields.insert(header::HOST, host.clone())),
                // HTTP/1.0 may leave it out, the upstream's HTTP/1.1 may not.
                None if host.is_none() => {
                    let server = self.attempt.lease.as_ref().map(|lease| &**lease.endpoint().server());
                    let server = server.map(|server| if server.starts_with(UNIX) { "localhost" } else { server });
                    if let Some(Ok(value)) = server.map(HeaderValue::from_str) {
                        fields.insert(header::HOST, value);
                    }
                }
                None => {}
            }
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
        let tunnel = response.status == StatusCode::SWITCHING_PROTOCOLS;
        if response.status.is_informational() && !tunnel {
            hygiene::clean_response(response, false);
            return Ok(());
        }
        if let Some(started) = self.attempt.started {
            let now = Instant::now();
            let first_byte = now.saturating_duration_since(started);
            self.attempt.first_byte = Some(first_byte);
            if let Some(upstream) = self.upstream() {
                upstream.metrics.answered(first_byte);
            }
            self.finish_attempt(outcome(response), Some(first_byte), now);
        }
        if !tunnel && self.discards(session, response) {
            self.attempt.discarded = true;
            return Err(
                Error::explain(ErrorType::HTTPStatus(response.status.as_u16()), "tried again elsewhere").into_up(),
            );
        }
        let Some(timeouts) = self.upstream().map(|upstream| upstream.timeouts) else {
            return Ok(());
        };
        if let Some(arrival) = &self.arrival {
            if tunnel && !arrival.upgrade {
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that nobody asked for").into_up());
            }
            if tunnel {
                arrival.link.open_tunnel();
                session.set_read_timeout(Some(timeouts.tunnel));
            }
        }
        self.enter_phase(if tunnel { timeouts.tunnel } else { timeouts.read });
        hygiene::clean_response(response, tunnel);
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

    /// What is left until the caller's deadline.
    fn time_left(&self) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(Instant::now()))
    }

    /// Applies the delivery policies to the head of the answer.
    pub(super) fn deliver(&mut self, session: &Session, response: &mut ResponseHeader) {
        let request = session.req_header();
        let known_length = response.headers.contains_key(header::CONTENT_LENGTH);
        let status = response.status;
        let old_client = request.version == Version::HTTP_10;
        let recipient = Recipient {
            tls: self.client.scheme == client::Scheme::Https,
            head: request.method == http::Method::HEAD,
            fields: &request.headers,
            preflight: self.preflight,
            accept_encoding: request
                .headers
                .get(header::ACCEPT_ENCODING)
                .and_then(|value| value.to_str().ok()),
        };
        let mut coding = None;
        hygiene::edit_response(response, |fields| {
            if let Some(identity) = &self.identity {
                identity.write_response(fields);
            }
            self.bind(fields);
            if status == StatusCode::SWITCHING_PROTOCOLS {
                return;
            }
            // Before the route's rules: they may take the fields out.
            self.limited.announce(fields);
            coding = self.delivery().deliver(&recipient, status, fields);
            if coding.is_some() && !old_client {
                fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if old_client {
                fields.remove(header::TRANSFER_ENCODING); // RFC 9112 §6.1: HTTP/1.0 does not know it
            }
        });
        self.limited.settle(status);
        self.encoder = coding
            .filter(|_| !recipient.head)
            .map(|coding| Encoder::new(coding, !known_length));
    }
}

/// What the head of an answer says about the server. 501 and 505 say more about the request.
fn outcome(response: &ResponseHeader) -> AttemptOutcome {
    match response.status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => AttemptOutcome::Success,
        status if status.is_server_error() => {
            let seconds = response.headers.get(header::RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            AttemptOutcome::Failure {
                retry_after: seconds.map(Duration::from_secs),
            }
        }
        _ => AttemptOutcome::Success,
    }
}
