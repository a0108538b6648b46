//! A part of the store behind one lock: answers by URL, and in which order they are to leave (S3-FIFO).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::body::Body;
use super::changes::Target;
use super::entry::Entry;
use crate::cache::{Extra, Moment, UrlKey};

/// Most answers that are kept for one URL; the oldest leaves for a new one.
const MOST_VARIANTS: usize = 64;

/// Most reminders of one URL that its answers are not kept.
const MOST_PASSES: usize = 16;

/// The share of the weight that answers asked for once may have, in hundredths.
const SMALL_SHARE: u64 = 10;

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = (number >> 64) as u64 ^ number as u64;
    }
}

#[derive(Default)]
pub(super) struct Shard {
    slots: HashMap<UrlKey, Slot, BuildHasherDefault<AsIs>>,
    /// Asked for once, in the order of their arrival.
    small: VecDeque<Ticket>,
    /// Asked for again.
    main: VecDeque<Ticket>,
    small_weight: u64,
    tags: HashMap<Box<str>, HashSet<UrlKey>>,
    weight: u64,
    entries: u64,
    issued: u64,
}

#[derive(Default)]
struct Slot {
    variants: Vec<Kept>,
    /// Requests of these keys are not kept until then.
    passes: Vec<(Extra, Moment)>,
}

struct Kept {
    entry: Arc<Entry>,
    ticket: u64,
    weight: u64,
    small: bool,
}

struct Ticket {
    url: UrlKey,
    number: u64,
}

/// What leaves a shard, for the totals.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) entries: u64,
    pub(super) weight: u64,
}

impl Shard {
    /// The answers of a URL with these further parts of the key: the first, and the others. Mostly there are no others.
    pub(super) fn variants(&self, url: UrlKey, extra: Extra) -> (Option<Arc<Entry>>, Vec<Arc<Entry>>) {
        let slot = self.slots.get(&url);
        let kept = slot.into_iter().flat_map(|slot| &slot.variants);
        let mut kept = kept
            .filter(|kept| kept.entry.extra == extra)
            .map(|kept| Arc::clone(&kept.entry));
        (kept.next(), kept.collect())
    }

    /// All answers of a URL.
    pub(super) fn entries(&self, url: UrlKey) -> Vec<Arc<Entry>> {
        let kept = self.slots.get(&url).into_iter().flat_map(|slot| &slot.variants);
        kept.map(|kept| Arc::clone(&kept.entry)).collect()
    }

    /// Whether requests of this key are let pass, for now.
    pub(super) fn passes(&self, url: UrlKey, extra: Extra, now: Moment) -> bool {
        self.slots
            .get(&url)
            .is_some_and(|slot| slot.passes.iter().any(|(other, until)| *other == extra && *until > now))
    }

    pub(super) fn let_pass(&mut self, url: UrlKey, extra: Extra, until: Moment) {
        let slot = self.slots.entry(url).or_default();
        slot.passes.retain(|(other, _)| *other != extra);
        if slot.passes.len() == MOST_PASSES {
            slot.passes.remove(0);
        }
        slot.passes.push((extra, until));
        if slot.variants.is_empty() {
            // Forgotten like an answer that nobody asked for again.
            self.issued += 1;
            let number = self.issued;
            self.small.push_back(Ticket { url, number });
        }
    }

