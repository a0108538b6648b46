//! The fast lane: what the gateway answers by itself, and what needs no more than HTTP/1.1 in clear text towards the server,
//! is served on the gate's own connection, or stream of HTTP/2.
//!
//! The same exchange, decided by the same code as in Pingora's lane; only the bytes take a shorter way.

mod client;
mod http1;
mod http2;
mod kept;
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
use crate::config::model::Protocol;
use crate::edge::{Arrival, Direct, Framing, H2Stream, Lane, NotMine, Served};
use crate::runtime::{Action, Live};

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
        let mut exchange = self.begin(arrival);
        Box::pin(async move {
            let decision = exchange.begin(&request);
            if !exchange.fits(&decision) {
                return match exchange.arrival.take() {
                    Some(arrival) => Served::NotMine(lane, arrival),
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
        let mut exchange = self.begin(arrival);
        Box::pin(async move {
            let decision = exchange.begin(&request);
            if !exchange.fits(&decision) {
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

    /// Whether the fast lane can serve what was decided.
    fn fits(&self, decision: &Decision) -> bool {
        let Some(arrival) = &self.arrival else { return false };
        // What waits between its parts waits in Pingora's lane; who is refused does not come so far.
        let slowed = self.route.as_ref().is_some_and(|route| route.bandwidth.is_some());
        if slowed && !matches!(decision, Decision::Settled(_)) {
            return false;
        }
        match decision {
            Decision::Answer(_)
            | Decision::Settled(_)
            | Decision::Metrics
            | Decision::Health
            | Decision::Challenge(_) => {
                // A body is read for the connection's sake, if it is small.
                matches!(
                    arrival.framing,
                    Framing::None | Framing::Length(..=65_536) | Framing::Chunked
                )
            }
            Decision::Files => false,
            Decision::Proxy => match self.route.as_ref().map(|route| &route.action) {
                Some(Action::Proxy { upstream, .. }) => {
                    upstream.tls.is_none() && upstream.protocol == Protocol::Http1 && upstream.model.hedge.is_none()
                }
                _ => false,
            },
        }
    }
}

fn parts(status: StatusCode, fields: HeaderMap) -> response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = fields;
    parts
}
