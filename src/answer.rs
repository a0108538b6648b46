//! Answers of the gateway's own: refused in one typed word, phrased for the world in one place.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use phrase::Format;

mod grpc;
mod phrase;
mod reason;

pub use grpc::Grpc;
pub use reason::Reason;

/// An answer of the gateway's own.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Something is wrong: phrased by what the client accepts.
    Refusal {
        /// Why.
        reason: Reason,
        /// When to come back, as `Retry-After`.
        retry_after: Option<Duration>,
        /// Further fields (`Allow`, …).
        fields: Vec<(HeaderName, HeaderValue)>,
        /// Further members of the problem, where the answer is JSON (RFC 9457 §3.2).
        members: Members,
    },
    /// A redirection: an empty body.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// The new place.
        location: HeaderValue,
    },
    /// A fixed or computed body.
    Content {
        /// The status.
        status: StatusCode,
        /// The media type.
        content_type: HeaderValue,
        /// The body.
        body: Bytes,
        /// Further fields (`Cache-Control`, …).
        fields: Vec<(HeaderName, HeaderValue)>,
    },
}

/// Members that a problem has beyond the standard ones.
pub type Members = Vec<(&'static str, serde_json::Value)>;

/// An answer as it goes onto the wire, before the delivery policies.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The status.
    pub status: StatusCode,
    /// The fields, `Content-Length` among them unless the status forbids it.
    pub headers: HeaderMap,
    /// The body; the writer leaves it out for HEAD.
    pub body: Bytes,
}

impl Answer {
    /// A plain refusal.
    #[must_use]
    pub fn refuse(reason: Reason) -> Self {
        Self::Refusal {
            reason,
            retry_after: None,
            fields: Vec::new(),
            members: Members::new(),
        }
    }

    /// Phrases the answer. A refusal is `application/problem+json` (RFC 9457) where `accept` (RFC 9110 §12.5.1) wants JSON
    /// at least as much as a page, text where it wants text more than either, else HTML.
    #[must_use]
    pub fn render(&self, accept: Option<&str>, request_id: &str) -> Rendered {
        match self {
            Self::Refusal {
                reason,
                retry_after,
                fields,
                members,
            } => {
                let format = Format::negotiate(accept);
                let body = format.phrase(*reason, members, request_id);
                refusal(*reason, *retry_after, fields, format, body)
            }
            Self::Redirect { status, location } => Rendered {
                status: *status,
                headers: HeaderMap::from_iter([
                    (LOCATION, location.clone()),
                    (CONTENT_LENGTH, HeaderValue::from_static("0")),
                ]),
                body: Bytes::new(),
            },
            Self::Content {
                status,
                content_type,
                body,
                fields,
            } => content(*status, content_type, body, fields),
        }
    }

    /// Phrases the answer for a request of the gRPC family: a refusal becomes `grpc-status` and `grpc-message` in the head
    /// of a 200 (trailers-only); everything else is as [`Answer::render`] has it.
    #[must_use]
    pub fn render_grpc(&self, grpc: Grpc, request_id: &str) -> Rendered {
        match self {
            Self::Refusal {
                reason,
                retry_after,
                fields,
                ..
            } => grpc.refusal(*reason, refusal_fields(*reason, *retry_after, fields)),
            Self::Redirect { .. } | Self::Content { .. } => self.render(None, request_id),
        }
    }
}

