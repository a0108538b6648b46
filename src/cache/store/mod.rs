//! Where answers are kept: in memory, in as many parts as there may be threads that ask at a time.

mod body;
mod changes;
mod entry;
mod flight;
mod forms;
mod shard;
mod sketch;

pub use body::{Body, Broken, Parts, Reader};
pub use changes::{Since, Target, path_of};
pub use entry::{Entry, Fields};
pub use flight::{Flight, Flights, Joined, Lead};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;

use self::changes::Changes;
use self::shard::{Gone, Shard};
use self::sketch::Sketch;
use super::{Key, Moment, Seed, UrlKey};

/// Parts; a power of two.
const SHARDS: usize = 16;

/// How long it is remembered that answers of a URL are not kept.
pub const PASS: Duration = Duration::from_secs(120);

/// Below this share of its size, in hundredths, the store keeps what is asked for the first time.
const ROOMY: u64 = 80;

/// The answers of one `[cache.NAME]`.
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    asked: Sketch,
    changes: Arc<Changes>,
    seed: Seed,
    size: AtomicU64,
    weight: AtomicU64,
    entries: AtomicU64,
    evicted: AtomicU64,
    hand: AtomicUsize,
}

/// What there is for a request.
pub enum Found {
    /// An answer for it.
    Entry(Arc<Entry>),
    /// Answers for other requests of the same URL; one of them.
    Others(Arc<Entry>),
    /// Nothing.
    Nothing,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Answers.
    pub entries: u64,
    /// What they take, bytes.
    pub bytes: u64,
    /// Answers that left for others, since the start.
    pub evicted: u64,
}

impl Store {
    /// An empty store that takes at most so many bytes. The seed makes its hashes unforeseeable.
    #[must_use]
    pub fn new(size: u64, seed: Seed) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            asked: Sketch::new(),
            changes: Arc::default(),
            seed,
            size: AtomicU64::new(size),
            weight: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// What keys are hashed with.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// From now on it takes at most so many bytes.
    pub fn resize(&self, size: u64) {
        self.size.store(size, Relaxed);
        self.make_room();
    }

