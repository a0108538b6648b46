//! One stream: a request's body at the client's pace, and an answer that waits for the client.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode, response};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use super::super::link::Link;
use super::stalled::Stalled;
use crate::answer::Reason;
use crate::http1;

/// A body must bring this many bytes (or its end) within each body timeout, and of an answer that waits for its client so
/// many must be taken within each write timeout: less is a crawl.
const PACE_BYTES: u64 = 4096;
/// Bytes that are handed to the connection at a time: with the head of their frame they fill a record of TLS.
const CHUNK: usize = 16 * 1024 - 9;

/// Whose answers wait, among those of all clients.
pub(super) struct Waiting {
    pub(super) stalled: Arc<Stalled>,
    pub(super) client: IpAddr,
    /// How many of this client's may.
    pub(super) most: usize,
}

/// Where a stream is found again that was let go of before its request was over.
pub(super) type Home = Arc<Mutex<Option<SendResponse<Bytes>>>>;

/// Why a stream cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client took it back, or its connection is gone.
    Gone(h2::Error),
    /// It is closed, nobody says why.
    Closed,
    /// The request's body breaks a limit; the link says which.
    Body(io::Error),
    /// The client does not take its answer.
    Untaken,
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Gone(error)
    }
}

/// One request's body, and the way of its answer. Dropped before the end of the answer it is reset: the client must see
/// that it was cut.
pub struct H2Stream {
    body: RecvStream,
    body_over: bool,
    /// Only the end takes it.
    respond: Option<SendResponse<Bytes>>,
    home: Option<Home>,
    answer: Option<SendStream<Bytes>>,
    head_request: bool,
    ended: bool,
    pub(super) link: Arc<Link>,
    waiting: Arc<Waiting>,
    body_timeout: Duration,
    /// The client's pace: armed only while the gateway waits for body bytes.
    pace: Option<Pin<Box<Sleep>>>,
    paced: u64,
    /// How long the answer has waited since so many bytes of it were taken, and the bytes since.
    waited: Duration,
    taken: u64,
}

