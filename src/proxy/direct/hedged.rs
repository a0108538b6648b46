//! Requests for which two servers may be asked, in the fast lane.

use std::future::poll_fn;

use http::{header, request};

use super::client::{Client, Gone};
use super::{body, write_answer};
use crate::proxy::Exchange;

/// Fetches the answer from whichever server has it first, and delivers it.
pub(super) async fn serve(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
) -> Result<(), Gone> {
    let fetched = {
        let mut fetch = Box::pin(exchange.fetch(request));
        tokio::select! {
            biased;
            fetched = &mut fetch => fetched,
            gone = poll_fn(|cx| client.poll_gone(cx)) => return Err(gone),
        }
    };
    let (mut head, mut incoming) = match fetched {
        Ok(fetched) => fetched,
        Err(failure) => {
            let refusal = exchange.refusal(failure.reason);
            return write_answer(exchange, request, client, &refusal).await;
        }
    };
    exchange.deliver(request, head.status, &mut head.headers);
    head.headers.remove(header::TRANSFER_ENCODING); // the client's side frames it
    client.begin(head, !exchange.is_last());
    body::deliver(exchange, client, &mut incoming).await
}
