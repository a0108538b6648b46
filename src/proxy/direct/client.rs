//! The client's side of an exchange in the fast lane: the answer on its way out.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header, response};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use crate::answer::Reason;
use crate::edge::Lane;
use crate::http1;

/// Parts of a body up to this size are put together with what goes before and after them; larger ones are not copied.
const SMALL: usize = 8 * 1024;
/// So much is put together before it is written.
const ENOUGH: usize = 16 * 1024;
/// Of a body that nobody needs, so much is read for the sake of the connection.
const UNWANTED: usize = 64 * 1024;
/// And for so long.
const UNWANTED_TIME: Duration = Duration::from_secs(2);

/// The client is not there any more, or takes nothing.
#[derive(Debug)]
pub(super) struct Gone;

/// How the body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    AsIs,
    Chunked,
}

/// The client of one exchange.
pub(super) struct Client {
    pub(super) lane: Lane,
    /// Whether the connection can serve another request afterwards.
    pub(super) keep: bool,
    /// The status of the final answer, once it has begun.
    pub(super) status: Option<StatusCode>,
    version: Version,
    head_request: bool,
    write_timeout: Duration,
    framing: Framing,
    out: Vec<u8>,
    unflushed: bool,
}

impl Client {
    pub(super) fn new(lane: Lane, version: Version, head_request: bool, keep: bool, write_timeout: Duration) -> Self {
        Self {
            lane,
            keep,
            status: None,
            version,
            head_request,
            write_timeout,
            framing: Framing::None,
            out: Vec::with_capacity(1024),
            unflushed: false,
        }
    }

    /// Passes an interim answer on.
    pub(super) async fn interim(&mut self, status: StatusCode, fields: &HeaderMap) -> Result<(), Gone> {
        if self.version == Version::HTTP_10 {
            return Ok(()); // RFC 9110 §15.2: it does not know them
        }
        http1::status_line(&mut self.out, status);
        http1::fields(&mut self.out, fields);
        self.out.extend_from_slice(b"\r\n");
        self.flush().await
    }

    /// Begins the final answer; its fields are those that the client gets, but for the framing. Written with what follows.
    pub(super) fn begin(&mut self, head: &response::Parts) {
        let bodiless = self.head_request
            || head.status.is_informational()
            || head.status == StatusCode::NO_CONTENT
            || head.status == StatusCode::NOT_MODIFIED;
        let sized = head.headers.contains_key(header::CONTENT_LENGTH);
        let old = self.version == Version::HTTP_10;
        self.framing = match () {
            () if bodiless => Framing::None,
            () if sized || old => Framing::AsIs,
            () => Framing::Chunked,
        };
        if old && !bodiless && !sized {
            self.keep = false; // only the end of the connection tells where the body ends
        }
        self.status = Some(head.status);
        let out = &mut self.out;
        http1::status_line(out, head.status);
        http1::fields(out, &head.headers);
        if !head.headers.contains_key(header::DATE) {
            out.extend_from_slice(b"Date: ");
            http1::append_date(out);
            out.extend_from_slice(b"\r\n");
        }
        if self.framing == Framing::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend_from_slice(if self.keep {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
    }

    /// A part of the body. It goes out with what follows, or with [`Client::flush`].
    pub(super) async fn part(&mut self, part: Bytes) -> Result<(), Gone> {
        if part.is_empty() || self.framing == Framing::None {
            return Ok(());
        }
        let chunked = self.framing == Framing::Chunked;
        if chunked {
            http1::chunk_size(&mut self.out, part.len());
        }
        if part.len() <= SMALL {
            self.out.extend_from_slice(&part);
        } else {
            self.write(&part).await?;
        }
        if chunked {
            self.out.extend_from_slice(b"\r\n");
        }
        if self.out.len() > ENOUGH {
            self.write(&[]).await?;
        }
        Ok(())
    }

    /// The body is complete.
    pub(super) async fn end(&mut self) -> Result<(), Gone> {
        if self.framing == Framing::Chunked {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unflushed || !self.out.is_empty()
    }

    /// Sends what has been written so far.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        self.write(&[]).await?;
        if std::mem::take(&mut self.unflushed) {
            let (lane, limit) = (&mut self.lane, self.write_timeout);
            timed(limit, |cx| Pin::new(&mut *lane).poll_flush(cx)).await?;
        }
        Ok(())
    }

    /// Writes what was put together, and `body`.
    async fn write(&mut self, body: &[u8]) -> Result<(), Gone> {
        let (mut first, mut second) = (&self.out[..], body);
        let lane = &mut self.lane;
        while !first.is_empty() || !second.is_empty() {
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            let written = timed(self.write_timeout, |cx| {
                Pin::new(&mut *lane).poll_write_vectored(cx, &slices)
            })
            .await?;
            if written == 0 {
                return Err(Gone);
            }
            let of_first = written.min(first.len());
            first = &first[of_first..];
            second = &second[written - of_first..];
            self.unflushed = true;
        }
        self.out.clear();
        Ok(())
    }

    /// Whether the client has hung up; asked only once its request has been read to the end.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let mut byte = [0];
        // It yields only the end: there is no body any more.
        let _ = ready!(Pin::new(&mut self.lane).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        Poll::Ready(Gone)
    }

    /// Reads some of the body as it is framed.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        into.reserve(SMALL);
        pin!(self.lane.read_buf(into)).poll(cx)
    }

    /// Why the lane ended the request's body, if it did.
    pub(super) fn fault(&self) -> Option<Reason> {
        self.lane.fault()
    }

    /// Waits for the turn of the request, or until its client leaves.
    pub(super) async fn pause(&mut self, wait: Duration) -> Result<(), Gone> {
        if wait.is_zero() {
            return Ok(());
        }
        let mut turn = pin!(tokio::time::sleep(wait));
        poll_fn(|cx| {
            if turn.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            // To look for the end of the connection would be to read the body, where there is one.
            match self.lane.is_over() {
                true => self.poll_gone(cx).map(Err),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Whether what is left of the body is so little that it is read for the sake of the connection. Asked before the
    /// client is told that the connection stays: it would send its next request into one that is closed.
    pub(super) fn can_discard_body(&self) -> bool {
        self.lane.fault().is_none() && self.lane.left().is_none_or(|left| left <= UNWANTED as u64)
    }

    /// Reads what is left of a body that nobody needs, within bounds; `false`: there is more.
    pub(super) async fn discard_body(&mut self) -> bool {
        if self.lane.is_over() {
            return true;
        }
        if self.lane.fault().is_some() {
            return false;
        }
        let reading = async {
            let (mut left, mut sink) = (UNWANTED, BytesMut::new());
            while left > 0 && !self.lane.is_over() {
                sink.clear();
                match poll_fn(|cx| self.poll_body(cx, &mut sink)).await {
                    Ok(read @ 1..) => left = left.saturating_sub(read),
                    Ok(0) | Err(_) => return false,
                }
            }
            self.lane.is_over()
        };
        tokio::time::timeout(UNWANTED_TIME, reading).await.unwrap_or(false)
    }
}

/// Work on the client's connection; a timer only where it has to wait.
async fn timed<T>(limit: Duration, mut work: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> Result<T, Gone> {
    let at_once = poll_fn(|cx| Poll::Ready(work(cx))).await;
    let done = match at_once {
        Poll::Ready(done) => done,
        Poll::Pending => tokio::time::timeout(limit, poll_fn(work)).await.map_err(|_| Gone)?,
    };
    done.map_err(|_| Gone)
}
