//! The buckets of one process: bounded in memory, sharded, one or a few short locks a decision.
//!
//! Each shard has a table of fixed size. While a table is flooded with new keys, a client that is not known is counted
//! with its network (IPv4 /24, IPv6 /48): each shard has one bucket of the limit for it, sixteen in all. Who is known
//! keeps a bucket of its own.

mod table;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::charge::{Charge, Charges, Each, Levels, Verdict};
use super::flow::Flow;
use super::gcra::{Bucket, Decision, Level};
use super::key::{Key, KeyHasher};
use super::policy::{Count, Mode};
use table::{Slot, Table};

const SHARDS: usize = 16;

/// The buckets of one process.
#[derive(Debug)]
pub struct Local {
    shards: [Mutex<Shard>; SHARDS],
    secret: (u64, u64),
    networks: KeyHasher,
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Keys that are kept.
    pub keys: usize,
    /// Places for keys that have memory now.
    pub places: usize,
    /// Requests whose outcome decides whether they count.
    pub open: usize,
    /// Shards that count unknown clients with their networks at the moment, of 16.
    pub flooded: usize,
}

/// What comes of a request, and what must be settled when it is over.
#[derive(Debug)]
#[must_use]
pub struct Checked {
    /// The verdict.
    pub verdict: Verdict,
    /// Units of limits on failures that are held until the outcome is known. Keep it as long as the request.
    pub reservation: Option<Reservation>,
}

/// Units that are held until the outcome of a request is known. Dropped, the request counts as a failure.
#[derive(Debug)]
pub struct Reservation {
    store: Arc<Local>,
    held: Vec<Held>,
}

/// Where a key belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    slot: Slot,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    place: Place,
    bucket: Bucket,
    cost: u32,
    admitted: u64,
}

#[derive(Debug)]
struct Shard {
    table: Table,
    /// Units that are held, by key: as many keys as there are such requests at a time.
    open: HashMap<u128, u32>,
}

