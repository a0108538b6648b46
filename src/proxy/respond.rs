//! Writes the gateway's own answers, through the same delivery policies as any other.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request, response};
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora::proxy::Session;

use super::{Exchange, hygiene, not_encoded};
use crate::admin;
use crate::answer::{Answer, Reason, Rendered};
use crate::files;
use crate::route;
use crate::runtime::Action;

/// An answer whose body is at hand, as it goes onto the wire. The body is there for HEAD, too.
pub(super) fn compose(exchange: &mut Exchange, request: &request::Parts, answer: &Answer) -> (response::Parts, Bytes) {
    if let Answer::Refusal { reason, .. } = answer {
        exchange.refusal = Some(*reason);
    }
    let accept = request
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let rendered = match exchange.grpc {
        Some(grpc) => answer.render_grpc(grpc, exchange.request_id()),
        None => answer.render(accept, exchange.request_id()),
    };
    let Rendered {
        status,
        mut headers,
        body,
    } = rendered;
    exchange.deliver(request, status, &mut headers);
    let mut body = Some(body).filter(|_| !hygiene::never_has_body(status));
    if exchange.encoder.is_some() {
        // The whole body is here: encoded at once, it keeps a length. Encoding into memory does not fail.
        if exchange.encode(&mut body, true).is_err() {
            body = None;
        }
        headers.remove(header::TRANSFER_ENCODING);
        headers.insert(header::CONTENT_LENGTH, body.as_ref().map_or(0, Bytes::len).into());
    }
    (head(status, headers), body.unwrap_or_default())
}

fn head(status: StatusCode, headers: HeaderMap) -> response::Parts {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers;
    parts
}

/// Writes an answer whose body is at hand.
pub(super) async fn answer(session: &mut Session, exchange: &mut Exchange, answer: &Answer) -> Result<()> {
    let (head, body) = compose(exchange, session.req_header(), answer);
    exchange.say_goodbye(session, head.status);
    let head_only = session.req_header().method == Method::HEAD || body.is_empty();
    session
        .write_response_header(Box::new(ResponseHeader::from(head)), head_only)
        .await?;
    if !head_only {
        exchange.slow_down(body.len()).await;
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Writes a file, or what stands for one that is not there.
pub(super) async fn files(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let Some(route) = exchange.route.clone() else {
        return Ok(());
    };
    let Action::Files(root) = &route.action else {
        return Ok(());
    };
    let request = session.req_header();
    let raw = request.uri.path();
    let rewritten = root.rewrite.as_ref().map(|rewrite| rewrite.apply(raw));
    let path = match rewritten.as_deref().map(route::normalise) {
        Some(Ok(path)) => path,
        Some(Err(_)) => return answer(session, exchange, &Answer::refuse(Reason::BadPath)).await,
        None => exchange.path.as_deref().unwrap_or(raw).into(),
    };
    let mut served = match files::open(root, &request.method, &path, request.uri.query(), &request.headers).await {
        Ok(served) => served,
        Err(refused) => return answer(session, exchange, &refused).await,
    };
    exchange.deliver(session.req_header(), served.status, &mut served.headers);
    exchange.say_goodbye(session, served.status);
    let response = ResponseHeader::from(head(served.status, served.headers));
    let head_only = session.req_header().method == Method::HEAD;
    let Some(mut file) = served.body.filter(|_| !head_only) else {
        return session.write_response_header(Box::new(response), true).await;
    };
    session.write_response_header(Box::new(response), false).await?;
    let truncated = |error| Error::because(ErrorType::InternalError, "reading a file", error);
    while let Some(chunk) = file.next_chunk().await.map_err(truncated)? {
        let mut chunk = Some(chunk);
        exchange.encode(&mut chunk, false).map_err(not_encoded)?;
        exchange.slow_down(chunk.as_ref().map_or(0, Bytes::len)).await;
        if chunk.as_ref().is_some_and(|chunk| !chunk.is_empty()) {
            session.write_response_body(chunk, false).await?;
        }
    }
    let mut rest = None;
    exchange.encode(&mut rest, true).map_err(not_encoded)?;
    session.write_response_body(Some(rest.unwrap_or_default()), true).await
}

/// Fetches the answer of the upstream and delivers it: what only our own exchange with servers can do.
pub(super) async fn fetched(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let request = session.req_header().as_owned_parts();
    let got = while_listening(session, exchange.fetch(&request)).await?;
    let (mut head, mut body) = match got {
        Ok(got) => got,
        Err(failure) => {
            let refusal = exchange.refusal(failure.reason);
            return answer(session, exchange, &refusal).await;
        }
    };
    exchange.say_goodbye(session, head.status);
    let bodiless = request.method == Method::HEAD || hygiene::never_has_body(head.status);
    exchange.deliver(&request, head.status, &mut head.headers);
    if !bodiless && !head.headers.contains_key(header::CONTENT_LENGTH) {
        if request.version == Version::HTTP_10 {
            session.set_keepalive(None);
        } else {
            head.headers
                .insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    session
        .write_response_header(Box::new(ResponseHeader::from(head)), bodiless)
        .await?;
    loop {
        let part = while_listening(session, body.next(exchange)).await?;
        let mut part =
            part.map_err(|_| Error::explain(ErrorType::ConnectionClosed, "the answer was cut short").into_up())?;
        if bodiless {
            match part {
                Some(_) => continue,
                None => return Ok(()),
            }
        }
        let end = part.is_none();
        exchange.encode(&mut part, end).map_err(not_encoded)?;
        exchange.slow_down(part.as_ref().map_or(0, Bytes::len)).await;
        if end || part.as_ref().is_some_and(|part| !part.is_empty()) {
            session.write_response_body(Some(part.unwrap_or_default()), end).await?;
        }
        if end {
            return Ok(());
        }
    }
}

/// Works while the client is there: who leaves gives it up. What was written to the client goes out meanwhile.
pub(super) async fn while_listening<T>(session: &mut Session, work: impl Future<Output = T>) -> Result<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            // It yields only an error: there is no body.
            gone = session.as_downstream_mut().read_body_or_idle(true) => { gone.map_err(|error| error.into_down())?; }
        }
    }
}

/// `serve = "metrics"`.
pub(super) async fn metrics(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let text = admin::metrics(&exchange.live);
    answer(session, exchange, &text).await
}

/// `serve = "health"`.
pub(super) async fn health(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let found = health_answer(exchange, session.req_header());
    answer(session, exchange, &found).await
}

/// What the health endpoints say.
pub(super) fn health_answer(exchange: &Exchange, request: &request::Parts) -> Answer {
    let path = exchange.path.as_deref().unwrap_or_else(|| request.uri.path());
    let base = match exchange.route.as_ref().map(|route| &route.action) {
        // The route has taken the path: what is left to find out is which of its prefixes did, in whatever case.
        Some(Action::Health(prefixes)) => prefixes.iter().find_map(|prefix| {
            let head = path.get(..prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then_some(head)
        }),
        _ => None,
    };
    let base = base.unwrap_or(path);
    admin::site_health(&exchange.live, path, base).unwrap_or_else(|| Answer::refuse(Reason::NotFound))
}

/// The status that stands in the log for a client that left before it was answered, as nginx has it.
pub(super) fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}
