//! How a refusal reads to a gRPC client: trailers without a message, in one head.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Reason, Rendered};

/// The protocols of the gRPC family, as a request's `Content-Type` tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grpc {
    /// gRPC itself.
    Native,
    /// gRPC-Web.
    Web,
    /// gRPC-Web in base 64.
    WebText,
}

impl Grpc {
    /// Which one a `Content-Type` names: `application/grpc`, then nothing, a message format (`+proto`) or parameters.
    #[must_use]
    pub fn of(content_type: Option<&HeaderValue>) -> Option<Self> {
        const PREFIX: &[u8] = b"application/grpc";
        let (start, rest) = content_type?.as_bytes().split_at_checked(PREFIX.len())?;
        if !start.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        let end = rest.iter().position(|byte| matches!(byte, b'+' | b';' | b' ' | b'\t'));
        match &rest[..end.unwrap_or(rest.len())] {
            [] => Some(Self::Native),
            web if web.eq_ignore_ascii_case(b"-web") => Some(Self::Web),
            text if text.eq_ignore_ascii_case(b"-web-text") => Some(Self::WebText),
            _ => None,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Native => "application/grpc",
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text+proto",
        })
    }

    /// A refusal: 200, for the status of the call is its own, and fields in place of the trailers that follow no message.
    pub(super) fn refusal(self, reason: Reason, mut headers: HeaderMap) -> Rendered {
        headers.insert(CONTENT_TYPE, self.content_type());
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert("grpc-status", HeaderValue::from(status(reason)));
        if let Ok(message) = HeaderValue::try_from(percent_encoded(reason.detail())) {
            headers.insert("grpc-message", message);
        }
        Rendered {
            status: StatusCode::OK,
            headers,
            body: Bytes::new(),
        }
    }
}

/// The status of the call: what the status code means by gRPC's own table, but finer where we know more than the code.
fn status(reason: Reason) -> u16 {
    const UNKNOWN: u16 = 2;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match reason.status().as_u16() {
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 414 | 431 => RESOURCE_EXHAUSTED,
        400 | 500 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 | 501 => UNIMPLEMENTED,
        429 | 502 | 503 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// Everything but visible ASCII and the space, and the percent sign itself, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::answer::Answer;

    #[test]
    fn who_speaks_grpc() {
        use Grpc::{Native, Web, WebText};
        let table = [
            ("application/grpc", Some(Native)),
            ("application/grpc+proto", Some(Native)),
            ("Application/gRPC;charset=utf-8", Some(Native)),
            ("application/grpc ; a=b", Some(Native)),
            ("application/grpc-web", Some(Web)),
            ("application/grpc-web+proto", Some(Web)),
            ("application/grpc-web-text+proto", Some(WebText)),
            ("application/grpcish", None),
            ("application/grpc-other", None),
            ("application/grp", None),
            ("application/json", None),
            ("", None),
        ];
        for (content_type, expected) in table {
            let value = HeaderValue::from_static(content_type);
            assert_eq!(Grpc::of(Some(&value)), expected, "{content_type}");
        }
        assert_eq!(Grpc::of(None), None);
        assert_eq!(
            Grpc::of(Some(&HeaderValue::from_bytes(b"application/grpc\xff").unwrap())),
            None
        );
    }

    #[test]
    fn every_refusal_has_its_status() {
        let table = [
            (Reason::BadRequest, 13),
            (Reason::Unauthenticated, 16),
            (Reason::AddressNotAllowed, 7),
            (Reason::NotPermitted, 7),
            (Reason::NotFound, 12),
            (Reason::MethodNotAllowed, 12),
            (Reason::RequestTimeout, 4),
            (Reason::BodyTooLarge, 8),
            (Reason::HeadTooLarge, 8),
            (Reason::ExpectationFailed, 2),
            (Reason::Internal, 13),
            (Reason::BadGateway, 14),
            (Reason::NoServer, 14),
            (Reason::AuthUnavailable, 14),
            (Reason::Overloaded, 14),
            (Reason::GatewayTimeout, 4),
        ];
        for (reason, expected) in table {
            assert_eq!(status(reason), expected, "{reason:?}");
        }
        for reason in Reason::ALL {
            assert!((1..=16).contains(&status(reason)), "{reason:?} is never a success");
        }
    }

    #[test]
    fn a_refusal_is_trailers_only() {
        let answer = Answer::Refusal {
            reason: Reason::NoServer,
            retry_after: Some(std::time::Duration::from_secs(5)),
            fields: vec![(CONTENT_TYPE, HeaderValue::from_static("text/html"))],
            members: Vec::new(),
        };
        let rendered = answer.render_grpc(Grpc::Native, "id-1");
        assert_eq!(rendered.status, 200);
        assert!(rendered.body.is_empty());
        let field = |name| rendered.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field("content-type"), Some("application/grpc"));
        assert_eq!(field("content-length"), Some("0"));
        assert_eq!(field("grpc-status"), Some("14"));
        assert_eq!(field("grpc-message"), Some(Reason::NoServer.detail()));
        assert_eq!(field("retry-after"), Some("5"));
        assert_eq!(field("content-security-policy"), None);
    }

    #[test]
    fn what_is_no_refusal_stays_as_it_is() {
        let content = Answer::Content {
            status: StatusCode::ACCEPTED,
            content_type: HeaderValue::from_static("text/plain"),
            body: Bytes::from_static(b"fine"),
            fields: Vec::new(),
        };
        let rendered = content.render_grpc(Grpc::Web, "id-1");
        assert_eq!((rendered.status.as_u16(), &rendered.body[..]), (202, &b"fine"[..]));
    }

    proptest! {
        #[test]
        fn a_message_survives_its_encoding(text in any::<String>()) {
            let encoded = percent_encoded(&text);
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let mut decoded = Vec::new();
            let mut rest = encoded.as_bytes();
            while let Some((&byte, tail)) = rest.split_first() {
                if byte == b'%' {
                    let hex = std::str::from_utf8(&tail[..2]).unwrap();
                    decoded.push(u8::from_str_radix(hex, 16).unwrap());
                    rest = &tail[2..];
                } else {
                    decoded.push(byte);
                    rest = tail;
                }
            }
            prop_assert_eq!(decoded, text.into_bytes());
        }
    }
}
