//! The body of a request on its way to the server.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::client::Client;
use crate::answer::Reason;
use crate::edge::Framing;
use crate::http1::{self, Connection};

/// So much is kept for another attempt; what is larger is sent once.
const KEPT: usize = 64 * 1024;

/// Why an exchange cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The server failed.
    Server(http1::Fault),
    /// The client did: what it is told, or that it is not there to be told anything.
    Client(Option<Reason>),
}

/// How far the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There is more to be read from the client, or to be written to the server.
    Going,
    /// The server has all of it.
    Sent,
    /// The server takes no more. What it says about that is still to come.
    Refused,
}

/// One request on its way to the server.
pub(super) struct Upload {
    /// Its head, as this attempt's server is to see it.
    head: Vec<u8>,
    body: Body,
    /// Bytes of head and body that the server has taken.
    taken: usize,
    progress: Progress,
    /// The client's body has been read and framed to its end.
    read: bool,
    write_timeout: Duration,
    first_byte: Duration,
    /// When the server last took a part of the body.
    pub(super) moved: Option<Instant>,
}

impl Upload {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            head: Vec::new(),
            body: Body {
                chunked: framing == Framing::Chunked,
                framed: BytesMut::new(),
                whole: true,
            },
            taken: 0,
            progress: Progress::Going,
            read: framing == Framing::None,
            write_timeout: Duration::ZERO,
            first_byte: Duration::ZERO,
            moved: None,
        }
    }

    /// Begins an attempt, from the start.
    pub(super) fn begin(&mut self, head: Vec<u8>, write_timeout: Duration, first_byte: Duration) {
        (self.write_timeout, self.first_byte) = (write_timeout, first_byte);
        (self.head, self.taken, self.progress) = (head, 0, Progress::Going);
    }

    /// The answer has begun: from now on the exchange lasts as long as the answer does, whether anybody takes the rest or
    /// not.
    pub(super) fn answered(&mut self, read_timeout: Duration) {
        (self.write_timeout, self.first_byte) = (read_timeout, read_timeout);
    }

    /// Whether it can be sent once more.
    pub(super) fn is_repeatable(&self) -> bool {
        self.body.whole
    }

    /// Whether there is nothing more to do for it.
    pub(super) fn is_settled(&self) -> bool {
        self.progress != Progress::Going
    }

    /// Whether the server has all of it.
    pub(super) fn is_sent(&self) -> bool {
        self.progress == Progress::Sent
    }

    /// Moves on what can be moved on; ready when it is settled.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut impl Client,
        connection: &mut Connection,
    ) -> Poll<Result<(), Stop>> {
        // A small body is there with its head, and leaves with it.
        if self.taken == 0 && !self.read && self.body.framed.is_empty() {
            let _ = self.poll_client(cx, client).map_err(Stop::Client)?;
        }
        while self.progress == Progress::Going {
            ready!(self.poll_server(cx, connection)).map_err(Stop::Server)?;
            if self.is_settled() {
                break;
            }
            if self.read {
                self.progress = Progress::Sent;
                connection.finish_request();
                connection.allow(self.first_byte);
                break;
            }
            // However long the client takes, it is not the server's fault.
            connection.allow(Duration::MAX);
            ready!(self.poll_client(cx, client)).map_err(Stop::Client)?;
            connection.allow(self.write_timeout);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads some of the body from the client.
    fn poll_client(&mut self, cx: &mut Context<'_>, client: &mut impl Client) -> Poll<Result<(), Option<Reason>>> {
        if self.taken > self.head.len() && !self.body.whole {
            // What the server has taken is let go of, buffer and all: the client may take its time.
            self.taken = self.head.len();
            self.body.framed = BytesMut::new();
        }
        ready!(client.poll_body(cx, |content| self.body.content(content)))?;
        self.read = client.is_read();
        if self.read {
            self.body.end();
        }
        self.body.whole &= self.body.framed.len() <= KEPT;
        Poll::Ready(Ok(()))
    }

    /// Writes what is there of head and body to the server, until it has all of that or takes no more.
    fn poll_server(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<Result<(), http1::Fault>> {
        loop {
            let head = self.head.get(self.taken..).unwrap_or_default();
            let body = &self.body.framed[self.taken.saturating_sub(self.head.len())..];
            if head.is_empty() && body.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match ready!(connection.poll_send(cx, head, body)) {
                Ok(written) => {
                    self.taken += written;
                    if self.taken > self.head.len() {
                        self.moved = Some(Instant::now());
                        connection.allow(self.write_timeout);
                    }
                }
                // It may have answered before it closed the connection.
                Err(fault) if !matches!(fault, http1::Fault::Timeout) && head.is_empty() => {
                    self.progress = Progress::Refused;
                    connection.allow(self.first_byte);
                    return Poll::Ready(Ok(()));
                }
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }
}

/// The body as the server is to see it: framed anew.
struct Body {
    chunked: bool,
    /// What is there of it: all of what came so far, or what came last.
    framed: BytesMut,
    /// It is all of it; small enough to be sent again.
    whole: bool,
}

impl Body {
    fn content(&mut self, content: BytesMut) {
        if content.is_empty() {
            return; // a chunk without content is the last one
        }
        if self.chunked {
            let mut size = Vec::with_capacity(20);
            http1::chunk_size(&mut size, content.len());
            self.push(&size);
            self.push(&content);
            self.push(b"\r\n");
        } else if self.framed.is_empty() {
            self.framed = content; // not copied
        } else {
            self.push(&content);
        }
    }

    fn end(&mut self) {
        if self.chunked {
            self.push(b"0\r\n\r\n");
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.framed.extend_from_slice(bytes);
    }
}
