//! The gate's view of the gateway: limits, and what is done about a request that it refuses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use tokio_rustls::rustls::ServerConfig;

use crate::answer::{Answer, Reason};
use crate::config::model;
use crate::edge::{HandshakeEnd, Observer, Refused, RefusedRequest, Reply, TlsRules};
use crate::observe::Throttle;
use crate::observe::access_log::Entry;
use crate::observe::identity::Identity;
use crate::observe::metrics::{ConnectionLimit, Handshake, InFlight};
use crate::observe::span::{self, Span, Work};
use crate::policy::Recipient;
use crate::runtime::{Live, Spans};

/// How often the log says that a connection was not announced.
const COMPLAINT: Duration = Duration::from_secs(10);
/// Longest part of a refused target that is logged, bytes.
const MAX_LOGGED: usize = 512;

/// What the gate in front of the proxy asks and tells.
pub struct GateSide {
    live: Arc<Live>,
    /// Those who come are operators.
    operators: bool,
    misannounced: Throttle,
}

impl GateSide {
    /// Over the running gateway.
    #[must_use]
    pub fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            operators: false,
            misannounced: Throttle::new(COMPLAINT),
        }
    }

    /// Before a listener for operators: who is banned for what was asked of the site may still look, and lift the ban.
    #[must_use]
    pub fn for_operators(live: Arc<Live>) -> Self {
        Self {
            operators: true,
            ..Self::new(live)
        }
    }
}

impl Observer for GateSide {
    fn limits(&self) -> Arc<model::Server> {
        Arc::clone(&self.live.peek().server)
    }

    fn misannounced(&self, peer: IpAddr, why: &'static str) {
        let connections = self.live.registry.metrics.connections();
        connections.refused(ConnectionLimit::Announcement);
        if let Some(left_out) = self.misannounced.admit(Instant::now()) {
            tracing::warn!(%peer, why, left_out, "a connection without the PROXY header that `proxy_protocol` asks for was closed");
        }
    }

    fn is_guarded(&self) -> bool {
        !self.operators
    }

    fn is_banned(&self, client: IpAddr) -> bool {
        self.live.registry.banned(client).is_some()
    }

    fn tls(&self) -> Option<TlsRules> {
        let snapshot = self.live.peek();
        let tls = if self.operators {
            &snapshot.admin_tls
        } else {
            &snapshot.tls
        };
        let tls = tls.as_ref()?;
        Some(TlsRules {
            hosts: tls.hosts(),
            timeout: tls.settings.handshake_timeout,
            most: tls.settings.max_handshakes,
            rate: tls.settings.handshake_rate,
        })
    }

    fn challenge<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Arc<ServerConfig>>> {
        let acme = self.live.peek().acme.clone().filter(|_| !self.operators);
        Box::pin(async move { acme?.handshake(name).await })
    }

    fn shaking(&self) -> Option<InFlight> {
        Some(self.live.registry.metrics.tls().begun())
    }

    fn shaken(&self, end: HandshakeEnd) {
        self.live.registry.metrics.tls().ended(match end {
            HandshakeEnd::Full => Handshake::Full,
            HandshakeEnd::Resumed => Handshake::Resumed,
            HandshakeEnd::Failed => Handshake::Failed,
            HandshakeEnd::Timeout => Handshake::Timeout,
            HandshakeEnd::Refused => Handshake::Refused,
        });
    }

    fn phrase(&self, request: &RefusedRequest<'_>) -> Reply {
        // Nothing that a refused head says is believed, the client's wishes about the answer's form included.
        let unread = HeaderMap::new();
        let identity = Identity::new(&unread, false, self.live.peek().tracing);
        let mut answer = Answer::refuse(request.reason);
        if let (Reason::Banned, Answer::Refusal { retry_after, .. }) = (request.reason, &mut answer) {
            *retry_after = self.live.registry.banned(request.peer.ip());
        }
        let mut rendered = answer.render(None, identity.request_id());
        identity.write_response(&mut rendered.headers);
        let recipient = Recipient {
            tls: request.tls.is_some(),
            head: false,
            fields: &unread,
            preflight: false,
            accept_encoding: None,
        };
        self.live
            .peek()
            .delivery
            .deliver(&recipient, rendered.status, &mut rendered.headers);
        let head_only = Line::of(request.head).method == Method::HEAD.as_str();
        Reply {
            rendered,
            head_only,
            identity,
        }
    }

