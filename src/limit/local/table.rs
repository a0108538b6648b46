//! The states of many buckets in a bounded space.
//!
//! The table is made of sets of sixteen places; a key has its place in one set. What is empty has the state 0, what is
//! full of quota again a state in the past, and the nearer a bucket is to full, the smaller its state. So the smallest
//! state of a set is always the one whose loss matters least, and a new key takes its place. Losing a state can only make
//! the limit more generous for that one client; it never refuses anybody.
//!
//! Buckets of networks, which a flood brings, take four places of a set and then displace each other: who is known stays.
//!
//! The table doubles while a new key would displace one that was known in the last minute, up to its largest size.

/// Places in a set.
const WAYS: usize = 16;

/// Places of a set that networks may take from clients.
const NETWORKS: usize = 4;

/// How long a key is remembered after it is full again, as long as the table can grow, nanoseconds.
const MEMORY: u64 = 60_000_000_000;

/// How many unknown keys a second, as a part of the table's places, are a flood.
const FLOOD: usize = 16;

/// A second, roughly, as a power of two of nanoseconds.
const WINDOW_BITS: u32 = 30;

#[derive(Debug, Clone, Copy)]
struct Entry {
    // Halves, for a u128 would align the entry to 16 bytes and cost a third more.
    high: u64,
    low: u64,
    tat: u64,
}

const EMPTY: Entry = Entry {
    high: 0,
    low: 0,
    tat: 0,
};

impl Entry {
    fn is(&self, id: u128) -> bool {
        self.tat != 0 && (self.low, self.high) == halves(id)
    }

    fn id(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    fn is_network(&self) -> bool {
        self.low & 1 == 1
    }
}

/// A key with where it belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Its lowest bit tells networks from clients.
    id: u128,
    /// Well mixed under a secret: its low bits choose the set.
    mix: u64,
}

impl Slot {
    pub(super) fn client(id: u128, mix: impl Fn(u128) -> u64) -> Self {
        let id = id & !1;
        Self { id, mix: mix(id) }
    }

    pub(super) fn network(id: u128, mix: impl Fn(u128) -> u64) -> Self {
        let id = id | 1;
        Self { id, mix: mix(id) }
    }

    pub(super) fn id(self) -> u128 {
        self.id
    }

    pub(super) fn mix(self) -> u64 {
        self.mix
    }

    fn is_network(self) -> bool {
        self.id & 1 == 1
    }
}

#[derive(Debug)]
pub(super) struct Table {
    sets: Vec<[Entry; WAYS]>,
    most: usize,
    used: usize,
    flood: Flood,
}

impl Table {
    /// At most so many places, rounded up to a power of two.
    pub(super) fn new(places: usize) -> Self {
        Self {
            sets: vec![[EMPTY; WAYS]; 1],
            most: sets_for(places),
            used: 0,
            flood: Flood::default(),
        }
    }

    /// From now on at most so many places. Where there are more, the states whose loss matters least are forgotten.
    pub(super) fn resize(&mut self, places: usize, mix: impl Fn(u128) -> u64) {
        self.most = sets_for(places);
        if self.sets.len() <= self.most {
            return;
        }
        let old = std::mem::replace(&mut self.sets, vec![[EMPTY; WAYS]; self.most]);
        self.used = 0;
        for entry in old.iter().flatten().filter(|entry| entry.tat != 0) {
            let at = self.set(mix(entry.id()));
            let least = least(&mut self.sets[at], false);
            if least.tat < entry.tat {
                self.used += usize::from(least.tat == 0);
                *least = *entry;
            }
        }
    }

    /// The state of a key; 0 if it is not known.
    pub(super) fn find(&self, slot: Slot) -> u64 {
        let set = &self.sets[self.set(slot.mix)];
        set.iter().find(|entry| entry.is(slot.id)).map_or(0, |entry| entry.tat)
    }

    /// Forgets a key: it is full of quota again. Whether it was known.
    pub(super) fn forget(&mut self, slot: Slot) -> bool {
        let at = self.set(slot.mix);
        let found = self.sets[at].iter_mut().find(|entry| entry.is(slot.id));
        let is_known = found.is_some();
        if let Some(entry) = found {
            *entry = EMPTY;
            self.used -= 1;
        }
        is_known
    }

