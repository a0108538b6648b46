//! What an upstream does when servers are slow, full or failing.

use std::time::Duration;

use http::{Method, StatusCode};

/// `queue = { … }`: what waits while every server has its `max_requests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait; 0: none.
    pub size: usize,
    /// The longest that a request waits.
    pub timeout: Duration,
}

/// `outlier = { … }`: servers that fail requests are left out for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Failures in a row (no connection, no answer, 5xx) until a server is ejected.
    pub failures: u32,
    /// Whether a server that succeeds far less often than the others is ejected too.
    pub success_rate: bool,
    /// How long the first time; each further time in a row longer.
    pub base_time: Duration,
    /// The share of servers that may be out at a time, above 0.
    pub max_ejected: f64,
}

/// `retry = { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts of one request, the first one included; at least 1.
    pub attempts: u32,
    /// After what.
    pub on: RetryOn,
    /// Requests of these methods are tried again after anything in `on`. Where nothing was sent yet (`on.connect`), every
    /// request is.
    pub methods: Vec<Method>,
    /// The head of the answer to one attempt must come within this time; `None`: `first_byte` of the timeouts.
    pub per_try_timeout: Option<Duration>,
    /// The share of requests that may be further attempts.
    pub budget: f64,
    /// Further attempts a second that are allowed however few requests there are.
    pub min_per_second: u32,
}

/// After what another attempt is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// The server refused the connection, or a pooled one was dead.
    pub connect: bool,
    /// The connection broke before the head of the answer.
    pub reset: bool,
    /// The server did not answer in time.
    pub timeout: bool,
    /// The answer's status.
    pub statuses: Vec<StatusCode>,
}

/// `hedge = { … }`: a second attempt while the first one still waits; the first answer counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedge {
    /// When the second attempt is made.
    pub after: HedgeAfter,
    /// The share of requests that may have one.
    pub budget: f64,
}

/// When a second server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// After this time.
    Fixed(Duration),
    /// When the answer takes longer than 95 of 100 do.
    P95,
}

/// `breaker = { … }`: an upstream that fails too often is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaker {
    /// The share of failures that opens it, above 0.
    pub failures: f64,
    /// Fewer requests within ten seconds say nothing.
    pub min_requests: u32,
    /// How long it stays open.
    pub open: Duration,
}
