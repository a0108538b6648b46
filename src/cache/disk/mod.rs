//! The disk tier: answers that are there after a restart, and more of them than memory holds.
//!
//! ```text
//! a miss in memory → index (in memory: is it there?) → readers (threads): open, check, give
//! what memory keeps → writer (thread): write beside, rename
//! a purge → purges (in memory: from now on) → keeper (thread): journal, then the files
//! ```
//!
//! What cannot be read as it was written is a miss and deleted. Nothing but the threads here waits for the disk.

mod format;
mod index;
mod journal;
mod keeper;
mod late;
mod line;
mod lookup;
mod name;
mod place;
mod purges;
mod readers;
mod writer;

pub use late::DiskTier;
pub use place::Unusable;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::HeaderMap;
use parking_lot::Mutex;

use self::index::Index;
use self::journal::{Journal, Told};
use self::keeper::Orders;
use self::line::Line;
use self::name::Name;
use self::place::{PARTS, Place};
use self::purges::Purges;
use self::readers::Readers;
use super::store::Target;
use super::tier::{Generation, Held, Lookup, Offer, Report, Settling, Tier};
use super::{Address, Moment, Position, url_digest};
use crate::observe::Throttle;

/// Below this share of its size, in hundredths, what is asked for the first time is written.
const ROOMY: u64 = 80;

/// What a file takes beside the body, about, bytes.
const HEAD: u64 = 4096;

/// Of the failures of one disk, the log tells one in this time.
const COMPLAINT: Duration = Duration::from_secs(10);

/// A disk tier, as long as somebody has this.
pub struct Disk {
    shared: Arc<Shared>,
    readers: Readers,
    followed: Followed,
}

/// Up to where the purges of other gateways concern what is in a directory that is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Nobody knows.
    Unknown,
    /// They are carried out up to here.
    UpTo(Position),
    /// There is nothing that they could concern.
    Empty,
}

struct Shared {
    place: Place,
    size: AtomicU64,
    index: Index,
    purges: Purges,
    /// Every purge is written down, or carried out to the last file.
    is_noted: AtomicBool,
    /// Up to where purges of other gateways were given.
    heard: Mutex<Option<Position>>,
    /// Held while a file takes its place or leaves it. Never by who serves requests.
    commit: Mutex<()>,
    writing: Line,
    orders: Orders,
    counts: Counts,
    complaints: Throttle,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    written: AtomicU64,
    skipped: AtomicU64,
    damaged: AtomicU64,
    failures: AtomicU64,
}

impl Disk {
    /// Takes possession of a directory and begins to read what is in it; answers are given from it at once.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn open(path: &Path, size: u64) -> Result<Arc<Self>, Unusable> {
        let place = Place::take(path)?;
        let fault = |error| Unusable::Io(path.to_owned(), error);
        let (journal, told) = journal(&place).map_err(fault)?;
        if told.is_none() && place.has_entries().map_err(fault)? {
            tracing::warn!(
                path = %path.display(),
                "what was purged of this cache is not known: nothing of it is used any more"
            );
            place.abandon_entries().map_err(fault)?;
        }
        let followed = match &told {
            None => Followed::Empty,
            Some(told) => told.heard.clone().map_or(Followed::Unknown, Followed::UpTo),
        };
        let Told { number, purges, heard } = told.unwrap_or_default();
        let shared = Arc::new(Shared {
            place,
            size: AtomicU64::new(size),
            index: Index::new(),
            purges: Purges::new(number, purges),
            is_noted: AtomicBool::new(true),
            heard: Mutex::new(heard),
            commit: Mutex::default(),
            writing: Line::default(),
            orders: Orders::default(),
            counts: Counts::default(),
            complaints: Throttle::new(COMPLAINT),
        });
        let readers = Readers::start().map_err(fault)?;
        let disk = Self {
            shared: Arc::clone(&shared),
            readers,
            followed,
        };
        let abandoned = shared.place.abandoned();
        start("cache-clear", move || drop(fs::remove_dir_all(abandoned))).map_err(fault)?;
        let (for_writer, for_keeper) = (Arc::clone(&shared), shared);
        start("cache-write", move || writer::run(&for_writer)).map_err(fault)?;
        start("cache-keep", move || keeper::run(&for_keeper, journal)).map_err(fault)?;
        Ok(Arc::new(disk))
    }

    /// Up to where purges of other gateways concerned what was in the directory when it was opened.
    #[must_use]
    pub fn followed(&self) -> Followed {
        self.followed.clone()
    }

    /// From now on its files take at most so many bytes.
    pub fn resize(&self, size: u64) {
        if self.shared.size.swap(size, Relaxed) > size {
            self.shared.orders.look();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.writing.close();
        self.shared.orders.close();
    }
}

impl Tier for Disk {
    fn word(&self) -> &'static str {
        "disk"
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn may_have(&self, address: &Address) -> bool {
        self.shared.index.may_have(*address)
    }