impl Local {
    /// At most about `capacity` keys (rounded up to a power of two, at least 256), 24 bytes each; memory is taken as keys
    /// come.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let [a, b] = [0, 1].map(|half: u64| RandomState::new().hash_one(half));
        Self {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    table: Table::new(part(capacity)),
                    open: HashMap::new(),
                })
            }),
            secret: (a, b),
            networks: KeyHasher::random(),
        }
    }

    /// From now on at most about `capacity` keys; what is counted stays counted, as far as there is room.
    pub fn resize(&self, capacity: usize) {
        for shard in &self.shards {
            shard.lock().table.resize(part(capacity), |id| self.mix(id));
        }
    }

    /// The state of a key's own bucket, and units of it that are held; 0: as if it had never been seen.
    #[must_use]
    pub fn look(&self, key: u128) -> (u64, u32) {
        let place = self.place(key);
        let shard = self.shards[place.shard].lock();
        let open = shard.open.get(&place.slot.id()).copied().unwrap_or(0);
        (shard.table.find(place.slot), open)
    }

    /// The key begins anew. Whether it was known.
    pub fn forget(&self, key: u128) -> bool {
        let place = self.place(key);
        self.shards[place.shard].lock().table.forget(place.slot)
    }

    /// Decides about a request: it is charged to all its limits, or to none. `now`: nanoseconds of a monotonic clock.
    ///
    /// A limit that only reports never stands in the way; where it would have refused, it is not charged.
    pub fn check(self: &Arc<Self>, charges: &Charges<'_>, now: u64) -> Checked {
        self.check_part(charges, 1, &[], now)
    }

    /// As [`Local::check`], by one of so many gateways that cannot ask their shared store: each has its part of every
    /// bucket. `known`: the states of the whole buckets as the store told them last, by place; they are the states of the
    /// parts.
    pub fn check_part(self: &Arc<Self>, charges: &Charges<'_>, parts: u32, known: &[u64], now: u64) -> Checked {
        let known = |place: usize| known.get(place).copied().unwrap_or(0);
        if let [charge] = charges[..]
            && charge.policy.count == Count::All
        {
            return self.check_one(charges, &charge, parts, known(0), now);
        }
        let mut locked = Locked::of(self, charges);
        let mut passing: Each<Option<Place>> = Each::new();
        let (mut levels, mut wait, mut denied) = (Levels::default(), 0, false);
        for (at, charge) in charges.iter().enumerate() {
            let (place, decision) = locked.decide(charge, parts, known(at), now);
            let enforced = charge.policy.mode == Mode::Enforce;
            let (level, passes) = match decision {
                Decision::Allowed { level, .. } => (level, true),
                Decision::Delayed { level, wait: turn, .. } => {
                    if enforced {
                        wait = wait.max(turn);
                    }
                    (level, true)
                }
                Decision::Denied { level } => {
                    denied |= enforced;
                    (level, false)
                }
            };
            levels.push(level);
            passing.push(passes.then_some(place));
        }
        let mut held = Vec::new(); // no allocation before the first element
        if !denied {
            for (at, (charge, place)) in charges.iter().zip(passing).enumerate() {
                if let Some(place) = place {
                    held.extend(locked.charge(charge, place, parts, known(at), now));
                }
            }
        }
        drop(locked);
        Checked {
            verdict: Verdict::of(charges, levels, wait),
            reservation: (!held.is_empty()).then(|| Reservation {
                store: Arc::clone(self),
                held,
            }),
        }
    }

    /// The same for one limit alone, as most routes have it: its state is looked up once.
    fn check_one(&self, charges: &Charges<'_>, charge: &Charge<'_>, parts: u32, known: u64, now: u64) -> Checked {
        let place = self.place(charge.key.id);
        let mut shard = self.shards[place.shard].lock();
        let (place, decision) = shard.decide(self, place, charge, parts, known, now);
        let (level, state, wait) = match decision {
            Decision::Allowed { tat, level } => (level, Some(tat), 0),
            Decision::Delayed { tat, wait, level } if charge.policy.mode == Mode::Enforce => (level, Some(tat), wait),
            Decision::Delayed { tat, level, .. } => (level, Some(tat), 0),
            Decision::Denied { level } => (level, None, 0),
        };
        if let Some(tat) = state {
            shard.table.put(place.slot, tat, now, |id| self.mix(id));
        }
        drop(shard);
        let mut levels = Levels::default();
        levels.push(level);
        Checked {
            verdict: Verdict::of(charges, levels, wait),
            reservation: None,
        }
    }

    /// Charges what can no longer be refused: the bucket is empty at worst. Returns what is left. `parts`: as for
    /// [`Local::check_part`].
    pub fn surcharge(&self, charge: &Charge<'_>, parts: u32, now: u64) -> Level {
        let place = self.place(charge.key.id);
        let bucket = charge.policy.bucket.share(parts);
        let mut shard = self.shards[place.shard].lock();
        let tat = bucket.charge(shard.table.find(place.slot), now, charge.cost);
        shard.table.put(place.slot, tat, now, |id| self.mix(id));
        bucket.look(tat, now)
    }

    /// Charges bytes that flow; returns how long they wait, nanoseconds.
    pub fn flow(&self, key: Key, flow: Flow, bytes: u64, now: u64) -> u64 {
        let place = self.place(key.id);
        let mut shard = self.shards[place.shard].lock();
        let (tat, wait) = flow.take(shard.table.find(place.slot), now, bytes);
        shard.table.put(place.slot, tat, now, |id| self.mix(id));
        wait
    }

    /// How full the store is at `now`, for metrics.
    #[must_use]
    pub fn occupancy(&self, now: u64) -> Occupancy {
        let mut all = Occupancy::default();
        for shard in &self.shards {
            let shard = shard.lock();
            let (keys, places, flooded) = shard.table.occupancy(now);
            all.keys += keys;
            all.places += places;
            all.open += shard.open.len();
            all.flooded += usize::from(flooded);
        }
        all
    }

    fn place(&self, id: u128) -> Place {
        let slot = Slot::client(id, |id| self.mix(id));
        Place {
            shard: (slot.mix() >> 60) as usize & (SHARDS - 1),
            slot,
        }
    }

    /// Spreads keys over sets in a way that nobody outside can know, whatever made the keys.
    fn mix(&self, id: u128) -> u64 {
        let (low, high) = (id as u64 ^ self.secret.0, (id >> 64) as u64 ^ self.secret.1);
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    }
}