    /// Puts an answer in the place of those that it replaces. `proven`: it was asked for before.
    pub(super) fn insert(
        &mut self,
        url: UrlKey,
        entry: Arc<Entry>,
        proven: bool,
        replaces: impl Fn(&Entry) -> bool,
    ) -> Gone {
        let mut gone = Gone::default();
        let replaced: Vec<u64> = self.slots.get(&url).map_or_else(Vec::new, |slot| {
            let mut replaced: Vec<u64> = slot
                .variants
                .iter()
                .filter(|kept| kept.entry.extra == entry.extra && replaces(&kept.entry))
                .map(|kept| kept.ticket)
                .collect();
            if replaced.is_empty() && slot.variants.len() >= MOST_VARIANTS {
                replaced.extend(slot.variants.first().map(|kept| kept.ticket));
            }
            replaced
        });
        for ticket in replaced {
            gone.add(self.remove(url, ticket));
        }
        self.issued += 1;
        let ticket = Ticket {
            url,
            number: self.issued,
        };
        let weight = entry.weight();
        for tag in &entry.tags {
            self.tags.entry(tag.clone()).or_default().insert(url);
        }
        let slot = self.slots.entry(url).or_default();
        slot.passes.retain(|(extra, _)| *extra != entry.extra);
        slot.variants.push(Kept {
            entry,
            ticket: ticket.number,
            weight,
            small: !proven,
        });
        self.weight += weight;
        self.entries += 1;
        if proven {
            self.main.push_back(ticket);
        } else {
            self.small_weight += weight;
            self.small.push_back(ticket);
        }
        self.sweep();
        gone
    }

    /// Puts an entry in the place of another one with the same body; `false`: that one is no longer there.
    pub(super) fn exchange(&mut self, url: UrlKey, old: &Arc<Entry>, new: Arc<Entry>) -> bool {
        let slot = self.slots.get_mut(&url);
        let kept = slot.and_then(|slot| slot.variants.iter_mut().find(|kept| Arc::ptr_eq(&kept.entry, old)));
        if let Some(kept) = kept {
            for tag in &new.tags {
                self.tags.entry(tag.clone()).or_default().insert(url);
            }
            kept.entry = new;
            self.untag(url, &old.tags);
            return true;
        }
        false
    }

    /// Takes note of what the entry with this body weighs now; by how much that is more.
    pub(super) fn reweigh(&mut self, url: UrlKey, body: &Arc<Body>) -> u64 {
        let slot = self.slots.get_mut(&url);
        let kept = slot.and_then(|slot| {
            slot.variants
                .iter_mut()
                .find(|kept| Arc::ptr_eq(&kept.entry.body, body))
        });
        let Some(kept) = kept else { return 0 };
        let more = kept.entry.weight().saturating_sub(kept.weight);
        kept.weight += more;
        self.weight += more;
        if kept.small {
            self.small_weight += more;
        }
        more
    }

    /// Forgets that a URL has these tags, as far as no entry of it has them.
    fn untag(&mut self, url: UrlKey, tags: &[Box<str>]) {
        let variants = self.slots.get(&url).map_or(&[][..], |slot| &slot.variants);
        let of_others = || variants.iter().flat_map(|kept| &kept.entry.tags);
        for tag in tags.iter().filter(|tag| of_others().all(|other| other != *tag)) {
            if let Some(urls) = self.tags.get_mut(tag) {
                urls.remove(&url);
                if urls.is_empty() {
                    self.tags.remove(tag);
                }
            }
        }
    }

    /// Takes out one entry.
    pub(super) fn forget(&mut self, url: UrlKey, entry: &Arc<Entry>) -> Gone {
        let ticket = self.slots.get(&url).and_then(|slot| {
            let kept = slot.variants.iter().find(|kept| Arc::ptr_eq(&kept.entry, entry));
            kept.map(|kept| kept.ticket)
        });
        ticket.map_or_else(Gone::default, |ticket| self.remove(url, ticket))
    }

