//! What a pool shows of its servers: one state for each, with its reason, out of what probes and requests know.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::clock::{Tick, between};
use super::roster::is_down;
use super::{Drain, Endpoint, Settings, State};

/// What a server is at the moment; of several things the one that weighs most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The probes take it for out.
    Unhealthy,
    /// Failing requests took it out.
    Ejected {
        /// For so long still.
        remaining: Duration,
    },
    /// It gets no new requests.
    Draining,
    /// It is new or back, and this share of its weight counts.
    SlowStart {
        /// From 10 to 90.
        percent: u32,
    },
    /// Not probed yet, or nobody probes: it is picked.
    Unknown,
    /// It is picked.
    Healthy,
}

impl Condition {
    /// Whether new requests go to it. (When too few servers are fit, they go to ejected ones, too.)
    #[must_use]
    pub fn is_fit(self) -> bool {
        match self {
            Self::Unhealthy | Self::Ejected { .. } | Self::Draining => false,
            Self::SlowStart { .. } | Self::Unknown | Self::Healthy => true,
        }
    }

    /// The word for metrics.
    #[must_use]
    pub fn metric(self) -> &'static str {
        match self {
            Self::SlowStart { .. } => "slow_start",
            state => state.word(),
        }
    }

    /// The word for logs and the admin API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Ejected { .. } => "ejected",
            Self::Draining => "draining",
            Self::SlowStart { .. } => "slow start",
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Ejected { remaining } => write!(f, " for {} s more", remaining.as_secs().max(1)),
            Self::SlowStart { percent } => write!(f, " {percent} %"),
            Self::Unhealthy | Self::Draining | Self::Unknown | Self::Healthy => Ok(()),
        }
    }
}

/// A server as it is at one moment: for the admin API and metrics.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// The server as the file names it.
    pub server: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// Name and address together, as [`Endpoint::session`] gives them.
    pub session: Box<str>,
    /// Its share.
    pub weight: u32,
    /// What of it counts now, percent: less than 100 in slow start.
    pub weight_percent: u32,
    /// What it still gets while the operator takes it out.
    pub drain: Drain,
    /// Whether it is picked only when no other is fit.
    pub backup: bool,
    /// What it is.
    pub state: Condition,
    /// Why it is not simply healthy. For the operator: it names what happened inside and must not reach clients.
    pub reason: Option<String>,
    /// Requests now.
    pub in_flight: usize,
    /// Most requests at once; `None`: as many as come.
    pub limit: Option<u32>,
    /// How long an answer is expected to take, penalties included; `None`: it never answered.
    pub latency_estimate: Option<Duration>,
    /// How often it was picked.
    pub picks: u64,
    /// How many attempts failed, connections included.
    pub failures: u64,
    /// How often a request could not connect to it.
    pub connect_failures: u64,
    /// How often failing requests took it out.
    pub ejections: u64,
}

impl EndpointView {
    pub(super) fn new(endpoint: &Endpoint, settings: &Settings, now: Tick) -> Self {
        let state = condition(endpoint, settings, now);
        let reason = match state {
            Condition::Unhealthy => endpoint.health().reason().map(str::to_owned),
            Condition::Ejected { .. } => endpoint.passive.cause().map(|cause| cause.to_string()),
            Condition::Draining => Some(match endpoint.drain() {
                Drain::KeepSessions => "the operator drains it: only bound clients go to it".to_owned(),
                Drain::Off | Drain::Everything => "the operator drains it".to_owned(),
            }),
            Condition::SlowStart { .. } => Some("new or back: it grows into its weight".to_owned()),
            Condition::Unknown if settings.health.is_some() => Some("not checked yet".to_owned()),
            Condition::Unknown | Condition::Healthy => None,
        };
        Self {
            server: Arc::clone(endpoint.server()),
            address: endpoint.address(),
            session: endpoint.session().into(),
            weight: endpoint.weight(),
            weight_percent: endpoint.ramp.percent(now, settings.slow_start),
            drain: endpoint.drain(),
            backup: endpoint.is_backup(),
            state,
            reason,
            in_flight: endpoint.in_flight(),
            limit: endpoint.limit(),
            latency_estimate: endpoint.expected(now).map(Duration::from_secs_f64),
            picks: endpoint.picks(),
            failures: endpoint.failures(),
            connect_failures: endpoint.connect_failures(),
            ejections: endpoint.ejections(),
        }
    }
}

fn condition(endpoint: &Endpoint, settings: &Settings, now: Tick) -> Condition {
    if is_down(endpoint, settings) {
        return Condition::Unhealthy;
    }
    if endpoint.passive.is_ejected(now) {
        let remaining = between(now, endpoint.passive.ejected_until());
        return Condition::Ejected { remaining };
    }
    if endpoint.is_draining() {
        return Condition::Draining;
    }
    match endpoint.ramp.percent(now, settings.slow_start) {
        100 => match endpoint.state() {
            State::Healthy => Condition::Healthy,
            State::Unknown | State::Unhealthy => Condition::Unknown,
        },
        percent => Condition::SlowStart { percent },
    }
}