    /// What it holds.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        Holdings {
            entries: self.entries.load(Relaxed),
            bytes: self.weight.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
        }
    }

    /// The answer for a request; of several the one with the latest `Date` (RFC 9111 §4).
    #[must_use]
    pub fn find(&self, key: &Key, request: &HeaderMap) -> Found {
        let (first, others) = self.shard(key.url).lock().variants(key.url, key.extra);
        // The comparison is made without the lock.
        let Some(first) = first else { return Found::Nothing };
        let latest = |entry: &Arc<Entry>| (entry.selector.is_encoded(), entry.terms.date, entry.terms.since);
        let mut found: Option<&Arc<Entry>> = None;
        for entry in std::iter::once(&first).chain(&others) {
            if entry.selector.selects(request) && found.is_none_or(|found| latest(found) <= latest(entry)) {
                found = Some(entry);
            }
        }
        match found {
            Some(entry) => {
                entry.touch();
                Found::Entry(Arc::clone(entry))
            }
            None => Found::Others(first),
        }
    }

    /// All answers of a URL, whatever tells their requests apart.
    #[must_use]
    pub fn entries(&self, url: UrlKey) -> Vec<Arc<Entry>> {
        self.shard(url).lock().entries(url)
    }

    /// Whether answers to requests of this key were not kept a moment ago: each goes its own way then.
    #[must_use]
    pub fn passes(&self, key: &Key, now: Moment) -> bool {
        self.shard(key.url).lock().passes(key.url, key.extra, now)
    }

    /// Remembers for [`PASS`] that answers to requests of this key are not kept.
    pub fn let_pass(&self, key: &Key, now: Moment) {
        self.shard(key.url).lock().let_pass(key.url, key.extra, now.plus(PASS));
    }

    /// Counts that a key was asked for and not found; how often it was, about.
    pub fn miss(&self, key: &Key) -> u8 {
        self.asked.count(key.url.0 ^ u128::from(key.extra.0))
    }

    /// To be taken before an answer is asked for, and given to [`keep`](Self::keep).
    #[must_use]
    pub fn since(&self) -> Since {
        Since {
            count: self.changes.count(),
            changes: Arc::clone(&self.changes),
        }
    }

    /// Whether an answer of about this weight would be kept that was asked for so often.
    #[must_use]
    pub fn admits(&self, weight: u64, asked: u8) -> bool {
        let size = self.size.load(Relaxed);
        let roomy =
            (self.weight.load(Relaxed).saturating_add(weight)).saturating_mul(100) <= size.saturating_mul(ROOMY);
        weight <= size / 2 && (roomy || asked >= 2)
    }

    /// Keeps an answer in place of those to the same request. `false`: something was changed since the answer was asked
    /// for ([`since`](Self::since)), and it is not kept.
    pub fn keep(&self, key: &Key, request: &HeaderMap, entry: Arc<Entry>, asked: u8, since: &Since) -> bool {
        {
            let mut shard = self.shard(key.url).lock();
            // Under the lock: a purge notes itself before it looks for what it means.
            if since.changed(key.url, &entry.url, &entry.tags) {
                return false;
            }
            let before = entry.weight();
            let gone = shard.insert(key.url, entry, asked >= 2, |other| other.selector.selects(request));
            self.weight.fetch_add(before, Relaxed);
            self.entries.fetch_add(1, Relaxed);
            self.left(gone);
        }
        self.make_room();
        true
    }

    /// Puts an entry in the place of another one with the same body, unless something was changed.
    pub fn exchange(&self, key: &Key, old: &Arc<Entry>, new: Arc<Entry>, since: &Since) -> bool {
        let mut shard = self.shard(key.url).lock();
        !since.changed(key.url, &new.url, &new.tags) && shard.exchange(key.url, old, new)
    }

    /// Takes out one answer.
    pub fn forget(&self, key: &Key, entry: &Arc<Entry>) {
        let gone = self.shard(key.url).lock().forget(key.url, entry);
        self.left(gone);
    }

    /// The body of a stored answer takes more memory than when it was stored.
    pub fn reweigh(&self, key: &Key, body: &Arc<Body>) {
        let more = self.shard(key.url).lock().reweigh(key.url, body);
        self.weight.fetch_add(more, Relaxed);
        self.make_room();
    }

    /// Purges; how many answers were meant. Soft (`Some(now)`): they are stale from now on.
    pub fn purge(&self, target: &Target, soft: Option<Moment>) -> u64 {
        self.changes.note(target.clone());
        let mut all = 0;
        let only = match target {
            Target::Key(key) => Some(self.place(*key)),
            _ => None,
        };
        for (place, shard) in self.shards.iter().enumerate() {
            if only.is_some_and(|only| only != place) {
                continue;
            }
            let (meant, gone) = shard.lock().purge(target, soft);
            all += meant;
            self.left(gone);
        }
        all
    }

    /// Something was purged, and nobody knows what: every answer is asked about before it is used again.
    pub fn doubt(&self, now: Moment) {
        self.changes.note(Target::All);
        self.shards.iter().for_each(|shard| shard.lock().doubt(now));
    }

    fn make_room(&self) {
        let mut empty = 0;
        while self.weight.load(Relaxed) > self.size.load(Relaxed) && empty < SHARDS {
            let place = self.hand.fetch_add(1, Relaxed) % SHARDS;
            let evicted = self.shards[place].lock().evict();
            match evicted {
                Some(gone) => {
                    empty = 0;
                    self.evicted.fetch_add(gone.entries, Relaxed);
                    self.left(gone);
                }
                None => empty += 1,
            }
        }
    }

    fn left(&self, gone: Gone) {
        self.weight.fetch_sub(gone.weight, Relaxed);
        self.entries.fetch_sub(gone.entries, Relaxed);
    }

    fn place(&self, url: UrlKey) -> usize {
        // Other bits than the table within the shard goes by.
        usize::try_from(url.0 >> 124).unwrap_or(0) % SHARDS
    }

    fn shard(&self, url: UrlKey) -> &Mutex<Shard> {
        &self.shards[self.place(url)]
    }
}

#[cfg(test)]
mod tests;
