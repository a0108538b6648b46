//! TLS with clients, ended here: the handshake, and the connection as the gate and Pingora see it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{ALPN, SslDigest};
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion};
use tokio_rustls::server::TlsStream;

use super::observer::Observer;
use crate::tls::{ACME_PROTOCOL, ClientIdentity, Hosts};

/// What a handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// What was asked of the client's certificate; 0: nothing.
    pub client_auth: u64,
    /// Who the client has shown to be.
    pub client: Option<ClientIdentity>,
}

/// A connection after its handshake.
pub(super) struct Shaken {
    pub(super) stream: Stream,
    pub(super) secured: Arc<Secured>,
    /// Whether a session was taken up again.
    pub(super) resumed: bool,
}

/// Speaks the handshake. The client's first message says which certificate it wants. `None`: it was an authority that
/// only wanted to see one.
pub(super) async fn shake(stream: Stream, hosts: &Hosts, observer: &impl Observer) -> io::Result<Option<Shaken>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    if let Some(name) = challenged(&start.client_hello())
        && let Some(config) = observer.challenge(&name).await
    {
        let mut tls = start.into_stream(config).await?;
        tls.shutdown().await?;
        return Ok(None);
    }
    let (config, client_auth) = {
        let hello = start.client_hello();
        let host = hosts
            .choose(hello.server_name(), hello.signature_schemes())
            .ok_or(io::ErrorKind::NotFound)?;
        (Arc::clone(&host.config), host.client_auth)
    };
    let tls = start.into_stream(config).await?;
    let (_, session) = tls.get_ref();
    let client = session.peer_certificates().and_then(<[_]>::first);
    let secured = Secured {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        client_auth,
        client: client.and_then(ClientIdentity::of),
    };
    Ok(Some(Shaken {
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        stream: Box::new(TlsConn(Box::new(tls))),
        secured: Arc::new(secured),
    }))
}

/// The name that an authority asks about: it speaks its own protocol, and no other (RFC 8737 §3).
fn challenged(hello: &ClientHello<'_>) -> Option<Box<str>> {
    let mut protocols = hello.alpn()?;
    let is_only = protocols.next() == Some(ACME_PROTOCOL) && protocols.next().is_none();
    hello.server_name().filter(|_| is_only).map(Into::into)
}

/// A stream over TLS.
struct TlsConn(Box<TlsStream<Stream>>);

impl TlsConn {
    fn under(&self) -> &Stream {
        self.0.get_ref().0
    }
}

impl AsyncRead for TlsConn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for TlsConn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl fmt::Debug for TlsConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsConn").field(&self.id()).finish()
    }
}

#[async_trait]
impl Shutdown for TlsConn {
    async fn shutdown(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.0).await;
    }
}

impl UniqueID for TlsConn {
    fn id(&self) -> UniqueIDType {
        self.under().id()
    }
}

impl Ssl for TlsConn {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        None // the arrival says what there is to know
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.0.get_ref().1.alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            _ => Some(ALPN::H1),
        }
    }
}

impl GetTimingDigest for TlsConn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for TlsConn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for TlsConn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.under().get_socket_digest()
    }
}

impl Peek for TlsConn {}
