//! The fast lane: what the gateway answers by itself, and what needs no more than HTTP/1.1 in clear text towards the server,
//! is served on the gate's own connection, or stream of HTTP/2.
//!
//! The same exchange, decided by the same code as in Pingora's lane; only the bytes take a shorter way.

mod body;
mod client;
mod hedged;
mod http1;
mod http2;
mod kept;
mod lane;
mod relay;
mod upload;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, header, request, response};

use self::client::{Client, Gone};
use self::http1::Http1;
use self::http2::Http2;
use super::begin::Decision;
use super::{Exchange, respond};
use crate::answer::Answer;
use crate::edge::{Arrival, Direct, H2Stream, Lane, Lent, NotMine, Served};
use crate::runtime::Live;

/// The fast lane over the running gateway.
pub struct FastLane {
    live: Arc<Live>,
}

impl FastLane {
    /// Over the running gateway.
    #[must_use]
    pub fn new(live: Arc<Live>) -> Arc<Self> {
        Arc::new(Self { live })
    }

    fn begin(&self, arrival: Box<Arrival>) -> Exchange {
        let mut exchange = Exchange::new(self.live.pin(), Arc::clone(&self.live));
        exchange.arrival = Some(arrival);
        exchange
    }
}

impl Direct for FastLane {
    fn serve<'a>(&'a self, mut request: request::Parts, lane: Lane, arrival: Box<Arrival>) -> BoxFuture<'a, Served> {
        Box::pin(async move {
            // In here: what is large is made where it stays.
            let mut exchange = self.begin(arrival);
            let decision = exchange.begin(&request);
            if let Err(why) = exchange.fits(&decision) {
                exchange.note_lane(why);
                return match exchange.arrival.take() {
                    Some(arrival) => Served::NotMine(Box::new(Lent { lane, arrival })),
                    None => Served::Done { keep: false },
                };
            }
            let Some(arrival) = &exchange.arrival else {
                return Served::Done { keep: false };
            };
            let mut client = Http1::new(lane, &request, arrival, exchange.snapshot.server.write_timeout);
            let served = serve(&mut exchange, &mut request, &mut client, decision).await;
            let keep = served.is_ok() && client.is_kept().await;
            exchange.close(&request, &client);
            match served {
                Ok(()) => Served::Done { keep },
                Err(Gone) => Served::Gone,
            }
        })
    }

    fn serve_h2<'a>(
        &'a self,
        mut request: request::Parts,
        stream: H2Stream,
        arrival: Box<Arrival>,
    ) -> BoxFuture<'a, Option<Box<NotMine>>> {
        Box::pin(async move {
            // In here: what is large is made where it stays.
            let mut exchange = self.begin(arrival);
            let decision = exchange.begin(&request);
            if let Err(why) = exchange.fits(&decision) {
                exchange.note_lane(why);
                let arrival = exchange.arrival.take()?;
                return Some(Box::new(NotMine {
                    request,
                    stream,
                    arrival,
                }));
            }
            let mut client = Http2::new(stream, exchange.snapshot.server.write_timeout);
            let _ = serve(&mut exchange, &mut request, &mut client, decision).await;
            exchange.close(&request, &client);
            None
        })
    }
}

async fn serve(
    exchange: &mut Exchange,
    request: &mut request::Parts,
    client: &mut impl Client,
    decision: Decision,
) -> Result<(), Gone> {
    let decision = exchange.identify(request, decision).await;
    if exchange.must_disclose(&request.headers) {
        exchange.disclose(&mut request.headers);
    }
    let (decision, wait) = exchange.limit(request, decision).await;
    client.pause(wait).await?;
    // After the limits: a place that is waited for must not be waited for by who is refused anyway.
    if !matches!(decision, Decision::Answer(_) | Decision::Settled(_))
        && let Err(answer) = exchange.take_place().await
    {
        return write_answer(exchange, request, client, &answer).await;
    }
    let answer = match decision {
        Decision::Answer(answer) | Decision::Settled(answer) => answer,
        Decision::Metrics => crate::admin::metrics(&exchange.live),
        Decision::Health => respond::health_answer(exchange, request),
        Decision::Challenge(token) => exchange.key_authorization(&token).await,
        Decision::Proxy if kept::serve(exchange, request, client).await? => return Ok(()),
        Decision::Proxy if exchange.may_be_hedged(request) => {
            return Box::pin(hedged::serve(exchange, request, client)).await;
        }
        // Boxed: what is answered here moves no state of what it does not need.
        Decision::Proxy | Decision::Files => return Box::pin(relay::proxy(exchange, request, client)).await,
    };
    write_answer(exchange, request, client, &answer).await
}

/// Writes an answer of the gateway's own.
async fn write_answer(
    exchange: &mut Exchange,
    request: &request::Parts,
    client: &mut impl Client,
    answer: &Answer,
) -> Result<(), Gone> {
    let (head, body) = respond::compose(exchange, request, answer);
    let goes_on = !exchange.is_last() && client.can_skip_body(request.headers.contains_key(header::EXPECT));
    client.begin(head, goes_on);
    client.part(body).await?;
    client.end().await
}

impl Exchange {
    /// Counts and logs it.
    fn close(&mut self, request: &request::Parts, client: &impl Client) {
        let (received, sent) = self
            .arrival
            .as_ref()
            .map_or((0, 0), |arrival| (arrival.link.received(), arrival.link.sent()));
        let status = client.status().unwrap_or_else(respond::client_left);
        self.conclude(request, status, received, sent);
    }
}

fn parts(status: StatusCode, fields: HeaderMap) -> response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = fields;
    parts
}
