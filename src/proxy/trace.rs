//! What is told of an exchange to who collects traces: its span, and one below it for each attempt at a server.
//!
//! Where nobody collects, or the trace is not recorded, there is no trail; but the first thing that goes wrong begins one,
//! for a request that fails is told whatever was decided.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderValue, Method, StatusCode, header, request};

use super::Exchange;
use super::hedge::Hold;
use crate::observe::access_log::Redaction;
use crate::observe::identity::{SpanId, new_span};
use crate::observe::span::{self, Span, Work};
use crate::runtime::Spans;

/// More attempts are not told one by one.
const MOST: usize = 32;

/// What is remembered of the attempts of a request.
#[derive(Default)]
pub(super) struct Trail {
    method: Method,
    over: Vec<Over>,
}

/// An attempt that is over.
struct Over {
    span: SpanId,
    server: Arc<str>,
    address: SocketAddr,
    started: Instant,
    ended: Instant,
    status: Option<StatusCode>,
    error: Option<&'static str>,
}

impl Exchange {
    /// Attempts follow: they are remembered if the trace is recorded.
    pub(super) fn begin_trail(&mut self, request: &request::Parts) {
        let recorded = |exchange: &Self| {
            exchange
                .identity
                .as_ref()
                .is_some_and(|identity| identity.is_recorded())
        };
        if self.snapshot.spans.is_some() && recorded(self) {
            self.trail = Some(Box::new(Trail {
                method: request.method.clone(),
                over: Vec::new(),
            }));
        }
    }

    /// A server was chosen.
    pub(super) fn begin_span(&mut self) {
        self.attempt.status = None;
        self.attempt.span = self.trail.is_some().then(new_span);
    }

    /// There is an answer.
    pub(super) fn note_answer(&mut self, status: StatusCode) {
        self.attempt.status = Some(status);
        if status.is_server_error() && self.snapshot.spans.is_some() {
            self.trail.get_or_insert_default();
            self.attempt.span.get_or_insert_with(new_span);
        }
    }

    /// The attempt failed.
    pub(super) fn note_failure(&mut self, error: &'static str) {
        if self.snapshot.spans.is_some() {
            self.trail.get_or_insert_default();
            self.attempt.span.get_or_insert_with(new_span);
            self.end_span(Some(error));
        }
    }

    /// The attempt is over, if it was not before.
    pub(super) fn end_span(&mut self, error: Option<&'static str>) {
        let Some(span) = self.attempt.span.take() else { return };
        if let (Some(trail), Some(lease), Some(started)) = (&mut self.trail, &self.attempt.lease, self.attempt.started)
            && trail.over.len() < MOST
        {
            trail.over.push(Over {
                span,
                server: Arc::clone(lease.endpoint().server()),
                address: lease.endpoint().address(),
                started,
                ended: Instant::now(),
                status: self.attempt.status.take(),
                error,
            });
        }
    }

    /// Another server has answered first.
    pub(super) fn note_outrun(&mut self, other: &mut Hold) {
        if self.trail.is_some() {
            self.swap(other);
            self.end_span(Some("outrun"));
            self.swap(other);
        }
    }

    /// The request is over: tells of it if its trace is recorded, or it failed.
    pub(super) fn tell(&mut self, request: &request::Parts, status: StatusCode, bytes: (u64, u64)) {
        let Some(spans) = self.snapshot.spans.clone() else {
            return;
        };
        let Some(identity) = &self.identity else { return };
        // Of gRPC, the status says nothing.
        let refused = self.refusal.is_some_and(|reason| reason.status().is_server_error());
        let failed = refused || status.is_server_error();
        if !identity.is_recorded() && !failed {
            return;
        }
        let place = identity.place();
        let (now, ended) = (Instant::now(), SystemTime::now());
        let started = self.arrival.as_ref().map_or(now, |arrival| arrival.started);
        let redact = self.snapshot.access_log.as_ref().map(|sink| &sink.redact);
        spans.tell(Span {
            started: ended - now.saturating_duration_since(started),
            ended,
            work: Work::Request(Box::new(span::Request {
                method: request.method.clone(),
                scheme: self.client.scheme.as_str(),
                host: span::clip(&self.host),
                port: self.local_port,
                path: span::clip(request.uri.path()),
                version: request.version,
                status: status.as_u16(),
                route: self.route.as_ref().map(|route| Arc::clone(&route.name)),
                pattern: self.route.as_ref().and_then(|route| route.pattern.clone()),
                client: self.client.ip,
                peer: self.peer_ip,
                user_agent: user_agent(request, redact),
                request_id: self.request_id().into(),
                upstream: self.upstream().map(|upstream| Arc::clone(&upstream.name)),
                attempts: self.attempt.count,
                cache: self.cache_status.as_ref().map(|status| status.verdict().word()),
                limit: self.limited.word().map(Into::into),
                refusal: self.refusal.map(crate::answer::Reason::word),
                failed,
                bytes,
            })),
            place,
        });
        self.end_span(None);
        self.tell_attempts(&spans, Some(&request.method));
    }

    /// What was fetched for somebody else is over: its attempts stand below the span of who wanted it.
    pub(super) fn tell_fetched(&mut self) {
        let recorded = self.identity.as_ref().is_some_and(|identity| identity.is_recorded());
        if let Some(spans) = self.snapshot.spans.clone().filter(|_| recorded) {
            self.tell_attempts(&spans, None);
        }
    }

    fn tell_attempts(&mut self, spans: &Spans, method: Option<&Method>) {
        let (Some(trail), Some(identity)) = (self.trail.take(), &self.identity) else {
            return;
        };
        let Some(upstream) = self.upstream() else { return };
        let mut over = trail.over;
        over.sort_by_key(|over| over.started);
        let place = identity.place();
        let (now, today) = (Instant::now(), SystemTime::now());
        let by_calendar = |moment: Instant| today - now.saturating_duration_since(moment);
        for (number, over) in (1..).zip(over) {
            spans.tell(Span {
                place: place.below(over.span),
                started: by_calendar(over.started),
                ended: by_calendar(over.ended),
                work: Work::Attempt(Box::new(span::Attempt {
                    method: method.unwrap_or(&trail.method).clone(),
                    upstream: Arc::clone(&upstream.name),
                    server: over.server,
                    address: over.address,
                    number,
                    status: over.status.map(|status| status.as_u16()),
                    error: over.error,
                })),
            });
        }
    }
}

fn user_agent(request: &request::Parts, redact: Option<&Redaction>) -> Option<Box<str>> {
    let value = request.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    let value = match redact {
        Some(redact) => redact.header(header::USER_AGENT.as_str(), value)?,
        None => value?,
    };
    Some(span::clip(&String::from_utf8_lossy(value)))
}
