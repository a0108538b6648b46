//! `[upstream.NAME]`

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::{Breaker, Hedge, Outlier, Queue, Retry, Secret};
use crate::proxy_protocol;

/// `[upstream.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// The entries of `servers`, in file order; empty only where there is a `servers_file`.
    pub servers: Vec<Address>,
    /// A file with more of them, absolute; read with [`servers_file`](crate::config::servers_file).
    pub servers_file: Option<PathBuf>,
    /// The `Host` it is sent; `None`: the client's.
    pub host: Option<HeaderValue>,
    /// What is spoken with the servers.
    pub protocol: Protocol,
    /// What begins a connection to the servers; `None`: the first request.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// TLS to the servers; `None`: clear text.
    pub tls: Option<UpstreamTls>,
    /// How a server is chosen.
    pub balance: Balance,
    /// A client stays with its server by a cookie.
    pub sticky: Option<Sticky>,
    /// What waits while every server is full.
    pub queue: Queue,
    /// A server that is new or back gets its full share only after this time; zero: at once.
    pub slow_start: Duration,
    /// Where the share of fit servers falls below this, all of them are used; 0: never.
    pub panic_threshold: f64,
    /// The active health check.
    pub health_check: Option<HealthCheck>,
    /// Servers that fail requests are left out for a while.
    pub outlier: Option<Outlier>,
    /// When a request is tried again.
    pub retry: Retry,
    /// A second attempt while the first one still waits.
    pub hedge: Option<Hedge>,
    /// When the upstream is left alone for a while.
    pub breaker: Option<Breaker>,
    /// Whether the number of requests at a time follows how fast the servers answer.
    pub adaptive_limit: bool,
    /// Limits of one attempt.
    pub timeouts: UpstreamTimeouts,
    /// Names are resolved again after this time at the latest.
    pub resolve_interval: Duration,
}

#[cfg(test)]
impl Upstream {
    /// The upstream `api` as a file with these keys has it, for tests: whoever adds a key need not touch them.
    pub(crate) fn of(keys: &str) -> Self {
        let text = format!("[upstream.api]\n{keys}\n[[route]]\nname = \"a\"\npath = \"/*\"\nupstream = \"api\"\n");
        let loaded = crate::config::parse("test.toml", &text, std::path::Path::new("."), &|_| None);
        let mut loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        loaded.config.upstreams.remove(0)
    }
}

/// An entry of `servers` or of a servers file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub target: Target,
    /// Share of the requests relative to the others, at least 1. Of an SRV name: 1, the weights come from DNS.
    pub weight: u32,
    /// Used only while no other server is fit.
    pub backup: bool,
    /// Requests at a time, for each address that a name has; `None`: any number.
    pub max_requests: Option<u32>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A name or an address, and a port.
    Host {
        /// A name in lower case, or an address without brackets.
        host: Box<str>,
        /// The port.
        port: u16,
    },
    /// A socket in the file system: an absolute path.
    Unix(Box<str>),
    /// An SRV name (RFC 2782), in lower case: DNS has names, ports and weights.
    Srv(Box<str>),
}

impl Target {
    /// The name that its certificate is asked for where the file gives none; `None`: an address or a socket, or an SRV
    /// name, whose servers have names of their own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } if host.parse::<IpAddr>().is_err() => Some(host),
            Self::Host { .. } | Self::Unix(_) | Self::Srv(_) => None,
        }
    }
}

impl fmt::Display for Target {
    /// As the file has it: `app:5000`, `[::1]:5000`, `unix:/run/app.sock`, `srv:_http._tcp.app`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Srv(name) => write!(f, "srv:{name}"),
        }
    }
}

impl fmt::Display for Address {
    /// Its name in logs and metrics.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// What is spoken with the servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: over TLS by ALPN, in clear text with prior knowledge (RFC 9113 §3.3).
    H2,
}

/// `tls = { … }`: TLS to the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The certificates of the authorities that are believed, PEM, absolute; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate.
    pub certificate: Option<ClientCertificate>,
    /// The name that is sent (SNI) and that the server's certificate must have. `None`: the server's own name, see
    /// [`Target::name`]; validation saw to it that every server of the file has one. A server found elsewhere (in the
    /// servers file after a change) that has none must not be used while `verify` is true.
    pub sni: Option<Box<str>>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
}

/// The gateway's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, PEM, absolute.
    pub cert: PathBuf,
    /// Its key, PEM, absolute.
    pub key: PathBuf,
}

/// How a server is chosen for a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Balance {
    /// The one that is expected to answer soonest.
    PeakEwma,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// One after the other, by weight.
    RoundRobin,
    /// Any, by weight.
    Random,
    /// The same key to the same server.
    ConsistentHash {
        /// What of the request.
        key: HashKey,
        /// A server with more than this many times the average of requests in flight passes further ones on, above 1;
        /// `None`: it keeps them.
        bounded_load: Option<f64>,
    },
}

impl Balance {
    /// The word of the file.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::PeakEwma => "peak-ewma",
            Self::LeastRequests => "least-requests",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::ConsistentHash { .. } => "consistent-hash",
        }
    }
}

/// What of a request a server is chosen by. Where the request has no such thing, the client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    ClientIp,
    /// The path, without the query.
    Path,
    /// The value of a header field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The value of a query parameter.
    Query(Box<str>),
}

/// `sticky = { … }`: a signed cookie names the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Box<str>,
    /// How long it is good for.
    pub ttl: Duration,
    /// What it is signed with, at least 32 bytes.
    pub secret: Secret,
    /// Its attribute `SameSite`.
    pub same_site: SameSite,
}

/// The attribute `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never with requests that another site makes.
    Strict,
    /// With links from other sites only.
    Lax,
    /// With every request; browsers want `Secure` then.
    None,
}

/// Limits of one attempt at an upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// What is asked and what a good answer is.
    pub probing: Probing,
    /// The port that is asked; `None`: the server's. Never there where a server is a socket in the file system.
    pub port: Option<u16>,
    /// TLS of the probe; `None`: clear text.
    pub tls: Option<UpstreamTls>,
    /// Between two probes of a server; jittered by a tenth.
    pub interval: Duration,
    /// Between two probes of a server that is out.
    pub unhealthy_interval: Duration,
    /// A probe must be answered within this time.
    pub timeout: Duration,
    /// Failures in a row until a server is out.
    pub unhealthy_after: u32,
    /// Successes in a row until it is back.
    pub healthy_after: u32,
}

/// What a probe asks and what a good answer is.
#[derive(Debug, Clone, PartialEq)]
pub enum Probing {
    /// An HTTP/1.1 request.
    Http(HttpCheck),
    /// A connection, with the TLS handshake where there is TLS.
    Tcp,
    /// `grpc.health.v1.Health/Check` over HTTP/2, answered with `SERVING`.
    Grpc {
        /// The service that is asked for; empty: the server as a whole.
        service: Box<str>,
        /// The `:authority`; `None`: the upstream's `host`, else the server's address.
        host: Option<HeaderValue>,
    },
}

/// A probe over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheck {
    /// The method.
    pub method: Method,
    /// What is asked for, path and query.
    pub path: Box<str>,
    /// The `Host` of the probe; `None`: the upstream's `host`, else the server's address.
    pub host: Option<HeaderValue>,
    /// The statuses that mean healthy; at least one range.
    pub status: Vec<RangeInclusive<u16>>,
    /// What the body must contain.
    pub body: Option<Box<str>>,
}

impl HttpCheck {
    /// Whether this status means healthy.
    #[must_use]
    pub fn accepts(&self, status: u16) -> bool {
        self.status.iter().any(|range| range.contains(&status))
    }
}
