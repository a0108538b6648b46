//! What answers of the admin listener look like.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::answer::Answer;

/// A JSON document.
pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    content(status, "application/json", format!("{body}\n"), Vec::new())
}

/// Text for people.
pub(super) fn text(body: String) -> Answer {
    content(StatusCode::OK, "text/plain; charset=utf-8", body, Vec::new())
}

/// What is wrong with a request, and what may be further known about it (RFC 9457).
pub(super) fn problem(status: StatusCode, detail: &str, members: Map<String, Value>) -> Answer {
    problem_with(status, detail, members, Vec::new())
}

/// The same with further fields.
pub(super) fn problem_with(
    status: StatusCode,
    detail: &str,
    members: Map<String, Value>,
    fields: Vec<(HeaderName, HeaderValue)>,
) -> Answer {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    });
    if let Value::Object(body) = &mut body {
        body.extend(members);
    }
    content(status, "application/problem+json", format!("{body}\n"), fields)
}

/// The page has other methods.
pub(super) fn method_not_allowed(allow: &'static str) -> Answer {
    problem_with(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("This resource takes {allow}."),
        Map::new(),
        vec![(header::ALLOW, HeaderValue::from_static(allow))],
    )
}

/// There is no such thing; `known` are those that there are, `what` is their word: `upstreams`.
pub(super) fn unknown<'a>(detail: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Answer {
    let known = known.into_iter().map(Value::from).collect();
    let members = Map::from_iter([(what.to_owned(), Value::Array(known))]);
    problem(StatusCode::NOT_FOUND, detail, members)
}

/// Any answer; nothing here is to be kept by anybody.
pub(super) fn content(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
    mut fields: Vec<(HeaderName, HeaderValue)>,
) -> Answer {
    fields.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    Answer::Content {
        status,
        content_type: HeaderValue::from_static(content_type),
        body: body.into(),
        fields,
    }
}
