//! Towards the upstream and back: the server, the request it gets, the answer it gives. Whichever lane carries it out.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header, request};

use super::retry::Sent;
use super::{Exchange, deadline, hygiene};
use crate::answer::Reason;
use crate::balance::{Ask, AttemptOutcome, Endpoint, PickError};
use crate::client::{self, Forwarding, Words};
use crate::edge::Framing;
use crate::onward::Onward;
use crate::policy::{Encoder, Recipient};
use crate::runtime::{Action, Full, UNIX, Upstream};

/// What is done with the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes; the final one follows.
    Interim,
    /// It is thrown away, another server is asked.
    Discarded,
    /// A 101 that nobody asked for: the server is not to be trusted with the connection.
    Unasked,
    /// From here on the connection is a tunnel.
    Tunnel,
    /// It is delivered.
    Answer,
}

/// Why there is no server for a request; what the client is told stands in the exchange.
#[derive(Debug)]
pub(super) struct NoServer(pub(super) &'static str);

/// What choosing came to.
pub(super) enum Choice {
    Taken,
    /// Every server that is fit has as many requests as it takes.
    AllFull,
}

impl Exchange {
    /// Chooses a server for the next attempt; while all of them are full, waits for one in the upstream's queue.
    pub(super) async fn choose(&mut self, request: &request::Parts) -> Result<(), NoServer> {
        let Some(upstream) = self.upstream().cloned() else {
            self.refusal = Some(Reason::Internal);
            return Err(NoServer("a route without an upstream"));
        };
        if self.attempt.count == 0 {
            self.begin_trail(request);
            upstream.pool.budget().deposit(Instant::now());
            self.attempt.bound = self.bound_to(&upstream, request);
            self.attempt.hash = self.hash(&upstream, request);
            if upstream.model.hedge.is_some() {
                upstream.pool.hedge_budget().deposit(Instant::now());
            }
        }
        let priority = self.priority();
        let mut place = None;
        // Who waits already goes before a newcomer of the same class or a lower one.
        let mut behind = upstream.queue.is_ahead_of(priority);
        if behind {
            upstream.queue.freed();
        }
        loop {
            if !std::mem::take(&mut behind)
                && let Choice::Taken = self.try_choose(true)?
            {
                return Ok(());
            }
            // Taken once: who waits keeps the place until there is a server or the time is up.
            let waiting = match place.take() {
                Some(waiting) => Ok(waiting),
                None => upstream.queue.enter(priority),
            };
            place = match waiting {
                Ok(mut waiting) => waiting.turn().await.then_some(waiting),
                Err(Full) => None,
            };
            if place.is_none() {
                upstream.metrics.no_server();
                upstream.metrics.shed(priority);
                self.refusal = Some(Reason::Busy);
                return Err(NoServer("every server is full"));
            }
        }
    }

    /// Chooses a server among those that were not tried; `again`: one of those that were, where there are no others.
    pub(super) fn try_choose(&mut self, again: bool) -> Result<Choice, NoServer> {
        let Some(upstream) = self.upstream().cloned() else {
            return Err(NoServer("a route without an upstream"));
        };
        if self.time_left().is_some_and(|left| left.is_zero()) {
            self.refusal = Some(Reason::GatewayTimeout);
            return Err(NoServer("the caller's deadline has passed"));
        }
        let now = Instant::now();
        let ask = Ask {
            tried: &self.attempt.tried,
            hash: self.attempt.hash,
            sticky: self.attempt.bound.as_deref(),
            priority: self.priority(),
            now,
        };
        let picked = match upstream.pool.pick(&ask) {
            // Better one that failed a moment ago than none.
            Err(PickError::AllTried) if again => upstream.pool.pick(&Ask { tried: &[], ..ask }),
            picked => picked,
        };
        let mut lease = match picked {
            Ok(lease) => lease,
            Err(PickError::AllFull) => return Ok(Choice::AllFull),
            Err(_) if !again => return Ok(Choice::AllFull),
            Err(error) => {
                if let PickError::BreakerOpen { retry_after } = error {
                    self.retry_after = Some(retry_after);
                }
                upstream.metrics.no_server();
                self.refusal = Some(Reason::NoServer);
                return Err(NoServer("no server is fit, or the circuit breaker is open"));
            }
        };
        if self
            .arrival
            .as_ref()
            .is_some_and(|arrival| arrival.framing != Framing::None)
        {
            lease.uploads();
        }
        if let Some(metrics) = upstream.server_metrics(lease.endpoint()) {
            metrics.picked();
            self.attempt.in_flight = Some(metrics.in_flight());
        }
        self.attempt.count += 1;
        self.attempt.started = Some(now);
        self.attempt.lease = Some(lease);
        self.begin_span();
        Ok(Choice::Taken)
    }

    /// How long this attempt may take until the head of its answer.
    pub(super) fn first_byte_limit(&self) -> Duration {
        self.upstream().map_or(Duration::ZERO, |upstream| {
            let (limit, each) = (upstream.timeouts.first_byte, upstream.model.retry.per_try_timeout);
            each.map_or(limit, |each| each.min(limit))
        })
    }

    pub(super) fn connected(&self, reused: bool) {
        if let (Some(upstream), Some(lease)) = (self.upstream(), &self.attempt.lease) {
            connected(upstream, lease.endpoint(), reused);
        }
    }

    /// The target that the upstream sees, where it is not the client's.
    pub(super) fn rewritten(&self, uri: &Uri) -> Option<String> {
        let Some(Action::Proxy {
            rewrite: Some(rewrite), ..
        }) = self.route.as_ref().map(|route| &route.action)
        else {
            return None;
        };
        let mut target = rewrite.apply(uri.path());
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }

    /// Writes the fields of a request as the upstream is to see them. What concerned the client's connection has been
    /// taken out. `version`: the client's; `h2`: the server's is HTTP/2.
    pub(super) fn forward(&self, fields: &mut Onward<'_>, version: Version, h2: bool) {
        let Some(upstream) = self.upstream() else { return };
        let host = fields.get(&header::HOST).cloned();
        let facts = Forwarding {
            client: &self.client,
            peer: self.peer_ip,
            host: host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(&self.host),
            local_port: self.local_port,
            version: if version == Version::HTTP_10 { "1.0" } else { "1.1" },
        };
        match &self.arrival {
            Some(arrival) => client::write_forwarding(fields, &facts, &arrival.link.words),
            None => client::write_forwarding(fields, &facts, &Words::default()),
        }
        if let Some(identity) = &self.identity {
            identity.write(fields, self.attempt.span.as_ref());
        }
        self.tell_certificate(fields);
        if self.attempt.count > 1 {
            fields.insert(client::ATTEMPT, HeaderValue::from(self.attempt.count));
        }
        if let Some(left) = self.time_left() {
            fields.insert(deadline::FIELD, deadline::format(left));
        }
        if h2 {
            fields.remove(&header::EXPECT); // answered here: interim answers of HTTP/2 do not reach us
            if self.grpc.is_some() {
                // Removed as a matter of the client's connection; servers of gRPC insist on it.
                fields.insert(header::TE, HeaderValue::from_static("trailers"));
            }
        }
        match &upstream.host {
            Some(host) => fields.insert(header::HOST, host.clone()),
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
    }

    /// Tells the application about the client's certificate; what the client itself says in these fields never passes.
    fn tell_certificate(&self, fields: &mut Onward<'_>) {
        let Some(tls) = &self.snapshot.tls else { return };
        let identity = self.secured.as_ref().and_then(|secured| secured.client.as_ref());
        for (name, fact) in &tls.settings.client_headers {
            client::disclaim(fields, name);
            let value = identity.and_then(|identity| HeaderValue::from_str(identity.fact(*fact)).ok());
            if let Some(value) = value {
                fields.add(name.clone(), value);
            }
        }
    }

    /// The head of an answer has arrived, an interim one perhaps: what it says about the server, and what becomes of it.
    pub(super) fn answered(&mut self, sent: Sent<'_>, status: StatusCode, fields: &HeaderMap) -> Verdict {
        let tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !tunnel {
            return Verdict::Interim;
        }
        if let Some(started) = self.attempt.started {
            let now = Instant::now();
            // A client that sends its body slowly does not make the server slow.
            let asked = self.attempt.fed.map_or(started, |fed| fed.max(started));
            let first_byte = now.saturating_duration_since(asked);
            self.attempt.first_byte = Some(first_byte);
            if let Some(upstream) = self.upstream() {
                upstream.metrics.answered(first_byte);
                if let Some(latencies) = &upstream.latencies {
                    latencies.record(first_byte, now);
                }
            }
            self.note_answer(status);
            self.finish_attempt(outcome(status, fields), latency(status, first_byte), now);
        }
        match () {
            () if tunnel && self.arrival.as_ref().is_some_and(|arrival| arrival.upgrade) => Verdict::Tunnel,
            () if tunnel => Verdict::Unasked,
            () if self.discards(sent, status, fields) => Verdict::Discarded,
            () => {
                self.learn(status, fields);
                Verdict::Answer
            }
        }
    }

    /// Takes in the fields of an answer that will be delivered: what they say to the limits, and to the connection.
    pub(super) fn take_in(&mut self, fields: &mut HeaderMap, tunnel: bool) {
        self.reckon(fields);
        for name in self.hidden_fields() {
            fields.remove(name);
        }
        hygiene::clean_answer(fields, tunnel);
    }

    /// Whether the client's connection ends with this answer: its listener has been stopped since the request began, the
    /// gateway is stopping, or the client is turned away from everything.
    pub(super) fn is_last(&self) -> bool {
        self.live.registry.is_draining()
            || self.arrival.as_ref().is_some_and(|arrival| arrival.link.is_stopping())
            || self.is_turned_away()
    }

    /// What is left until the caller's deadline.
    pub(super) fn time_left(&self) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(Instant::now()))
    }

    /// Applies the delivery policies to the head of the answer.
    pub(super) fn deliver(&mut self, request: &request::Parts, status: StatusCode, fields: &mut HeaderMap) {
        let known_length = fields.contains_key(header::CONTENT_LENGTH);
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
        if let Some(identity) = &self.identity {
            identity.write_response(fields);
        }
        self.bind(fields);
        let mut coding = None;
        if status != StatusCode::SWITCHING_PROTOCOLS {
            // Before the route's rules: they may take the fields out.
            self.announce_cache(status, fields);
            self.limited.announce(fields);
            coding = self.delivery().deliver(&recipient, status, fields);
            if coding.is_some() && !old_client {
                fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if old_client {
                fields.remove(header::TRANSFER_ENCODING); // RFC 9112 §6.1: HTTP/1.0 does not know it
            }
        }
        self.limited.settle(status);
        self.encoder = coding
            .filter(|_| !recipient.head)
            .map(|coding| Encoder::new(coding, self.delivery().effort(), !known_length));
    }
}

/// There is a connection to the server, one that was used before perhaps.
pub(super) fn connected(upstream: &Upstream, endpoint: &Endpoint, reused: bool) {
    if !reused {
        endpoint.connected();
    }
    if let Some(metrics) = upstream.server_metrics(endpoint) {
        metrics.connected(reused);
    }
}

/// What the head of an answer says about the server. 501 and 505 say more about the request, and 500 may.
fn outcome(status: StatusCode, fields: &HeaderMap) -> AttemptOutcome {
    let retry_after = || {
        let seconds = fields.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    };
    match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => AttemptOutcome::Success,
        StatusCode::INTERNAL_SERVER_ERROR if retry_after().is_none() => AttemptOutcome::Error,
        status if status.is_server_error() => AttemptOutcome::Failure {
            retry_after: retry_after(),
        },
        _ => AttemptOutcome::Success,
    }
}

/// The latency that the balancer learns. An application that turns a client away (429) does that faster than it works: by
/// that it would attract the others.
fn latency(status: StatusCode, first_byte: Duration) -> Option<Duration> {
    (status != StatusCode::TOO_MANY_REQUESTS).then_some(first_byte)
}
