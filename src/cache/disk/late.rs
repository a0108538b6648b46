//! A disk tier whose directory a process that ends still holds: until it has ended there is no disk, and what is purged
//! meanwhile is carried out then.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Disk, Followed, Unusable};
use crate::cache::store::Target;
use crate::cache::tier::{Generation, Lookup, Offer, Report, Settling, Tier};
use crate::cache::{Address, Moment, Position};

/// From one try to the next.
const AGAIN: Duration = Duration::from_millis(250);

/// More purges that wait than this are one of everything.
const MOST: usize = 1024;

/// A disk tier that is there, or is going to be.
pub struct DiskTier {
    disk: OnceLock<Arc<Disk>>,
    size: AtomicU64,
    /// What was purged while it was not there; `None`: it is.
    missed: Mutex<Option<Missed>>,
}

type Missed = Vec<(Target, Option<Moment>)>;

impl DiskTier {
    /// Takes possession of a directory, now.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn open(path: &Path, size: u64) -> Result<Arc<Self>, Unusable> {
        let tier = Arc::new(Self::waiting(size));
        tier.begin(Disk::open(path, size)?);
        Ok(tier)
    }

    /// Takes possession of a directory that another process may hold which is about to end.
    ///
    /// # Errors
    /// [`Unusable`], for another reason than that.
    pub fn open_after(path: &Path, size: u64) -> Result<Arc<Self>, Unusable> {
        match Self::open(path, size) {
            Err(Unusable::InUse(_)) => {}
            opened => return opened,
        }
        let tier = Arc::new(Self::waiting(size));
        let (waiting, path) = (Arc::downgrade(&tier), path.to_owned());
        thread::Builder::new()
            .name("cache-wait".to_owned())
            .spawn(move || wait(&waiting, &path))
            .map_err(|error| Unusable::Io(PathBuf::new(), error))?;
        Ok(tier)
    }

    fn waiting(size: u64) -> Self {
        Self {
            disk: OnceLock::new(),
            size: AtomicU64::new(size),
            missed: Mutex::new(Some(Missed::new())),
        }
    }

    fn begin(&self, disk: Arc<Disk>) {
        let mut missed = self.missed.lock();
        for (target, soft) in missed.take().unwrap_or_default() {
            drop(disk.purge(&target, soft));
        }
        disk.resize(self.size.load(Relaxed));
        let _ = self.disk.set(disk);
    }

    /// Up to where purges of other gateways concerned what was in the directory when it was opened.
    #[must_use]
    pub fn followed(&self) -> Followed {
        self.disk.get().map_or(Followed::Unknown, |disk| disk.followed())
    }

    /// From now on its files take at most so many bytes.
    pub fn resize(&self, size: u64) {
        self.size.store(size, Relaxed);
        if let Some(disk) = self.disk.get() {
            disk.resize(size);
        }
    }
}

fn wait(waiting: &Weak<DiskTier>, path: &Path) {
    loop {
        thread::sleep(AGAIN);
        let Some(tier) = waiting.upgrade() else { return };
        match Disk::open(path, tier.size.load(Relaxed)) {
            Ok(disk) => return tier.begin(disk),
            Err(Unusable::InUse(_)) => {}
            Err(why) => {
                return tracing::warn!(path = %path.display(), "answers are kept in memory only: {why}");
            }
        }
    }
}

impl Tier for DiskTier {
    fn word(&self) -> &'static str {
        "disk"
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn may_have(&self, address: &Address) -> bool {
        self.disk.get().is_some_and(|disk| disk.may_have(address))
    }

    fn lookup(&self, address: Address, request: &HeaderMap) -> BoxFuture<'static, Lookup> {
        match self.disk.get() {
            Some(disk) => disk.lookup(address, request),
            None => Box::pin(std::future::ready(Lookup::Nothing)),
        }
    }

    fn generation(&self) -> Generation {
        self.disk
            .get()
            .map_or_else(Generation::default, |disk| disk.generation())
    }

    fn offer(&self, offer: Offer) {
        if let Some(disk) = self.disk.get() {
            disk.offer(offer);
        }
    }

    fn purge(&self, target: &Target, soft: Option<Moment>) -> Option<Settling> {
        if let Some(missed) = &mut *self.missed.lock() {
            if missed.len() >= MOST {
                *missed = vec![(Target::All, None)];
            }
            missed.push((target.clone(), soft));
            // Whoever orders it is told that it is not lasting yet.
            return (!matches!(target, Target::Url(_))).then(|| oneshot::channel().1);
        }
        self.disk.get()?.purge(target, soft)
    }

    fn heard(&self, position: &Position) {
        if let Some(disk) = self.disk.get() {
            disk.heard(position);
        }
    }

    fn used(&self, address: &Address) {
        if let Some(disk) = self.disk.get() {
            disk.used(address);
        }
    }

    fn report(&self) -> Report {
        self.disk.get().map_or_else(Report::default, |disk| disk.report())
    }
}
