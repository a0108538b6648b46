//! Bodies and whole answers, in the manner of Express.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;

/// An answer.
pub(super) type Response = http::Response<BoxBody<Bytes, Infallible>>;

/// What a streamed body is cut into, as Node's zlib does.
const CHUNK: usize = 16 * 1024;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    whole(status, Bytes::new())
}

/// An answer whose body has a known length.
pub(super) fn whole(status: StatusCode, body: Bytes) -> Response {
    let length = body.len();
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    if status != StatusCode::NOT_MODIFIED && status != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// An answer of a media type.
pub(super) fn typed(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = whole(status, body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer whose length nobody tells beforehand: it leaves in chunks.
pub(super) fn streamed(status: StatusCode, mut body: Bytes) -> Response {
    let chunks = std::iter::from_fn(move || {
        let chunk = body.split_to(body.len().min(CHUNK));
        (!chunk.is_empty()).then(|| Ok(Frame::data(chunk)))
    });
    let mut response = Response::new(StreamBody::new(stream::iter(chunks)).boxed());
    *response.status_mut() = status;
    response
}

/// The page for a route or a file that does not exist.
pub(super) fn no_such_page(method: &Method, path: &str) -> Response {
    let path = path
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n<body>\n\
         <pre>Cannot {method} {path}</pre>\n</body>\n</html>\n"
    );
    let mut response = typed(StatusCode::NOT_FOUND, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
