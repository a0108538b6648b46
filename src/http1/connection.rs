//! One connection to a server, and the exchange on it.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use super::response::{self, Framing, Head, Invalid};
use super::splice::{self, Moved};
use super::{Chunked, scratch};

/// Most bytes of a body that are read at once.
const PART: usize = 64 * 1024;
/// From so many bytes on it pays to leave them in the kernel.
const LONG: u64 = 32 * 1024;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Why an exchange with a server failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection.
    Connect(io::Error),
    /// No connection in time.
    ConnectTimeout,
    /// The connection broke, or ended before the answer did.
    Broke(Option<io::Error>),
    /// The server took too long.
    Timeout,
    /// The answer breaks the rules of HTTP.
    Invalid(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::ConnectTimeout => f.write_str("no connection in time"),
            Self::Broke(Some(error)) => write!(f, "the connection broke: {error}"),
            Self::Broke(None) => f.write_str("the server closed the connection before its answer was complete"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Invalid(rule) => write!(f, "not a valid answer: {rule}"),
        }
    }
}

impl From<Invalid> for Fault {
    fn from(Invalid(rule): Invalid) -> Self {
        Self::Invalid(rule)
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What is left of the answer.
#[derive(Debug)]
enum Rest {
    /// Its head has not arrived yet.
    Head,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Over,
}

/// A connection to a server: one exchange after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    /// What was read and belongs to nobody yet.
    buffer: BytesMut,
    /// Bytes of it in which the end of the head was not found.
    scanned: usize,
    rest: Rest,
    keep_alive: bool,
    /// The server was told whose it is.
    one_client: bool,
    /// What was written has left the gateway whole.
    sent: bool,
    /// The kernel moves bytes from here, as far as is known.
    shifts: bool,
    /// How long this phase may wait.
    allowed: Duration,
    /// When it has waited too long; `None`: it has not had to wait yet, and most do not.
    give_up: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    /// Connects. `preamble`: what is written before the first request; with it the connection belongs to one client.
    pub(crate) async fn open(target: &Target, preamble: Option<&[u8]>, within: Duration) -> Result<Self, Fault> {
        let first = preamble.unwrap_or_default();
        let connect = async {
            Ok(match target {
                Target::Tcp(address) => {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    stream.write_all(first).await?;
                    Socket::Tcp(stream)
                }
                Target::Unix(path) => {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(first).await?;
                    Socket::Unix(stream)
                }
            })
        };
        let give_up = Instant::now() + within;
        let mut alarm = Box::pin(tokio::time::sleep_until(give_up));
        let socket = tokio::select! {
            socket = connect => socket.map_err(Fault::Connect)?,
            () = &mut alarm => return Err(Fault::ConnectTimeout),
        };
        Ok(Self {
            socket,
            buffer: BytesMut::new(),
            scanned: 0,
            rest: Rest::Over,
            keep_alive: true,
            one_client: preamble.is_some(),
            sent: true,
            shifts: true,
            allowed: within,
            give_up: Some(give_up),
            alarm,
        })
    }

    /// Reads and writes that wait may do so for this long from the first wait on, all together; called again for each
    /// phase.
    pub(crate) fn allow(&mut self, time: Duration) {
        // Some thirty years: an instant that far away can still be added to.
        self.allowed = time.min(Duration::from_secs(1 << 30));
        self.give_up = None;
    }

    /// Begins an exchange.
    pub(crate) fn begin(&mut self) {
        self.rest = Rest::Head;
        self.scanned = 0;
        self.keep_alive = true;
        self.sent = false;
    }

    /// Writes a whole request.
    pub(crate) async fn send(&mut self, mut request: &[u8]) -> Result<(), Fault> {
        while !request.is_empty() {
            let written = poll_fn(|cx| self.poll_send(cx, request, &[])).await?;
            request = &request[written..];
        }
        self.finish_request();
        Ok(())
    }

    /// What was written was the whole request.
    pub(crate) fn finish_request(&mut self) {
        self.sent = true;
    }

    /// Writes some of `first`, and of `then`.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, first: &[u8], then: &[u8]) -> Poll<Result<usize, Fault>> {
        let written = match &mut self.socket {
            Socket::Tcp(stream) => write(stream, cx, first, then),
            Socket::Unix(stream) => write(stream, cx, first, then),
        };
        match written {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Fault::Broke(None))),
            Poll::Ready(Ok(written)) => Poll::Ready(Ok(written)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Broke(Some(error)))),
            Poll::Pending => self.poll_alarm(cx),
        }
    }

    /// The next head: an interim one, or the final one, after which the body follows.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>, head_request: bool) -> Poll<Result<Head, Fault>> {
        loop {
            if !self.buffer.is_empty()
                && let Some(head) = response::take(&mut self.buffer, &mut self.scanned, head_request)?
            {
                if !head.status.is_informational() {
                    self.keep_alive = head.keep_alive;
                    self.rest = match head.framing {
                        Framing::None => Rest::Over,
                        Framing::Length(length) => Rest::Length(length),
                        Framing::Chunked => Rest::Chunked(Chunked::new()),
                        Framing::UntilClose => Rest::UntilClose,
                    };
                }
                return Poll::Ready(Ok(head));
            }
            let read = match &mut self.socket {
                Socket::Tcp(stream) => scratch::poll_read(stream, cx, &mut self.buffer),
                Socket::Unix(stream) => scratch::poll_read(stream, cx, &mut self.buffer),
            };
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Fault::Broke(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Broke(Some(error)))),
                Poll::Pending => return self.poll_alarm(cx),
            }
        }
    }

    /// The next part of the body, as it comes; `None`: it is complete. An end that comes too early is a fault.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            if let Some(part) = self.take_part()? {
                return Poll::Ready(Ok(Some(part)));
            }
            if self.is_over() {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_fill(cx))? {
                0 if matches!(self.rest, Rest::UntilClose) => {
                    self.rest = Rest::Over;
                    return Poll::Ready(Ok(None));
                }
                0 => return Poll::Ready(Err(Fault::Broke(None))),
                _ => {}
            }
        }
    }

    /// What has arrived of the body already.
    pub(crate) fn take_part(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let part = match &mut self.rest {
            Rest::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= take as u64;
                if *left == 0 {
                    self.rest = Rest::Over;
                }
                Some(self.buffer.split_to(take).freeze())
            }
            Rest::Chunked(framing) => {
                let part = framing.take(&mut self.buffer);
                let part = part.map_err(|_| Fault::Invalid("broken chunked framing"))?;
                if framing.is_done() {
                    self.rest = Rest::Over;
                }
                part
            }
            Rest::UntilClose => Some(self.buffer.split().freeze()),
            Rest::Head | Rest::Over => None,
        };
        Ok(part)
    }

    /// Whether what comes of the body can stay in the kernel, and is worth it.
    pub(crate) fn can_shift(&self) -> bool {
        self.shifts
            && self.buffer.is_empty()
            && matches!(self.socket, Socket::Tcp(_))
            && matches!(self.rest, Rest::Length(left) if left >= LONG)
    }

    /// Moves what has arrived of the body into `sink`, where that [can be](Self::can_shift); nothing: it cannot be after all.
    /// An end that comes too early is a fault.
    pub(crate) fn poll_shift(&mut self, cx: &mut Context<'_>, sink: BorrowedFd<'_>) -> Poll<Result<Moved, Fault>> {
        let (Socket::Tcp(stream), Rest::Length(left)) = (&self.socket, &mut self.rest) else {
            return Poll::Ready(Ok(Moved::default()));
        };
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        loop {
            match stream.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Broke(Some(error)))),
                Poll::Pending => return self.poll_alarm(cx),
            }
            let shift = || splice::shift(stream.as_fd(), sink, most);
            match stream.try_io(Interest::READABLE, shift) {
                Ok(Moved { taken: 0, .. }) => return Poll::Ready(Err(Fault::Broke(None))),
                Ok(moved) => {
                    *left -= moved.taken as u64;
                    if *left == 0 {
                        self.rest = Rest::Over;
                    }
                    return Poll::Ready(Ok(moved));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // No descriptor for a pipe, a sandbox, a kernel that does not: whoever reads is told if it is the connection.
                Err(_) => {
                    self.shifts = false;
                    return Poll::Ready(Ok(Moved::default()));
                }
            }
        }
    }

    /// Whether the answer has been read to its end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.rest, Rest::Over)
    }

    /// Whether the connection may be used again: request and answer are complete, and nothing follows the answer.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_over() && self.sent && self.keep_alive && !self.one_client && self.buffer.is_empty()
    }

    /// Whether an idle connection is still open and silent. A server that says something before it is asked, or that has
    /// closed the connection, gets no further request on it.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = match &self.socket {
            Socket::Tcp(stream) => stream.try_read(&mut byte),
            Socket::Unix(stream) => stream.try_read(&mut byte),
        };
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let most = match self.rest {
            Rest::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(PART),
            _ => PART,
        };
        self.buffer.reserve(most);
        let read = match &mut self.socket {
            Socket::Tcp(stream) => pin!(stream.read_buf(&mut self.buffer)).poll(cx),
            Socket::Unix(stream) => pin!(stream.read_buf(&mut self.buffer)).poll(cx),
        };
        match read {
            Poll::Ready(Ok(read)) => Poll::Ready(Ok(read)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Broke(Some(error)))),
            Poll::Pending => self.poll_alarm(cx),
        }
    }

    /// An alarm that was set for an earlier phase rings too early: only then is it set again.
    fn poll_alarm<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Fault>> {
        let give_up = *self.give_up.get_or_insert_with(|| Instant::now() + self.allowed);
        if self.alarm.deadline() > give_up {
            self.alarm.as_mut().reset(give_up);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= give_up {
                return Poll::Ready(Err(Fault::Timeout));
            }
            self.alarm.as_mut().reset(give_up);
        }
        Poll::Pending
    }
}

/// One system call; the simpler one where that will do.
fn write(
    socket: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    first: &[u8],
    then: &[u8],
) -> Poll<io::Result<usize>> {
    let socket = Pin::new(socket);
    match (first, then) {
        (only, []) | ([], only) => socket.poll_write(cx, only),
        _ => socket.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(then)]),
    }
}
