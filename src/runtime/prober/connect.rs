//! The connection of a probe: TCP or a socket in the file system, TLS on it where there is TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::probe::Failure;
use crate::balance::Endpoint;
use crate::proxy_protocol;
use crate::runtime::{ClientTls, UNIX};

/// A connection, whatever it is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How the servers of an upstream are connected to.
pub(super) struct Dialer {
    port: Option<u16>,
    tls: Option<(Arc<ClientTls>, TlsConnector)>,
    http2: bool,
    preamble: Vec<u8>,
}

impl Dialer {
    /// `port`: another one than the servers' own; `announced`: a connection begins with a PROXY header.
    pub(super) fn new(
        port: Option<u16>,
        tls: Option<Arc<ClientTls>>,
        http2: bool,
        announced: Option<proxy_protocol::Version>,
    ) -> Self {
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let tls = tls.map(|tls| {
            let connector = TlsConnector::from(tls.config(&[protocol]));
            (tls, connector)
        });
        Self {
            port,
            tls,
            http2,
            // Nobody's: the gateway's own (`LOCAL`).
            preamble: announced.map_or_else(Vec::new, |version| proxy_protocol::write(version, None)),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<Box<dyn Io>, Failure> {
        let server = &**endpoint.server();
        match server.strip_prefix(UNIX) {
            Some(path) => {
                let stream = UnixStream::connect(path).await.map_err(Failure::of_connect)?;
                self.secure(stream, server).await
            }
            None => {
                let mut address: SocketAddr = endpoint.address();
                if let Some(port) = self.port {
                    address.set_port(port);
                }
                let stream = TcpStream::connect(address).await.map_err(Failure::of_connect)?;
                self.secure(stream, server).await
            }
        }
    }

    async fn secure(&self, mut stream: impl Io + 'static, server: &str) -> Result<Box<dyn Io>, Failure> {
        stream.write_all(&self.preamble).await.map_err(Failure::of_connect)?;
        let Some((tls, connector)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(tls.name(server).to_owned())
            .map_err(|error| Failure::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = connector.connect(name, stream).await.map_err(Failure::Tls)?;
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Failure::NotHttp2);
        }
        Ok(Box::new(stream))
    }
}
