//! What a server is told before the first request: whose connection it is (the PROXY protocol). Such a connection serves
//! one request of one client: what is kept open for the next one could be another's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::l4::socket::SocketAddr as Target;
use pingora::protocols::l4::stream::Stream;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use super::Exchange;
use crate::proxy_protocol::{self, Ends};

impl Exchange {
    /// What begins the connection to the server; `None`: the request.
    pub(super) fn announcement(&self) -> Option<Vec<u8>> {
        let version = self.upstream()?.model.proxy_protocol?;
        Some(proxy_protocol::write(version, self.ends()))
    }

    /// The client, as far as it is known, and where it connected to; `None`: nobody asks but the gateway.
    fn ends(&self) -> Option<Ends> {
        let client = self.client.ip;
        let arrival = self.arrival.as_deref();
        if client.is_unspecified() {
            return None;
        }
        let peer = arrival
            .map(|arrival| arrival.peer)
            .filter(|peer| peer.ip().to_canonical() == client);
        let here = match client {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Some(Ends {
            // Of a client behind a proxy the port is not known.
            source: SocketAddr::new(client, peer.map_or(0, |peer| peer.port())),
            destination: arrival.map_or(SocketAddr::new(here, self.local_port), |arrival| arrival.local),
        })
    }
}

/// Makes Pingora begin a new connection with these bytes, and use it for nobody else.
pub(super) fn prepare(peer: &mut HttpPeer, preamble: Vec<u8>) {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    // Its pool knows connections by this, and closes at once what may be idle for no time.
    peer.group_key = peer
        .group_key
        .wrapping_add(1 + CONNECTIONS.fetch_add(1, Ordering::Relaxed));
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer.options.custom_l4 = Some(Arc::new(Announced(preamble)));
}

#[derive(Debug)]
struct Announced(Vec<u8>);

#[async_trait]
impl L4Connect for Announced {
    async fn connect(&self, target: &Target) -> Result<Stream> {
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                std::io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "a connection that begins with a PROXY header", error)
        };
        match target {
            Target::Inet(address) => {
                let mut stream = TcpStream::connect(address).await.map_err(failed)?;
                stream.write_all(&self.0).await.map_err(failed)?;
                Ok(stream.into())
            }
            Target::Unix(address) => {
                let path = address.as_pathname();
                let path = path.ok_or_else(|| Error::explain(ErrorType::InternalError, "a socket without a path"))?;
                let mut stream = UnixStream::connect(path).await.map_err(failed)?;
                stream.write_all(&self.0).await.map_err(failed)?;
                Ok(stream.into())
            }
        }
    }
}
