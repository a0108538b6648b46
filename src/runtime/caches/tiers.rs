//! What there is behind memory: directories in use, and answers that are kept in the Redis that gateways share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::Caches;
use crate::cache::disk::{DiskTier, Followed, Unusable};
use crate::cache::store::Target;
use crate::cache::{Policy, Position, Tier as _};
use crate::runtime::LoadError;
use crate::runtime::sharing::{RedisTier, Sharing};

/// The disk tiers of a configuration, by the name of their policy.
pub(in crate::runtime) type Disks = HashMap<Arc<str>, Arc<DiskTier>>;

impl Caches {
    /// The disk tiers that policies name: those that are in use, or new ones.
    pub(in crate::runtime) fn disks<'a>(
        &self,
        policies: impl Iterator<Item = &'a Arc<Policy>>,
    ) -> Result<Disks, LoadError> {
        let mut open = self.disks.lock();
        let mut named = Disks::new();
        for policy in policies {
            let (name, Some(model)) = (&policy.name, &policy.disk) else {
                continue;
            };
            if named.contains_key(name) {
                continue;
            }
            let disk = match open.get(&model.path).and_then(Weak::upgrade) {
                Some(disk) => disk,
                None => self.open(model).map_err(|why| LoadError::Disk {
                    name: Arc::clone(name),
                    path: model.path.clone(),
                    why,
                })?,
            };
            open.insert(model.path.clone(), Arc::downgrade(&disk));
            named.insert(Arc::clone(name), disk);
        }
        if !self.has_begun.swap(true, Relaxed) {
            *self.followed.lock() = followed(named.values().map(|disk| disk.followed()));
        }
        Ok(named)
    }

    /// The answers of a policy that are shared: what is there already, if it is kept in the same Redis.
    pub(super) fn redis(&self, policy: &Policy, sharing: Option<&Arc<Sharing>>) -> Option<Arc<RedisTier>> {
        let (model, sharing) = (policy.redis.as_ref()?, sharing?);
        let mut tiers = self.redis.lock();
        let known = tiers.get(&policy.name).and_then(Weak::upgrade);
        let known = known.filter(|tier| tier.is_of(sharing));
        let tier = known.unwrap_or_else(|| RedisTier::new(sharing, &policy.name));
        sharing.want_answers();
        tier.resize(model.max_object);
        tiers.insert(Arc::clone(&policy.name), Arc::downgrade(&tier));
        Some(tier)
    }

    fn open(&self, model: &crate::cache::Disk) -> Result<Arc<DiskTier>, Unusable> {
        let disk = if self.inherited.lock().contains(&model.path) {
            DiskTier::open_after(&model.path, model.size)?
        } else {
            DiskTier::open(&model.path, model.size)?
        };
        if self.has_begun.load(Relaxed) {
            // Nobody told it what was purged while this process served without.
            drop(disk.purge(&Target::All, None));
        }
        Ok(disk)
    }

    /// Directories that are in use.
    pub(in crate::runtime) fn directories(&self) -> Vec<PathBuf> {
        self.disks.lock().keys().cloned().collect()
    }

    /// These are held by a process that this one takes the place of, until it ends.
    pub(in crate::runtime) fn inherit(&self, directories: &[PathBuf]) {
        *self.inherited.lock() = directories.to_vec();
    }
}

/// The point up to which the purges of other gateways are carried out on all of these; `None`: nobody knows.
fn followed(disks: impl Iterator<Item = Followed>) -> Option<Position> {
    let mut all: Option<Position> = None;
    for disk in disks {
        match (disk, &all) {
            (Followed::Empty, _) => {}
            (Followed::UpTo(here), None) => all = Some(here),
            (Followed::UpTo(here), Some(other)) if here.epoch == other.epoch => {
                let generation = here.generation.min(other.generation);
                all = Some(Position { generation, ..here });
            }
            (Followed::UpTo(_) | Followed::Unknown, _) => return None,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_heard_least_decides() {
        let at = |epoch: &str, generation| Position {
            epoch: epoch.into(),
            generation,
        };
        let up_to = |epoch, generation| Followed::UpTo(at(epoch, generation));
        for (disks, expected) in [
            (vec![], None),
            (vec![Followed::Empty], None),
            (vec![up_to("a", 7), Followed::Empty], Some(at("a", 7))),
            (vec![up_to("a", 7), up_to("a", 5)], Some(at("a", 5))),
            (vec![up_to("a", 7), up_to("b", 7)], None),
            (vec![up_to("a", 7), Followed::Unknown], None),
        ] {
            assert_eq!(followed(disks.into_iter()), expected);
        }
    }
}
