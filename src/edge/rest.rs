//! A connection between two requests: it waits without holding a buffer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Sleep;

use super::link::Conn;
use crate::http1;

/// How a read between two requests ended.
pub(super) enum Next {
    Bytes,
    Closed,
}

/// What a connection waits for between two requests. Made once for each connection: a timer and a place among those who
/// wait for the stop that were taken anew for every request would cost more than the request's head.
pub(super) struct Rest {
    last_call: Pin<Box<dyn Future<Output = ()> + Send>>,
    alarm: Pin<Box<Sleep>>,
}

impl Rest {
    /// `last_call`: becomes `true` when there is no time left to wait for a request. Until then a connection whose
    /// listener was stopped waits on: its client may have sent the next request already, and is told in the answer that
    /// it was the last.
    pub(super) fn new(mut last_call: watch::Receiver<bool>) -> Self {
        let last_call = async move {
            if last_call.wait_for(|called| *called).await.is_err() {
                std::future::pending::<()>().await; // nobody can call any more
            }
        };
        Self {
            last_call: Box::pin(last_call),
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Waits for the first byte of a request without holding a buffer.
    pub(super) async fn until_bytes(&mut self, conn: &mut Conn, patience: Duration) -> Next {
        let give_up = tokio::time::Instant::now() + patience;
        poll_fn(|cx| {
            match http1::poll_read(&mut conn.io, cx, &mut conn.ahead) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Next::Bytes),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Closed),
                Poll::Pending => {}
            }
            if self.last_call.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Closed);
            }
            // An alarm that was set for an earlier wait rings too early: only then is it set again.
            if self.alarm.deadline() > give_up {
                self.alarm.as_mut().reset(give_up);
            }
            while self.alarm.as_mut().poll(cx).is_ready() {
                if tokio::time::Instant::now() >= give_up {
                    return Poll::Ready(Next::Closed);
                }
                self.alarm.as_mut().reset(give_up);
            }
            Poll::Pending
        })
        .await
    }
}
