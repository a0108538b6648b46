//! `[server]`, `[dns]`, and the logs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::client::TrustedProxies;
use crate::config::units::Rate;
use crate::networks::Networks;
use crate::observe::access_log;
use crate::observe::rotation::Rotation;

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where clients connect, in clear text.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub threads: usize,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// The files that these are from, absolute.
    pub network_files: Vec<PathBuf>,
    /// Whose connections in clear text begin with a PROXY header; `None`: nobody's.
    pub announcers: Option<Announcers>,
    /// Whose connections over TLS do.
    pub tls_announcers: Option<Announcers>,
    /// The file that knows the countries of addresses, absolute.
    pub country_file: Option<PathBuf>,
    /// Largest request body, bytes, where a route says nothing.
    pub max_body: u64,
    /// Limits of a request head.
    pub head: HeadLimits,
    /// Most connections at a time, all listeners together.
    pub max_connections: usize,
    /// Most connections of one client address (IPv6: /64) at a time; trusted proxies are not counted.
    pub max_connections_per_client: usize,
    /// How often one client address (IPv6: /64) may connect; trusted proxies are not counted.
    pub connection_rate_per_client: Option<Rate>,
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
    /// Whether what can take the fast lane does.
    pub fast_lane: bool,
    /// How long a graceful stop waits for requests in flight.
    pub shutdown_timeout: Duration,
    /// How long a process that was replaced lets connections finish.
    pub upgrade_timeout: Duration,
    /// How long the gateway goes on as before after it was told to stop, while `/readyz` already says so.
    pub pre_stop: Duration,
    /// Whether the file is read again when it was written.
    pub watch: bool,
    /// How long a reloaded configuration is on trial; `None`: it is not.
    pub confirm: Option<Duration>,
    /// Where the history is kept, absolute; `None`: in memory only.
    pub state_dir: Option<PathBuf>,
}

/// Peers whose connections begin with a PROXY header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcers {
    /// The peers.
    pub from: Networks,
    /// The addresses at which it is so, as `listen` has them; empty: at all of them.
    pub listen: Vec<SocketAddr>,
}

impl Announcers {
    /// Whether a connection of `peer` to `listener` begins with it.
    #[must_use]
    pub fn announce(&self, peer: IpAddr, listener: SocketAddr) -> bool {
        (self.listen.is_empty() || self.listen.contains(&listener)) && self.from.contains(peer)
    }
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

/// `[dns]`: how names of servers are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask, in this order; empty: as the system does (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// One attempt at one server must be answered within this time.
    pub timeout: Duration,
    /// Attempts at each server, at least 1.
    pub attempts: u32,
    /// An answer that may be kept for a shorter time is kept for this long.
    pub min_ttl: Duration,
    /// An answer that may be kept for a longer time is kept for this long; not below `min_ttl`. `resolve_interval` of an
    /// upstream, where it is shorter, wins over both.
    pub max_ttl: Duration,
}

/// `[log]`: the gateway's own log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// A filter in the syntax of `tracing_subscriber::EnvFilter`, e.g. `info`.
    pub level: String,
    /// One JSON object a line, or text for people.
    pub json: bool,
    /// Where it goes; `None`: to standard error.
    pub file: Option<LogFile>,
    /// Where its errors go as well.
    pub errors: Option<LogFile>,
}

/// A file of the gateway's own log, or of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// What it is called, absolute.
    pub path: PathBuf,
    /// When it begins anew; `None`: somebody else sees to it.
    pub rotation: Option<Rotation>,
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
    /// The same, and now and then it begins anew.
    Rotated(PathBuf, Rotation),
}
