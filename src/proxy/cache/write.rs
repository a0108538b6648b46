//! Answers out of the cache on Pingora's session.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header, response};
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora::proxy::Session;
use tokio::sync::mpsc;

use super::super::{Exchange, hygiene, not_encoded, respond};
use super::{Served, Source};

/// Takes a request through the cache of its route; `true`: it was answered.
pub(in crate::proxy) async fn serve(session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
    let served = match exchange.at_once(session.req_header()) {
        Ok(served) => served,
        Err(asking) => {
            let request = session.req_header().as_owned_parts();
            let (interim, mut arrived) = mpsc::unbounded_channel();
            exchange.interim = Some(interim);
            let served = {
                let mut look = pin!(exchange.look(&asking, &request));
                loop {
                    tokio::select! {
                        biased;
                        Some((status, fields)) = arrived.recv() => pass_on(session, status, fields).await?,
                        served = &mut look => break served,
                        // It yields only an error: there is no body.
                        gone = session.as_downstream_mut().read_body_or_idle(true) => {
                            gone.map_err(|error| error.into_down())?;
                        }
                    }
                }
            };
            exchange.interim = None;
            while let Ok((status, fields)) = arrived.try_recv() {
                pass_on(session, status, fields).await?;
            }
            served
        }
    };
    exchange.count_cache();
    exchange.settled().await;
    match served {
        Served::Proxy => Ok(false),
        Served::Answer(head, source) => write(session, exchange, head, source).await.map(|()| true),
        Served::Refuse(answer) => respond::answer(session, exchange, &answer).await.map(|()| true),
    }
}

/// Passes an interim answer on. A client of HTTP/1.0 does not know any.
async fn pass_on(session: &mut Session, status: StatusCode, fields: HeaderMap) -> Result<()> {
    if session.req_header().version != Version::HTTP_11 {
        return Ok(());
    }
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status;
    head.headers = fields;
    session
        .write_response_header(Box::new(ResponseHeader::from(head)), false)
        .await
}

/// Writes head and body; a body that breaks off ends the connection, so that nobody takes it for the whole.
async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    mut head: response::Parts,
    mut source: Source,
) -> Result<()> {
    if exchange.is_last() {
        session.set_keepalive(None);
    }
    let bodiless = session.req_header().method == Method::HEAD || hygiene::never_has_body(head.status);
    let framed =
        head.headers.contains_key(header::CONTENT_LENGTH) || head.headers.contains_key(header::TRANSFER_ENCODING);
    if !bodiless && !framed && session.req_header().version == Version::HTTP_11 {
        head.headers
            .insert(header::TRANSFER_ENCODING, http::HeaderValue::from_static("chunked"));
    }
    let response = ResponseHeader::from(head);
    if !bodiless && exchange.ends_with_connection(session, &response) {
        session.set_keepalive(None);
    }
    if bodiless || matches!(source, Source::Nothing) {
        return session.write_response_header(Box::new(response), true).await;
    }
    session.write_response_header(Box::new(response), false).await?;
    let broken = |()| Error::explain(ErrorType::ReadError, "the body broke off").into_up();
    while let Some(part) = respond::while_listening(session, source.next())
        .await?
        .map_err(broken)?
    {
        let mut part = Some(part);
        exchange.encode(&mut part, false).map_err(not_encoded)?;
        if part.as_ref().is_some_and(|part| !part.is_empty()) {
            session.write_response_body(part, false).await?;
        }
    }
    let mut rest: Option<Bytes> = None;
    exchange.encode(&mut rest, true).map_err(not_encoded)?;
    session.write_response_body(Some(rest.unwrap_or_default()), true).await
}
