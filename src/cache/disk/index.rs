//! Which answers are on disk: their names and sizes, and which of them is to leave next. All that a disk tier has in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::name::{Name, part};
use super::place::PARTS;
use crate::cache::Address;

/// What a file takes is counted in these, bytes: as file systems do.
const UNIT: u64 = 4096;

/// Most answers of one address; another one takes the place of the first.
const MOST_VARIANTS: usize = 16;

/// How often an answer can have been used before it is put to the test again.
const MOST_USES: u8 = 3;

/// The answers on disk.
pub(super) struct Index {
    parts: Box<[Mutex<Part>]>,
    weight: AtomicU64,
    entries: AtomicU64,
    evicted: AtomicU64,
    hand: AtomicUsize,
}

#[derive(Default)]
struct Part {
    /// Its directory has been read.
    known: bool,
    files: BTreeMap<Name, Kept>,
    /// Where the search for one that is to leave goes on.
    hand: Option<Name>,
}

struct Kept {
    units: u32,
    uses: u8,
    /// Its file is not there yet.
    coming: bool,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            parts: std::iter::repeat_with(Mutex::default).take(PARTS).collect(),
            weight: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// Whether this directory has been read.
    pub(super) fn is_known(&self, part: usize) -> bool {
        self.parts[part].lock().known
    }

    /// A directory has been read: these are its files. Once for each.
    pub(super) fn found(&self, part: usize, files: Vec<(Name, u64)>) {
        let mut part = self.parts[part].lock();
        if std::mem::replace(&mut part.known, true) {
            return;
        }
        for (name, length) in files {
            self.put(&mut part, name, length, false);
        }
    }

    /// Whether there may be an answer of this address.
    pub(super) fn may_have(&self, address: Address) -> bool {
        let part = self.parts[part(address.url)].lock();
        !part.known || part.files.range(Name::of_address(address)).next().is_some()
    }

    /// Whether there may be an answer of this URL.
    pub(super) fn may_have_url(&self, url: u128) -> bool {
        let part = self.parts[part(url)].lock();
        !part.known || part.files.range(Name::of_url(url)).next().is_some()
    }

    /// The answers of an address that can be read.
    pub(super) fn of_address(&self, address: Address) -> Vec<Name> {
        let part = self.parts[part(address.url)].lock();
        let files = part.files.range(Name::of_address(address));
        files.filter(|(_, kept)| !kept.coming).map(|(name, _)| *name).collect()
    }

    /// All answers of a URL.
    pub(super) fn of_url(&self, url: u128) -> Vec<Name> {
        let part = self.parts[part(url)].lock();
        part.files.range(Name::of_url(url)).map(|(name, _)| *name).collect()
    }

    /// All answers of a directory.
    pub(super) fn of_part(&self, part: usize) -> Vec<Name> {
        self.parts[part].lock().files.keys().copied().collect()
    }

    /// An answer of the address was used.
    pub(super) fn used(&self, address: Address) {
        let mut part = self.parts[part(address.url)].lock();
        for (_, kept) in part.files.range_mut(Name::of_address(address)) {
            kept.uses = MOST_USES.min(kept.uses + 1);
        }
    }

    /// A file of this length is about to be there, unless `gone` says that it is not wanted any more: asked under the lock
    /// that whoever purges takes next. The files that leave for it; `None`: it is not wanted.
    pub(super) fn announce(&self, name: Name, length: u64, gone: impl FnOnce() -> bool) -> Option<Vec<Name>> {
        let mut part = self.parts[name.part()].lock();
        if gone() {
            return None;
        }
        let mut leaving = Vec::new();
        let mut others = part
            .files
            .range(Name::of_address(name.address))
            .map(|(other, _)| *other);
        if !part.files.contains_key(&name)
            && let Some(first) = others.next()
            && others.count() + 1 >= MOST_VARIANTS
        {
            self.take(&mut part, &first);
            leaving.push(first);
        }
        self.put(&mut part, name, length, true);
        Some(leaving)
    }

    /// The file that was announced is there.
    pub(super) fn arrived(&self, name: &Name) {
        if let Some(kept) = self.parts[name.part()].lock().files.get_mut(name) {
            kept.coming = false;
        }
    }

    /// Takes a file out.
    pub(super) fn remove(&self, name: &Name) {
        self.take(&mut self.parts[name.part()].lock(), name);
    }

