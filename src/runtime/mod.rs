//! What requests read: the snapshot, compiled once from the model; and what outlives it.

mod concurrency;
pub mod discovery;
mod limits;
pub mod prober;
mod queue;
mod snapshot;
mod tls;
mod unix;

pub use concurrency::{Concurrency, Full, Place};
pub use limits::{Outcome, RouteLimits, Ruling, Standing};
pub use queue::{Queue, Waiting};
pub use snapshot::{Action, Route, Snapshot, Upstream};
pub use tls::{ClientTls, Identity, SystemAuthorities, TlsFault, system_authorities};
pub use unix::UNIX;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::balance::{
    AdaptiveSettings, BreakerSettings, BudgetSettings, OutlierSettings, Pool, Settings, Strategy, Thresholds,
};
use crate::config::model::{self, Balance, Config, LogTarget};
use crate::limit::Bans;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::slot::Slot;
use limits::LimitState;

/// What outlives a snapshot, found by name: counters, servers and their health, what limits counted, the access log.
pub struct Registry {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// When the process began to serve.
    pub started: Instant,
    draining: AtomicBool,
    generation: AtomicU64,
    pools: Mutex<HashMap<Arc<str>, Arc<Pool>>>,
    limits: LimitState,
    logs: Mutex<Vec<(LogTarget, AccessLog)>>,
    concurrency: Mutex<HashMap<Arc<str>, RunningLimit>>,
    /// What the proxy keeps for connections to upstreams.
    pub connector: Slot,
}

/// A concurrency limit in use, and what the file said when it was made.
type RunningLimit = (model::Concurrency, Arc<Concurrency>);

impl Registry {
    /// Empty.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            metrics: Metrics::new(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            pools: Mutex::default(),
            limits: LimitState::new(),
            logs: Mutex::default(),
            concurrency: Mutex::default(),
            connector: Slot::default(),
        })
    }

    /// Nanoseconds since the process began to serve: the clock of limits and bans.
    #[must_use]
    pub fn clock(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How much longer a client is turned away from everything; `None`: it is not. Costs one load while nobody is.
    #[must_use]
    pub fn banned(&self, client: IpAddr) -> Option<Duration> {
        let bans = self.bans();
        if bans.is_empty() {
            return None;
        }
        bans.banned(client, self.clock())
    }

    /// Who is turned away from everything.
    #[must_use]
    pub fn bans(&self) -> &Bans {
        &self.limits.bans
    }

    /// Whether the gateway is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// From now on the gateway is stopping: `/readyz` says so.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The pool of an upstream: the one that exists, with its servers' state, or a new one.
    fn pool(&self, upstream: &model::Upstream) -> Arc<Pool> {
        let health = upstream.health_check.as_ref().map(|check| Thresholds {
            unhealthy_after: check.unhealthy_after,
            healthy_after: check.healthy_after,
        });
        let settings = settings(upstream, health);
        let mut pools = self.pools.lock();
        let pool = match pools.get(&upstream.name) {
            Some(pool) if *pool.settings() == settings => Arc::clone(pool),
            Some(pool) => Arc::new(pool.successor(settings)),
            None => Arc::new(Pool::new(Arc::clone(&upstream.name), settings)),
        };
        pools.insert(Arc::clone(&upstream.name), Arc::clone(&pool));
        pool
    }

    /// The concurrency limit of a route: the one that is in use, if the file still says the same.
    fn concurrency(&self, route: &Arc<str>, limit: model::Concurrency) -> Arc<Concurrency> {
        let mut limits = self.concurrency.lock();
        match limits.get(route) {
            Some((same, running)) if *same == limit => Arc::clone(running),
            _ => {
                let running = Arc::new(Concurrency::new(limit.limit, limit.queue, limit.wait));
                limits.insert(Arc::clone(route), (limit, Arc::clone(&running)));
                running
            }
        }
    }

    /// The access log of this target: the one that is open, or a new one.
    fn access_log(&self, target: &LogTarget) -> io::Result<AccessLog> {
        let mut logs = self.logs.lock();
        if let Some((_, log)) = logs.iter().find(|(open, _)| open == target) {
            return Ok(log.clone());
        }
        let log = AccessLog::start(target, self.metrics.access_log_dropped())?;
        logs.push((target.clone(), log.clone()));
        Ok(log)
    }

    /// Waits until every line that was logged so far is written.
    pub fn flush_logs(&self) {
        let logs: Vec<AccessLog> = self.logs.lock().iter().map(|(_, log)| log.clone()).collect();
        for log in logs {
            log.flush();
        }
    }

    /// Opens the log files anew, after they were rotated.
    pub fn reopen_logs(&self) {
        for (_, log) in self.logs.lock().iter() {
            log.reopen();
        }
    }
}

