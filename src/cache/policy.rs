//! What the operator says about caching: `[cache.NAME]`, as meant.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::key::KeyRules;

/// The longest that an answer is stale at a stretch where the application cannot be reached at all, and nobody said how
/// long it may be (RFC 9111 §4.2.4 allows it).
pub const DISCONNECTED: Duration = Duration::from_secs(60);

/// `[cache.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name: in metrics, and the store that its answers share.
    pub name: Arc<str>,
    /// How long answers are fresh, whatever the application says.
    pub ttl: Option<Duration>,
    /// How long answers are fresh where the application says nothing.
    pub default_ttl: Option<Duration>,
    /// How long 404 and 410 are fresh where the application says nothing.
    pub negative_ttl: Option<Duration>,
    /// The longest that an answer is fresh by a guess from `Last-Modified` (RFC 9111 §4.2.2); zero: never.
    pub heuristic: Duration,
    /// How long beyond its time an answer is used while a new one is fetched.
    pub stale_while_revalidate: Duration,
    /// How long beyond its time an answer is used while the application fails; `None`: nobody said.
    pub stale_if_error: Option<Duration>,
    /// The `Cache-Control` of answers of status 2xx to clients.
    pub browser: Option<HeaderValue>,
    /// Requests that the cache neither answers nor keeps.
    pub bypass: Vec<Part>,
    /// Which parts of a request tell answers apart.
    pub key: KeyRules,
    /// The request fields that answers vary by, whatever the application says; `None`: what it says.
    pub vary: Option<Vec<HeaderName>>,
    /// Whether `Set-Cookie` is taken out of answers, so that they can be kept.
    pub strip_cookies: bool,
    /// The statuses that are kept; `None`: those of RFC 9111, and for `ttl` and `default_ttl` those of [`USUAL`].
    pub statuses: Option<Vec<StatusCode>>,
    /// Whether HEAD is answered from the cache too, beside GET.
    pub head: bool,
    /// The largest body that is kept, bytes.
    pub max_object: u64,
    /// How often an answer is asked for before it is kept, at least 1.
    pub min_uses: u32,
    /// The fields of answers that name their tags.
    pub tags: Vec<HeaderName>,
    /// How long an answer is kept for the time after the application has forgotten it.
    pub keep: Option<Duration>,
    /// Whether the `Cache-Control` of requests counts.
    pub client_control: bool,
    /// Whether the route answers PURGE.
    pub purge: bool,
    /// The memory that answers may take, bytes.
    pub size: u64,
    /// Where answers are kept that outlive the process.
    pub disk: Option<Disk>,
    /// What of the answers gateways share.
    pub redis: Option<Shared>,
}

/// `disk = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A directory of its own.
    pub path: std::path::PathBuf,
    /// The most that its files take together, bytes.
    pub size: u64,
}

/// `redis = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The largest body that is shared, bytes.
    pub max_object: u64,
}

/// A part of a request that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A header field.
    Header(HeaderName),
    /// A query parameter.
    Query(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// Any cookie.
    AnyCookie,
}

/// The statuses that `ttl` and `default_ttl` are for: an error that lasted a moment must not last a year.
pub const USUAL: [StatusCode; 6] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::NO_CONTENT,
    StatusCode::MULTIPLE_CHOICES,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
];

impl Policy {
    /// A policy that leaves everything to the application.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            ttl: None,
            default_ttl: None,
            negative_ttl: None,
            heuristic: Duration::from_secs(3600),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: None,
            browser: None,
            bypass: Vec::new(),
            key: KeyRules::default(),
            vary: None,
            strip_cookies: false,
            statuses: None,
            head: true,
            max_object: 32 << 20,
            min_uses: 1,
            tags: Vec::new(),
            keep: None,
            client_control: true,
            purge: false,
            size: 256 << 20,
            disk: None,
            redis: None,
        }
    }

    /// The first part of a request because of which the cache stays out of it.
    #[must_use]
    pub fn bypassed(&self, query: Option<&str>, request: &HeaderMap) -> Option<&Part> {
        self.bypass.iter().find(|part| part.is_in(query, request))
    }

    /// The time that the operator gives an answer of this status, whatever the application says.
    pub(super) fn overruling(&self, status: StatusCode) -> Option<Duration> {
        self.ttl.filter(|_| self.takes_by_default(status))
    }

    /// The time that the operator gives an answer of this status about which the application says nothing.
    pub(super) fn fallback(&self, status: StatusCode) -> Option<Duration> {
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => self.negative_ttl,
            status => self.default_ttl.filter(|_| self.takes_by_default(status)),
        }
    }

    /// Whether answers of this status are kept at all.
    pub(super) fn keeps(&self, status: StatusCode) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.contains(&status))
    }

    fn takes_by_default(&self, status: StatusCode) -> bool {
        match &self.statuses {
            Some(statuses) => statuses.contains(&status),
            None => USUAL.contains(&status),
        }
    }
}

impl Part {
    /// Whether a request has it.
    #[must_use]
    pub fn is_in(&self, query: Option<&str>, request: &HeaderMap) -> bool {
        match self {
            Self::Header(name) => request.contains_key(name),
            Self::Query(name) => query.is_some_and(|query| super::key::has_parameter(query, name)),
            Self::AnyCookie => request.contains_key(http::header::COOKIE),
            Self::Cookie(name) => super::key::cookie(request, name).is_some(),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::AnyCookie => f.write_str("cookie:*"),
        }
    }
}