    fn lookup(&self, address: Address, request: &HeaderMap) -> BoxFuture<'static, Lookup> {
        let (shared, readers, request) = (Arc::clone(&self.shared), self.readers.clone(), request.clone());
        Box::pin(async move {
            let (with, by) = (Arc::clone(&shared), readers.clone());
            let found = readers
                .try_read(move || lookup::look(&with, &by, address, &request))
                .await;
            let found = found.unwrap_or(Lookup::Others); // too many wait: there may be one
            let count = match &found {
                Lookup::Entry(_) => &shared.counts.hits,
                Lookup::Others | Lookup::Nothing => &shared.counts.misses,
            };
            count.fetch_add(1, Relaxed);
            found
        })
    }

    fn generation(&self) -> Generation {
        Generation {
            series: 0,
            number: self.shared.purges.number(),
        }
    }

    fn offer(&self, offer: Offer) {
        let Shared {
            index, size, counts, ..
        } = &*self.shared;
        let weight = offer.entry.body.length().unwrap_or(u64::MAX).saturating_add(HEAD);
        let size = size.load(Relaxed);
        let roomy = index.weight().saturating_add(weight).saturating_mul(100) <= size.saturating_mul(ROOMY);
        let wanted = weight <= size / 2 && (roomy || offer.asked >= 2);
        if !wanted || !self.shared.writing.push(offer) {
            counts.skipped.fetch_add(1, Relaxed);
        }
    }

    fn purge(&self, target: &Target, soft: Option<Moment>) -> Option<Settling> {
        match target {
            Target::Key(_) => return None,
            // What is about to be written is looked at again when it is: see `Offer::is_purged`.
            Target::Url(url) if !url.starts_with('/') && !self.shared.index.may_have_url(url_digest(url)) => {
                return None;
            }
            Target::Url(_) | Target::Prefix(_) | Target::Tag(_) | Target::All => {}
        }
        let purge = self.shared.purges.add(target.clone(), soft);
        Some(self.shared.orders.give(purge))
    }

    fn heard(&self, position: &Position) {
        let mut heard = self.shared.heard.lock();
        if heard.as_ref() != Some(position) {
            *heard = Some(position.clone());
            self.shared.orders.heard(position);
        }
    }

    fn used(&self, address: &Address) {
        self.shared.index.used(*address);
    }

    fn report(&self) -> Report {
        let Shared {
            index, size, counts, ..
        } = &*self.shared;
        let (entries, evicted) = index.counts();
        Report {
            held: Some(Held {
                entries,
                bytes: index.weight(),
                size: size.load(Relaxed),
                evicted,
            }),
            hits: counts.hits.load(Relaxed),
            misses: counts.misses.load(Relaxed),
            written: counts.written.load(Relaxed),
            skipped: counts.skipped.load(Relaxed),
            damaged: counts.damaged.load(Relaxed),
            failures: counts.failures.load(Relaxed),
        }
    }
}

impl Shared {
    /// Reads a directory that was not read yet.
    fn know(&self, part: usize) {
        if self.index.is_known(part) {
            return;
        }
        let files = self.place.list(part).unwrap_or_else(|error| {
            self.fail("cannot be listed", &error);
            Vec::new()
        });
        self.index.found(part, files);
    }

    /// Takes out a file.
    fn discard(&self, name: &Name) {
        let commit = self.commit.lock();
        self.discard_now(name);
        drop(commit);
    }

    /// The same for who holds `commit`.
    fn discard_now(&self, name: &Name) {
        self.index.remove(name);
        match fs::remove_file(self.place.entry(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.fail("cannot be deleted", &error),
            _ => {}
        }
    }

    /// Takes out a file that is not what was written.
    fn damaged(&self, name: &Name) {
        self.counts.damaged.fetch_add(1, Relaxed);
        if self.complaints.admit(Instant::now()).is_some() {
            tracing::warn!(
                file = %self.place.entry(name).display(),
                "an answer on disk is damaged: it is deleted, and fetched when it is asked for"
            );
        }
        self.discard(name);
    }

    /// Has files leave until so many bytes more have room.
    fn make_room(&self, more: u64) {
        loop {
            let commit = self.commit.lock();
            let most = self.size.load(Relaxed).saturating_sub(more);
            let Some(name) = self.index.evict(most) else { return };
            self.discard_now(&name);
            drop(commit);
        }
    }

    /// A disk is full that should have had room: this cache makes do with so much less than it has.
    fn make_less(&self, less: u64) {
        let size = self.size.load(Relaxed);
        self.make_room(size.saturating_sub(self.index.weight().saturating_sub(less)));
    }

    /// Something of the disk failed: what is not kept is fetched.
    fn fail(&self, what: &str, error: &io::Error) {
        self.counts.failures.fetch_add(1, Relaxed);
        if self.complaints.admit(Instant::now()).is_some() {
            tracing::warn!(
                path = %self.place.root().display(), %error,
                "an answer on disk {what}; requests are served without"
            );
        }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Opens the journal. On a disk that is full it makes room for it first.
fn journal(place: &Place) -> io::Result<(Journal, Option<Told>)> {
    for part in 0..PARTS {
        match Journal::open(place) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                for (name, _) in place.list(part)? {
                    fs::remove_file(place.entry(&name))?;
                }
            }
            opened => return opened,
        }
    }
    Journal::open(place)
}

#[cfg(test)]
mod tests;