/// How many of so many keys a shard has room for.
fn part(capacity: usize) -> usize {
    capacity.min(1 << 32).div_ceil(SHARDS)
}

impl Reservation {
    /// The request succeeded: what was held is given back.
    pub fn give_back(mut self) {
        self.settle(|_, _| {});
    }

    fn settle(&mut self, mut each: impl FnMut(&mut Shard, &Held)) {
        for held in self.held.drain(..) {
            let mut shard = self.store.shards[held.place.shard].lock();
            if let Some(open) = shard.open.get_mut(&held.place.slot.id()) {
                *open = open.saturating_sub(held.cost);
                if *open == 0 {
                    shard.open.remove(&held.place.slot.id());
                }
            }
            each(&mut shard, &held);
        }
    }
}

impl Drop for Reservation {
    /// Nobody said that it succeeded.
    fn drop(&mut self) {
        let store = Arc::clone(&self.store);
        self.settle(|shard, held| {
            let slot = held.place.slot;
            let tat = held
                .bucket
                .charge_late(shard.table.find(slot), held.admitted, held.cost);
            shard.table.put(slot, tat, held.admitted, |id| store.mix(id));
        });
    }
}

impl Shard {
    /// What the limit would say, and which bucket says it: the client's own, whose place is given, or in a flood its
    /// network's, which is in the same shard.
    fn decide(
        &mut self,
        store: &Local,
        mut place: Place,
        charge: &Charge<'_>,
        parts: u32,
        known: u64,
        now: u64,
    ) -> (Place, Decision) {
        let Charge { policy, key, cost } = *charge;
        let bucket = policy.bucket.share(parts);
        let mut tat = self.table.find(place.slot);
        if tat == 0 && self.table.unknown(now) {
            let id = store.networks.network(&policy.name, key.aggregate);
            place.slot = Slot::network(id, |id| store.mix(id));
            tat = self.table.find(place.slot);
        }
        tat = tat.max(known);
        if policy.count == Count::Failures
            && let Some(open) = self.open.get(&place.slot.id())
        {
            tat = bucket.charge(tat, now, *open);
        }
        (place, bucket.decide(tat, now, cost))
    }
}

/// The shards that a request needs, locked: always in the same order, so that no two requests wait for each other.
struct Locked<'a> {
    store: &'a Local,
    shards: Each<(usize, MutexGuard<'a, Shard>)>,
}

impl<'a> Locked<'a> {
    fn of(store: &'a Local, charges: &Charges<'_>) -> Self {
        let mut needed: Each<usize> = charges.iter().map(|charge| store.place(charge.key.id).shard).collect();
        needed.sort_unstable();
        needed.dedup();
        let shards = needed.into_iter().map(|at| (at, store.shards[at].lock())).collect();
        Self { store, shards }
    }

    fn shard(&mut self, place: Place) -> &mut Shard {
        let held = self.shards.iter_mut().find(|(at, _)| *at == place.shard);
        &mut held.expect("the shards of all charges are locked").1
    }

    fn decide(&mut self, charge: &Charge<'_>, parts: u32, known: u64, now: u64) -> (Place, Decision) {
        let store = self.store;
        let place = store.place(charge.key.id);
        self.shard(place).decide(store, place, charge, parts, known, now)
    }

    /// Charges what the limit admitted; a limit on failures holds it.
    fn charge(&mut self, charge: &Charge<'_>, place: Place, parts: u32, known: u64, now: u64) -> Option<Held> {
        let Charge { policy, cost, .. } = *charge;
        let store = self.store;
        let shard = self.shard(place);
        let bucket = policy.bucket.share(parts);
        let cost = cost.min(bucket.capacity());
        if policy.count == Count::Failures {
            let open = shard.open.entry(place.slot.id()).or_default();
            *open = open.saturating_add(cost);
            return Some(Held {
                place,
                bucket,
                cost,
                admitted: now,
            });
        }
        // Read again: an earlier charge of this request may have gone to the same key.
        let tat = bucket.charge(shard.table.find(place.slot).max(known), now, cost);
        shard.table.put(place.slot, tat, now, |id| store.mix(id));
        None
    }
}

#[cfg(test)]
mod tests;
