//! A client that speaks HTTP/2. Head and end go out with the body where they can: a small answer is two frames.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason as Code;
use http::{HeaderMap, StatusCode, response};

use super::client::{Client, ENOUGH, Gone, SMALL};
use crate::answer::Reason;
use crate::edge::{Broken, H2Stream};

/// The client of one exchange.
pub(super) struct Http2 {
    stream: H2Stream,
    status: Option<StatusCode>,
    /// How long it may take nothing of its answer.
    patience: Duration,
    /// Not sent yet.
    head: Option<response::Parts>,
    /// Not sent yet, for it may be the end.
    held: Bytes,
}

impl Http2 {
    pub(super) fn new(stream: H2Stream, patience: Duration) -> Self {
        Self {
            stream,
            status: None,
            patience,
            head: None,
            held: Bytes::new(),
        }
    }

    /// Sends what has been held back.
    async fn send(&mut self, end: bool) -> Result<(), Broken> {
        let part = std::mem::take(&mut self.held);
        if let Some(head) = self.head.take() {
            self.stream.begin(head, end && part.is_empty())?;
        }
        self.stream.send(part, end, self.patience).await
    }
}

impl Client for Http2 {
    fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Interim answers stay here (docs/http2.md).
    async fn interim(&mut self, _status: StatusCode, _fields: &HeaderMap) -> Result<(), Gone> {
        Ok(())
    }

    /// That it is the connection's last is said to the connection, not to the stream.
    fn begin(&mut self, head: response::Parts, _goes_on: bool) {
        self.status = Some(head.status);
        self.head = Some(head);
    }

    async fn part(&mut self, part: Bytes) -> Result<(), Gone> {
        if self.held.is_empty() {
            self.held = part;
            return Ok(());
        }
        if part.len() <= SMALL && self.held.len() + part.len() <= ENOUGH {
            let held = std::mem::take(&mut self.held).try_into_mut();
            let mut both = held.unwrap_or_else(|held| {
                let mut copy = BytesMut::with_capacity(ENOUGH);
                copy.extend_from_slice(&held);
                copy
            });
            both.extend_from_slice(&part);
            self.held = both.freeze();
            return Ok(());
        }
        self.flush().await?;
        self.held = part;
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Gone> {
        self.send(true).await.map_err(|_| Gone)
    }

    /// What is still on its way to the connection does not reach the client: the library forgets it with the stream.
    async fn cut(&mut self) -> Result<(), Gone> {
        self.stream.reset(Code::INTERNAL_ERROR);
        Ok(())
    }

    fn has_unwritten(&self) -> bool {
        self.head.is_some() || !self.held.is_empty()
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.send(false).await.map_err(|_| Gone)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        self.stream.poll_reset(cx).map(|()| Gone)
    }

    fn is_read(&self) -> bool {
        self.stream.is_read()
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        mut content: impl FnMut(BytesMut),
    ) -> Poll<Result<(), Option<Reason>>> {
        Poll::Ready(match ready!(self.stream.poll_body(cx)) {
            Ok(part) => {
                content(part.unwrap_or_default().into());
                Ok(())
            }
            Err(Broken::Body(_)) => Err(self.stream.fault()),
            Err(_) => Err(None),
        })
    }

    /// The end of the stream tells the client that the rest is not wanted.
    fn can_skip_body(&self, _expects: bool) -> bool {
        true
    }
}
