//! One stream as Pingora sees it.

mod adapter;

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, Result};
use pingora::protocols::Digest;
use tokio::time::{Instant, Sleep};

use super::stream::{Broken, H2Stream};
use crate::answer::Reason;

/// Bytes of a request that are kept to be sent again.
const RETRY_BYTES: usize = 64 * 1024;
/// How long a client may take nothing, where Pingora does not say.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request and its answer.
pub(super) struct H2Session {
    request: RequestHeader,
    stream: H2Stream,
    no_body: bool,
    response: Option<Box<ResponseHeader>>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
    /// The upstream's: armed only while the exchange asks for it.
    alarm: Option<(u64, Pin<Box<Sleep>>)>,
    retry: Option<BytesMut>,
    retry_truncated: bool,
    sent: usize,
    digest: Digest,
}

impl H2Session {
    pub(super) fn new(request: RequestHeader, stream: H2Stream) -> Self {
        Self {
            request,
            no_body: stream.is_read(),
            stream,
            response: None,
            read_timeout: None,
            write_timeout: None,
            drain_timeout: None,
            alarm: None,
            retry: None,
            retry_truncated: false,
            sent: 0,
            digest: Digest::default(),
        }
    }

    /// The next part of the body; `None`: there is no more.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let Poll::Ready(error) = self.poll_alarm(cx) {
            return Poll::Ready(Err(downstream(error)));
        }
        let part = ready!(self.stream.poll_body(cx)).map_err(broken)?;
        if let (Some(data), Some(retry)) = (&part, &mut self.retry) {
            if retry.len() + data.len() > RETRY_BYTES {
                self.retry_truncated = true;
            } else {
                retry.extend_from_slice(data);
            }
        }
        Poll::Ready(Ok(part))
    }

    /// Nothing more is to come: tells when the client takes the request back, or the exchange's alarm rings.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Poll::Ready(error) = self.poll_alarm(cx) {
            return Poll::Ready(*downstream(error));
        }
        ready!(self.stream.poll_reset(cx));
        Poll::Ready(*Error::explain(ErrorType::ConnectionClosed, "the client took its request back").into_down())
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let wanted = self.stream.link.alarm.load(Relaxed);
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
        Poll::Ready(self.stream.link.fail(Reason::GatewayTimeout))
    }

    /// Sends the head of the answer. Interim ones stay here (docs/http2.md).
    fn send_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if head.status.is_informational() || self.response.is_some() {
            return Ok(());
        }
        self.stream.begin(head.as_owned_parts(), end).map_err(broken)?;
        self.response = Some(head);
        Ok(())
    }

    async fn send(&mut self, data: Bytes, end: bool) -> Result<()> {
        let (size, patience) = (data.len(), self.write_timeout.unwrap_or(PATIENCE));
        self.stream.send(data, end, patience).await.map_err(broken)?;
        self.sent += size;
        Ok(())
    }
}

fn broken(broken: Broken) -> Box<Error> {
    match broken {
        Broken::Gone(error) => Error::because(ErrorType::ConnectionClosed, "a stream of the client", error).into_down(),
        Broken::Closed => Error::explain(ErrorType::ConnectionClosed, "the stream is closed").into_down(),
        Broken::Body(error) => downstream(error),
        Broken::Untaken => Error::explain(ErrorType::WriteTimedout, "the client does not take its answers").into_down(),
    }
}

fn downstream(error: io::Error) -> Box<Error> {
    let etype = match error.kind() {
        io::ErrorKind::TimedOut => ErrorType::ReadTimedout,
        _ => ErrorType::ReadError,
    };
    Error::because(etype, "reading a request", error).into_down()
}
