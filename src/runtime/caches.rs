//! Caches that outlive a reload, by the name of their policy.

mod tiers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use parking_lot::Mutex;

use super::ClientTls;
use super::sharing::{RedisTier, Sharing};
use crate::answer::Reason;
use crate::cache::disk::DiskTier;
use crate::cache::store::{Entry, Flights, Since, Store, Target};
use crate::cache::{Address, Asked, Extra, Generation, Key, Moment, Offer, Policy, Position, Seed, Settling, Tier};
use crate::config::model;
use crate::observe::metrics::{CacheMetrics, Metrics};

pub(super) use tiers::Disks;

/// How long who purges waits for the tiers.
const SETTLING: Duration = Duration::from_secs(1);

/// A cache that runs.
pub struct RunningCache {
    /// What is kept.
    pub store: Store,
    /// What is being fetched: by key, and by what tells its requests apart.
    pub flights: Arc<Flights<(Key, u64), Landed>>,
    /// What is being looked up in the tiers behind memory.
    pub lookups: Arc<Flights<Address, Behind>>,
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

/// What the tiers behind memory have for a request.
#[derive(Clone)]
pub enum Behind {
    /// An answer.
    Entry {
        /// The answer.
        entry: Arc<Entry>,
        /// The word of the tier that had it.
        tier: &'static str,
    },
    /// Answers for other requests.
    Others,
    /// Nothing for anybody.
    Nothing,
}

/// What a route needs of its cache.
#[derive(Clone)]
pub struct RouteCache {
    /// What the file says.
    pub policy: Arc<Policy>,
    /// The cache.
    pub running: Arc<RunningCache>,
    /// The parts of the key beside the URL; `None`: they differ from request to request.
    pub extra: Option<Extra>,
    /// What is shared with other gateways; `None`: nothing.
    pub sharing: Option<Arc<Sharing>>,
    /// What there is behind memory, in the order in which it is asked.
    pub tiers: Arc<[Arc<dyn Tier>]>,
}

/// What a purge came to.
#[must_use]
#[derive(Default)]
pub struct Purged {
    /// Answers in memory that were meant.
    pub count: u64,
    settling: Vec<Settling>,
}

impl RouteCache {
    /// Purges what is meant, in memory, in every tier and at the other gateways; counted. Soft (`Some(now)`): it is stale
    /// from now on.
    pub fn purge(&self, target: &Target, soft: Option<Moment>) -> Purged {
        let _purging = self.tell(|| target.clone(), soft);
        self.purge_here(target, soft)
    }

    /// Purges the answers of one URL: all of them, whatever tells their requests apart.
    pub fn purge_url(&self, asked: &Asked<'_>, soft: Option<Moment>) -> Purged {
        let _purging = self.tell(|| Target::Url(asked.url()), soft);
        self.purge_url_here(asked, soft)
    }

    pub(super) fn purge_here(&self, target: &Target, soft: Option<Moment>) -> Purged {
        let count = self.running.store.purge(target, soft);
        self.running.metrics.purged(count);
        Purged {
            count,
            settling: self.tiers.iter().filter_map(|tier| tier.purge(target, soft)).collect(),
        }
    }

    pub(super) fn purge_url_here(&self, asked: &Asked<'_>, soft: Option<Moment>) -> Purged {
        let store = &self.running.store;
        let count = store.purge(&Target::Key(asked.url_key(store.seed())), soft);
        self.running.metrics.purged(count);
        Purged {
            count,
            settling: self.purge_tiers(|| asked.url(), soft),
        }
    }

    /// Takes out one answer, which is none any more: from memory, and with its URL from every tier.
    pub fn forget(&self, key: &Key, entry: &Arc<Entry>) -> Purged {
        let shared = self.tiers.iter().any(|tier| tier.is_shared());
        let _purging = shared.then(|| self.tell(|| Target::Url(entry.url.to_string()), None));
        self.running.store.forget(key, entry);
        Purged {
            count: 1,
            settling: self.purge_tiers(|| entry.url.to_string(), None),
        }
    }

    fn purge_tiers(&self, url: impl FnOnce() -> String, soft: Option<Moment>) -> Vec<Settling> {
        if self.tiers.is_empty() {
            return Vec::new();
        }
        let target = Target::Url(url());
        self.tiers.iter().filter_map(|tier| tier.purge(&target, soft)).collect()
    }

    /// To be taken before an answer is asked for.
    #[must_use]
    pub fn begin(&self) -> Begun {
        Begun {
            since: self.running.store.since(),
            generations: self.tiers.iter().map(|tier| tier.generation()).collect(),
        }
    }

