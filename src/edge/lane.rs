//! The connection as Pingora sees it: one request and not a byte more.
//!
//! The gate lends its connection for one request. The lane yields the body by its framing, counts it against the limit,
//! cuts a body that crawls, keeps what follows for the gate, and hands the connection back when Pingora lets go of it,
//! however the exchange ended.

mod stream;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::head::Framing;
use super::link::{Conn, Link};
use super::socket::Socket;
use crate::answer::Reason;
use crate::http1::{self, Chunked};

/// A body must bring this many bytes (or its rest) within each body timeout: less is a crawl.
const PACE_BYTES: u64 = 4096;
/// Most bytes of later requests that are kept while one is being answered; the rest waits in the socket.
const MAX_AHEAD: usize = 16 * 1024;

/// What Pingora writes waits for a flush up to so much, so that a head and a small body leave in one packet. Here, not in
/// the connection: a connection that waits for its next request has no buffer.
const GATHERED: usize = 1460;

/// Most bytes of a body that are taken at once.
const TAKEN: usize = 64 * 1024;

/// What is left of the request.
#[derive(Debug)]
enum Body {
    /// Nothing: a read waits until the client hangs up.
    Over,
    Length(u64),
    Chunked(Chunked),
    /// Nothing yet: bytes pass once the upstream has agreed to the upgrade.
    Upgrade,
}

/// One request's view of a connection; what Pingora, or the fast lane, reads from and writes to.
pub struct Lane {
    conn: Option<Conn>,
    link: Arc<Link>,
    body: Body,
    body_timeout: Duration,
    /// The client's pace: armed only while the gateway waits for body bytes.
    pace: Option<Pin<Box<Sleep>>>,
    paced: u64,
    /// Written, and not on its way yet.
    gathered: Vec<u8>,
    /// Something was written that may still be in a buffer.
    unflushed: bool,
    /// The upstream's: armed only while the exchange asks for it.
    alarm: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Lane {
    pub(crate) fn new(conn: Conn, link: Arc<Link>, framing: Framing, upgrade: bool, body_timeout: Duration) -> Self {
        let body = match framing {
            _ if upgrade => Body::Upgrade,
            Framing::None => Body::Over,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunked::new()),
        };
        Self {
            conn: Some(conn),
            link,
            body,
            body_timeout,
            pace: None,
            paced: 0,
            gathered: Vec::new(),
            unflushed: false,
            alarm: None,
        }
    }

