//! One stream as Pingora sees it: a request, its body at the client's pace, and an answer that waits for the client.

mod adapter;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, Result};
use pingora::protocols::Digest;
use tokio::time::{Instant, Sleep};

use super::super::link::Link;
use super::stalled::Stalled;
use crate::answer::Reason;

/// A body must bring this many bytes (or its end) within each body timeout: less is a crawl.
const PACE_BYTES: u64 = 4096;
/// Bytes of a request that are kept to be sent again.
const RETRY_BYTES: usize = 64 * 1024;
/// Bytes that are handed to the connection at a time.
const CHUNK: usize = 16 * 1024;
/// Whose answers wait, among those of all clients.
pub(super) struct Waiting {
    pub(super) stalled: Arc<Stalled>,
    pub(super) client: IpAddr,
    /// How many of this client's may.
    pub(super) most: usize,
}

/// Where a stream is found again that the application let go of before its request was over.
pub(super) type Home = Arc<Mutex<Option<SendResponse<Bytes>>>>;

/// One request and its answer.
pub(super) struct H2Session {
    request: RequestHeader,
    body: RecvStream,
    body_over: bool,
    no_body: bool,
    /// Only the end takes it.
    respond: Option<SendResponse<Bytes>>,
    home: Option<Home>,
    stream: Option<SendStream<Bytes>>,
    response: Option<Box<ResponseHeader>>,
    ended: bool,
    link: Arc<Link>,
    waiting: Waiting,
    body_timeout: Duration,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
    pace: Option<Pin<Box<Sleep>>>,
    paced: u64,
    alarm: Option<(u64, Pin<Box<Sleep>>)>,
    retry: Option<BytesMut>,
    retry_truncated: bool,
    sent: usize,
    digest: Digest,
}

impl H2Session {
    pub(super) fn new(
        request: RequestHeader,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        link: Arc<Link>,
        waiting: Waiting,
        body_timeout: Duration,
    ) -> Self {
        let no_body = body.is_end_stream();
        Self {
            request,
            body,
            body_over: no_body,
            no_body,
            respond: Some(respond),
            home: None,
            stream: None,
            response: None,
            ended: false,
            link,
            waiting,
            body_timeout,
            read_timeout: None,
            write_timeout: None,
            drain_timeout: None,
            pace: None,
            paced: 0,
            alarm: None,
            retry: None,
            retry_truncated: false,
            sent: 0,
            digest: Digest::default(),
        }
    }

    /// Where the stream goes if the session ends before the request does.
    pub(super) fn returning_to(mut self, home: Home) -> Self {
        self.home = Some(home);
        self
    }