    /// Purges what is meant; how many were, and what is gone. Soft: they are stale from now on.
    pub(super) fn purge(&mut self, target: &Target, soft: Option<Moment>) -> (u64, Gone) {
        let urls: Vec<UrlKey> = match target {
            Target::Key(key) => vec![*key],
            Target::Tag(tag) => self
                .tags
                .get(tag.as_str())
                .map_or_else(Vec::new, |urls| urls.iter().copied().collect()),
            Target::Url(_) | Target::Prefix(_) | Target::All => self.slots.keys().copied().collect(),
        };
        let (mut meant, mut gone) = (0, Gone::default());
        for url in urls {
            let tickets: Vec<u64> = self.slots.get(&url).map_or_else(Vec::new, |slot| {
                let kept = slot.variants.iter();
                kept.filter(|kept| target.means(url, &kept.entry.url, &kept.entry.tags))
                    .map(|kept| kept.ticket)
                    .collect()
            });
            for ticket in tickets {
                meant += 1;
                match soft {
                    None => gone.add(self.remove(url, ticket)),
                    Some(now) => {
                        let slot = self.slots.get_mut(&url);
                        if let Some(kept) =
                            slot.and_then(|slot| slot.variants.iter_mut().find(|kept| kept.ticket == ticket))
                        {
                            kept.entry = Arc::new(kept.entry.expired(now));
                        }
                    }
                }
            }
        }
        (meant, gone)
    }

    /// Every answer is asked about before it is used again.
    pub(super) fn doubt(&mut self, now: Moment) {
        for kept in self.slots.values_mut().flat_map(|slot| &mut slot.variants) {
            kept.entry = Arc::new(kept.entry.doubted(now));
        }
    }

    /// Takes out the entry that has the least claim to stay; `None`: there is none. `small_first`: those asked for once
    /// have more than their share.
    pub(super) fn evict(&mut self) -> Option<Gone> {
        // Each step takes a use from an entry or an entry from a queue: it ends.
        loop {
            let from_small = self.small_weight * 100 > self.weight * SMALL_SHARE || self.main.is_empty();
            let queue = if from_small { &mut self.small } else { &mut self.main };
            let Some(ticket) = queue.pop_front() else {
                if self.small.is_empty() && self.main.is_empty() {
                    return None;
                }
                if from_small {
                    self.small_weight = 0; // nothing of it is left
                }
                continue;
            };
            let Some(slot) = self.slots.get_mut(&ticket.url) else {
                continue;
            };
            let Some(kept) = slot.variants.iter_mut().find(|kept| kept.ticket == ticket.number) else {
                if slot.variants.is_empty() {
                    self.slots.remove(&ticket.url); // what is left are reminders
                }
                continue;
            };
            let uses = kept.entry.uses.load(Relaxed);
            if uses > 0 {
                kept.entry.uses.store(if from_small { 0 } else { uses - 1 }, Relaxed);
                if std::mem::take(&mut kept.small) {
                    self.small_weight = self.small_weight.saturating_sub(kept.weight);
                }
                self.main.push_back(ticket);
                continue;
            }
            return Some(self.remove(ticket.url, ticket.number));
        }
    }

    fn remove(&mut self, url: UrlKey, ticket: u64) -> Gone {
        let Some(slot) = self.slots.get_mut(&url) else {
            return Gone::default();
        };
        let Some(place) = slot.variants.iter().position(|kept| kept.ticket == ticket) else {
            return Gone::default();
        };
        let kept = slot.variants.remove(place);
        let empty = slot.variants.is_empty() && slot.passes.is_empty();
        self.untag(url, &kept.entry.tags);
        if empty {
            self.slots.remove(&url);
        }
        if kept.small {
            self.small_weight = self.small_weight.saturating_sub(kept.weight);
        }
        self.weight -= kept.weight;
        self.entries -= 1;
        Gone {
            entries: 1,
            weight: kept.weight,
        }
    }

    /// Throws away the tickets of entries that left before their turn, when they are the most.
    fn sweep(&mut self) {
        let tickets = self.small.len() + self.main.len();
        if tickets < 64 || (tickets as u64) < 2 * (self.entries + self.slots.len() as u64) {
            return;
        }
        let slots = &self.slots;
        let is_used = |ticket: &Ticket| {
            slots.get(&ticket.url).is_some_and(|slot| {
                slot.variants.is_empty() || slot.variants.iter().any(|kept| kept.ticket == ticket.number)
            })
        };
        self.small.retain(is_used);
        self.main.retain(is_used);
    }
}

impl Gone {
    pub(super) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.weight += other.weight;
    }
}
