//! What Express makes of a handler's answer: entity tags, 304, the fields that stand on everything.

use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_DISPOSITION, ETAG, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::call::Call;
use crate::demo::digest;
use crate::demo::reply::{self, Response};

const JSON: &str = "application/json; charset=utf-8";

/// What a handler answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// JSON text.
    Json(StatusCode, String),
    /// CSV text, to be saved under a name.
    Csv(String, String),
    /// 302 to this URL.
    Found(String),
    /// No handler: Express' own page.
    NoSuchRoute,
}

impl Reply {
    /// An answer from what can be written as JSON.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        serde_json::to_string(body).map_or_else(|_| Self::broken(), |text| Self::Json(status, text))
    }

    /// 200.
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// What the application says about every fault it did not foresee, the client's faults among them.
    pub(super) fn broken() -> Self {
        Self::Json(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"error":"Something went wrong!"}"#.to_owned(),
        )
    }

    /// The answer as it leaves.
    pub(super) fn into_response(self, call: &Call) -> Response {
        let mut response = match self {
            Self::Json(status, text) => tagged(call, status, JSON, text),
            Self::Csv(name, text) => {
                let mut response = tagged(call, StatusCode::OK, "text/csv; charset=utf-8", text);
                if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
                    response.headers_mut().insert(CONTENT_DISPOSITION, value);
                }
                response
            }
            Self::Found(url) => found(&call.headers, &url),
            Self::NoSuchRoute => reply::no_such_page(&call.sent_method, &call.path),
        };
        brand(response.headers_mut());
        response
    }
}

/// The answer to any OPTIONS whatsoever.
pub(super) fn preflight(request: &HeaderMap) -> Response {
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
    );
    headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    brand(headers);
    response
}

/// The fields that stand on everything.
fn brand(headers: &mut HeaderMap) {
    headers.insert(
        HeaderName::from_static("x-powered-by"),
        HeaderValue::from_static("Express"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

fn tagged(call: &Call, status: StatusCode, media_type: &'static str, text: String) -> Response {
    let tag = digest::etag(text.as_bytes());
    let mut response = if status.is_success() && is_fresh(call, &tag) {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::typed(status, media_type, text)
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Whether the client has it already (Express' `fresh`).
fn is_fresh(call: &Call, tag: &str) -> bool {
    let text = |name: HeaderName| call.headers.get(name).and_then(|value| value.to_str().ok());
    let reload = text(CACHE_CONTROL).is_some_and(|directives| directives.contains("no-cache"));
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let matches = |known: &str| known.trim() == "*" || known.split(',').any(|known| weak(known) == weak(tag));
    call.method == Method::GET && !reload && text(IF_NONE_MATCH).is_some_and(matches)
}

fn found(request: &HeaderMap, url: &str) -> Response {
    let accept = request
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or("*/*");
    let mut response = if accept.contains("text/html") {
        let page = format!(
            "<p>Found. Redirecting to {}</p>",
            url.replace('&', "&amp;").replace('<', "&lt;")
        );
        reply::typed(StatusCode::FOUND, "text/html; charset=utf-8", page)
    } else if accept.contains("*/*") || accept.contains("text/") {
        reply::typed(
            StatusCode::FOUND,
            "text/plain; charset=utf-8",
            format!("Found. Redirecting to {url}"),
        )
    } else {
        reply::empty(StatusCode::FOUND)
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    // Links are checked when they are made.
    if let Ok(url) = HeaderValue::try_from(url) {
        headers.insert(LOCATION, url);
    }
    response
}
