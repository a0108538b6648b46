//! A client that speaks HTTP/1: one write for a head and a small body, flushed when nothing more is at hand.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Version, header, request, response};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::client::{Client, ENOUGH, Gone, SMALL};
use crate::answer::Reason;
use crate::edge::{self, Arrival, Lane};
use crate::http1::{self, Chunked};
use crate::proxy::hygiene;

/// Of a body that nobody needs, so much is read for the sake of the connection.
const UNWANTED: usize = 64 * 1024;
/// And for so long.
const UNWANTED_TIME: Duration = Duration::from_secs(2);

/// How the body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    AsIs,
    Chunked,
}

/// The client of one exchange.
pub(super) struct Http1 {
    lane: Lane,
    /// Whether the connection can serve another request afterwards.
    keep: bool,
    status: Option<StatusCode>,
    version: Version,
    head_request: bool,
    write_timeout: Duration,
    framing: Framing,
    /// What waits to be written: `out`, then `large`, then `tail`.
    out: Vec<u8>,
    /// A part of the body that is not worth a copy. It waits, too, so that what ends it or comes next leaves with it.
    large: Bytes,
    tail: Vec<u8>,
    unflushed: bool,
    /// How the request's body is framed, unless it comes as it is. Trailers and extensions end here.
    chunked: Option<Chunked>,
}

impl Http1 {
    pub(super) fn new(lane: Lane, request: &request::Parts, arrival: &Arrival, write_timeout: Duration) -> Self {
        Self {
            lane,
            keep: arrival.keep_alive,
            status: None,
            version: request.version,
            head_request: request.method == Method::HEAD,
            write_timeout,
            framing: Framing::None,
            out: Vec::with_capacity(1024),
            large: Bytes::new(),
            tail: Vec::new(),
            unflushed: false,
            chunked: (arrival.framing == edge::Framing::Chunked).then(Chunked::new),
        }
    }

    /// Whether the connection can serve another request after the exchange.
    pub(super) async fn is_kept(&mut self) -> bool {
        self.keep && self.discard_body().await
    }

    /// Where the next bytes go.
    fn end_of_out(&mut self) -> &mut Vec<u8> {
        if self.large.is_empty() {
            &mut self.out
        } else {
            &mut self.tail
        }
    }

    /// Writes what was put together.
    async fn write(&mut self) -> Result<(), Gone> {
        let lane = &mut self.lane;
        let (mut at, all) = (0, self.out.len() + self.large.len() + self.tail.len());
        while at < all {
            let (large, tail) = (
                at.saturating_sub(self.out.len()),
                at.saturating_sub(self.out.len() + self.large.len()),
            );
            let slices = [
                IoSlice::new(self.out.get(at..).unwrap_or_default()),
                IoSlice::new(self.large.get(large..).unwrap_or_default()),
                IoSlice::new(&self.tail[tail..]),
            ];
            let written = timed(self.write_timeout, |cx| lane.poll_write_slices(cx, &slices)).await?;
            if written == 0 {
                return Err(Gone);
            }
            at += written;
            self.unflushed = true;
        }
        self.out.clear();
        self.large = Bytes::new();
        self.tail.clear();
        Ok(())
    }

    /// Reads what is left of a body that nobody needs, within bounds; `false`: there is more.
    async fn discard_body(&mut self) -> bool {
        if self.lane.is_over() {
            return true;
        }
        if self.lane.fault().is_some() {
            return false;
        }
        let reading = async {
            let mut left = UNWANTED;
            while left > 0 && !self.lane.is_over() {
                match poll_fn(|cx| self.lane.poll_take(cx)).await {
                    Ok(taken) if !taken.is_empty() => left = left.saturating_sub(taken.len()),
                    _ => return false,
                }
            }
            self.lane.is_over()
        };
        tokio::time::timeout(UNWANTED_TIME, reading).await.unwrap_or(false)
    }
}

impl Client for Http1 {
    fn status(&self) -> Option<StatusCode> {
        self.status
    }

    async fn interim(&mut self, status: StatusCode, fields: &HeaderMap) -> Result<(), Gone> {
        if self.version == Version::HTTP_10 {
            return Ok(()); // RFC 9110 §15.2: it does not know them
        }
        http1::status_line(&mut self.out, status);
        http1::fields(&mut self.out, fields);
        self.out.extend_from_slice(b"\r\n");
        self.flush().await
    }

    fn begin(&mut self, head: response::Parts, goes_on: bool) {
        self.keep &= goes_on;
        let bodiless = self.head_request || hygiene::never_has_body(head.status);
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

    async fn part(&mut self, part: Bytes) -> Result<(), Gone> {
        if part.is_empty() || self.framing == Framing::None {
            return Ok(());
        }
        let large = part.len() > SMALL;
        if large && !self.large.is_empty() {
            self.write().await?;
        }
        let chunked = self.framing == Framing::Chunked;
        if chunked {
            http1::chunk_size(self.end_of_out(), part.len());
        }
        if large {
            self.large = part;
        } else {
            self.end_of_out().extend_from_slice(&part);
        }
        if chunked {
            self.end_of_out().extend_from_slice(b"\r\n");
        }
        if self.out.len() + self.tail.len() > ENOUGH {
            self.write().await?;
        }
        Ok(())
    }

    fn outlet(&self) -> Option<BorrowedFd<'_>> {
        let ready = self.framing == Framing::AsIs && !self.has_unwritten();
        self.lane.outlet().filter(|_| ready)
    }

    fn moved(&mut self, bytes: usize) {
        self.lane.sent(bytes);
    }

    async fn end(&mut self) -> Result<(), Gone> {
        if self.framing == Framing::Chunked {
            self.end_of_out().extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await
    }

    /// That it is not all is seen by the closed connection.
    async fn cut(&mut self) -> Result<(), Gone> {
        self.keep = false;
        self.flush().await
    }

    fn has_unwritten(&self) -> bool {
        self.unflushed || !self.out.is_empty() || !self.large.is_empty()
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.write().await?;
        if std::mem::take(&mut self.unflushed) {
            let (lane, limit) = (&mut self.lane, self.write_timeout);
            timed(limit, |cx| Pin::new(&mut *lane).poll_flush(cx)).await?;
        }
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        if !self.lane.is_over() {
            return Poll::Pending;
        }
        let mut byte = [0];
        // It yields only the end: there is no body any more.
        let _ = ready!(Pin::new(&mut self.lane).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        Poll::Ready(Gone)
    }

    fn is_read(&self) -> bool {
        self.lane.is_over()
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        mut content: impl FnMut(BytesMut),
    ) -> Poll<Result<(), Option<Reason>>> {
        let mut taken = match ready!(self.lane.poll_take(cx)) {
            Ok(taken) if taken.is_empty() => return Poll::Ready(Err(None)),
            Ok(taken) => taken,
            Err(_) => return Poll::Ready(Err(self.lane.fault())),
        };
        let Some(chunked) = &mut self.chunked else {
            content(taken);
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(loop {
            match chunked.take(&mut taken) {
                Ok(Some(part)) => content(part.into()),
                Ok(None) => break Ok(()),
                Err(_) => break Err(Some(Reason::BadRequest)),
            }
        })
    }

    /// Little enough is read for the sake of the connection. Asked before the client is told that the connection stays:
    /// it would send its next request into one that is closed. Who still waits to be asked for a body will not send it,
    /// and what comes next would be taken for it.
    fn can_skip_body(&self, expects: bool) -> bool {
        let little = self.lane.left().is_none_or(|left| left <= UNWANTED as u64);
        little && self.lane.fault().is_none() && (self.lane.is_over() || !expects)
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
