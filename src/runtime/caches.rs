//! Caches that outlive a reload, by the name of their policy.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;

use crate::answer::Reason;
use crate::cache::store::{Entry, Flights, Store};
use crate::cache::{Key, Policy, Seed};
use crate::observe::metrics::{CacheMetrics, Metrics};

/// A cache that runs.
pub struct RunningCache {
    /// What is kept.
    pub store: Store,
    /// What is being fetched: by key, and by what tells its requests apart.
    pub flights: Arc<Flights<(Key, u64), Landed>>,
    /// Bytes that arrive to be kept.
    pub filling: AtomicU64,
    /// Its counters.
    pub metrics: CacheMetrics,
}

/// What came of a fetch, for everybody who waits for it.
#[derive(Clone)]
pub enum Landed {
    /// An answer to use: new, confirmed, or an old one that is better than the new one.
    Entry {
        /// The answer; its body may be arriving.
        entry: Arc<Entry>,
        /// What the application answered.
        status: StatusCode,
        /// It is kept.
        stored: bool,
        /// Why it is given though the application answered something else.
        instead: Option<&'static str>,
    },
    /// An answer that is for who asked for it only.
    Pass {
        /// Why.
        why: &'static str,
    },
    /// No answer.
    Failed {
        /// What a client would be told.
        reason: Reason,
        /// When it would be told to come back.
        retry_after: Option<Duration>,
    },
}

/// What a route needs of its cache.
#[derive(Clone)]
pub struct RouteCache {
    /// What the file says.
    pub policy: Arc<Policy>,
    /// The cache.
    pub running: Arc<RunningCache>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Caches(Mutex<HashMap<Arc<str>, Arc<RunningCache>>>);

impl Caches {
    /// Lets go of caches that are no longer named, and of what they keep.
    pub(super) fn release(&self, is_named: impl Fn(&str) -> bool, metrics: &Metrics) {
        self.0.lock().retain(|name, _| {
            let named = is_named(name);
            if !named {
                metrics.forget_cache(name);
            }
            named
        });
    }

    /// The cache of a policy: the one that exists, with what it keeps, or a new one.
    pub(super) fn of(&self, policy: &Arc<Policy>, metrics: &Metrics) -> RouteCache {
        let mut caches = self.0.lock();
        let running = caches.entry(Arc::clone(&policy.name)).or_insert_with(|| {
            Arc::new(RunningCache {
                store: Store::new(policy.size, Seed(fastrand::u64(..), fastrand::u64(..))),
                flights: Flights::new(),
                filling: AtomicU64::new(0),
                metrics: metrics.cache(&policy.name),
            })
        });
        running.store.resize(policy.size);
        RouteCache {
            policy: Arc::clone(policy),
            running: Arc::clone(running),
        }
    }
}
