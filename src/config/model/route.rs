//! `[[route]]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::{LimitUse, RouteAuth};
pub use crate::balance::Priority;
use crate::cache;
use crate::policy::{AllowList, Compression, Cors, HeaderPolicy, Maintenance, Redirect, Rewrite};
use crate::route::Matcher;

/// `[[route]]`, with the defaults filled in.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name: in logs and metrics.
    pub name: Arc<str>,
    /// What it asks of a request.
    pub matcher: Matcher,
    /// What it does.
    pub action: Action,
    /// Whether it is closed.
    pub maintenance: Option<Maintenance>,
    /// Who may use it; `None`: everyone.
    pub allow: Option<AllowList>,
    /// Who may use it, and with what: indices into [`Config::accesses`](super::Config::accesses), none of them twice.
    pub access: Vec<usize>,
    /// Response header fields.
    pub headers: Option<Arc<HeaderPolicy>>,
    /// Who may call it from other sites; `None`: nothing is said about it.
    pub cors: Option<Arc<Cors>>,
    /// Who may use it; `None`: everybody.
    pub auth: Option<Arc<RouteAuth>>,
    /// What is kept of answers; `None`: nothing.
    pub cache: Option<Arc<cache::Policy>>,
    /// Content coding of answers.
    pub compress: Option<Arc<Compression>>,
    /// Whether requests are written to the access log.
    pub access_log: bool,
    /// Largest request body, bytes.
    pub max_body: u64,
    /// The limits that a request is counted by, none of them twice.
    pub rate_limits: Vec<LimitUse>,
    /// How fast bodies flow: indices into [`Config::bandwidths`](super::Config::bandwidths), none of them twice.
    pub bandwidths: Vec<usize>,
    /// How many requests it works on at a time; `None`: any number.
    pub concurrency: Option<Concurrency>,
    /// Who goes first where the gateway cannot serve everybody.
    pub priority: Priority,
}

/// `concurrency = { … }`: of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Requests at a time, at least 1.
    pub limit: usize,
    /// Requests that may wait for one of these; 0: none.
    pub queue: usize,
    /// The longest that a request waits.
    pub wait: Duration,
}

/// What a route does with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sends it to an upstream.
    Proxy {
        /// Index into [`Config::upstreams`](super::Config::upstreams).
        upstream: usize,
        /// The path that the upstream sees.
        rewrite: Option<Rewrite>,
    },
    /// Answers with a fixed body.
    Respond(Respond),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Serves files.
    Files(Files),
    /// Serves the metrics.
    Metrics,
    /// Serves the health endpoints.
    Health,
}

/// `respond = { … }`
#[derive(Debug, Clone)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: HeaderValue,
    /// The body.
    pub body: Bytes,
    /// Further fields.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

/// `files = { … }`
#[derive(Debug, Clone)]
pub struct Files {
    /// The directory, absolute.
    pub root: PathBuf,
    /// What a directory answers with.
    pub index: Box<str>,
    /// What a path without an extension answers with where there is no such file, relative to the root.
    pub spa_fallback: Option<Box<str>>,
    /// The path that is looked for below the root.
    pub rewrite: Option<Rewrite>,
}
