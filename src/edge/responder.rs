//! An application that answers every request from a function: the admin listener.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Uri};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::Arrival;
use crate::answer::Rendered;

/// A request as the function sees it.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The other end of the connection.
    pub peer: IpAddr,
}

/// The application.
pub struct Responder<F>(F);

impl<F> Responder<F>
where
    F: Fn(&Ask<'_>) -> Rendered + Send + Sync + 'static,
{
    /// Answers with what `function` returns.
    #[must_use]
    pub fn new(function: F) -> Arc<Self> {
        Arc::new(Self(function))
    }
}

#[async_trait]
impl<F> HttpServerApp for Responder<F>
where
    F: Fn(&Ask<'_>) -> Rendered + Send + Sync + 'static,
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
        session.set_keepalive(arrival.keep_alive.then_some(60));
        let request = session.req_header();
        let rendered = (self.0)(&Ask {
            method: &request.method,
            uri: &request.uri,
            headers: &request.headers,
            peer: arrival.peer.ip(),
        });
        let head_only = request.method == Method::HEAD;
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
