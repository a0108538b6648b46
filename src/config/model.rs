//! The file as meant: names resolved, defaults filled, values checked. What the runtime compiles.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::client::TrustedProxies;
use crate::observe::access_log;
use crate::policy::{AllowList, Compression, HeaderPolicy, Redirect, Rewrite};
use crate::route::Matcher;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listeners and their limits.
    pub server: Server,
    /// The admin listener.
    pub admin: Admin,
    /// The gateway's own log.
    pub log: Log,
    /// The access log; `None`: switched off for everything.
    pub access_log: Option<AccessLog>,
    /// Upstreams, in file order.
    pub upstreams: Vec<Upstream>,
    /// Routes, in file order.
    pub routes: Vec<Route>,
    /// The headers policy of answers that no route gives (no route matched, the head was refused).
    pub default_headers: Option<Arc<HeaderPolicy>>,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where clients connect, in clear text.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub threads: usize,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// Largest request body, bytes, where a route says nothing.
    pub max_body: u64,
    /// Limits of a request head.
    pub head: HeadLimits,
    /// Most connections at a time, all listeners together.
    pub max_connections: usize,
    /// Most connections of one client address (IPv6: /64) at a time; trusted proxies are not counted.
    pub max_connections_per_client: usize,
    /// A head must be complete within this time.
    pub header_timeout: Duration,
    /// A request body must make progress within this time.
    pub body_timeout: Duration,
    /// A client must take a part of an answer within this time.
    pub write_timeout: Duration,
    /// An idle connection is closed after this time.
    pub keepalive_timeout: Duration,
    /// Requests on one connection before it is closed.
    pub keepalive_requests: u32,
    /// How long a graceful stop waits for requests in flight.
    pub shutdown_timeout: Duration,
}

/// Limits of a request head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// The whole head, bytes.
    pub size: usize,
    /// Field lines.
    pub fields: usize,
    /// The request target, bytes.
    pub uri: usize,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the admin listener is; `None`: switched off.
    pub listen: Option<SocketAddr>,
}

/// `[log]`: the gateway's own log, on standard error.
#[derive(Debug, Clone)]
pub struct Log {
    /// A filter in the syntax of `tracing_subscriber::EnvFilter`, e.g. `info`.
    pub level: String,
    /// One JSON object a line, or text for people.
    pub json: bool,
}

/// `[access_log]`
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// What a line looks like.
    pub format: access_log::Format,
    /// What is masked in every line.
    pub redact: access_log::Redaction,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// `[upstream.NAME]`
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers, in file order; never empty.
    pub servers: Vec<Address>,
    /// The `Host` it is sent; `None`: the client's.
    pub host: Option<HeaderValue>,
    /// The active health check.
    pub health_check: Option<HealthCheck>,
    /// Limits of one attempt.
    pub timeouts: UpstreamTimeouts,
    /// How often names are resolved again.
    pub resolve_interval: Duration,
    /// How many attempts one request may make on connections that were refused or found dead; at least 1.
    pub attempts: u32,
}

/// One entry of `servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// Share of the requests relative to the others, at least 1.
    pub weight: u32,
}

impl fmt::Display for Address {
    /// As the file has it: its name in logs and metrics.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Limits of one attempt at an upstream.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamTimeouts {
    /// Until connected.
    pub connect: Duration,
    /// Until the head of the answer.
    pub first_byte: Duration,
    /// Between two reads of the answer's body.
    pub read: Duration,
    /// Between two writes of the request.
    pub write: Duration,
    /// An idle pooled connection is closed after this time.
    pub idle: Duration,
    /// A tunnel in which nothing moves is closed after this time.
    pub tunnel: Duration,
}

/// `health_check = { … }`
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// What is asked for, path and query.
    pub path: Box<str>,
    /// The `Host` of the probe; `None`: the upstream's `host`, else the server's address.
    pub host: Option<HeaderValue>,
    /// Between two probes of a server; jittered by a tenth.
    pub interval: Duration,
    /// A probe must be answered within this time.
    pub timeout: Duration,
    /// Failures in a row until a server is out.
    pub unhealthy_after: u32,
    /// Successes in a row until it is back.
    pub healthy_after: u32,
    /// The status that means healthy; `None`: any 2xx or 3xx.
    pub status: Option<StatusCode>,
}

/// `[[route]]`, with the defaults filled in.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name: in logs and metrics.
    pub name: Arc<str>,
    /// What it asks of a request.
    pub matcher: Matcher,
    /// What it does.
    pub action: Action,
    /// Who may use it; `None`: everyone.
    pub allow: Option<AllowList>,
    /// Response header fields.
    pub headers: Option<Arc<HeaderPolicy>>,
    /// Content coding of answers.
    pub compress: Option<Arc<Compression>>,
    /// Whether requests are written to the access log.
    pub access_log: bool,
    /// Largest request body, bytes.
    pub max_body: u64,
}

/// What a route does with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sends it to an upstream.
    Proxy {
        /// Index into [`Config::upstreams`].
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