fn refusal(
    reason: Reason,
    retry_after: Option<Duration>,
    fields: &[(HeaderName, HeaderValue)],
    format: Format,
    body: String,
) -> Rendered {
    let body = Bytes::from(body);
    let mut headers = refusal_fields(reason, retry_after, fields);
    headers.insert(CONTENT_TYPE, format.content_type());
    if format == Format::Html {
        // Nothing on the page can run or load, should anything ever slip through the escaping.
        headers
            .entry(CONTENT_SECURITY_POLICY)
            .or_insert(const { HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'") });
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Rendered {
        status: reason.status(),
        headers,
        body,
    }
}

/// The fields of a refusal that do not depend on its form. What the caller says wins over what we would say.
fn refusal_fields(reason: Reason, retry_after: Option<Duration>, fields: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8 + fields.len());
    for (name, value) in fields {
        headers.append(name, value.clone());
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(const { HeaderValue::from_static("no-store") });
    if reason == Reason::MethodNotAllowed {
        // RFC 9110 §15.5.6 demands the field; what the gateway refuses whatever the route are TRACE and CONNECT.
        headers
            .entry(ALLOW)
            .or_insert(const { HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") });
    }
    if let Some(delay) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    headers
}

fn content(
    status: StatusCode,
    content_type: &HeaderValue,
    body: &Bytes,
    fields: &[(HeaderName, HeaderValue)],
) -> Rendered {
    let mut headers = HeaderMap::with_capacity(2 + fields.len());
    for (name, value) in fields {
        headers.append(name, value.clone());
    }
    // RFC 9110 §8.6: a 204 has no Content-Length; that of a 304 would be the 200's, which is not known here.
    let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        headers.remove(CONTENT_LENGTH);
        return Rendered {
            status,
            headers,
            body: Bytes::new(),
        };
    }
    // RFC 9110 §15.3.6: a 205 has no content, and says so.
    let body = if status == StatusCode::RESET_CONTENT {
        Bytes::new()
    } else {
        headers.insert(CONTENT_TYPE, content_type.clone());
        body.clone()
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Rendered { status, headers, body }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3): rounded up, for coming back early is refused again; at least 1.
fn whole_seconds(delay: Duration) -> u64 {
    delay
        .as_secs()
        .saturating_add(u64::from(delay.subsec_nanos() > 0))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

    fn header<'a>(rendered: &'a Rendered, name: &str) -> Option<&'a str> {
        let mut lines = rendered.headers.get_all(name).iter();
        let line = lines.next().map(|value| value.to_str().unwrap());
        assert!(lines.next().is_none(), "{name} has one line");
        line
    }

    fn content_answer(status: u16, fields: Vec<(HeaderName, HeaderValue)>) -> Answer {
        Answer::Content {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: HeaderValue::from_static("text/plain"),
            body: Bytes::from_static(b"healthy\n"),
            fields,
        }
    }

    #[test]
    fn every_refusal_is_complete_in_every_format() {
        for reason in Reason::ALL {
            for (accept, content_type) in [
                ("application/json", "application/problem+json"),
                ("text/html", "text/html; charset=utf-8"),
                ("text/plain", "text/plain; charset=utf-8"),
            ] {
                let rendered = Answer::refuse(reason).render(Some(accept), "id-1");
                assert_eq!(rendered.status, reason.status());
                assert_eq!(header(&rendered, "content-type"), Some(content_type));
                assert_eq!(header(&rendered, "cache-control"), Some("no-store"));
                assert_eq!(
                    header(&rendered, "content-length"),
                    Some(rendered.body.len().to_string().as_str())
                );
                assert_eq!(header(&rendered, "retry-after"), None);
                assert_eq!(header(&rendered, "server"), None);
                assert_eq!(
                    header(&rendered, "allow").is_some(),
                    reason.status() == StatusCode::METHOD_NOT_ALLOWED
                );
                let body = std::str::from_utf8(&rendered.body).unwrap();
                for part in [reason.status().as_str(), "id-1", reason.title(), reason.detail()] {
                    assert!(body.contains(part), "{part:?} in {body}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_carries_the_fields_of_whoever_refuses() {
        let answer = Answer::Refusal {
            reason: Reason::MethodNotAllowed,
            retry_after: Some(Duration::from_millis(1500)),
            fields: vec![
                (ALLOW, HeaderValue::from_static("GET, HEAD")),
                (CACHE_CONTROL, HeaderValue::from_static("private")),
                (CONTENT_LENGTH, HeaderValue::from_static("7")),
            ],
            members: Members::new(),
        };
        let rendered = answer.render(None, "");
        assert_eq!(header(&rendered, "allow"), Some("GET, HEAD"));
        assert_eq!(header(&rendered, "cache-control"), Some("private"));
        assert_eq!(header(&rendered, "retry-after"), Some("2"));
        assert_eq!(
            header(&rendered, "content-length"),
            Some(rendered.body.len().to_string().as_str())
        );
    }

    #[test]
    fn retry_after_is_rounded_up() {
        for (delay, expected) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(1), 1),
            (Duration::from_millis(1001), 2),
            (Duration::from_secs(60), 60),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(whole_seconds(delay), expected, "{delay:?}");
        }
    }

    #[test]
    fn redirects_and_contents_are_as_given() {
        let redirect = Answer::Redirect {
            status: StatusCode::PERMANENT_REDIRECT,
            location: HeaderValue::from_static("https://deals247.online/"),
        };
        let rendered = redirect.render(Some(BROWSER), "id-1");
        assert_eq!(rendered.status, 308);
        assert_eq!(header(&rendered, "location"), Some("https://deals247.online/"));
        assert_eq!(header(&rendered, "content-length"), Some("0"));
        assert_eq!(rendered.headers.len(), 2);
        assert!(rendered.body.is_empty());

        let extra = vec![(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        let rendered = content_answer(200, extra).render(Some("application/json"), "id-1");
        assert_eq!(rendered.status, 200);
        assert_eq!(header(&rendered, "content-type"), Some("text/plain"));
        assert_eq!(header(&rendered, "cache-control"), Some("no-cache"));
        assert_eq!(header(&rendered, "content-length"), Some("8"));
        assert_eq!(rendered.body, "healthy\n");
    }

    #[test]
    fn some_statuses_have_no_content() {
        for (status, length) in [(204, None), (304, None), (205, Some("0"))] {
            let fields = vec![(CONTENT_LENGTH, HeaderValue::from_static("8"))];
            let rendered = content_answer(status, fields).render(None, "");
            assert!(rendered.body.is_empty(), "{status}");
            assert_eq!(header(&rendered, "content-length"), length, "{status}");
            assert_eq!(header(&rendered, "content-type"), None, "{status}");
        }
    }

    proptest! {
        #[test]
        fn a_request_id_stays_data(id in any::<String>()) {
            let answer = Answer::refuse(Reason::NotFound);
            let json: serde_json::Value =
                serde_json::from_slice(&answer.render(None, &id).body).expect("valid JSON");
            prop_assert_eq!(json["request_id"].as_str(), Some(id.as_str()));

            let empty = answer.render(Some(BROWSER), "").body;
            let page = answer.render(Some(BROWSER), &id).body;
            let markup = |page: &[u8]| page.iter().filter(|byte| matches!(byte, b'<' | b'>' | b'"' | b'\'')).count();
            prop_assert_eq!(markup(&page), markup(&empty));
        }
    }
}
