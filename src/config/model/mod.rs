//! The file as meant: names resolved, defaults filled, values checked. What the runtime compiles.

mod access;
mod acme;
mod admin;
mod auth;
mod bandwidth;
mod limit;
mod resilience;
mod route;
mod secret;
mod server;
mod telemetry;
mod tls;
mod upstream;

pub use self::access::{Access, NetworkList};
pub use self::acme::{Acme, AcmeChallenge, ExternalKey};
pub use self::admin::{Admin, AdminListen};
pub use self::auth::{Auth, AuthMethod, ForwardAuth, Jwks, Jwt, JwtKeys, RouteAuth, VerdictCache};
pub use self::bandwidth::Bandwidth;
pub use self::limit::{Ban, LimitUse, RateLimit, Redis, RedisServers};
pub use self::resilience::{Breaker, Hedge, HedgeAfter, Outlier, Queue, Retry, RetryOn};
pub use self::route::{Action, Concurrency, Files, Priority, Respond, Route};
pub use self::secret::Secret;
pub use self::server::{AccessLog, Announcers, Dns, HeadLimits, Log, LogFile, LogTarget, Server};
pub use self::telemetry::{Form, OtlpProtocol, Telemetry};
pub use self::tls::{CertificateFiles, Tls};
pub use self::upstream::{
    Address, Balance, ClientCertificate, HashKey, HealthCheck, HttpCheck, Probing, Protocol, SameSite, Sticky, Target,
    Upstream, UpstreamTimeouts, UpstreamTls,
};

use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::{Cors, HeaderPolicy};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listeners and their limits.
    pub server: Server,
    /// TLS towards clients; `None`: clear text only.
    pub tls: Option<Tls>,
    /// The certificate that is obtained; `None`: all are in files.
    pub acme: Option<Acme>,
    /// The admin listener.
    pub admin: Admin,
    /// The gateway's own log.
    pub log: Log,
    /// The access log; `None`: switched off for everything.
    pub access_log: Option<AccessLog>,
    /// The fields in which traces are read and passed on, the first before the others.
    pub propagation: Vec<Form>,
    /// Who is told of traces and metrics; `None`: nobody.
    pub telemetry: Option<Telemetry>,
    /// How names are looked up.
    pub dns: Dns,
    /// The store that several gateways share; `None`: every store is in the process.
    pub redis: Option<Redis>,
    /// The Redis that gateways share for their caches; `None`: each has its own alone.
    pub cache_redis: Option<Redis>,
    /// Upstreams, in file order.
    pub upstreams: Vec<Upstream>,
    /// Rate limits, in file order.
    pub rate_limits: Vec<RateLimit>,
    /// Who may use routes, in file order.
    pub accesses: Vec<Access>,
    /// Ways to be known, in file order.
    pub auths: Vec<Auth>,
    /// Limits of bandwidth, in file order.
    pub bandwidths: Vec<Bandwidth>,
    /// Routes, in file order.
    pub routes: Vec<Route>,
    /// The files that secrets were read from.
    pub credential_files: Vec<PathBuf>,
    /// The headers policy of answers that no route gives (no route matched, the head was refused).
    pub default_headers: Option<Arc<HeaderPolicy>>,
    /// Who may read such answers from other sites.
    pub default_cors: Option<Arc<Cors>>,
}

impl Config {
    /// The files that it names and that are read when it is put into force. Those that are watched by what uses them
    /// (files of servers) are not among them.
    #[must_use]
    pub fn inputs(&self) -> Vec<PathBuf> {
        let profiles = self.upstreams.iter().flat_map(|upstream| {
            let probe = upstream.health_check.as_ref().and_then(|check| check.tls.as_ref());
            upstream.tls.iter().chain(probe)
        });
        let mut inputs: Vec<PathBuf> = profiles
            .flat_map(|tls| {
                let certificate = tls.certificate.iter();
                tls.ca
                    .iter()
                    .chain(certificate.flat_map(|files| [&files.cert, &files.key]))
            })
            .chain(self.telemetry.iter().filter_map(|telemetry| telemetry.ca.as_ref()))
            .chain(&self.credential_files)
            .chain(&self.server.network_files)
            .cloned()
            .collect();
        inputs.sort();
        inputs.dedup();
        inputs
    }
}
