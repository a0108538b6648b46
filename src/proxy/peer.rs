//! How a server of an upstream is connected to: prepared once a snapshot, copied for each attempt.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::sync::Arc;
use std::time::Duration;

use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::tls::{ALPN, CaType};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::announce;
use crate::balance::Endpoint;
use crate::config::model::Protocol;
use crate::runtime::{ClientTls, UNIX, Upstream, system_authorities};

/// Exchanges at a time on one HTTP/2 connection.
const STREAMS: usize = 100;
/// How far an HTTP/2 server may be ahead of a client that reads slowly, bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// All of them together: slow clients must not be able to fill the connection that others share.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// An HTTP/2 connection on which nobody waits for an answer is asked after this time whether it is still there. Servers
/// of gRPC close connections on which they are asked more often than every five minutes.
const PING: Duration = Duration::from_secs(310);

/// How the servers of one upstream are connected to.
pub(super) struct Template {
    peer: HttpPeer,
    tls: Option<Arc<ClientTls>>,
    /// How long a tunnel may be silent.
    tunnel: Duration,
}

impl Template {
    /// Of this upstream.
    pub(super) fn new(upstream: &Upstream) -> Self {
        let timeouts = &upstream.timeouts;
        let tls = upstream.tls.clone();
        let mut peer = HttpPeer::new(unspecified(), tls.is_some(), String::new());
        peer.group_key = group(upstream);
        peer.client_cert_key = tls.as_deref().and_then(client_certificate);
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        // Pingora knows one limit for every read. The longest phase gets it, the lane's alarm watches the shorter ones.
        options.read_timeout = Some(timeouts.first_byte.max(timeouts.read));
        options.write_timeout = Some(timeouts.write);
        options.idle_timeout = Some(timeouts.idle);
        if let Some(tls) = &tls {
            options.verify_cert = tls.verify;
            options.verify_hostname = tls.verify;
            options.ca = authorities(tls);
        }
        if upstream.protocol == Protocol::H2 {
            // Nothing but HTTP/2: where HTTP/1.1 is allowed too, Pingora turns to it for ever after one broken answer.
            options.alpn = ALPN::H2;
            options.max_h2_streams = STREAMS;
            options.h2_stream_window_size = Some(STREAM_WINDOW);
            options.h2_connection_window_size = Some(CONNECTION_WINDOW);
            options.h2_ping_interval = Some(PING);
        }
        Self {
            peer,
            tls,
            tunnel: timeouts.tunnel,
        }
    }

    /// For an attempt at this server. `upgrade`: the request wants another protocol (WebSocket), which HTTP/2 cannot
    /// carry this way; `preamble`: what begins a connection that is for one client.
    ///
    /// # Errors
    /// The path of a socket in the file system is longer than the system allows.
    pub(super) fn peer(&self, endpoint: &Endpoint, upgrade: bool, preamble: Option<Vec<u8>>) -> Result<Box<HttpPeer>> {
        let mut peer = Box::new(self.peer.clone());
        peer._address = match endpoint.server().strip_prefix(UNIX) {
            Some(path) => SocketAddr::Unix(
                UnixAddress::from_pathname(path)
                    .map_err(|error| Error::because(ErrorType::InternalError, "the path of a socket", error))?,
            ),
            None => SocketAddr::Inet(endpoint.address()),
        };
        if let Some(tls) = &self.tls {
            tls.name(endpoint.server()).clone_into(&mut peer.sni);
        }
        if let Some(preamble) = preamble {
            announce::prepare(&mut peer, preamble);
        }
        if upgrade {
            peer.options.read_timeout = Some(self.tunnel);
            if self.tls.is_some() {
                // Both kinds of connections may be pooled under one key: HTTP/2 has a pool of its own.
                peer.options.alpn = ALPN::H1;
            }
        }
        Ok(peer)
    }
}

/// Replaced before anything is connected.
fn unspecified() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([0, 0, 0, 0], 0))
}

/// Connections are shared within an upstream and a TLS profile only. Pingora's own key knows neither the authorities nor
/// more of a client certificate than its serial number.
fn group(upstream: &Upstream) -> u64 {
    let mut hasher = DefaultHasher::new();
    upstream.name.hash(&mut hasher);
    upstream.protocol.hash(&mut hasher);
    upstream.tls.as_ref().map(|tls| tls.fingerprint).hash(&mut hasher);
    hasher.finish()
}

/// Whom the server's certificate must come from; `None`: whom Pingora found in the system.
fn authorities(tls: &ClientTls) -> Option<Arc<CaType>> {
    /// An authority whose key nobody has: where nothing is verified Pingora wants one all the same, and there may be none.
    const NOBODY: &[u8] = include_bytes!("nobody.der");
    if !tls.verify {
        return Some([WrappedX509::new(NOBODY.to_vec(), parse_x509)].into());
    }
    let system = system_authorities();
    let authorities = match &tls.authorities {
        Some(authorities) => authorities,
        None if system.sound => return None,
        None => &system.usable,
    };
    let wrap = |authority: &CertificateDer<'_>| WrappedX509::new(authority.to_vec(), parse_x509);
    Some(authorities.iter().map(wrap).collect())
}

/// What Pingora reads in place of the system's authorities. It gives up, and all of the gateway with it, where these
/// cannot be read or used; then it finds none there, and each upstream brings those that can.
pub(super) fn instead_of_the_systems() -> Option<String> {
    (!system_authorities().sound).then(|| "/dev/null".to_owned())
}

fn client_certificate(tls: &ClientTls) -> Option<Arc<CertKey>> {
    let identity = tls.identity.as_ref()?;
    let chain = identity.chain.iter().map(|certificate| certificate.to_vec()).collect();
    Some(Arc::new(CertKey::new(chain, identity.key.secret_der().to_vec())))
}