/// Why a configuration that is valid cannot be put into force.
#[derive(Debug)]
pub enum LoadError {
    /// The access log cannot be opened.
    AccessLog(io::Error),
    /// The files of an upstream's `tls` cannot be used.
    Tls {
        /// Its name.
        upstream: Arc<str>,
        /// Why.
        fault: TlsFault,
    },
}

impl LoadError {
    fn tls(upstream: &Arc<str>, fault: TlsFault) -> Self {
        let upstream = Arc::clone(upstream);
        Self::Tls { upstream, fault }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessLog(error) => write!(
                f,
                "cannot open the access log: {error}\nhelp: [access_log] path must be a file that this user may write; \
                 \"-\" is standard output"
            ),
            Self::Tls { upstream, fault } => write!(
                f,
                "upstream `{upstream}`: {fault}\nhelp: `ca`, `cert` and `key` are PEM files that this user may read"
            ),
        }
    }
}

impl std::error::Error for LoadError {}

/// What the file says about a pool.
fn settings(upstream: &model::Upstream, health: Option<Thresholds>) -> Settings {
    Settings {
        strategy: match &upstream.balance {
            Balance::PeakEwma => Strategy::PeakEwma,
            Balance::LeastRequests => Strategy::LeastRequests,
            Balance::RoundRobin => Strategy::RoundRobin,
            Balance::Random => Strategy::Random,
            Balance::ConsistentHash { bounded_load, .. } => Strategy::ConsistentHash {
                load_factor: bounded_load.unwrap_or(f64::INFINITY),
            },
        },
        health,
        outlier: upstream.outlier.map(|outlier| OutlierSettings {
            consecutive_failures: outlier.failures,
            success_rate: outlier.success_rate,
            base_time: outlier.base_time,
            max_ejected: outlier.max_ejected,
            ..OutlierSettings::default()
        }),
        slow_start: upstream.slow_start,
        panic_threshold: upstream.panic_threshold,
        breaker: upstream.breaker.map(|breaker| BreakerSettings {
            failure_share: breaker.failures,
            min_requests: breaker.min_requests,
            open_for: breaker.open,
            ..BreakerSettings::default()
        }),
        adaptive: upstream.adaptive_limit.then(AdaptiveSettings::default),
        retry_budget: BudgetSettings {
            ratio: upstream.retry.budget,
            floor: upstream.retry.min_per_second,
        },
        hedge_budget: BudgetSettings::HEDGE,
    }
}

/// The snapshot in force, and the registry.
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    /// What outlives the snapshot.
    pub registry: Arc<Registry>,
}

impl Live {
    /// Compiles the first configuration.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn new(config: Config, registry: Arc<Registry>) -> Result<Arc<Self>, LoadError> {
        let generation = registry.generation.fetch_add(1, Relaxed) + 1;
        let snapshot = Snapshot::compile(config, generation, &registry)?;
        registry.metrics.config_loaded(generation, SystemTime::now());
        Ok(Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            registry,
        }))
    }

    /// The snapshot in force, to keep for as long as a request lasts.
    #[must_use]
    pub fn pin(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The snapshot in force, for a short look.
    #[must_use]
    pub fn peek(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }
}