    /// Takes out one that is to leave, while all of them weigh more than this. `None`: they do not, or none can.
    pub(super) fn evict(&self, most: u64) -> Option<Name> {
        // Each round takes a use from every file that it does not take.
        for _ in 0..=usize::from(MOST_USES) * PARTS + PARTS {
            if self.weight() <= most {
                return None;
            }
            let mut part = self.parts[self.hand.load(Relaxed) % PARTS].lock();
            if let Some(name) = part.next_to_leave() {
                self.take(&mut part, &name);
                self.evicted.fetch_add(1, Relaxed);
                return Some(name);
            }
            self.hand.fetch_add(1, Relaxed);
        }
        None
    }

    /// What the files take, bytes.
    pub(super) fn weight(&self) -> u64 {
        self.weight.load(Relaxed)
    }

    /// How many there are, and how many have left for others.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.entries.load(Relaxed), self.evicted.load(Relaxed))
    }

    fn put(&self, part: &mut Part, name: Name, length: u64, coming: bool) {
        self.take(part, &name);
        let units = u32::try_from(length.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        // The hand comes by once before it leaves.
        let kept = Kept { units, uses: 1, coming };
        part.files.insert(name, kept);
        self.weight.fetch_add(u64::from(units) * UNIT, Relaxed);
        self.entries.fetch_add(1, Relaxed);
    }

    fn take(&self, part: &mut Part, name: &Name) {
        let Some(kept) = part.files.remove(name) else {
            return;
        };
        self.weight.fetch_sub(u64::from(kept.units) * UNIT, Relaxed);
        self.entries.fetch_sub(1, Relaxed);
    }
}

impl Part {
    /// Goes on from where it was to the next one that was not used since the last time; `None`: to the end without any.
    fn next_to_leave(&mut self) -> Option<Name> {
        let from = self.hand.take();
        let rest: Box<dyn Iterator<Item = (&Name, &mut Kept)>> = match from {
            Some(from) => Box::new(self.files.range_mut(from..)),
            None => Box::new(self.files.iter_mut()),
        };
        for (name, kept) in rest.filter(|(_, kept)| !kept.coming) {
            if kept.uses == 0 {
                self.hand = Some(*name);
                return Some(*name);
            }
            kept.uses -= 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: u128, variant: u64) -> Name {
        Name {
            address: Address {
                url: url << 120,
                extra: 0,
            },
            variant,
        }
    }

    fn complete() -> Index {
        let index = Index::new();
        (0..PARTS).for_each(|part| index.found(part, Vec::new()));
        index
    }

    fn add(index: &Index, name: Name, length: u64) {
        index.announce(name, length, || false).expect("is wanted");
        index.arrived(&name);
    }

    #[test]
    fn what_is_not_read_yet_may_have_anything() {
        let index = Index::new();
        assert!(index.may_have(name(1, 0).address) && index.may_have_url(1 << 120));
        index.found(1, vec![(name(1, 7), 5000)]);
        assert!(index.may_have(name(1, 0).address));
        index.found(2, Vec::new());
        assert!(!index.may_have(name(2, 0).address));
        assert_eq!((index.weight(), index.counts()), (8192, (1, 0)));
        index.found(1, vec![(name(1, 8), 1)]);
        assert_eq!(index.counts(), (1, 0), "read once");
    }

    #[test]
    fn a_file_that_is_coming_is_neither_read_nor_evicted() {
        let index = complete();
        assert_eq!(index.announce(name(1, 0), 1, || true), None);
        assert_eq!(index.weight(), 0);
        index.announce(name(1, 0), 1, || false).expect("is wanted");
        assert!(index.of_address(name(1, 0).address).is_empty());
        assert!(index.may_have_url(1 << 120), "who purges sees it");
        assert_eq!(index.evict(0), None);
        index.remove(&name(1, 0));
        assert_eq!((index.weight(), index.counts()), (0, (0, 0)));
    }

    #[test]
    fn what_is_used_stays() {
        let index = complete();
        for url in 1..=10 {
            add(&index, name(url, 0), 4096);
        }
        for _ in 0..3 {
            index.used(name(3, 0).address);
            index.used(name(7, 0).address);
        }
        while index.evict(2 * 4096).is_some() {}
        assert_eq!(index.counts(), (2, 8));
        assert!(index.may_have(name(3, 0).address) && index.may_have(name(7, 0).address));
        while index.evict(0).is_some() {}
        assert_eq!((index.weight(), index.counts()), (0, (0, 10)));
    }

    #[test]
    fn an_address_has_so_many_answers() {
        let index = complete();
        for variant in 0..20 {
            add(&index, name(1, variant), 1);
            add(&index, name(1, variant), 1);
        }
        assert_eq!(index.of_address(name(1, 0).address).len(), MOST_VARIANTS);
        assert_eq!(index.weight(), MOST_VARIANTS as u64 * UNIT);
    }
}
