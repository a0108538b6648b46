//! The way out of a connection. What its streams have to say in one turn leaves in one piece: the library flushes after each
//! frame of a body that is not small, and each would be a record of TLS and a system call by itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are put together: a record of TLS.
const MOST: usize = 16 * 1024;

/// A connection of which the library has one end, and who decides when it is flushed the other.
#[derive(Debug)]
pub(super) struct Wire<T>(Arc<Mutex<Line<T>>>);

#[derive(Debug)]
struct Line<T> {
    io: T,
    /// What waits to be sent. Its memory is given back with the last byte.
    gathered: Vec<u8>,
    /// So much of it has been.
    sent: usize,
    /// Something was written that may still be in a buffer below.
    unflushed: bool,
    /// The library's own flushes count: nobody else will.
    at_once: bool,
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Wire<T> {
    /// Whatever is flushed leaves, until [`Wire::gather`].
    pub(super) fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Line {
            io,
            gathered: Vec::new(),
            sent: 0,
            unflushed: false,
            at_once: true,
        })))
    }

    /// From now on, what is written waits for [`Wire::poll_out`].
    pub(super) fn gather(&self) {
        self.0.lock().at_once = false;
    }

    /// From now on, what is flushed leaves.
    pub(super) fn at_once(&self) {
        self.0.lock().at_once = true;
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    /// Sends what was put together.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_out(cx)
    }
}

impl<T: AsyncWrite + Unpin> Line<T> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.gathered[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.unflushed = true;
        }
        (self.gathered, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().io).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let line = &mut *self.0.lock();
        if line.gathered.len() + bytes.len() > MOST {
            ready!(line.poll_gathered(cx))?;
        }
        if bytes.len() > MOST {
            let written = ready!(Pin::new(&mut line.io).poll_write(cx, bytes))?;
            line.unflushed = true;
            return Poll::Ready(Ok(written));
        }
        if line.gathered.is_empty() {
            line.gathered.reserve_exact(MOST);
        }
        line.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.lock();
        if line.at_once {
            line.poll_out(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self.0.lock();
        ready!(line.poll_out(cx))?;
        Pin::new(&mut line.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    async fn arrives(far: &mut DuplexStream) -> Option<usize> {
        let mut buffer = vec![0; 2 * MOST];
        let read = tokio::time::timeout(std::time::Duration::from_secs(1), far.read(&mut buffer));
        read.await.ok().map(|read| read.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_in_a_turn_leaves_at_its_end() {
        let (near, mut far) = duplex(4 * MOST);
        let mut wire = Wire::new(near);
        wire.write_all(b"settings").await.unwrap();
        wire.flush().await.unwrap();
        assert_eq!(arrives(&mut far).await, Some(8), "nobody gathers yet");
        wire.gather();
        for _ in 0..3 {
            wire.write_all(&[1; 1000]).await.unwrap();
            wire.flush().await.unwrap();
        }
        assert_eq!(arrives(&mut far).await, None);
        poll_fn(|cx| wire.poll_out(cx)).await.unwrap();
        assert_eq!(arrives(&mut far).await, Some(3000));
        assert_eq!(wire.0.lock().gathered.capacity(), 0, "what waits holds no buffer");
        wire.write_all(b"goodbye").await.unwrap();
        wire.at_once();
        wire.flush().await.unwrap();
        assert_eq!(arrives(&mut far).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_record_waits_and_the_order_is_kept() {
        let (near, mut far) = duplex(64);
        let mut wire = Wire::new(near);
        wire.gather();
        let sent: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        let writing = async {
            for part in sent.chunks(7001) {
                wire.write_all(part).await.unwrap();
                assert!(wire.0.lock().gathered.len() <= MOST);
            }
            wire.write_all(&sent).await.unwrap(); // larger than what is put together
            wire.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(writing, far.read_to_end(&mut got));
        read.unwrap();
        assert!(got == [&sent[..], &sent[..]].concat());
    }
}
