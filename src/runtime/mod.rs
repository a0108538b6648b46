//! What requests read: the snapshot, compiled once from the model; and what outlives it.

mod access;
mod acme;
mod auth;
mod caches;
mod certificates;
mod concurrency;
pub mod discovery;
mod fetch;
mod keepsakes;
mod limits;
mod load_error;
mod log_sink;
pub mod orders;
pub mod prober;
mod queue;
pub mod sharing;
mod shown;
mod snapshot;
pub mod tasks;
mod telemetry;
mod tls;
mod unix;
mod watched;

pub use acme::{Acme, run as run_acme};
pub use auth::{Application, Asked, Circumstances, Identified, Known, Question, RemoteKeys, RouteAuth, Way};
pub use caches::{Begun, Behind, Landed, Purged, RouteCache, RunningCache};
pub use certificates::{ServerTls, ServerTlsFault, watch as watch_certificates};
pub use concurrency::{Concurrency, Full, Place};
pub(crate) use discovery::Stamp;
pub use keepsakes::Keepsakes;
pub use limits::{
    Flows, KeyFault, KeyState, LimitFacts, LimitKey, Outcome, RouteBandwidth, RouteLimits, Ruling, SharedState,
    Standing, StoreView,
};
pub use load_error::LoadError;
pub use log_sink::LogSink;
pub use queue::{Queue, Waiting};
pub use snapshot::{Action, Route, Snapshot, Upstream};
pub use telemetry::{Spans, Telemetry, tasks as telemetry_tasks};
pub use tls::{ClientTls, Identity, SystemAuthorities, system_authorities};
pub use unix::UNIX;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::balance::{
    AdaptiveSettings, BreakerSettings, BudgetSettings, OutlierSettings, Pool, Settings, Strategy, Thresholds,
};
use crate::config::model::{self, Balance, Config, LogTarget};
use crate::limit::Bans;
use crate::observe::access_log::AccessLog;
use crate::observe::audit::Audit;
use crate::observe::metrics::Metrics;
use crate::slot::Slot;
use crate::tls::Tickets;
use limits::LimitState;
use orders::Orders;
use tls::Profiles;

/// What outlives a snapshot, found by name: counters, servers and their health, what limits counted, the access log.
pub struct Registry {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// When the process began to serve.
    pub started: Instant,
    draining: AtomicBool,
    upstreams: Mutex<HashMap<Arc<str>, Arc<Upstream>>>,
    limits: LimitState,
    pub(crate) caches: caches::Caches,
    logs: Mutex<Vec<(LogTarget, AccessLog)>>,
    concurrency: Mutex<HashMap<Arc<str>, RunningLimit>>,
    keys: Mutex<Vec<(model::Jwks, Weak<RemoteKeys>)>>,
    password_checks: Arc<auth::Checks>,
    guesses: Arc<auth::Guesses>,
    /// What the proxy keeps for connections to upstreams.
    pub connector: Slot,
    tickets: Mutex<Option<Tickets>>,
    handed_over: Mutex<bool>,
    acme: Mutex<Option<RunningAcme>>,
    telemetry: Mutex<Option<Arc<Telemetry>>>,
    spans: OnceLock<Arc<Spans>>,
    /// What tells this process from others that are called the same.
    instance: Box<str>,
    /// When it began, by the calendar.
    began: SystemTime,
    refused: Mutex<Option<RefusedReload>>,
    /// The way to whoever carries out what operators ask.
    pub orders: Orders,
    /// Where every change is noted.
    pub audit: Audit,
}

/// A configuration that was to replace the one in force, and was not taken.
#[derive(Debug, Clone)]
pub struct RefusedReload {
    /// When.
    pub at: SystemTime,
    /// What is wrong with it.
    pub why: String,
}