    fn refused(&self, request: &RefusedRequest<'_>, reply: &Reply, sent: u64) {
        let snapshot = self.live.peek();
        let status = reply.rendered.status;
        let line = Line::of(request.head);
        let method = Method::from_bytes(line.method.as_bytes()).unwrap_or_default();
        snapshot
            .no_route
            .record(&method, status, request.started.elapsed(), 0, sent);
        self.live.registry.metrics.refused(request.reason);
        let (path, query) = match line.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (line.target, None),
        };
        if let Some(spans) = &snapshot.spans {
            tell(spans, request, reply, (&method, path, sent));
        }
        let Some(sink) = &snapshot.access_log else { return };
        sink.log.write(
            &sink.format,
            &sink.redact,
            &Entry {
                time: SystemTime::now(),
                request_id: reply.identity.request_id(),
                trace_id: None,
                client: request.peer.ip().to_canonical(),
                route: None,
                method: line.method,
                host: None,
                path: path.as_bytes(),
                query: query.map(str::as_bytes),
                version: request.version,
                status: status.as_u16(),
                bytes_in: 0,
                bytes_out: sent,
                duration: request.started.elapsed(),
                upstream: None,
                server: None,
                upstream_time: None,
                attempts: 0,
                cache: None,
                limit: None,
                refusal: Some(request.reason.word()),
                tls: request.tls,
                user_agent: None,
                referer: None,
                headers: None,
            },
        );
    }

    fn opened(&self) -> InFlight {
        self.live.registry.metrics.connections().accepted()
    }

    fn capped(&self, which: Refused) {
        self.live.registry.metrics.connections().refused(match which {
            Refused::Total => ConnectionLimit::Total,
            Refused::Client => ConnectionLimit::Client,
            Refused::Rate => ConnectionLimit::Rate,
            Refused::Banned => ConnectionLimit::Ban,
        });
    }
}

/// Tells of a request that was refused, if its trace is recorded, or it failed.
fn tell(spans: &Spans, request: &RefusedRequest<'_>, reply: &Reply, (method, path, sent): (&Method, &str, u64)) {
    let status = reply.rendered.status;
    let failed = status.is_server_error();
    if !reply.identity.is_recorded() && !failed {
        return;
    }
    let ended = SystemTime::now();
    let peer = request.peer.ip().to_canonical();
    spans.tell(Span {
        place: reply.identity.place(),
        started: ended - request.started.elapsed(),
        ended,
        work: Work::Request(Box::new(span::Request {
            method: method.clone(),
            scheme: if request.tls.is_some() { "https" } else { "http" },
            host: Box::default(),
            port: 0,
            path: span::clip(path),
            version: request.version,
            status: status.as_u16(),
            route: None,
            pattern: None,
            client: peer,
            peer,
            user_agent: None,
            request_id: reply.identity.request_id().into(),
            upstream: None,
            attempts: 0,
            cache: None,
            limit: None,
            refusal: Some(request.reason.word()),
            failed,
            bytes: (0, sent),
        })),
    });
}

/// What can be read of the request line of a head that is not to be trusted.
struct Line<'a> {
    method: &'a str,
    target: &'a str,
}

impl<'a> Line<'a> {
    fn of(head: &'a [u8]) -> Self {
        let end = head
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(head.len())
            .min(MAX_LOGGED);
        let line = head[..end].utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let mut words = line.split_ascii_whitespace();
        let method = words.next().unwrap_or("");
        let known = method.len() <= 16 && method.bytes().all(|byte| byte.is_ascii_uppercase());
        Self {
            method: if known { method } else { "" },
            target: words.next().unwrap_or(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_far_as_it_makes_sense() {
        let line = Line::of(b"GET /a?b HTTP/1.1\r\nX");
        assert_eq!((line.method, line.target), ("GET", "/a?b"));
        let line = Line::of(b"\x16\x03\x01\xff binary");
        assert_eq!((line.method, line.target), ("", ""));
        assert_eq!(Line::of(b"").method, "");
    }
}
