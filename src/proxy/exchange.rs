//! One request and its answer: typed state from the first byte to the log line. Owns every guard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::cache::{Change, HeadOf};
use super::limit::Limited;
use super::trace::Trail;
use crate::answer::{Answer, Grpc, Reason};
use crate::balance::{Lease, Priority};
use crate::cache::Status;
use crate::client::{Client, Scheme};
use crate::edge::{Arrival, Secured};
use crate::observe::identity::{Identity, SpanId};
use crate::observe::metrics::InFlight;
use crate::policy::{Delivery, Encoder};
use crate::runtime::{Flows, Full, Known, Live, Place, Purged, Route, Snapshot, Upstream};

/// The state of one exchange.
pub struct Exchange {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) live: Arc<Live>,
    /// What the gate knows; always there for HTTP/1.
    pub(super) arrival: Option<Box<Arrival>>,
    /// The address at the other end of the client's connection.
    pub(super) peer_ip: IpAddr,
    /// The port on which the request came.
    pub(super) local_port: u16,
    /// What the client's TLS handshake came to; `None`: clear text.
    pub(super) secured: Option<Arc<Secured>>,
    pub(super) identity: Option<Identity>,
    pub(super) client: Client,
    /// Host without port, lower case; empty until it is known to be good.
    pub(super) host: Box<str>,
    /// The normalised path, where it differs from the raw one.
    pub(super) path: Option<Box<str>>,
    pub(super) route: Option<Arc<Route>>,
    /// It only asks what a page of another site may ask.
    pub(super) preflight: bool,
    /// Who asks, where that is known.
    pub(super) known: Option<Box<Known>>,
    /// Which kind of gRPC the request speaks, if any.
    pub(super) grpc: Option<Grpc>,
    /// Until when the caller wants its answer.
    pub(super) deadline: Option<Instant>,
    pub(super) in_flight: Option<InFlight>,
    /// What the rate limits said.
    pub(super) limited: Limited,
    /// What the cache did with it; `None`: the route has none.
    pub(super) cache_status: Option<Status>,
    /// Where it may change something.
    pub(super) change: Option<Box<Change>>,
    /// Where interim answers to a fetch go.
    pub(super) interim: Option<super::fetch::Interim>,
    /// What a fetch tells the upstream beside the request's own fields.
    pub(super) further: HeaderMap,
    /// A stored answer whose head is asked for.
    pub(super) head_of: Option<Box<HeadOf>>,
    /// What it made stale; to be waited for before the client is told.
    pub(super) purged: Option<Box<Purged>>,
    /// What slows its bodies down.
    pub(super) flows: Option<Box<Flows>>,
    pub(super) attempt: Attempt,
    /// What is remembered of the attempts; `None`: nothing.
    pub(super) trail: Option<Box<Trail>>,
    pub(super) encoder: Option<Encoder>,
    pub(super) refusal: Option<Reason>,
    /// When the client is told to come back, where that is known.
    pub(super) retry_after: Option<Duration>,
    /// The place in the route's concurrency limit.
    pub(super) place: Option<Place>,
    /// The client was told to send its body.
    pub(super) continued: bool,
    pub(super) concluded: bool,
}

/// The attempts at an upstream.
#[derive(Default)]
pub(super) struct Attempt {
    pub(super) lease: Option<Lease>,
    /// The server that was released after its answer, for the log.
    pub(super) served_by: Option<Arc<str>>,
    /// Counts it while it lasts.
    pub(super) in_flight: Option<InFlight>,
    /// Servers that are not to be asked again while there are others.
    pub(super) tried: Vec<SocketAddr>,
    /// Those of them that refused the connection.
    pub(super) refused: Vec<SocketAddr>,
    /// How many attempts came to nothing at once: servers that refused, connections out of the pool that were closed.
    pub(super) void: u32,
    /// What consistent hashing goes by.
    pub(super) hash: Option<u64>,
    pub(super) count: u32,
    /// Its span, while it is under way and remembered.
    pub(super) span: Option<SpanId>,
    /// How the server has answered.
    pub(super) status: Option<StatusCode>,
    pub(super) started: Option<Instant>,
    /// When the last part of the body went to it.
    pub(super) fed: Option<Instant>,
    /// From the choice of the server to the head of its answer.
    pub(super) first_byte: Option<Duration>,
    /// A request that may be sent twice by right has been.
    pub(super) repeated: bool,
    /// Several servers were asked at the same time.
    pub(super) hedged: bool,
    /// The answer is thrown away for a better one.
    pub(super) discarded: bool,
    /// The server that the client's cookie names.
    pub(super) bound: Option<String>,
    /// What Pingora allows each read from the server.
    pub(super) read_limit: Duration,
    /// The limit of this phase, where it is shorter than that: watched by the lane, anew with each part of the answer.
    pub(super) phase: Option<Duration>,
}

