//! Answers out of the cache, in the fast lane.

use std::future::poll_fn;

use http::{header, request};
use tokio::sync::mpsc;

use super::client::{Client, Gone};
use super::{body, write_answer};
use crate::proxy::Exchange;
use crate::proxy::cache::{Asking, Served};

/// Takes a request through the cache of its route; `true`: it was answered.
pub(super) async fn serve(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
) -> Result<bool, Gone> {
    match exchange.at_once(request) {
        Ok(Served::Proxy) => {
            exchange.count_cache();
            exchange.settled().await;
            Ok(false)
        }
        // Boxed, so that what goes to a server moves no state of what it does not need.
        found => Box::pin(answer(exchange, request, client, found)).await,
    }
}

/// Answers with what was found, or waits for who fetches it.
async fn answer(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
    found: Result<Served, Box<Asking>>,
) -> Result<bool, Gone> {
    let served = match found {
        Ok(served) => served,
        Err(asking) => {
            let (interim, mut arrived) = mpsc::unbounded_channel();
            exchange.interim = Some(interim);
            let served = {
                // Boxed, as it is rare and large: what every request moves stays small.
                let mut look = Box::pin(exchange.look(&asking, request));
                loop {
                    tokio::select! {
                        biased;
                        Some((status, fields)) = arrived.recv() => {
                            client.interim(status, &fields).await?;
                        }
                        served = &mut look => break served,
                        gone = poll_fn(|cx| client.poll_gone(cx)) => return Err(gone),
                    }
                }
            };
            exchange.interim = None;
            while let Ok((status, fields)) = arrived.try_recv() {
                client.interim(status, &fields).await?;
            }
            served
        }
    };
    exchange.count_cache();
    exchange.settled().await;
    let (mut head, mut source) = match served {
        Served::Proxy => return Ok(false),
        Served::Refuse(answer) => return write_answer(exchange, request, client, &answer).await.map(|()| true),
        Served::Answer(head, source) => (head, source),
    };
    head.headers.remove(header::TRANSFER_ENCODING); // the client's side frames it
    client.begin(head, !exchange.is_last());
    body::deliver(exchange, client, &mut source).await.map(|()| true)
}