    /// Whether the request has been read to its end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.body, Body::Over)
    }

    /// How much of the body is still to be read, bytes; `None`: only its end will tell.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.body {
            Body::Over => Some(0),
            Body::Length(left) => Some(left),
            Body::Chunked(_) | Body::Upgrade => None,
        }
    }

    /// Why it ended the request, if it did.
    pub(crate) fn fault(&self) -> Option<Reason> {
        self.link.fault()
    }

    fn conn(&mut self) -> io::Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends what was gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let Some(conn) = &mut self.conn else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let written = ready!(Pin::new(&mut conn.io).poll_write(cx, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes some of `slices`, at once: for who gathers by itself.
    pub(crate) fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let io = Pin::new(&mut self.conn()?.io);
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        // The simpler system call where that will do.
        let written = match (filled.next(), filled.next()) {
            (Some(only), None) => ready!(io.poll_write(cx, only))?,
            _ => ready!(io.poll_write_vectored(cx, slices))?,
        };
        self.link.sent.fetch_add(written as u64, Relaxed);
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }

    /// Where bytes can be moved to by the kernel: a plain connection, to which nothing is on its way.
    pub(crate) fn outlet(&self) -> Option<BorrowedFd<'_>> {
        let conn = self
            .conn
            .as_ref()
            .filter(|_| self.gathered.is_empty() && !self.unflushed)?;
        let socket = (*conn.io).as_any().downcast_ref::<Socket>()?;
        Some(socket.as_fd())
    }

    /// So many bytes were.
    pub(crate) fn sent(&self, bytes: usize) {
        self.link.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Reads what the connection has, what was read ahead first; `most` bytes at most.
    fn poll_conn(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>, most: usize) -> Poll<io::Result<usize>> {
        let conn = self.conn()?;
        let most = most.min(out.remaining());
        if !conn.ahead.is_empty() {
            let take = most.min(conn.ahead.len());
            out.put_slice(&conn.ahead[..take]);
            conn.ahead.advance(take);
            return Poll::Ready(Ok(take));
        }
        let before = out.filled().len();
        if most == out.remaining() {
            ready!(Pin::new(&mut conn.io).poll_read(cx, out))?;
        } else {
            let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
            ready!(Pin::new(&mut conn.io).poll_read(cx, &mut part))?;
            let filled = part.filled().len();
            out.advance(filled);
        }
        Poll::Ready(Ok(out.filled().len() - before))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = self.most();
        let start = out.filled().len();
        let Poll::Ready(read) = self.poll_conn(cx, out, most)? else {
            return self.poll_pace(cx);
        };
        if read == 0 {
            return Poll::Ready(Ok(())); // the client hung up in the middle: Pingora sees a body that ends early
        }
        let used = self.count(&out.filled()[start..])?;
        if used < read {
            // The next request: back to the gate, before whatever is still ahead.
            let rest = BytesMut::from(&out.filled()[start + used..]);
            out.set_filled(start + used);
            let conn = self.conn()?;
            let later = std::mem::replace(&mut conn.ahead, rest);
            conn.ahead.unsplit(later);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes some of the body as it is framed, without a copy where that can be; nothing: the client hung up. While it waits
    /// it holds no buffer.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        if self.is_over() {
            return Poll::Ready(Ok(BytesMut::new()));
        }
        let most = self.most();
        let conn = self.conn()?;
        let mut read = std::mem::take(&mut conn.ahead);
        if read.is_empty() {
            let polled = if most > TAKEN / 4 {
                read.reserve(most.min(TAKEN));
                pin!(conn.io.read_buf(&mut read)).poll(cx)
            } else {
                http1::poll_read(&mut conn.io, cx, &mut read)
            };
            let Poll::Ready(length) = polled? else {
                return self.poll_pace(cx);
            };
            if length == 0 {
                return Poll::Ready(Ok(BytesMut::new()));
            }
            if length < read.capacity() / 4 {
                read = BytesMut::from(&read[..]); // who sends little holds little
            }
        }
        let used = self.count(&read[..read.len().min(most)])?;
        if used < read.len() {
            self.conn()?.ahead = read.split_off(used);
        }
        Poll::Ready(Ok(read))
    }

    /// Most bytes that may be the body's.
    fn most(&self) -> usize {
        match &self.body {
            Body::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        }
    }

    /// Counts what was read of the body; returns how much of it belongs there.
    fn count(&mut self, read: &[u8]) -> io::Result<usize> {
        self.link.fed();
        self.keep_pace(read.len());
        let (used, received, done) = match &mut self.body {
            Body::Length(left) => {
                *left -= read.len() as u64;
                let received = self.link.received.load(Relaxed) + read.len() as u64;
                (read.len(), received, *left == 0)
            }
            Body::Chunked(framing) => {
                let Ok(used) = framing.advance(read) else {
                    return Err(self.link.fail(Reason::BadRequest));
                };
                (used, framing.content(), framing.is_done())
            }
            Body::Over | Body::Upgrade => return Ok(read.len()),
        };
        self.link.received.store(received, Relaxed);
        if received > self.link.limit.load(Relaxed) {
            return Err(self.link.fail(Reason::BodyTooLarge));
        }
        if done {
            self.link.starved();
            self.body = Body::Over;
            self.pace = None;
        }
        Ok(used)
    }

    fn keep_pace(&mut self, read: usize) {
        self.paced += read as u64;
        if self.paced >= PACE_BYTES {
            self.paced = 0;
            self.pace = None;
        }
    }

    /// The client is waited for.
    fn poll_pace<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.link.starved();
        let timeout = self.body_timeout;
        let pace = self.pace.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(pace.as_mut().poll(cx));
        Poll::Ready(Err(self.link.fail(Reason::RequestTimeout)))
    }

    /// After the request: keeps what the client sends next, tells when it hangs up.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let conn = self.conn()?;
            if conn.ahead.len() >= MAX_AHEAD {
                return Poll::Pending; // the exchange's own progress polls again
            }
            match http1::poll_read(&mut conn.io, cx, &mut conn.ahead) {
                Poll::Ready(Ok(0)) if conn.ahead.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Pending, // requests wait: they are answered before the end counts
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let wanted = self.link.alarm.load(Relaxed);
        let within = Duration::from_millis(wanted & u64::from(u32::MAX));
        if within.is_zero() {
            self.alarm = None;
            return Poll::Pending;
        }
        match &mut self.alarm {
            Some((set, _)) if *set == wanted => {}
            Some((set, sleep)) => {
                *set = wanted;
                sleep.as_mut().reset(Instant::now() + within);
            }
            none => *none = Some((wanted, Box::pin(tokio::time::sleep(within)))),
        }
        let Some((_, sleep)) = &mut self.alarm else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(self.link.fail(Reason::GatewayTimeout))
    }
}

impl AsyncRead for Lane {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.get_mut();
        // Who reads has nothing to write: what trickles from the upstream goes out now. Pingora flushes chunks, and
        // bodies of a known length only at their end.
        if lane.unflushed {
            let _ = Pin::new(&mut lane).poll_flush(cx)?;
        }
        if let Poll::Ready(error) = lane.poll_alarm(cx) {
            return Poll::Ready(Err(error));
        }
        match &lane.body {
            Body::Length(_) | Body::Chunked(_) => lane.poll_body(cx, out),
            Body::Upgrade if lane.link.is_tunnel() => {
                let read = ready!(lane.poll_conn(cx, out, usize::MAX))?;
                lane.link.received.fetch_add(read as u64, Relaxed);
                Poll::Ready(Ok(()))
            }
            Body::Over | Body::Upgrade => lane.poll_idle(cx),
        }
    }
}

impl AsyncWrite for Lane {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let lane = self.get_mut();
        if lane.gathered.len() + bytes.len() > GATHERED {
            ready!(lane.poll_send(cx))?;
        }
        let written = if bytes.len() > GATHERED {
            ready!(Pin::new(&mut lane.conn()?.io).poll_write(cx, bytes))?
        } else {
            lane.gathered.extend_from_slice(bytes);
            bytes.len()
        };
        lane.link.sent.fetch_add(written as u64, Relaxed);
        lane.unflushed = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lane = self.get_mut();
        ready!(lane.poll_send(cx))?;
        ready!(Pin::new(&mut lane.conn()?.io).poll_flush(cx))?;
        lane.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The gate closes the connection: it knows whether something must be read first.
        self.poll_flush(cx)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !matches!(self.body, Body::Over) {
            self.link.give_up(); // what is left of this request must not be read as the next
        }
        if let Some(conn) = &mut self.conn {
            conn.unsent = std::mem::take(&mut self.gathered);
        }
        *self.link.home.lock() = self.conn.take();
    }
}
