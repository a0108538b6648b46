//! What answers of the admin listener look like.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::quality;

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

/// Text for who prefers it, and, unless `api`, for people at a terminal with curl, who mostly say nothing.
pub(super) fn wants_text(headers: &HeaderMap, api: bool) -> bool {
    let field = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let accept = field(header::ACCEPT).unwrap_or("*/*");
    let wanted = |media_type| quality::of_media_type(accept, media_type);
    let (text, json) = (
        wanted("text/plain").max(wanted("text/html")),
        wanted("application/json"),
    );
    let curl = field(header::USER_AGENT).is_some_and(|agent| agent.starts_with("curl/"));
    text > json || (!api && curl && text == json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_text() {
        for (accept, agent, api, text) in [
            (None, None, false, false),
            (Some("*/*"), Some("curl/8.5.0"), false, true),
            (Some("*/*"), Some("curl/8.5.0"), true, false),
            (Some("application/json"), Some("curl/8.5.0"), false, false),
            (Some("text/plain"), None, true, true),
            (
                Some("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
                Some("Mozilla/5.0"),
                false,
                true,
            ),
            (Some("*/*"), Some("python-requests/2"), false, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::ACCEPT, accept), (header::USER_AGENT, agent)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            assert_eq!(wants_text(&headers, api), text, "{accept:?} {agent:?} {api}");
        }
    }
}
