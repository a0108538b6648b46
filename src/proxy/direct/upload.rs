//! The body of a request on its way to the server.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

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

/// The body of one request.
pub(super) struct Upload {
    out: Out,
    progress: Progress,
    /// The client's body has been read and framed to its end.
    read: bool,
    write_timeout: Duration,
    first_byte: Duration,
    /// When the server last took a part of it.
    pub(super) moved: Option<Instant>,
}

impl Upload {
    pub(super) fn new(framing: Framing) -> Self {
        let none = framing == Framing::None;
        Self {
            out: Out {
                chunked: framing == Framing::Chunked,
                queue: BytesMut::new(),
                kept: Some(BytesMut::new()),
            },
            progress: if none { Progress::Sent } else { Progress::Going },
            read: none,
            write_timeout: Duration::ZERO,
            first_byte: Duration::ZERO,
            moved: None,
        }
    }

    /// Begins an attempt, from the start.
    pub(super) fn begin(&mut self, write_timeout: Duration, first_byte: Duration) {
        (self.write_timeout, self.first_byte) = (write_timeout, first_byte);
        if let Some(kept) = &self.out.kept
            && !(kept.is_empty() && self.read)
        {
            self.out.queue = kept.clone();
            self.progress = Progress::Going;
        }
    }

    /// The answer has begun: from now on the exchange lasts as long as the answer does, whether anybody takes the rest or
    /// not.
    pub(super) fn answered(&mut self, read_timeout: Duration) {
        (self.write_timeout, self.first_byte) = (read_timeout, read_timeout);
    }

    /// Whether it can be sent once more.
    pub(super) fn is_repeatable(&self) -> bool {
        self.out.kept.is_some()
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
        while self.progress == Progress::Going {
            while !self.out.queue.is_empty() {
                match connection.poll_send(cx, &self.out.queue) {
                    Poll::Ready(Ok(written)) => {
                        self.out.queue.advance(written);
                        self.moved = Some(Instant::now());
                        connection.allow(self.write_timeout);
                    }
                    Poll::Ready(Err(http1::Fault::Timeout)) => {
                        return Poll::Ready(Err(Stop::Server(http1::Fault::Timeout)));
                    }
                    // It may have answered before it closed the connection.
                    Poll::Ready(Err(_)) => {
                        self.progress = Progress::Refused;
                        connection.allow(self.first_byte);
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.read {
                self.progress = Progress::Sent;
                connection.finish_request();
                connection.allow(self.first_byte);
                break;
            }
            // However long the client takes, it is not the server's fault.
            connection.allow(Duration::MAX);
            match client.poll_body(cx, |content| self.out.content(content)) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(told)) => return Poll::Ready(Err(Stop::Client(told))),
                Poll::Pending => return Poll::Pending,
            }
            self.read = client.is_read();
            if self.read {
                self.out.end();
            }
            connection.allow(self.write_timeout);
        }
        Poll::Ready(Ok(()))
    }
}

/// What goes to the server, framed anew.
struct Out {
    chunked: bool,
    /// Not written yet.
    queue: BytesMut,
    /// All that was framed so far, while it is small enough to be sent again.
    kept: Option<BytesMut>,
}

impl Out {
    fn content(&mut self, content: &[u8]) {
        if !self.chunked {
            return self.push(content);
        }
        if content.is_empty() {
            return; // a chunk without content is the last one
        }
        let mut size = Vec::with_capacity(20);
        http1::chunk_size(&mut size, content.len());
        self.push(&size);
        self.push(content);
        self.push(b"\r\n");
    }

    fn end(&mut self) {
        if self.chunked {
            self.push(b"0\r\n\r\n");
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.queue.extend_from_slice(bytes);
        if let Some(kept) = &mut self.kept {
            if kept.len() + bytes.len() <= KEPT {
                kept.extend_from_slice(bytes);
            } else {
                self.kept = None;
            }
        }
    }
}
