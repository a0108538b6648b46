//! The file as meant: names resolved, defaults filled, values checked. What the runtime compiles.

mod bandwidth;
mod limit;
mod resilience;
mod route;
mod secret;
mod server;
mod tls;
mod upstream;

pub use self::bandwidth::Bandwidth;
pub use self::limit::{
    Ban, Counted, LimitHeaders, LimitKey, LimitMode, LimitUse, MissingKey, OnStoreError, RateLimit, Redis, RedisServers,
};
pub use self::resilience::{Breaker, Hedge, HedgeAfter, Outlier, Queue, Retry, RetryOn};
pub use self::route::{Action, Concurrency, Files, Priority, Respond, Route};
pub use self::secret::Secret;
pub use self::server::{AccessLog, Admin, Dns, HeadLimits, Log, LogTarget, Server};
pub use self::tls::{CertificateFiles, Tls};
pub use self::upstream::{
    Address, Balance, ClientCertificate, HashKey, HealthCheck, HttpCheck, Probing, Protocol, SameSite, Sticky, Target,
    Upstream, UpstreamTimeouts, UpstreamTls,
};

use std::sync::Arc;

use crate::policy::{Cors, HeaderPolicy};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listeners and their limits.
    pub server: Server,
    /// TLS towards clients; `None`: clear text only.
    pub tls: Option<Tls>,
    /// The admin listener.
    pub admin: Admin,
    /// The gateway's own log.
    pub log: Log,
    /// The access log; `None`: switched off for everything.
    pub access_log: Option<AccessLog>,
    /// How names are looked up.
    pub dns: Dns,
    /// The store that several gateways share; `None`: every store is in the process.
    pub redis: Option<Redis>,
    /// Upstreams, in file order.
    pub upstreams: Vec<Upstream>,
    /// Rate limits, in file order.
    pub rate_limits: Vec<RateLimit>,
    /// Limits of bandwidth, in file order.
    pub bandwidths: Vec<Bandwidth>,
    /// Routes, in file order.
    pub routes: Vec<Route>,
    /// The headers policy of answers that no route gives (no route matched, the head was refused).
    pub default_headers: Option<Arc<HeaderPolicy>>,
    /// Who may read such answers from other sites.
    pub default_cors: Option<Arc<Cors>>,
}
