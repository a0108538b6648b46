//! What outlives a snapshot: the buckets, the key of their hashes, the connections to a shared store, who is banned, and
//! what was seen by limits that only report.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bandwidth;
use super::reporter::Reporter;
use super::shared::Shared;
use super::{CompiledLimits, Store};
use crate::config::model;
use crate::limit::{Bans, KeyHasher, Local};
use crate::observe::Throttle;
use crate::observe::metrics::Metrics;
use crate::runtime::ClientTls;

/// How often the log tells that clients are banned.
const TELL_BAN: Duration = Duration::from_secs(10);

/// What outlives a snapshot.
pub(in crate::runtime) struct LimitState {
    pub(in crate::runtime) bans: Arc<Bans>,
    pub(super) telling_bans: Arc<Throttle>,
    pub(super) flows: Arc<Local>,
    pub(super) hasher: KeyHasher,
    /// As large as the limits in force want it.
    pub(super) local: Arc<Local>,
    /// The one in force.
    shared: Mutex<Option<(model::Redis, Arc<Shared>)>>,
    reports: Mutex<HashMap<Arc<str>, Arc<Reporter>>>,
}

impl LimitState {
    pub(in crate::runtime) fn new() -> Self {
        Self {
            bans: Arc::default(),
            telling_bans: Arc::new(Throttle::new(TELL_BAN)),
            flows: Arc::new(Local::new(bandwidth::FLOWS)),
            hasher: KeyHasher::random(),
            local: Arc::new(Local::new(0)),
            shared: Mutex::default(),
            reports: Mutex::default(),
        }
    }

    /// These limits are in force now, and no others.
    pub(in crate::runtime) fn put_in_force(&self, limits: &CompiledLimits) {
        if limits.store.is_some() {
            self.local.resize(limits.capacity); // without limits what was counted stays for when there are some again
        }
        self.reports
            .lock()
            .retain(|name, _| limits.each.iter().any(|limit| limit.name == *name));
        let mut shared = self.shared.lock();
        let next = match (&limits.redis, &limits.store) {
            (Some(redis), Some(Store::Shared(store, _))) => Some((redis.clone(), Arc::clone(store))),
            _ => None,
        };
        let before = std::mem::replace(&mut *shared, next);
        if let Some((_, before)) = &before
            && !shared.as_ref().is_some_and(|(_, now)| Arc::ptr_eq(before, now))
        {
            before.unfollow(); // requests may hold it for hours
        }
        if let Some((_, now)) = &*shared {
            now.follow(&self.bans, &self.local);
        }
    }

    /// A shared store: the one that is in force, if the file still says the same.
    pub(super) fn shared(
        &self,
        redis: &model::Redis,
        tls: Option<&Arc<ClientTls>>,
        metrics: &Metrics,
        started: Instant,
    ) -> Arc<Shared> {
        match &*self.shared.lock() {
            Some((same, store)) if same == redis => Arc::clone(store),
            _ => Shared::start(redis, tls, metrics.store(), started),
        }
    }

    /// The shared store that is in force.
    pub(in crate::runtime) fn store(&self) -> Option<Arc<Shared>> {
        self.shared.lock().as_ref().map(|(_, store)| Arc::clone(store))
    }

    pub(super) fn reporter(&self, name: &Arc<str>) -> Arc<Reporter> {
        let mut reports = self.reports.lock();
        Arc::clone(
            reports
                .entry(Arc::clone(name))
                .or_insert_with(|| Arc::new(Reporter::new())),
        )
    }
}
