//! Why the gateway answers by itself: one word, one status, one sentence.

use http::StatusCode;

/// Why the gateway answers by itself. The word is in the access log and the metrics; its text is what the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 400: the head or the framing breaks a rule of RFC 9110 or 9112.
    BadRequest,
    /// 400: the path cannot be normalised safely.
    BadPath,
    /// 401: it is not known who asks, or the credential is not good.
    Unauthenticated,
    /// 403: the client's address is not on the route's list.
    AddressNotAllowed,
    /// 403: the client's country may not use the route.
    CountryNotAllowed,
    /// 403: the client's program may not use the route.
    AgentNotAllowed,
    /// 403: it is known who asks, and that one may not.
    NotPermitted,
    /// 404: no route takes the request, or no such file.
    NotFound,
    /// 404: what only scanners ask for.
    ScannerPath,
    /// 405: TRACE, CONNECT, or a method that what answers cannot serve.
    MethodNotAllowed,
    /// 408: the head or the body did not arrive in time.
    RequestTimeout,
    /// 412: what the request wants to change is not what it thought.
    PreconditionFailed,
    /// 413: the body is larger than the route admits.
    BodyTooLarge,
    /// 414: the request target is too long.
    UriTooLong,
    /// 415: the route takes no body of this media type.
    UnsupportedMediaType,
    /// 416: the range begins behind the end.
    RangeNotSatisfiable,
    /// 417: an expectation other than 100-continue.
    ExpectationFailed,
    /// 421: the host asks its clients for certificates, and the connection was made for another.
    MisdirectedRequest,
    /// 429: somebody asks more often than a limit admits.
    RateLimited,
    /// 429: limits refused the client so often that everything it asks is refused for a while.
    Banned,
    /// 429: the client sent too many credentials that are not good.
    TooManyFailures,
    /// 431: the head is too large or has too many fields.
    HeadTooLarge,
    /// 500: a fault of the gateway.
    Internal,
    /// 501: a transfer coding that is not `chunked`.
    NotImplemented,
    /// 502: the upstream refused, broke off, or answered nonsense.
    BadGateway,
    /// 503: the route is closed for a while.
    Maintenance,
    /// 503: no server of the upstream can take the request.
    NoServer,
    /// 503: it cannot be checked now who asks.
    AuthUnavailable,
    /// 503: the gateway has too many connections.
    Overloaded,
    /// 503: the route or the upstream has as many requests as it takes, and the wait was too long.
    Busy,
    /// 504: the upstream did not answer in time.
    GatewayTimeout,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    VersionNotSupported,
}

impl Reason {
    /// All of them, in the order of their status codes.
    pub const ALL: [Self; 32] = [
        Self::BadRequest,
        Self::BadPath,
        Self::Unauthenticated,
        Self::AddressNotAllowed,
        Self::CountryNotAllowed,
        Self::AgentNotAllowed,
        Self::NotPermitted,
        Self::NotFound,
        Self::ScannerPath,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::ExpectationFailed,
        Self::MisdirectedRequest,
        Self::RateLimited,
        Self::Banned,
        Self::TooManyFailures,
        Self::HeadTooLarge,
        Self::Internal,
        Self::NotImplemented,
        Self::BadGateway,
        Self::Maintenance,
        Self::NoServer,
        Self::AuthUnavailable,
        Self::Overloaded,
        Self::Busy,
        Self::GatewayTimeout,
        Self::VersionNotSupported,
    ];

