//! A request without a body, sent to the route's upstream for whoever wants the answer: a client, or the cache.
//!
//! The same choosing, accounting, retries, timeouts, forwarding fields and hygiene as in Pingora's lane. Dropping what is
//! in progress is safe at any point: the server is released, the connection is not used again.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Version, header, request, response};

use super::carrier::{Broken, Carrier, Limits, Outgoing};
use super::failure::Fault;
use super::retry::Sent;
use super::upstream::{NoServer, Verdict, connected};
use super::{Exchange, hygiene};
use crate::answer::{Answer, Reason};
use crate::balance::Endpoint;
use crate::client::Client;
use crate::config::model::Protocol;
use crate::http1;
use crate::observe::identity::Identity;
use crate::onward::Onward;
use crate::runtime::{Live, Route, Snapshot, Upstream};

/// For whom something is fetched: what the upstream is told about it.
#[derive(Debug)]
pub struct Caller {
    /// Who is calling.
    pub client: Client,
    /// The address at the other end of the client's connection.
    pub peer: std::net::IpAddr,
    /// The port on which the request came.
    pub local_port: u16,
    /// The host that was asked for, normalised.
    pub host: Box<str>,
    /// The request's ids; `None`: the upstream gets none.
    pub identity: Option<Identity>,
    /// Where interim answers go; `None`: nobody wants them.
    pub interim: Option<Interim>,
    /// Fields that the upstream is sent as they are, beside those of the request.
    pub further: HeaderMap,
}

/// Takes interim answers (RFC 9110 §15.2) while the final one is waited for.
pub type Interim = tokio::sync::mpsc::UnboundedSender<(http::StatusCode, HeaderMap)>;

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What a client would be told.
    pub reason: Reason,
    /// When it would be told to come back.
    pub retry_after: Option<Duration>,
}

/// An answer, as its server gave it but for what concerns only the connection; no delivery policy has seen it yet.
/// Whoever drops it before its end gives up the exchange.
pub struct Fetched {
    /// Status and fields; `Content-Length` where the length is known.
    pub head: response::Parts,
    exchange: Box<Exchange>,
    body: Incoming,
}

impl Fetched {
    /// The next part of the body; `None`: it is complete.
    ///
    /// # Errors
    /// The body ended too early, broke its framing or took too long: what has been read so far is not the whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.body.next(&mut self.exchange).await
    }

    /// How many attempts it took.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.exchange.attempt.count
    }
}

/// Sends a GET or HEAD to the upstream of `route`, for no connection of a client's: it goes on whoever leaves. `request`
/// is what a client sent, or would have sent; conditional fields, `Range` and the like are the caller's business.
///
/// # Errors
/// [`Failure`]; everything has been counted then. An answer with a status of failure is an answer.
pub async fn fetch(
    live: &Arc<Live>,
    snapshot: Arc<Snapshot>,
    route: Arc<Route>,
    caller: Caller,
    request: &request::Parts,
) -> Result<Fetched, Failure> {
    let mut exchange = Box::new(Exchange::new(snapshot, Arc::clone(live)));
    exchange.client = caller.client;
    exchange.peer_ip = caller.peer;
    exchange.local_port = caller.local_port;
    exchange.host = caller.host;
    exchange.identity = caller.identity;
    exchange.interim = caller.interim;
    exchange.further = caller.further;
    exchange.route = Some(route);
    let (head, body) = exchange.fetch(request).await?;
    Ok(Fetched { head, exchange, body })
}

/// The body of an answer on its way in.
pub(super) struct Incoming {
    /// Taken out at the end.
    carrier: Option<Carrier>,
}

impl Incoming {
    /// The next part; `None`: it is complete, and the server has been released.
    pub(super) async fn next(&mut self, exchange: &mut Exchange) -> Result<Option<Bytes>, Failure> {
        let Some(carrier) = &mut self.carrier else {
            return Ok(None);
        };
        match exchange.within_deadline(carrier.next()).await {
            Ok(Some(part)) => Ok(Some(part)),
            Ok(None) => {
                self.carrier = None;
                exchange.release();
                Ok(None)
            }
            Err(broken) => {
                self.carrier = None;
                exchange.body_failed(broken.fault, &broken);
                exchange.release();
                Err(exchange.failure(broken.fault))
            }
        }
    }
}

impl Exchange {
    /// Sends the request to a server, to another one where that is right, until there is an answer to deliver.
    pub(super) async fn fetch(&mut self, request: &request::Parts) -> Result<(response::Parts, Incoming), Failure> {
        let sent = Sent {
            method: &request.method,
            repeatable: true,
        };
        let Some(wire) = Wire::new(self, request) else {
            return Err(self.failed(Reason::BadRequest));
        };
        loop {
            if let Err(NoServer(_)) = self.choose(request).await {
                return Err(self.failed(self.refusal.unwrap_or(Reason::Internal)));
            }
            let Carried { reused, result } = match self.hedge_after() {
                Some(after) => self.race(&wire, sent, after).await,
                None => match self.errand(&wire) {
                    Some(errand) => self.within_deadline(errand.carry()).await,
                    None => return Err(self.failed(Reason::Internal)),
                },
            };
            let broken = match result {
                Ok((carrier, mut head)) => match self.answered(sent, head.status, &head.headers) {
                    Verdict::Answer => {
                        self.take_in(&mut head.headers, false);
                        let carrier = Some(carrier);
                        return Ok((head, Incoming { carrier }));
                    }
                    Verdict::Discarded => {
                        self.give_up_server();
                        continue;
                    }
                    Verdict::Interim | Verdict::Tunnel | Verdict::Unasked => Broken {
                        fault: Fault::Invalid,
                        why: "a 101 that nobody asked for".to_owned(),
                    },
                },
                Err(broken) => broken,
            };
            let again = match reused {
                Some(reused) => self.attempt_failed(sent, broken.fault, reused, &broken),
                None => self.connect_failed(sent, broken.fault, &broken),
            };
            if !again {
                return Err(self.failure(broken.fault));
            }
        }
    }

