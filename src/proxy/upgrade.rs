//! Connections to upstreams for upgrades, with a way around a race of Pingora 0.9.1.
//!
//! Pingora tells the upstream half of an exchange through a queue that the request has no body. Where the 101 is there
//! before that half first looks (a fast upstream, a busy machine), it may take the answer first, and then the stale "no
//! body" for the end of the tunnel: the WebSocket is cut at its start. Here the first look after a write finds nothing,
//! so the queue always comes first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connections for upgrades are never mixed with others.
const GROUP: u64 = 0x7570_6772_6164_6501;

/// Prepares a peer for a request that asks for an upgrade.
pub(super) fn prepare(peer: &mut HttpPeer) {
    peer.group_key ^= GROUP;
    peer.options.custom_l4 = Some(std::sync::Arc::new(Connector));
    // A refused upgrade leaves a connection that nobody needs.
    peer.options.idle_timeout = Some(Duration::ZERO);
}

#[derive(Debug)]
struct Connector;

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Err(Error::explain(
                ErrorType::InternalError,
                "an upgrade over a socket that is not TCP",
            ));
        };
        let connected = TcpStream::connect(address)
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream =
            connected.map_err(|error| Error::because(ErrorType::ConnectError, "connecting for an upgrade", error))?;
        let socket = AnswerLater { stream, written: false };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

/// A stream whose first read after a write comes back later.
#[derive(Debug)]
struct AnswerLater {
    stream: TcpStream,
    written: bool,
}

impl VirtualSocket for AnswerLater {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for AnswerLater {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for AnswerLater {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
