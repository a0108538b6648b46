//! One key of one limit, for operators: where it stands, and an end to it.

use std::sync::Arc;

use super::shared::{Shared, SharedKey};
use super::store::Store;
use super::{CompiledLimits, Limit};
use crate::limit::{Bucket, Charge, Count, Key, Level, Local, Unnamed};
use crate::runtime::Snapshot;

/// One key of one limit.
pub struct LimitKey {
    limit: Arc<Limit>,
    key: Key,
    store: Store,
}

/// Why there is no such key.
#[derive(Debug)]
pub enum KeyFault {
    /// There is no such limit; these there are.
    Limit(Vec<Arc<str>>),
    /// The key of the limit has these parts.
    Parts(Vec<String>),
    /// This part should be an address.
    Address(String),
}

/// Where a key stands.
#[derive(Debug)]
pub struct KeyState {
    /// How many units there may be.
    pub capacity: u32,
    /// How many there are, and when there will be more.
    pub level: Level,
    /// What is known where gateways count together; `None`: this process counts by itself.
    pub shared: Option<SharedState>,
}

/// What is known of a key that gateways share.
#[derive(Debug)]
pub enum SharedState {
    /// The store tells where it stands.
    Store {
        /// Units that this gateway has on lease: they are taken from the bucket, and may be spent.
        leased: u32,
        /// For how long this gateway refuses it without asking, nanoseconds.
        refused_for: u64,
    },
    /// The store cannot be asked, for this reason: what is told is this gateway's part.
    Unreachable(String),
}

impl Snapshot {
    /// One key of a rate limit, by the limit's name and the parts of the key.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn limit_key(&self, limit: &str, parts: &[String]) -> Result<LimitKey, KeyFault> {
        self.limits.key(limit, parts)
    }
}

impl CompiledLimits {
    fn key(&self, name: &str, parts: &[String]) -> Result<LimitKey, KeyFault> {
        let names = || self.each.iter().map(|limit| Arc::clone(&limit.name)).collect();
        let known = self.each.iter().find(|limit| &*limit.name == name);
        let (Some(limit), Some(store)) = (known, &self.store) else {
            return Err(KeyFault::Limit(names()));
        };
        let policy = &limit.policy;
        let key = policy
            .key
            .named(&self.hasher.of(&policy.name), parts)
            .map_err(|unnamed| {
                let sources = &policy.key.sources;
                match unnamed {
                    Unnamed::Parts => KeyFault::Parts(sources.iter().map(ToString::to_string).collect()),
                    Unnamed::Address(place) => KeyFault::Address(sources[place].to_string()),
                }
            })?;
        Ok(LimitKey {
            limit: Arc::clone(limit),
            key,
            store: store.clone(),
        })
    }
}

impl LimitKey {
    /// Where it stands. `now`: nanoseconds since the process began.
    pub async fn state(&self, now: u64) -> KeyState {
        let bucket = self.limit.policy.bucket;
        match &self.store {
            Store::Local(local) => self.here(local, bucket, 0, now, None),
            Store::Shared(shared, local) => match shared.look(&self.charge()).await {
                Ok(SharedKey {
                    level,
                    leased,
                    refused_for,
                }) => KeyState {
                    capacity: bucket.capacity(),
                    level,
                    shared: Some(SharedState::Store { leased, refused_for }),
                },
                Err(why) => self.part(shared, local, now, why),
            },
        }
    }

    /// Begins it anew.
    ///
    /// # Errors
    /// Why the store that gateways share cannot be told, in words; in this process it has begun anew.
    pub async fn reset(&self) -> Result<(), String> {
        match &self.store {
            Store::Local(local) => {
                local.forget(self.key.id);
                Ok(())
            }
            Store::Shared(shared, local) => {
                local.forget(self.key.id);
                shared.reset(&self.charge()).await
            }
        }
    }

    fn part(&self, shared: &Shared, local: &Local, now: u64, why: String) -> KeyState {
        let bucket = self.limit.policy.bucket.share(shared.gateways());
        let known = shared.tat(&self.charge());
        self.here(local, bucket, known, now, Some(SharedState::Unreachable(why)))
    }

    /// What this process has counted. `known`: the state as a store told it last.
    fn here(&self, local: &Local, bucket: Bucket, known: u64, now: u64, shared: Option<SharedState>) -> KeyState {
        let (tat, held) = local.look(self.key.id);
        let mut tat = tat.max(known);
        if self.limit.policy.count == Count::Failures && held > 0 {
            tat = bucket.charge(tat, now, held);
        }
        KeyState {
            capacity: bucket.capacity(),
            level: bucket.look(tat, now),
            shared,
        }
    }

    fn charge(&self) -> Charge<'_> {
        Charge {
            policy: &self.limit.policy,
            key: self.key,
            cost: 1,
        }
    }
}