    /// The attempt at the server that was chosen, with everything that it needs: it borrows nothing of the exchange.
    pub(super) fn errand<'a>(&self, wire: &Wire<'a>) -> Option<Errand<'a>> {
        let (upstream, lease) = (self.upstream()?, self.attempt.lease.as_ref()?);
        let timeouts = &upstream.timeouts;
        let left = self.time_left();
        let mut fields = Onward::of(&wire.fields);
        let h2 = upstream.protocol == Protocol::H2;
        self.forward(&mut fields, wire.version, h2);
        for (name, value) in &self.further {
            fields.insert(name.clone(), value.clone());
        }
        Some(Errand {
            live: Arc::clone(&self.live),
            preamble: self.announcement(),
            upstream: Arc::clone(upstream),
            endpoint: Arc::clone(lease.endpoint()),
            limits: Limits {
                connect: left.map_or(timeouts.connect, |left| left.min(timeouts.connect)),
                write: timeouts.write,
                first_byte: self.first_byte_limit(),
                read: timeouts.read,
                idle: timeouts.idle,
            },
            outgoing: Outgoing {
                method: wire.method,
                target: wire.target.clone(),
                fields: fields.to_map(),
                interim: self.interim.clone(),
            },
        })
    }

    /// Cuts what takes longer than the caller waits.
    pub(super) async fn within_deadline<T: Cut>(&self, work: impl Future<Output = T>) -> T {
        let Some(left) = self.time_left() else {
            return work.await;
        };
        tokio::time::timeout(left, work).await.unwrap_or_else(|_| T::cut())
    }

    fn failure(&mut self, fault: Fault) -> Failure {
        self.failed(self.reason_of(fault))
    }

    fn failed(&mut self, reason: Reason) -> Failure {
        self.refusal = Some(reason);
        let retry_after = match self.refusal(reason) {
            Answer::Refusal { retry_after, .. } => retry_after,
            Answer::Redirect { .. } | Answer::Content { .. } => None,
        };
        Failure { reason, retry_after }
    }
}

/// A request as every attempt sends it: without a body, and without what concerned the client's connection.
pub(super) struct Wire<'a> {
    method: &'a Method,
    target: Cow<'a, str>,
    version: Version,
    fields: HeaderMap,
}

impl<'a> Wire<'a> {
    /// `None`: the request nominates fields that no connection can take away.
    fn new(exchange: &Exchange, request: &'a request::Parts) -> Option<Self> {
        let mut fields = Onward::of(&request.headers);
        hygiene::clean_request(&mut fields).ok()?;
        // There is no body, and so nothing to frame and nothing to wait for.
        fields.retain(|name| ![header::CONTENT_LENGTH, header::EXPECT].contains(name));
        Some(Self {
            method: &request.method,
            target: match exchange.rewritten(&request.uri) {
                Some(target) => target.into(),
                None => path_and_query(request).into(),
            },
            version: request.version,
            fields: fields.to_map(),
        })
    }
}

/// One attempt at one server.
pub(super) struct Errand<'a> {
    live: Arc<Live>,
    preamble: Option<Vec<u8>>,
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    limits: Limits,
    outgoing: Outgoing<'a>,
}

/// What an attempt came to.
pub(super) struct Carried {
    /// Whether it went over a connection that had been used before; `None`: there was none.
    pub(super) reused: Option<bool>,
    pub(super) result: Result<(Carrier, response::Parts), Broken>,
}

impl Errand<'_> {
    /// Connects, sends, and reads the head of the answer. Whoever drops this gives it up.
    pub(super) async fn carry(self) -> Carried {
        let opened = Carrier::open(&self.live, &self.upstream, &self.endpoint, self.limits, self.preamble);
        let mut carrier = match opened.await {
            Ok(carrier) => carrier,
            Err(broken) => {
                return Carried {
                    reused: None,
                    result: Err(broken),
                };
            }
        };
        connected(&self.upstream, &self.endpoint, carrier.reused);
        Carried {
            reused: Some(carrier.reused),
            result: carrier.ask(self.outgoing).await.map(|head| (carrier, head)),
        }
    }
}

/// What there is when the caller's time is up.
pub(super) trait Cut {
    /// The end by time.
    fn cut() -> Self;
}

impl<T> Cut for Result<T, Broken> {
    fn cut() -> Self {
        Err(http1::Fault::Timeout.into())
    }
}

impl Cut for Carried {
    fn cut() -> Self {
        Self {
            reused: Some(false),
            result: Cut::cut(),
        }
    }
}

pub(super) fn path_and_query(request: &request::Parts) -> &str {
    match request.uri.path_and_query() {
        Some(target) => target.as_str(),
        None if request.method == Method::OPTIONS => "*",
        None => "/",
    }
}