/// The certificate that is obtained, and what the file said when that began.
type RunningAcme = (model::Acme, Option<model::Redis>, Arc<Acme>);

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
            upstreams: Mutex::default(),
            limits: LimitState::new(),
            caches: caches::Caches::default(),
            logs: Mutex::default(),
            concurrency: Mutex::default(),
            keys: Mutex::default(),
            password_checks: Arc::default(),
            guesses: Arc::default(),
            connector: Slot::default(),
            refused: Mutex::default(),
            tickets: Mutex::default(),
            handed_over: Mutex::default(),
            acme: Mutex::default(),
            telemetry: Mutex::default(),
            spans: OnceLock::new(),
            instance: format!("{:032x}", fastrand::u128(..)).into(),
            began: SystemTime::now(),
            orders: Orders::default(),
            audit: Audit::default(),
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

    /// A configuration was refused: what ran before runs on. `/readyz` and the metrics tell until one is taken.
    pub fn reload_refused(&self, why: String) {
        let at = SystemTime::now();
        self.metrics.reload_failed(at);
        *self.refused.lock() = Some(RefusedReload { at, why });
    }

    /// What the last attempt to reload failed of; `None`: it succeeded, or there was none.
    #[must_use]
    pub fn refused_reload(&self) -> Option<RefusedReload> {
        self.refused.lock().clone()
    }

    /// The upstream: the one that exists, if the file and the files of its `tls` still say the same; else a new one, with
    /// the servers and the state of the one of that name.
    fn upstream(&self, model: model::Upstream, profiles: Profiles) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock();
        let before = upstreams.get(&model.name);
        if let Some(same) = before.filter(|before| before.is_as(&model, &profiles)) {
            return Arc::clone(same);
        }
        let settings = settings(&model);
        let pool = match before.map(|before| &before.pool) {
            Some(pool) if *pool.settings() == settings => Arc::clone(pool),
            Some(pool) => Arc::new(pool.successor(settings)),
            None => Arc::new(Pool::new(Arc::clone(&model.name), settings)),
        };
        let upstream = Arc::new(Upstream::compile(model, profiles, pool, &self.metrics));
        upstream.forget_servers();
        upstreams.insert(Arc::clone(&upstream.name), Arc::clone(&upstream));
        upstream
    }

    /// This snapshot is in force now: lets go of what it does not name. What requests still use lives as long as they do.
    fn release(&self, snapshot: &Snapshot) {
        let is_upstream = |name: &str| snapshot.upstreams.iter().any(|upstream| &*upstream.name == name);
        let is_route = |name: &str| snapshot.routes().any(|route| &*route.name == name);
        let is_limit = |name: &str| snapshot.rate_limits.iter().any(|limit| &**limit == name);
        self.limits.put_in_force(&snapshot.limits);
        self.upstreams.lock().retain(|name, _| {
            let named = is_upstream(name);
            if !named {
                self.metrics.retain_servers(name, |_| false);
            }
            named
        });
        if snapshot.acme.is_none() {
            *self.acme.lock() = None;
        }
        if snapshot.telemetry.is_none() {
            *self.telemetry.lock() = None;
        }
        self.concurrency.lock().retain(|route, _| is_route(route));
        let is_cache = |name: &str| snapshot.caches.iter().any(|cache| &*cache.policy.name == name);
        self.caches.release(is_cache, &self.metrics);
        self.metrics.retain(is_route, is_upstream, is_limit);
        let target = snapshot.access_log.as_ref().map(|sink| &sink.target);
        let mut logs = self.logs.lock();
        let closed = logs.extract_if(.., |(open, log)| Some(&*open) != target && !log.is_shared());
        // Closing waits for the writer: elsewhere. A thread that cannot be had costs the last lines of a log.
        let closed: Vec<_> = closed.collect();
        let _ = std::thread::Builder::new().spawn(move || drop(closed));
    }

    /// How the store is that limits share; `None`: they share none.
    #[must_use]
    pub fn store(&self) -> Option<StoreView> {
        self.limits.store().map(|store| store.view())
    }

    /// Returns when it is known whether the store that limits share can be asked; at once if they share none.
    pub async fn store_ready(&self) {
        if let Some(store) = self.limits.store() {
            store.ready().await;
        }
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
        self.audit.reopen();
    }
}

/// What the file says about a pool.
fn settings(upstream: &model::Upstream) -> Settings {
    let health = upstream.health_check.as_ref().map(|check| Thresholds {
        unhealthy_after: check.unhealthy_after,
        healthy_after: check.healthy_after,
    });
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
        hedge_budget: BudgetSettings {
            ratio: upstream.hedge.map_or(0.0, |hedge| hedge.budget),
            ..BudgetSettings::HEDGE
        },
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
        let snapshot = Snapshot::compile(config, 1, &registry)?;
        registry.metrics.config_loaded(1, SystemTime::now());
        registry.release(&snapshot);
        Ok(Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            registry,
        }))
    }

    /// Compiles a configuration that is to replace the one in force. One at a time: the caller sees to it.
    ///
    /// # Errors
    /// [`LoadError`]; everything is as before then.
    pub fn compile(&self, config: Config) -> Result<Snapshot, LoadError> {
        Snapshot::compile(config, self.peek().generation + 1, &self.registry)
    }

    /// From now on this snapshot is in force: requests that begin read it, those that have begun go on with theirs.
    pub fn put_in_force(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let registry = &self.registry;
        registry.metrics.config_loaded(snapshot.generation, SystemTime::now());
        *registry.refused.lock() = None;
        // The old one may be the last to hold a log, whose closing waits: not while the registry has it, too.
        drop(self.snapshot.swap(Arc::clone(&snapshot)));
        registry.release(&snapshot);
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
