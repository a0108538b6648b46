//! The body of an answer that somebody fetches, or keeps, delivered to the client as it comes.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::client::{Client, Gone};
use crate::proxy::Exchange;
use crate::proxy::cache::Source;
use crate::proxy::fetch::Incoming;

/// Where a body comes from.
pub(super) trait Body: Send {
    /// The next part; `None`: that was all. `Err`: it breaks off.
    fn next(&mut self, exchange: &mut Exchange) -> impl Future<Output = Result<Option<Bytes>, ()>> + Send;
}

impl Body for Source {
    async fn next(&mut self, _: &mut Exchange) -> Result<Option<Bytes>, ()> {
        Self::next(self).await
    }
}

impl Body for Incoming {
    async fn next(&mut self, exchange: &mut Exchange) -> Result<Option<Bytes>, ()> {
        Self::next(self, exchange).await.map_err(drop)
    }
}

/// Delivers it, encoded where the answer is.
pub(super) async fn deliver(
    exchange: &mut Exchange,
    client: &mut impl Client,
    body: &mut impl Body,
) -> Result<(), Gone> {
    loop {
        let part = {
            let mut next = pin!(body.next(exchange));
            match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                Poll::Ready(part) => part,
                Poll::Pending => {
                    // Nothing at hand: what was written so far must not wait for more.
                    client.flush().await?;
                    tokio::select! {
                        biased;
                        part = &mut next => part,
                        gone = poll_fn(|cx| client.poll_gone(cx)) => return Err(gone),
                    }
                }
            }
        };
        let Ok(mut part) = part else {
            return client.cut().await;
        };
        let end = part.is_none();
        if exchange.encode(&mut part, end).is_err() {
            return client.cut().await;
        }
        client.part(part.unwrap_or_default()).await?;
        if end {
            return client.end().await;
        }
    }
}
