//! The thin Pingora adapter: one short method per phase, top to bottom in the order in which they run.

mod affinity;
mod announce;
mod begin;
mod cache;
mod carrier;
mod challenge;
mod conclude;
mod deadline;
mod direct;
mod exchange;
mod failure;
mod fetch;
mod flow;
mod gateside;
mod hedge;
mod hygiene;
mod identify;
mod limit;
mod peer;
mod respond;
mod retry;
mod session;
mod trace;
mod upgrade;
mod upstream;

pub use direct::FastLane;
pub use exchange::Exchange;
pub use fetch::{Caller, Failure, Fetched, Interim, fetch};
pub use gateside::GateSide;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;

use self::upstream::NoServer;
use crate::edge::Arrival;
use crate::runtime::Live;

/// Idle connections to upstreams that are kept, all servers together.
const POOL_SIZE: usize = 4096;

/// The application behind the gate.
pub type Application = HttpProxy<Proxy>;

/// The gateway as Pingora's proxy logic.
pub struct Proxy {
    live: Arc<Live>,
}

impl Proxy {
    /// The application behind the gate: one for all listeners, so that they share one pool of upstream connections.
    #[must_use]
    pub fn application(live: Arc<Live>) -> Arc<Application> {
        let conf = ServerConf {
            upstream_keepalive_pool_size: POOL_SIZE,
            ca_file: peer::instead_of_the_systems(),
            // The exchange counts its own attempts; this only bounds what a fault of ours could do.
            max_retries: 16,
            ..ServerConf::default()
        };
        Arc::new(http_proxy(&Arc::new(conf), Self { live }))
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Box<Exchange>;

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // None: compression is a policy of ours, and each module costs every request.
    }

    /// Pins the snapshot: from here to the log line this request reads no other.
    fn new_ctx(&self) -> Self::CTX {
        Box::new(Exchange::new(self.live.pin(), Arc::clone(&self.live)))
    }

    /// What the gate knows of the request.
    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        exchange: &mut Self::CTX,
        arrival: Box<dyn Any + Send + Sync>,
    ) {
        exchange.arrival = arrival.downcast::<Arrival>().ok();
    }

    /// Who calls, which route, may it; answers what the gateway answers by itself.
    async fn request_filter(&self, session: &mut Session, exchange: &mut Self::CTX) -> Result<bool> {
        exchange.take_arrival(session.req_header());
        exchange.configure(session);
        let decision = exchange.begin(session.req_header());
        let decision = exchange.identify(session.req_header(), decision).await;
        if exchange.must_disclose(&session.req_header().headers) {
            hygiene::edit_request(session.req_header_mut(), |fields| exchange.disclose(fields))?;
        }
        let (decision, wait) = exchange.limit(session.req_header(), decision).await;
        if !matches!(decision, begin::Decision::Settled(_)) {
            exchange.join_flows(session.req_header());
        }
        exchange.pause(session, wait).await?;
        // After the limits: a place that is waited for must not be waited for by who is refused anyway.
        if !matches!(decision, begin::Decision::Answer(_) | begin::Decision::Settled(_))
            && let Err(answer) = exchange.take_place().await
        {
            return respond::answer(session, exchange, &answer).await.map(|()| true);
        }
        match decision {
            begin::Decision::Proxy if cache::serve(session, exchange).await? => Ok(true),
            begin::Decision::Proxy if exchange.may_be_hedged(session.req_header()) => {
                respond::fetched(session, exchange).await.map(|()| true)
            }
            begin::Decision::Proxy => Ok(false),
            begin::Decision::Answer(answer) | begin::Decision::Settled(answer) => {
                respond::answer(session, exchange, &answer).await.map(|()| true)
            }
            begin::Decision::Files => respond::files(session, exchange).await.map(|()| true),
            begin::Decision::Metrics => respond::metrics(session, exchange).await.map(|()| true),
            begin::Decision::Health => respond::health(session, exchange).await.map(|()| true),
            begin::Decision::Challenge(token) => {
                let answer = exchange.key_authorization(&token).await;
                respond::answer(session, exchange, &answer).await.map(|()| true)
            }
        }
    }

    /// Chooses a server, again for each attempt.
    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        match exchange.choose(session.req_header()).await {
            Ok(()) => exchange.peer(),
            Err(NoServer(why)) => Err(Error::explain(ErrorType::ConnectError, why)),
        }
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        exchange.pingora_connect_failed(session, error)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        exchange.connected(reused);
        Ok(())
    }

    /// What the upstream is told.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        exchange.ask_for_body(session, request).await?;
        exchange.address_upstream(session, request)
    }

    /// What the upstream said, cleaned of what concerns only its connection to us.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        exchange.upstream_answered(session, response)?;
        exchange.settled().await;
        Ok(())
    }

    /// A part of the client's body, before it goes to the upstream: whoever waits for the answer waits from then on.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        // Pingora writes it as a chunk of no bytes, which ends the body, and then ends the body: the server takes what is
        // too much for another request, and all its answers on this connection for those before them.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if let Some(wait) = exchange.delay_upload(body.as_ref().map_or(0, Bytes::len)) {
            tokio::time::sleep(wait).await;
        }
        if body.is_some() {
            exchange.body_progressed();
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end: bool,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        exchange.upstream_progressed();
        Ok(None)
    }

    /// What the client is told.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        // Interim answers carry no policies; 101 is final, but its fields belong to the upgraded protocol.
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let status = response.status;
        hygiene::edit_response(response, |fields| {
            exchange.deliver(session.req_header(), status, fields)
        });
        exchange.say_goodbye(session, status);
        if exchange.ends_with_connection(session, response) {
            session.set_keepalive(None);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        exchange.encode(body, end).map_err(not_encoded)?;
        Ok(exchange.delay_download(body.as_ref().map_or(0, Bytes::len)))
    }

    /// The end of an answer over HTTP/2 that has trailers. They end here for a client of HTTP/1.1, and what the encoder
    /// still holds takes their place.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        let mut rest = None;
        exchange.encode(&mut rest, true).map_err(not_encoded)?;
        Ok(rest)
    }

    /// Whether the attempt may be repeated.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        exchange.pingora_attempt_failed(session, error, reused)
    }

    /// No further attempt: tells the client, if there is one and it has not been told anything yet.
    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Self::CTX) -> FailToProxy {
        let reason = exchange.reason_for(session, error);
        let mut status = 0;
        if let Some(reason) = reason
            && session::final_answer(session).is_none()
        {
            status = reason.status().as_u16();
            let answer = exchange.refusal(reason);
            match respond::answer(session, exchange, &answer).await {
                Ok(()) => exchange.answered_whole(session),
                Err(_) => status = 0,
            }
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    /// Ours says it with more facts, and under attack Pingora's lines would be one a request.
    fn suppress_error_log(&self, _session: &Session, _exchange: &Self::CTX, _error: &Error) -> bool {
        true
    }

    /// Always last: metrics, access log; every guard is released with the exchange.
    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Self::CTX) {
        if let Some(error) = error {
            tracing::debug!(request_id = exchange.request_id(), %error, "the exchange failed");
        }
        let (status, received, sent) = exchange.tally(session);
        exchange.conclude(session.req_header(), status, received, sent);
    }
}

fn not_encoded(error: std::io::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "encoding a body", error)
}
