//! A connection between two requests: it waits without holding a buffer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use pingora::server::ShutdownWatch;
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
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    alarm: Pin<Box<Sleep>>,
}

impl Rest {
    pub(super) fn new(shutdown: &ShutdownWatch) -> Self {
        let mut shutdown = shutdown.clone();
        let stopping = async move {
            if shutdown.wait_for(|stopping| *stopping).await.is_err() {
                std::future::pending::<()>().await; // nobody can stop us any more
            }
        };
        Self {
            stopping: Box::pin(stopping),
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
            if self.stopping.as_mut().poll(cx).is_ready() {
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
