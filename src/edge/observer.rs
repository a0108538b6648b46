//! What gate, application and the rest of the gateway tell each other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio_rustls::rustls::ServerConfig;

use super::caps::Refused;
use super::head::{Absolute, Framing};
use super::link::Link;
use super::reply::Reply;
use super::secure::{HandshakeEnd, TlsRules};
use super::tls::Secured;
use crate::answer::Reason;
use crate::config::model;
use crate::observe::metrics::InFlight;

/// What an application learns about a request from the gate; delivered as the connection's user context.
#[derive(Debug)]
pub struct Arrival {
    /// What gate, lane and exchange tell each other.
    pub link: Arc<Link>,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Our end of it.
    pub local: SocketAddr,
    /// When the first byte of the request was read.
    pub started: Instant,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the connection may be used again as far as the client and the gate are concerned.
    pub keep_alive: bool,
    /// A WebSocket handshake.
    pub upgrade: bool,
    /// What the TLS handshake came to; `None`: clear text.
    pub tls: Option<Arc<Secured>>,
    /// The head as it came; empty over HTTP/2.
    pub(super) head: Bytes,
    /// Its target, where that has the absolute form.
    pub(super) absolute: Option<Absolute>,
}

/// A request that was refused at the gate.
#[derive(Debug)]
pub struct RefusedRequest<'a> {
    /// Why.
    pub reason: Reason,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// What was read of the head.
    pub head: &'a [u8],
    /// When its first byte was read.
    pub started: Instant,
    /// The version of TLS; `None`: clear text.
    pub tls: Option<&'static str>,
    /// The version of HTTP.
    pub version: http::Version,
}

/// An arrival on its way to the exchange, beside the request that it belongs to: HTTP/2 has many on one connection.
#[derive(Debug, Clone)]
pub struct Handed(Arc<Mutex<Option<Box<Arrival>>>>);

impl Handed {
    pub(super) fn new(arrival: Box<Arrival>) -> Self {
        Self(Arc::new(Mutex::new(Some(arrival))))
    }

    /// Takes it; the first to ask gets it.
    #[must_use]
    pub fn take(&self) -> Option<Box<Arrival>> {
        self.0.lock().take()
    }
}

/// What the gate asks of the rest of the gateway.
pub trait Observer: Send + Sync + 'static {
    /// The limits in force now.
    fn limits(&self) -> Arc<model::Server>;
    /// Whether this peer is a trusted proxy, on whose connections many clients come.
    fn is_trusted(&self, limits: &model::Server, peer: IpAddr) -> bool {
        limits.trusted_proxies.contains(peer)
    }
    /// Whether a connection of this peer to this listener begins with a PROXY header.
    fn is_announced(&self, limits: &model::Server, peer: IpAddr, listener: SocketAddr, over_tls: bool) -> bool {
        let announcers = if over_tls {
            &limits.tls_announcers
        } else {
            &limits.announcers
        };
        announcers.as_ref().is_some_and(|known| known.announce(peer, listener))
    }
    /// A connection that had to begin with a PROXY header did not: it was closed, for this reason.
    fn misannounced(&self, peer: IpAddr, why: &'static str);
    /// Whether bans and the rate of connections are for this listener.
    fn is_guarded(&self) -> bool;
    /// Whether this client is turned away from everything.
    fn is_banned(&self, client: IpAddr) -> bool;
    /// What is said in TLS handshakes, and within which limits; `None`: TLS is not spoken.
    fn tls(&self) -> Option<TlsRules> {
        None
    }
    /// What is said in a handshake in which an authority asks whether this name is ours (RFC 8737); `None`: nothing.
    fn challenge<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Arc<ServerConfig>>> {
        let _ = name;
        Box::pin(std::future::ready(None))
    }
    /// A TLS handshake has begun; what is returned lives as long as it does.
    fn shaking(&self) -> Option<InFlight> {
        None
    }
    /// A TLS handshake is over.
    fn shaken(&self, end: HandshakeEnd) {
        let _ = end;
    }
    /// Phrases a refusal. The caller writes it and says afterwards, through [`Observer::refused`], how that went.
    fn phrase(&self, request: &RefusedRequest<'_>) -> Reply;
    /// A request was refused; `sent`: bytes written.
    fn refused(&self, request: &RefusedRequest<'_>, reply: &Reply, sent: u64);
    /// A connection was opened; what is returned lives as long as it does.
    fn opened(&self) -> InFlight;
    /// A connection was refused.
    fn capped(&self, which: Refused);
}
