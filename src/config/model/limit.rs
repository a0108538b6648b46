//! `[rate_limit.NAME]` and `[redis]`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::{Secret, UpstreamTls};
use crate::config::units::Rate;
use crate::limit::{Announce, Count, Missing, Mode, OnStoreError, Source};
use crate::policy::AllowList;

/// `[rate_limit.NAME]`: a bucket for each key. It holds `capacity_units`, is full at first, and gets one unit back every
/// `period`; a request takes `cost` of them.
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Its name.
    pub name: Arc<str>,
    /// The rate as written: what the client is told.
    pub rate: Rate,
    /// The time in which one unit comes back: `rate.per / rate.count`, rounded down; never zero.
    pub period: Duration,
    /// How many units may be taken at once: `burst + 1`, or the count of the rate where there is no burst. At least
    /// `cost`; `period * capacity_units` is a year at most.
    pub capacity_units: u64,
    /// How many units of `burst` are admitted without waiting; those above wait for their turn. Never above `burst`.
    /// `None`: nothing waits.
    pub delay_after: Option<u64>,
    /// The longest wait: who would wait longer is refused.
    pub max_delay: Duration,
    /// Units that one request takes, at least 1.
    pub cost: u64,
    /// Units that requests of these methods take instead; 0: they are not counted.
    pub method_costs: Vec<(Method, u64)>,
    /// The field of the application's answer that says what the request took after all.
    pub cost_header: Option<HeaderName>,
    /// What takes units.
    pub count: Count,
    /// Who is counted: the parts of the key, at least one, none of them twice.
    pub key: Vec<Source>,
    /// What is done with a request without a part of the key.
    pub missing: Missing,
    /// IPv6 clients of one network of this prefix length are one client; 32 to 128.
    pub ipv6_prefix: u8,
    /// Who is never charged.
    pub exempt: Option<AllowList>,
    /// Which fields tell the client where it stands.
    pub headers: Announce,
    /// Most keys in the process at a time.
    pub capacity: usize,
    /// What is decided while the shared store cannot be asked.
    pub on_store_error: OnStoreError,
    /// Every decision is made in the shared store.
    pub exact: bool,
    /// Units taken ahead from the shared store lower the capacity, so that all gateways together never admit too many.
    pub strict: bool,
    /// Whether it refuses.
    pub mode: Mode,
    /// When a client that it refuses is turned away from everything.
    pub ban: Option<Ban>,
}

/// `ban = { … }`: refusals that turn a client away from everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Refusals, at least 1.
    pub after: u32,
    /// The time in which they come, from the first of them; never zero.
    pub within: Duration,
    /// How long the client is turned away; never zero.
    pub duration: Duration,
}

/// A limit of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Index into [`Config::rate_limits`](super::Config::rate_limits).
    pub limit: usize,
    /// Units that a request of this route takes, whatever its method; `None`: what the limit says. At least 1.
    pub cost: Option<u64>,
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where it is.
    pub servers: RedisServers,
    /// TLS; `None`: the URLs are not of the scheme `rediss`.
    pub tls: Option<UpstreamTls>,
    /// What one decision may wait for it.
    pub timeout: Duration,
    /// Connections that are held open, at least 1.
    pub connections: usize,
    /// What every key begins with.
    pub prefix: Box<str>,
    /// The user, where the file has it beside the URL; then no URL has one.
    pub username: Option<Secret>,
    /// The password, where the file has it beside the URL; then no URL has one.
    pub password: Option<Secret>,
}

/// Where a Redis is: URLs of the schemes `redis` and `rediss`, of one scheme only, which may hold user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    Single(Secret),
    /// Some nodes of a Cluster, from which the others are learnt; at least two.
    Cluster(Vec<Secret>),
    /// Whichever server the sentinels call the master.
    Sentinel {
        /// What they call it.
        master: Box<str>,
        /// The sentinels, at least one.
        urls: Vec<Secret>,
    },
}