    /// The status code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.facts().0
    }

    /// The word for logs and metrics, e.g. `no_server`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.facts().1
    }

    /// The reason phrase of the status code (RFC 9110 §15), as RFC 9457 §4.2.1 wants it for `about:blank`.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.facts().2
    }

    /// One sentence for the client. It is fixed: nothing about the inside can get into it.
    #[must_use]
    pub fn detail(self) -> &'static str {
        self.facts().3
    }

    /// The problem type (RFC 9457 §3.1.1): a registered one where there is one, else the status code says it all.
    #[must_use]
    pub fn problem_type(self) -> &'static str {
        match self {
            // draft-ietf-httpapi-ratelimit-headers-10, section 6.1.
            Self::RateLimited => "https://iana.org/assignments/http-problem-types#quota-exceeded",
            Self::Banned => "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
            _ => "about:blank",
        }
    }

    fn facts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "Bad Request",
                "The request is not valid HTTP.",
            ),
            Self::BadPath => (
                StatusCode::BAD_REQUEST,
                "bad_path",
                "Bad Request",
                "The path of the request is not valid.",
            ),
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Unauthorized",
                "This resource is for known users only: the request says not, or not credibly, whose it is.",
            ),
            Self::NotPermitted => (
                StatusCode::FORBIDDEN,
                "not_permitted",
                "Forbidden",
                "This resource is not for you.",
            ),
            Self::AddressNotAllowed => (
                StatusCode::FORBIDDEN,
                "address_not_allowed",
                "Forbidden",
                "This resource is not available from your address.",
            ),
            Self::CountryNotAllowed => (
                StatusCode::FORBIDDEN,
                "country_not_allowed",
                "Forbidden",
                "This resource is not available in your country.",
            ),
            Self::AgentNotAllowed => (
                StatusCode::FORBIDDEN,
                "agent_not_allowed",
                "Forbidden",
                "This resource is not for this kind of program.",
            ),
            Self::ScannerPath => (
                StatusCode::NOT_FOUND,
                "scanner_path",
                "Not Found",
                "There is nothing at this address.",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported Media Type",
                "This resource does not take a body of this media type.",
            ),
            Self::Maintenance => (
                StatusCode::SERVICE_UNAVAILABLE,
                "maintenance",
                "Service Unavailable",
                "This part of the site is closed for maintenance. Please try again later.",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "Not Found",
                "There is nothing at this address.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method Not Allowed",
                "This resource does not support the method of the request.",
            ),
            Self::RequestTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "Request Timeout",
                "The request did not arrive in time.",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "Precondition Failed",
                "The resource is not in the state that the request expects.",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "Content Too Large",
                "The body of the request is larger than this resource accepts.",
            ),
            Self::UriTooLong => (
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                "URI Too Long",
                "The address of the request is too long.",
            ),
            Self::RangeNotSatisfiable => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                "Range Not Satisfiable",
                "The range begins behind the end of the resource.",
            ),
            Self::ExpectationFailed => (
                StatusCode::EXPECTATION_FAILED,
                "expectation_failed",
                "Expectation Failed",
                "The expectation of the request cannot be met.",
            ),
            Self::Banned => (
                StatusCode::TOO_MANY_REQUESTS,
                "banned",
                "Too Many Requests",
                "There were too many requests from your address in spite of refusals. It is turned away for a while.",
            ),
            Self::MisdirectedRequest => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected_request",
                "Misdirected Request",
                "This host needs a connection of its own.",
            ),
            Self::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too Many Requests",
                "There were too many requests. Please try again later.",
            ),
            Self::TooManyFailures => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failures",
                "Too Many Requests",
                "There were too many wrong passwords or keys from your address. Please try again later.",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "Request Header Fields Too Large",
                "The header fields of the request are too large or too many.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal Server Error",
                "Something went wrong on our side.",
            ),
            Self::NotImplemented => (
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "Not Implemented",
                "The transfer coding of the request is not supported.",
            ),
            Self::BadGateway => (
                StatusCode::BAD_GATEWAY,
                "bad_gateway",
                "Bad Gateway",
                "The service behind this site did not give a valid answer.",
            ),
            Self::NoServer => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_server",
                "Service Unavailable",
                "The service behind this site is not available at the moment.",
            ),
            Self::AuthUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "auth_unavailable",
                "Service Unavailable",
                "It cannot be checked at the moment whose request this is.",
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Service Unavailable",
                "There are too many requests at the moment.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Service Unavailable",
                "This part of the site has as many requests as it can take at the moment.",
            ),
            Self::GatewayTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "gateway_timeout",
                "Gateway Timeout",
                "The service behind this site did not answer in time.",
            ),
            Self::VersionNotSupported => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "version_not_supported",
                "HTTP Version Not Supported",
                "The HTTP version of the request is not supported.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart_and_in_order() {
        for pair in Reason::ALL.windows(2) {
            assert!(pair[0].status() <= pair[1].status(), "{pair:?}");
        }
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert!(reason.status().is_client_error() || reason.status().is_server_error());
            assert!(
                reason
                    .word()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            for other in &Reason::ALL[index + 1..] {
                assert_ne!(reason.word(), other.word());
            }
        }
    }

    #[test]
    fn texts_need_no_escaping() {
        for reason in Reason::ALL {
            for text in [reason.title(), reason.detail()] {
                assert!(
                    !text.contains(['<', '>', '&', '"', '\'', '\\']) && text.is_ascii(),
                    "{text}"
                );
            }
        }
    }
}