    /// The next part of the body, counted; `None`: there is no more.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let Poll::Ready(error) = self.poll_alarm(cx) {
            return Poll::Ready(Err(downstream(error)));
        }
        if self.body_over {
            return Poll::Ready(Ok(None));
        }
        let data = match self.body.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => data,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(gone(error))),
            Poll::Ready(None) => {
                self.end_body();
                return Poll::Ready(Ok(None));
            }
            Poll::Pending => {
                self.link.starved();
                let timeout = self.body_timeout;
                let pace = self.pace.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(pace.as_mut().poll(cx));
                return Poll::Ready(Err(downstream(self.link.fail(Reason::RequestTimeout))));
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
            return Poll::Ready(Err(downstream(self.link.fail(Reason::BodyTooLarge))));
        }
        if let Some(retry) = &mut self.retry {
            if retry.len() + data.len() > RETRY_BYTES {
                self.retry_truncated = true;
            } else {
                retry.extend_from_slice(&data);
            }
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

    /// Nothing more is to come: tells when the client takes the request back, or the exchange's alarm rings.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Poll::Ready(error) = self.poll_alarm(cx) {
            return Poll::Ready(*downstream(error));
        }
        if self.ended {
            return Poll::Pending;
        }
        let reset = match (&mut self.stream, &mut self.respond) {
            (Some(stream), _) => stream.poll_reset(cx),
            (None, Some(respond)) => respond.poll_reset(cx),
            (None, None) => return Poll::Pending,
        };
        let _ = ready!(reset);
        Poll::Ready(*Error::explain(ErrorType::ConnectionClosed, "the client took its request back").into_down())
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let wanted = self.link.alarm.load(Relaxed);
        let within = Duration::from_millis(wanted & u64::from(u32::MAX));
        if within.is_zero() {
            self.alarm = None;
            return Poll::Pending;
        }
        if self.alarm.as_ref().is_none_or(|(set, _)| *set != wanted) {
            self.alarm = Some((wanted, Box::pin(tokio::time::sleep_until(Instant::now() + within))));
        }
        let Some((_, sleep)) = &mut self.alarm else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(self.link.fail(Reason::GatewayTimeout))
    }

    /// Sends the head of the answer.
    fn send_head(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        // Interim answers stay here: the library cannot write them.
        if head.status.is_informational() || self.response.is_some() {
            return Ok(());
        }
        let mut fields = head.headers.clone();
        for of_connection in [
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
            header::HeaderName::from_static("keep-alive"),
            header::HeaderName::from_static("proxy-connection"),
        ] {
            fields.remove(of_connection);
        }
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())) {
            fields.insert(header::DATE, date);
        }
        let size: usize = fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let mut response = http::Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = fields;
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.request.method == http::Method::HEAD;
        let end = end || bodiless;
        let Some(respond) = &mut self.respond else {
            return Ok(());
        };
        let stream = respond.send_response(response, end).map_err(gone)?;
        self.link.sent.fetch_add(size as u64, Relaxed);
        self.ended = end;
        self.stream = Some(stream);
        self.response = Some(Box::new(head.clone()));
        Ok(())
    }

    async fn send(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(()); // HEAD, 204, 304
        }
        let Some(stream) = &mut self.stream else {
            return Err(Error::explain(ErrorType::InternalError, "a body before its head"));
        };
        while !data.is_empty() {
            stream.reserve_capacity(data.len().min(CHUNK));
            let granted = match futures_util::FutureExt::now_or_never(capacity(stream)) {
                Some(granted) => granted,
                None => {
                    let wait = self.waiting.stalled.wait(self.waiting.client, self.waiting.most);
                    let patience = self.write_timeout.unwrap_or(Duration::from_secs(60));
                    let granted = tokio::select! {
                        granted = capacity(stream) => Some(granted),
                        () = wait.given_up() => None,
                        () = tokio::time::sleep(patience) => None,
                    };
                    match granted {
                        Some(granted) => granted,
                        None => {
                            stream.send_reset(Code::ENHANCE_YOUR_CALM);
                            self.ended = true;
                            return Err(Error::explain(
                                ErrorType::WriteTimedout,
                                "the client does not take its answers",
                            )
                            .into_down());
                        }
                    }
                }
            }?;
            let part = data.split_to(granted.min(data.len()));
            self.sent += part.len();
            self.link.sent.fetch_add(part.len() as u64, Relaxed);
            let last = end && data.is_empty();
            stream.send_data(part, last).map_err(gone)?;
            self.ended |= last;
        }
        if end {
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match &mut self.stream {
            Some(stream) => stream.send_data(Bytes::new(), true).map_err(gone),
            None => Ok(()),
        }
    }

    fn reset(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            match (&mut self.stream, &mut self.respond) {
                (Some(stream), _) => stream.send_reset(code),
                (None, Some(respond)) => respond.send_reset(code),
                (None, None) => {}
            }
        }
    }
}

impl Drop for H2Session {
    fn drop(&mut self) {
        if self.body_over {
            return;
        }
        if self.stream.is_some() {
            self.reset(Code::INTERNAL_ERROR); // where the answer is not over: the client must see that it was cut
        }
        if let Some(home) = &self.home {
            *home.lock() = self.respond.take();
        }
    }
}

/// Waits until some of the answer may be sent; bytes.
async fn capacity(stream: &mut SendStream<Bytes>) -> Result<usize> {
    poll_fn(|cx| {
        loop {
            return match ready!(stream.poll_capacity(cx)) {
                Some(Ok(0)) => continue,
                Some(Ok(granted)) => Poll::Ready(Ok(granted)),
                Some(Err(error)) => Poll::Ready(Err(gone(error))),
                None => Poll::Ready(Err(
                    Error::explain(ErrorType::ConnectionClosed, "the stream is closed").into_down()
                )),
            };
        }
    })
    .await
}

/// The client took the stream back, or its connection is gone.
fn gone(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::ConnectionClosed, "a stream of the client", error).into_down()
}

fn downstream(error: io::Error) -> Box<Error> {
    let etype = match error.kind() {
        io::ErrorKind::TimedOut => ErrorType::ReadTimedout,
        _ => ErrorType::ReadError,
    };
    Error::because(etype, "reading a request", error).into_down()
}
