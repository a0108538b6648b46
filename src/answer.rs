//! Answers of the gateway's own: refused in one typed word, phrased for the world in one place.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Why the gateway answers by itself. The word is in the access log and the metrics; its text is what the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 400: the head or the framing breaks a rule of RFC 9110 or 9112.
    BadRequest,
    /// 400: the path cannot be normalised safely.
    BadPath,
    /// 403: the client's address is not on the route's list.
    AddressNotAllowed,
    /// 404: no route takes the request, or no such file.
    NotFound,
    /// 405: TRACE, CONNECT, or a method that what answers cannot serve.
    MethodNotAllowed,
    /// 408: the head or the body did not arrive in time.
    RequestTimeout,
    /// 413: the body is larger than the route admits.
    BodyTooLarge,
    /// 414: the request target is too long.
    UriTooLong,
    /// 417: an expectation other than 100-continue.
    ExpectationFailed,
    /// 431: the head is too large or has too many fields.
    HeadTooLarge,
    /// 500: a fault of the gateway.
    Internal,
    /// 501: a transfer coding that is not `chunked`.
    NotImplemented,
    /// 502: the upstream refused, broke off, or answered nonsense.
    BadGateway,
    /// 503: no server of the upstream can take the request.
    NoServer,
    /// 503: the gateway has too many connections.
    Overloaded,
    /// 504: the upstream did not answer in time.
    GatewayTimeout,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    VersionNotSupported,
}

impl Reason {
    /// The status code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        unimplemented!()
    }

    /// The word for logs and metrics, e.g. `no_server`.
    #[must_use]
    pub fn word(self) -> &'static str {
        unimplemented!()
    }
}

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
        }
    }

    /// Phrases the answer: `application/problem+json` (RFC 9457), HTML or text by `Accept` (RFC 9110 §12.5.1).
    #[must_use]
    pub fn render(&self, _accept: Option<&str>, _request_id: &str) -> Rendered {
        unimplemented!()
    }
}