impl H2Stream {
    pub(super) fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        head_request: bool,
        link: Arc<Link>,
        waiting: Arc<Waiting>,
        body_timeout: Duration,
    ) -> Self {
        Self {
            body_over: body.is_end_stream(),
            body,
            respond: Some(respond),
            home: None,
            answer: None,
            head_request,
            ended: false,
            link,
            waiting,
            body_timeout,
            pace: None,
            paced: 0,
            waited: Duration::ZERO,
            taken: 0,
        }
    }

    /// Where the stream goes if it is let go of before its request is over.
    pub(super) fn returning_to(mut self, home: Home) -> Self {
        self.home = Some(home);
        self
    }

    /// Whether the request has been read to its end.
    pub(crate) fn is_read(&self) -> bool {
        self.body_over
    }

    /// The next part of the request's body, counted; `None`: there is no more.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        if self.body_over {
            return Poll::Ready(Ok(None));
        }
        let data = match self.body.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => data,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
            Poll::Ready(None) => {
                self.end_body();
                return Poll::Ready(Ok(None));
            }
            Poll::Pending => {
                self.link.starved();
                let timeout = self.body_timeout;
                let pace = self.pace.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(pace.as_mut().poll(cx));
                return Poll::Ready(Err(Broken::Body(self.link.fail(Reason::RequestTimeout))));
            }
        };
        self.link.fed();
        let _ = self.body.flow_control().release_capacity(data.len());
        self.paced += data.len() as u64;
        if self.paced >= PACE_BYTES {
            self.paced = 0;
            self.pace = None;
        }
        let received = self.link.received.fetch_add(data.len() as u64, Relaxed) + data.len() as u64;
        if received > self.link.limit.load(Relaxed) {
            return Poll::Ready(Err(Broken::Body(self.link.fail(Reason::BodyTooLarge))));
        }
        if self.body.is_end_stream() {
            self.end_body();
        }
        Poll::Ready(Ok(Some(data)))
    }

    fn end_body(&mut self) {
        self.body_over = true;
        self.pace = None;
        self.link.starved();
    }

    /// Why the request's body was ended, if it was.
    pub(crate) fn fault(&self) -> Option<Reason> {
        self.link.fault()
    }

    /// Tells when the client takes the request back before its answer is complete.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            return Poll::Pending;
        }
        let reset = match (&mut self.answer, &mut self.respond) {
            (Some(answer), _) => answer.poll_reset(cx),
            (None, Some(respond)) => respond.poll_reset(cx),
            (None, None) => return Poll::Pending,
        };
        reset.map(|_| ())
    }

    /// Begins the final answer; `end`: there is no body. What concerns connections of HTTP/1 stays here.
    pub(crate) fn begin(&mut self, mut head: response::Parts, end: bool) -> Result<(), Broken> {
        let Some(respond) = self.respond.as_mut().filter(|_| self.answer.is_none()) else {
            return Ok(());
        };
        clean(&mut head.headers);
        if !head.headers.contains_key(header::DATE) {
            head.headers.insert(header::DATE, http1::date());
        }
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || self.head_request;
        let end = end || bodiless;
        let fields = head.headers.iter();
        let size: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.answer = Some(respond.send_response(http::Response::from_parts(head, ()), end)?);
        self.link.sent.fetch_add(size as u64, Relaxed);
        self.ended = end;
        Ok(())
    }

    /// Sends a part of the answer's body as the client takes it; `patience`: how long it may take nothing, or next to
    /// nothing, for a window that grows by a byte would last for ever. Nothing is sent where the answer has no body.
    pub(crate) async fn send(&mut self, mut data: Bytes, end: bool, patience: Duration) -> Result<(), Broken> {
        if self.ended {
            return Ok(()); // HEAD, 204, 304
        }
        let Some(answer) = &mut self.answer else {
            return Err(Broken::Closed);
        };
        while !data.is_empty() {
            answer.reserve_capacity(data.len().min(CHUNK));
            let granted = match answer.capacity() {
                0 => {
                    let wait = self.waiting.stalled.wait(self.waiting.client, self.waiting.most);
                    let since = Instant::now();
                    let granted = tokio::select! {
                        granted = capacity(answer) => granted,
                        () = wait.given_up() => Err(Broken::Untaken),
                        () = tokio::time::sleep(patience.saturating_sub(self.waited)) => Err(Broken::Untaken),
                    };
                    self.waited += since.elapsed();
                    if matches!(granted, Err(Broken::Untaken)) {
                        answer.send_reset(Code::ENHANCE_YOUR_CALM);
                        self.ended = true;
                    }
                    granted?
                }
                granted => granted,
            };
            let part = data.split_to(granted.min(data.len()));
            self.link.sent.fetch_add(part.len() as u64, Relaxed);
            self.taken += part.len() as u64;
            if self.taken >= PACE_BYTES {
                (self.taken, self.waited) = (0, Duration::ZERO);
            }
            let last = end && data.is_empty();
            answer.send_data(part, last)?;
            self.ended |= last;
        }
        if end { self.end() } else { Ok(()) }
    }

    /// The answer is complete.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match &mut self.answer {
            Some(answer) => Ok(answer.send_data(Bytes::new(), true)?),
            None => Ok(()),
        }
    }

    /// The answer is complete with these trailers.
    pub(super) fn end_with(&mut self, trailers: HeaderMap) -> Result<(), Broken> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match &mut self.answer {
            Some(answer) => Ok(answer.send_trailers(trailers)?),
            None => Ok(()),
        }
    }

    /// Resets the stream, unless its answer is complete.
    pub(crate) fn reset(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            match (&mut self.answer, &mut self.respond) {
                (Some(answer), _) => answer.send_reset(code),
                (None, Some(respond)) => respond.send_reset(code),
                (None, None) => {}
            }
        }
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        let home = self.home.take().filter(|_| !self.body_over);
        // Where the server took no more of the request the gate still answers.
        let stalled = self.link.fault() == Some(Reason::GatewayTimeout);
        if !(stalled && self.answer.is_none() && home.is_some()) {
            self.reset(Code::INTERNAL_ERROR); // unless its answer is complete
        }
        if let Some(home) = home {
            *home.lock() = self.respond.take();
        }
    }
}

/// RFC 9113 §8.2.2: fields of a connection have no place in HTTP/2.
fn clean(fields: &mut HeaderMap) {
    let of_connection = |name: &HeaderName| {
        matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE)
            || matches!(name.as_str(), "keep-alive" | "proxy-connection")
    };
    if !fields.keys().any(of_connection) {
        return; // mostly
    }
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        fields.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        fields.remove(name);
    }
}

/// Waits until some of the answer may be sent; bytes.
async fn capacity(answer: &mut SendStream<Bytes>) -> Result<usize, Broken> {
    poll_fn(|cx| {
        loop {
            return match ready!(answer.poll_capacity(cx)) {
                Some(Ok(0)) => continue,
                Some(Ok(granted)) => Poll::Ready(Ok(granted)),
                Some(Err(error)) => Poll::Ready(Err(error.into())),
                None => Poll::Ready(Err(Broken::Closed)),
            };
        }
    })
    .await
}