impl Exchange {
    pub(super) fn new(snapshot: Arc<Snapshot>, live: Arc<Live>) -> Self {
        let client = Client {
            ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            scheme: Scheme::Http,
            peer_trusted: false,
        };
        Self {
            snapshot,
            live,
            arrival: None,
            peer_ip: client.ip,
            local_port: 0,
            secured: None,
            identity: None,
            client,
            host: Box::default(),
            path: None,
            route: None,
            preflight: false,
            known: None,
            grpc: None,
            deadline: None,
            in_flight: None,
            limited: Limited::default(),
            cache_status: None,
            change: None,
            interim: None,
            further: HeaderMap::new(),
            head_of: None,
            purged: None,
            flows: None,
            attempt: Attempt::default(),
            trail: None,
            encoder: None,
            refusal: None,
            retry_after: None,
            place: None,
            continued: false,
            concluded: false,
        }
    }

    pub(super) fn request_id(&self) -> &str {
        self.identity.as_ref().map_or("", Identity::request_id)
    }

    /// What is done to the answer: the route's rules, or the general ones.
    pub(super) fn delivery(&self) -> &Delivery {
        self.route
            .as_ref()
            .map_or(&self.snapshot.delivery, |route| &route.delivery)
    }

    /// Its class where not everybody can be served.
    pub(super) fn priority(&self) -> Priority {
        self.route.as_ref().map_or(Priority::Normal, |route| route.priority)
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.route.as_ref()?.action {
            crate::runtime::Action::Proxy { upstream, .. } => Some(upstream),
            _ => None,
        }
    }

    /// Takes a place in the route's concurrency limit; waits for one in its queue.
    pub(super) async fn take_place(&mut self) -> Result<(), Answer> {
        let limit = self.route.as_ref().and_then(|route| route.concurrency.clone());
        let Some(limit) = limit else { return Ok(()) };
        match limit.enter().await {
            Ok(place) => {
                self.place = Some(place);
                Ok(())
            }
            Err(Full) => Err(self.refusal(Reason::Busy)),
        }
    }

    /// The answer that goes with a reason.
    pub(super) fn refusal(&self, reason: Reason) -> Answer {
        let retry_after = match reason {
            _ if self.retry_after.is_some() => self.retry_after,
            Reason::NoServer => self.upstream().and_then(|upstream| upstream.retry_after),
            // Not all at the same moment.
            Reason::Busy => Some(Duration::from_secs(fastrand::u64(1..=3))),
            _ => None,
        };
        Answer::Refusal {
            reason,
            retry_after,
            fields: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Encodes a part of the body, where the answer is encoded.
    pub(super) fn encode(&mut self, body: &mut Option<Bytes>, end: bool) -> std::io::Result<()> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        *body = Some(encoder.encode(body.as_deref().unwrap_or_default(), end)?);
        if end {
            self.encoder = None;
        }
        Ok(())
    }
}

impl Exchange {
    /// The server is done with: it has become less full, and who waits for that is told.
    pub(super) fn release(&mut self) {
        self.end_span(None);
        self.attempt.in_flight = None;
        let lease = self.attempt.lease.take();
        if let Some(lease) = &lease {
            self.attempt.served_by = Some(Arc::clone(lease.endpoint().server()));
        }
        if lease.is_some()
            && let Some(upstream) = self.upstream().cloned()
        {
            drop(lease);
            upstream.queue.freed();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let cut = self.arrival.as_ref().is_some_and(|arrival| {
            // The gate ended the exchange because the server took no more of the body.
            arrival.link.fault() == Some(Reason::GatewayTimeout)
        });
        if cut && !self.concluded {
            self.upload_stalled();
        }
        self.release();
        if !self.concluded {
            self.tell_fetched();
        }
    }
}