    /// Offers an answer that memory keeps to the tiers.
    pub fn offer(&self, key: &Key, address: Address, entry: &Arc<Entry>, asked: u8, begun: &Begun) {
        for (tier, generation) in self.tiers.iter().zip(&begun.generations) {
            tier.offer(Offer {
                address,
                entry: Arc::clone(entry),
                asked,
                generation: *generation,
                key: key.url,
                since: begun.since.clone(),
            });
        }
    }
}

/// When an answer was asked for, in the sequence of purges.
pub struct Begun {
    /// As memory counts.
    pub since: Since,
    /// As each tier counts.
    generations: Box<[Generation]>,
}

impl Purged {
    /// Two purges as one.
    pub fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        self.settling.extend(other.settling);
        self
    }

    /// Whether there is anything to be waited for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settling.is_empty()
    }

    /// Waits until no restart can bring back what was purged, for [`SETTLING`] at most; `false`: one could.
    pub async fn settled(self) -> bool {
        if self.settling.is_empty() {
            return true;
        }
        let all = tokio::time::timeout(SETTLING, join_all(self.settling)).await;
        all.is_ok_and(|all| all.into_iter().all(|settled| settled.unwrap_or(false)))
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Caches {
    running: Mutex<HashMap<Arc<str>, Arc<RunningCache>>>,
    /// Directories in use: as long as a snapshot has a tier there.
    disks: Mutex<HashMap<PathBuf, Weak<DiskTier>>>,
    /// Answers that are shared with other gateways, by the name of their policy.
    redis: Mutex<HashMap<Arc<str>, Weak<RedisTier>>>,
    /// Directories of the process that this one takes the place of.
    inherited: Mutex<Vec<PathBuf>>,
    /// A configuration has been compiled.
    has_begun: AtomicBool,
    /// Up to where purges of other gateways are carried out on all disks with which this process began.
    followed: Mutex<Option<Position>>,
    /// What is shared with other gateways.
    sharing: Mutex<Option<Arc<Sharing>>>,
}

impl Caches {
    /// Lets go of caches that are no longer named, and of what they keep.
    pub(super) fn release(&self, is_named: impl Fn(&str) -> bool, metrics: &Metrics) {
        self.disks.lock().retain(|_, disk| disk.strong_count() > 0);
        self.redis.lock().retain(|_, redis| redis.strong_count() > 0);
        self.running.lock().retain(|name, _| {
            let named = is_named(name);
            if !named {
                metrics.forget_cache(name);
            }
            named
        });
    }

    /// What is shared with other gateways: what is shared already, if the file still says the same.
    pub(super) fn share(&self, redis: Option<(model::Redis, Option<Arc<ClientTls>>)>) -> Option<Arc<Sharing>> {
        let mut sharing = self.sharing.lock();
        // Of use at the start only: later, memory keeps something, too.
        let from = self.followed.lock().take();
        let Some((model, tls)) = redis else {
            *sharing = None;
            return None;
        };
        match &*sharing {
            Some(same) if same.model == model => Some(Arc::clone(same)),
            _ => Some(Arc::clone(sharing.insert(Sharing::new(model, tls.as_ref(), from)))),
        }
    }

    /// The cache of a policy: the one that exists, with what it keeps, or a new one.
    pub(super) fn of(
        &self,
        policy: &Arc<Policy>,
        route: &str,
        disks: &Disks,
        sharing: Option<&Arc<Sharing>>,
        metrics: &Metrics,
    ) -> RouteCache {
        let mut caches = self.running.lock();
        let running = caches.entry(Arc::clone(&policy.name)).or_insert_with(|| {
            Arc::new(RunningCache {
                store: Store::new(policy.size, Seed(fastrand::u64(..), fastrand::u64(..))),
                flights: Flights::new(),
                lookups: Flights::new(),
                filling: AtomicU64::new(0),
                metrics: metrics.cache(&policy.name),
            })
        });
        running.store.resize(policy.size);
        let disk = disks.get(&policy.name);
        if let (Some(disk), Some(model)) = (disk, &policy.disk) {
            disk.resize(model.size);
        }
        RouteCache {
            policy: Arc::clone(policy),
            extra: policy.key.constant(running.store.seed(), route),
            running: Arc::clone(running),
            sharing: sharing.cloned(),
            // What is near is asked first.
            tiers: (disk.map(|disk| Arc::clone(disk) as Arc<dyn Tier>).into_iter())
                .chain(self.redis(policy, sharing).map(|redis| redis as Arc<dyn Tier>))
                .collect(),
        }
    }
}
