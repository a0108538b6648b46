//! What an upstream does when servers are slow, full or failing: keys of `[upstream.NAME]`.

use ::http::{Method, StatusCode};

use crate::config::list::Several;
use crate::config::model::HedgeAfter;
use crate::config::shape::Kind;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::{Percent, Timeout};
use crate::config::value::Integer;
use crate::config::words::words;

table! {
    /// What waits while every server has its `max_requests`. Beyond it the answer is 503.
    pub struct Queue {
        /// How many requests may wait; `0`: none.
        default size: Integer<0, 100_000> = "100",
        /// The longest that a request waits.
        default timeout: Written<Timeout> = "\"1s\"",
    }
}

table! {
    /// Leaves out servers that fail requests, for a while.
    pub struct Outlier {
        /// Failures in a row (no connection, no answer, 5xx) until a server is left out.
        default failures: Integer<1, 1000> = "5",
        /// Whether a server that succeeds far less often than the others is left out too.
        default success_rate: bool = "true",
        /// For how long, the first time; longer each time that it is not better afterwards.
        default base_time: Written<Timeout> = "\"30s\"",
        /// The share of servers that may be left out at a time.
        default max_ejected: Written<Percent> = "\"50%\"",
    }
}

table! {
    /// Tries again where it is safe.
    pub struct Retry {
        /// How many attempts one request gets, the first one included; `1` is no retry. Where a server refuses the connection
        /// (or closed the pooled one) and another one is left, that attempt does not count.
        default attempts: Integer<1, 10> = "2",
        /// After what another attempt is made, on another server where there is one. `connect` is safe for every request:
        /// nothing was sent yet. An answer with `Retry-After` is delivered as it is.
        default on: Several<RetryOn> = "[\"connect\", \"reset\", \"502\", \"503\", \"504\"]",
        /// The methods of requests that are tried again after anything else: those that do no harm when they are done twice.
        default methods: Several<Written<Method>> = "[\"GET\", \"HEAD\", \"OPTIONS\", \"PUT\", \"DELETE\"]",
        /// Until the head of the answer to one attempt is there.
        optional per_try_timeout: Written<Timeout> => "`first_byte_timeout`",
        /// The share of all requests that may be further attempts, so that retries do not pile onto a sick application.
        default budget: Written<Percent> = "\"20%\"",
        /// Further attempts a second that are allowed however few requests there are.
        default min_per_second: Integer<0, 1_000_000> = "10",
    }
}

words! {
    /// After what another attempt is made.
    pub enum RetryOn {
        /// The server refused the connection, or a pooled one was dead.
        Connect = "connect",
        /// The connection broke before the head of the answer, or what came is no answer.
        Reset = "reset",
        /// The server did not answer in time.
        Timeout = "timeout",
        /// Too many requests.
        TooManyRequests = "429",
        /// Internal server error.
        InternalServerError = "500",
        /// Bad gateway.
        BadGateway = "502",
        /// Service unavailable.
        ServiceUnavailable = "503",
        /// Gateway timeout.
        GatewayTimeout = "504",
    }
}

impl RetryOn {
    /// The status, where it is one.
    pub(crate) fn status(self) -> Option<StatusCode> {
        match self {
            Self::Connect | Self::Reset | Self::Timeout => None,
            Self::TooManyRequests => Some(StatusCode::TOO_MANY_REQUESTS),
            Self::InternalServerError => Some(StatusCode::INTERNAL_SERVER_ERROR),
            Self::BadGateway => Some(StatusCode::BAD_GATEWAY),
            Self::ServiceUnavailable => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::GatewayTimeout => Some(StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

/// When a second server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay(pub(crate) HedgeAfter);

impl FromText for Delay {
    const KIND: Kind = Kind {
        what: "a duration above zero, or `p95`",
        pattern: Some("^([0-9]+(ms|s|min|h|d|w|y)|p95)$"),
        example: "250ms",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "p95" => Ok(Self(HedgeAfter::P95)),
            text => Timeout::from_text(text).map(|timeout| Self(HedgeAfter::Fixed(timeout.0))),
        }
    }
}

table! {
    /// Asks a second server when the first one is slow, takes the answer that begins first and gives up the other. For `GET`,
    /// `HEAD` and `OPTIONS` without a body only. Interim answers (103) do not pass.
    pub struct Hedge {
        /// When the second one is asked: a time, or `p95`: when the answer takes longer than 95 of 100 of the last minute
        /// did (not before a hundred are known).
        required after: Written<Delay>,
        /// The share of all requests that may be asked twice.
        default budget: Written<Percent> = "\"2%\"",
    }
}

table! {
    /// Leaves the upstream alone for a while when too much of what it is asked fails. Answered with 503 meanwhile; then a few
    /// requests try whether it is better.
    pub struct Breaker {
        /// The share of the requests of the last ten seconds that fail.
        default failures: Written<Percent> = "\"50%\"",
        /// Fewer requests within ten seconds say nothing.
        default min_requests: Integer<1, 1_000_000> = "20",
        /// For how long it is left alone.
        default open: Written<Timeout> = "\"5s\"",
    }
}
