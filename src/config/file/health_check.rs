//! `health_check` of `[upstream.NAME]`

use std::ops::RangeInclusive;

use ::http::Method;

use super::http::{RequestTarget, Status};
use super::net::Host;
use crate::config::list::OneOrMore;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Any, Fault, FromText, Written};
use crate::config::units::Timeout;
use crate::config::value::{Either, Integer};
use crate::config::words::words;

table! {
    /// Asks every server regularly whether it is well.
    pub struct HealthCheck {
        /// What is asked.
        default protocol: HealthProtocol = "\"http\"",
        /// What is asked for. With `http` only.
        optional path: Written<RequestTarget> => "`/`",
        /// The method of the probe. With `http` only.
        optional method: Written<Method> => "`GET`",
        /// The `Host` of the probe. With `http` and `grpc` only.
        optional host: Written<Host> => "the upstream's `host`, else the server's address",
        /// What means healthy: a status, a class such as `"2xx"`, or a list of these. With `http` only.
        optional status: OneOrMore<Either<Status, Written<StatusClass>>> => "any 2xx or 3xx",
        /// What the body must contain, within its first 64 KB. With `http` only.
        optional body: Written<Any> => "anything",
        /// The service that is asked for. With `grpc` only.
        optional service: Written<Any> => "the server as a whole",
        /// The port that is asked.
        optional port: Integer<1, 65535> => "the server's",
        /// Whether the probe goes over TLS.
        optional tls: bool => "as requests do",
        /// The time between two probes of a server.
        default interval: Written<Timeout> = "\"5s\"",
        /// The time between two probes of a server that gets no requests.
        optional unhealthy_interval: Written<Timeout> => "`interval`",
        /// A probe must be answered within this time.
        default timeout: Written<Timeout> = "\"2s\"",
        /// Failures in a row until a server gets no requests.
        default unhealthy_after: Integer<1, 100> = "3",
        /// Successes in a row until it gets requests again.
        default healthy_after: Integer<1, 100> = "2",
    }
}

words! {
    /// What a health check asks.
    pub enum HealthProtocol {
        /// A request over HTTP/1.1.
        Http = "http",
        /// Whether it takes a connection.
        Tcp = "tcp",
        /// The standard health service of gRPC, over HTTP/2.
        Grpc = "grpc",
    }
}

/// A class of statuses.
#[derive(Debug, Clone)]
pub(crate) struct StatusClass(pub(crate) RangeInclusive<u16>);

impl FromText for StatusClass {
    const KIND: Kind = Kind {
        what: "a class of statuses",
        pattern: Some("^[2-5]xx$"),
        example: "2xx",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let class = match text {
            "2xx" => 2,
            "3xx" => 3,
            "4xx" => 4,
            "5xx" => 5,
            _ => {
                let fault = Fault::new(format!("`{}` is not a class of statuses", clip(text)));
                return Err(if text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()) {
                    fault.help(format!("one status stands without quotes: `{text}`"))
                } else {
                    fault.help("write `\"2xx\"`, `\"3xx\"`, `\"4xx\"` or `\"5xx\"`")
                });
            }
        };
        Ok(Self(class * 100..=class * 100 + 99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        assert_eq!(StatusClass::from_text("3xx").map(|class| class.0), Ok(300..=399));
        for text in ["", "200", "1xx", "6xx", "2XX", "2x", "é"] {
            assert!(StatusClass::from_text(text).is_err(), "{text}");
        }
    }
}
