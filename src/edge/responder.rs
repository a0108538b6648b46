//! An application that answers every request from a function: the admin listener.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Uri, header};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::{Arrival, Secured};
use crate::answer::{Reason, Rendered};

/// Longest body of a request, bytes: what is sent here are short orders.
const BODY_MAX: u64 = 64 * 1024;

/// A request as the function sees it.
#[derive(Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// The fields.
    pub headers: HeaderMap,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// What its TLS handshake came to; `None`: clear text.
    pub tls: Option<Arc<Secured>>,
    /// The body; or why it was not taken: too large, too slow, badly framed.
    pub body: Result<Bytes, Reason>,
}

/// The application.
pub struct Responder<F>(F);

impl<F, A> Responder<F>
where
    F: Fn(Ask) -> A + Send + Sync + 'static,
    A: Future<Output = Rendered> + Send,
{
    /// Answers with what `function` returns.
    #[must_use]
    pub fn new(function: F) -> Arc<Self> {
        Arc::new(Self(function))
    }
}

#[async_trait]
impl<F, A> HttpServerApp for Responder<F>
where
    F: Fn(Ask) -> A + Send + Sync + 'static,
    A: Future<Output = Rendered> + Send,
{
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let arrival = session.take_connection_user_context()?.downcast::<Arrival>().ok()?;
        if !session.read_request().await.ok()? {
            return None;
        }
        arrival.link.limit_body(BODY_MAX);
        let body = body(&mut session, &arrival).await;
        // What is left of a body that was not taken must not be read as the next request.
        let keep_alive = arrival.keep_alive && body.is_ok();
        session.set_keepalive(keep_alive.then_some(60));
        let request = session.req_header();
        let head_only = request.method == Method::HEAD;
        let ask = Ask {
            method: request.method.clone(),
            uri: request.uri.clone(),
            headers: request.headers.clone(),
            peer: arrival.peer.ip(),
            tls: arrival.tls.clone(),
            body,
        };
        let rendered = (self.0)(ask).await;
        if rendered
            .headers
            .get(header::CONNECTION)
            .is_some_and(|value| value == "close")
        {
            session.set_keepalive(None);
        }
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = rendered.status;
        parts.headers = rendered.headers;
        session
            .write_response_header(Box::new(ResponseHeader::from(parts)))
            .await
            .ok()?;
        if !head_only && !rendered.body.is_empty() {
            session.write_response_body(rendered.body, true).await.ok()?;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

/// Reads the body whole; the lane keeps it within its bounds.
async fn body(session: &mut ServerSession, arrival: &Arrival) -> Result<Bytes, Reason> {
    if session.req_header().headers.contains_key(header::EXPECT) {
        let told = session.write_continue_response().await;
        told.map_err(|_| Reason::BadRequest)?;
    }
    let mut whole = BytesMut::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(part)) if whole.len() + part.len() <= BODY_MAX as usize => whole.extend_from_slice(&part),
            Ok(Some(_)) => return Err(Reason::BodyTooLarge),
            Ok(None) => return Ok(whole.freeze()),
            Err(_) => return Err(arrival.link.fault().unwrap_or(Reason::BadRequest)),
        }
    }
}