    /// Keeps the state of a key. `mix`: how any key in the table is mixed.
    pub(super) fn put(&mut self, slot: Slot, tat: u64, now: u64, mix: impl Fn(u128) -> u64) {
        loop {
            let at = self.set(slot.mix);
            let may_grow = self.sets.len() < self.most;
            let set = &mut self.sets[at];
            if let Some(entry) = set.iter_mut().find(|entry| entry.is(slot.id)) {
                entry.tat = tat;
                return;
            }
            if tat <= now {
                return; // full, as if it had never been seen
            }
            let least = least(set, slot.is_network());
            if least.tat.saturating_add(MEMORY) > now && least.tat != 0 && may_grow {
                self.grow(&mix);
                continue;
            }
            self.used += usize::from(least.tat == 0);
            let (low, high) = halves(slot.id);
            *least = Entry { high, low, tat };
            return;
        }
    }

    /// Notes a key that is not known; whether there are so many that it should be counted with its network.
    ///
    /// It begins when the table has its largest size, is half full, and more unknown keys come in a second than a
    /// sixteenth of its places; it lasts while as many come. Half full: later, newcomers would displace who is known.
    pub(super) fn unknown(&mut self, now: u64) -> bool {
        let places = self.most * WAYS;
        self.flood.note(now, self.used >= places / 2, places / FLOOD)
    }

    /// Keys, places for keys, and whether it is flooded.
    pub(super) fn occupancy(&self, now: u64) -> (usize, usize, bool) {
        (self.used, self.sets.len() * WAYS, self.flood.lasts(now))
    }

    fn set(&self, mix: u64) -> usize {
        // The length is a power of two; on 32 bits, the low half is as well mixed as the whole.
        mix as usize & (self.sets.len() - 1)
    }

    fn grow(&mut self, mix: impl Fn(u128) -> u64) {
        let old = std::mem::take(&mut self.sets);
        self.sets = vec![[EMPTY; WAYS]; old.len() * 2];
        for (at, set) in old.iter().enumerate() {
            // A set becomes two, so each has room for all that goes there.
            let mut filled = [0; 2];
            for entry in set.iter().filter(|entry| entry.tat != 0) {
                let to = self.set(mix(entry.id()));
                let place = &mut filled[usize::from(to != at)];
                self.sets[to][*place] = *entry;
                *place += 1;
            }
        }
    }
}

/// A power of two of sets, with at least so many places.
fn sets_for(places: usize) -> usize {
    places.div_ceil(WAYS).next_power_of_two()
}

/// What matters least in a set, to a network or to a client.
fn least(set: &mut [Entry; WAYS], network: bool) -> &mut Entry {
    let networks = |entry: &&Entry| entry.tat != 0 && entry.is_network();
    // An empty place is nobody's.
    let own = network && set.iter().filter(networks).count() >= NETWORKS && set.iter().all(|entry| entry.tat != 0);
    let candidates = set.iter_mut().filter(|entry| !own || entry.is_network());
    candidates
        .reduce(|least, entry| if entry.tat < least.tat { entry } else { least })
        .expect("a set has places, and networks among them if their number matters")
}

fn halves(id: u128) -> (u64, u64) {
    (id as u64, (id >> 64) as u64)
}

#[derive(Debug, Default)]
struct Flood {
    window: u64,
    seen: usize,
    /// The window before this one was a flood.
    before: bool,
    now: bool,
}

impl Flood {
    fn note(&mut self, now: u64, full: bool, threshold: usize) -> bool {
        let window = now >> WINDOW_BITS;
        // Threads read their clocks before they wait for the lock: a moment of the window before belongs to this one.
        if window > self.window {
            self.before = window == self.window + 1 && self.seen > threshold;
            (self.window, self.seen) = (window, 0);
        }
        if full || self.before || self.seen > threshold {
            self.seen = self.seen.saturating_add(1);
        }
        self.now = self.before || self.seen > threshold;
        self.now
    }

    fn lasts(&self, now: u64) -> bool {
        self.now && now >> WINDOW_BITS <= self.window + 1
    }
}

#[cfg(test)]
mod tests;
