//! What the file says about a pool. Nothing here can be wrong: what is out of range is taken as the nearest that is not.

use std::time::Duration;

use super::Thresholds;

/// How a pool chooses among the servers that are fit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Strategy {
    /// The one that is expected to answer soonest: recent latency times requests in flight.
    #[default]
    PeakEwma,
    /// The one with the fewest requests in flight for its weight.
    LeastRequests,
    /// Smooth weighted round robin.
    RoundRobin,
    /// Any, in proportion to the weights.
    Random,
    /// The same key to the same server.
    ConsistentHash {
        /// How much more than its share a server may have in flight before its keys go on to the next: 1.25 is a quarter
        /// more, infinity is no bound.
        load_factor: f64,
    },
}

impl Strategy {
    /// Consistent hashing with the usual bound.
    pub const CONSISTENT_HASH: Self = Self::ConsistentHash { load_factor: 1.25 };
}

/// What the file says about a pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How it chooses.
    pub strategy: Strategy,
    /// When active health checks change a server's state; `None`: there are none, and only requests tell.
    pub health: Option<Thresholds>,
    /// When failing requests take a server out for a while; `None`: never.
    pub outlier: Option<OutlierSettings>,
    /// In which time a server that joins or is back grows from a tenth of its weight to all of it; zero: at once.
    pub slow_start: Duration,
    /// When fewer than this share of the servers is fit, ejections are ignored; 0: never.
    pub panic_threshold: f64,
    /// When the whole upstream is given a pause; `None`: never.
    pub breaker: Option<BreakerSettings>,
    /// Learns how many requests at once each server can take; `None`: only `max_requests` counts.
    pub adaptive: Option<AdaptiveSettings>,
    /// How many requests may be sent again.
    pub retry_budget: BudgetSettings,
    /// How many requests may be sent twice to shorten the wait.
    pub hedge_budget: BudgetSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            health: None,
            outlier: Some(OutlierSettings::default()),
            slow_start: Duration::from_secs(10),
            panic_threshold: 0.5,
            breaker: None,
            adaptive: None,
            retry_budget: BudgetSettings::RETRY,
            hedge_budget: BudgetSettings::HEDGE,
        }
    }
}

/// Passive outlier ejection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierSettings {
    /// Failures in a row that eject; 0: they do not.
    pub consecutive_failures: u32,
    /// Whether a server is ejected whose success rate is far below that of the others (of five at least, 100 requests each).
    pub success_rate: bool,
    /// How often success rates are compared.
    pub interval: Duration,
    /// How long the first ejection lasts; the n-th lasts n times as long.
    pub base_time: Duration,
    /// The longest an ejection lasts.
    pub max_time: Duration,
    /// At most this share of the servers is ejected at a time, but always one may be.
    pub max_ejected: f64,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate: true,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }
}

/// The circuit breaker of an upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerSettings {
    /// Opens when at least this share of the last ten seconds' attempts failed; more than 1: never for that.
    pub failure_share: f64,
    /// Not before so many attempts in these ten seconds.
    pub min_requests: u32,
    /// Opens after so many failures in a row; 0: never for that.
    pub consecutive_failures: u32,
    /// How long it stays open, a fifth more or less, so that gateways do not come back in step.
    pub open_for: Duration,
    /// How many attempts at once test the upstream then, and how many of them must succeed to close it. Zero counts as one.
    pub probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failure_share: 0.5,
            min_requests: 20,
            consecutive_failures: 0,
            open_for: Duration::from_secs(5),
            probes: 3,
        }
    }
}

/// The bounds of a limit that is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveSettings {
    /// Never fewer at once.
    pub min: u32,
    /// Before anything is learnt.
    pub initial: u32,
    /// Never more at once.
    pub max: u32,
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self {
            min: 4,
            initial: 20,
            max: 1000,
        }
    }
}

/// What a [`Budget`](super::Budget) allows in ten seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetSettings {
    /// The share of the requests.
    pub ratio: f64,
    /// And so many a second, however few requests there are.
    pub floor: u32,
}

impl BudgetSettings {
    /// For retries: a fifth of the requests and ten a second.
    pub const RETRY: Self = Self { ratio: 0.2, floor: 10 };
    /// For hedging: a fiftieth of the requests.
    pub const HEDGE: Self = Self { ratio: 0.02, floor: 0 };
}
