//! What requests read: the snapshot, compiled once from the model; and what outlives it.

pub mod discovery;
pub mod prober;
mod snapshot;

pub use snapshot::{Action, Route, Snapshot, Upstream};

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::balance::{Pool, Settings, Strategy, Thresholds};
use crate::config::model::{self, Config, LogTarget};
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;

/// What outlives a snapshot, found by name: counters, servers and their health, the access log.
pub struct Registry {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// When the process began to serve.
    pub started: Instant,
    draining: AtomicBool,
    generation: AtomicU64,
    pools: Mutex<HashMap<Arc<str>, Arc<Pool>>>,
    logs: Mutex<Vec<(LogTarget, AccessLog)>>,
}

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
            logs: Mutex::default(),
        })
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
        let settings = Settings {
            strategy: Strategy::RoundRobin,
            health,
        };
        let mut pools = self.pools.lock();
        let pool = match pools.get(&upstream.name) {
            Some(pool) if *pool.settings() == settings => Arc::clone(pool),
            Some(pool) => Arc::new(pool.successor(settings)),
            None => Arc::new(Pool::new(Arc::clone(&upstream.name), settings)),
        };
        pools.insert(Arc::clone(&upstream.name), Arc::clone(&pool));
        pool
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
    /// The access log cannot be opened.
    pub fn new(config: Config, registry: Arc<Registry>) -> io::Result<Arc<Self>> {
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
