//! What one gateway holds of the keys of a shared store: bounded, sharded, one short lock a look.
//!
//! Each shard keeps two halves. A key that is looked at is in the young half; when that is full it becomes the old one, and
//! what was in the old half and not looked at since is forgotten. To forget is safe: units in hand count as spent, and who
//! is refused is refused by the store again.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::gcra::Level;
use super::lease::{Draw, Lease};
use super::shared::{Ask, Manner, Reply, Settlement, Terms};

const SHARDS: usize = 16;

/// Requests that wait for the answer to one question at most; more ask for themselves.
const MOST_WAITING: usize = 1024;

/// Keys whose leases may run out unspent that are remembered at most, in each shard.
const MOST_LENT: usize = 1024;

/// What is held of the keys of a shared store. `W`: what wakes a request that waits; it is woken by being dropped.
#[derive(Debug)]
pub struct Book<W> {
    shards: [Mutex<Shard<W>>; SHARDS],
    half: usize,
}

/// What becomes of a charge.
#[derive(Debug)]
pub enum Taken {
    /// It is paid with units in hand, and perhaps the next ones should be asked for.
    Paid(Level, Option<Ask>),
    /// It is refused; the level says for how long.
    Refused(Level),
    /// The store must be asked this.
    Ask(Ask),
    /// The store is being asked: try again when the waker is dropped.
    Wait,
}

/// One charge, as a shared store sees it.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Whose.
    pub id: u128,
    /// See [`Ask::tag`].
    pub tag: u64,
    /// How it is counted.
    pub terms: Terms,
    /// Units, at least 1, at most the capacity.
    pub cost: u32,
    /// Units of it must be settled.
    pub out: bool,
    /// What a refusal means.
    pub manner: Manner,
}

#[derive(Debug)]
struct Shard<W> {
    young: HashMap<u128, Held<W>>,
    old: HashMap<u128, Held<W>>,
    /// When a lease may have run out, whose it is, and how to ask about it: in the order of time, nearly.
    lent: std::collections::VecDeque<(u64, Ask)>,
}

#[derive(Debug)]
struct Held<W> {
    lease: Lease,
    waiting: Vec<W>,
}

impl<W> Default for Held<W> {
    fn default() -> Self {
        Self {
            lease: Lease::default(),
            waiting: Vec::new(),
        }
    }
}

impl<W> Book<W> {
    /// About so many keys at most.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    young: HashMap::new(),
                    old: HashMap::new(),
                    lent: std::collections::VecDeque::new(),
                })
            }),
            half: capacity.div_ceil(2 * SHARDS).max(8),
        }
    }

    /// Pays a charge with what is in hand, or says what to do.
    pub fn take(&self, claim: &Claim, now: u64, waker: impl FnOnce() -> W) -> Taken {
        let mut shard = self.shard(claim.id).lock();
        let Held { lease, waiting } = shard.held(claim.id, self.half);
        match lease.draw(&claim.terms, claim.cost, now) {
            Draw::Paid => {
                let level = lease.level(&claim.terms, claim.cost, now);
                let more = lease.wants_more(&claim.terms, now).then(|| ask(lease, 0, claim, now));
                Taken::Paid(level, more)
            }
            Draw::Refused => {
                let mut level = lease.level(&claim.terms, 0, now);
                level.retry_in = lease.refused_for(now).max(1);
                Taken::Refused(level)
            }
            Draw::Wait if waiting.len() < MOST_WAITING => {
                waiting.push(waker());
                Taken::Wait
            }
            Draw::Ask | Draw::Wait => Taken::Ask(ask(lease, waiting.len(), claim, now)),
        }
    }

    /// Puts back what was paid for a request that came to nothing.
    pub fn put_back(&self, claim: &Claim, now: u64) {
        self.put_back_units(claim.id, claim.cost, now);
    }

    /// Puts back so many units of a lease.
    pub fn put_back_units(&self, id: u128, units: u32, now: u64) {
        let mut shard = self.shard(id).lock();
        shard.held(id, self.half).lease.put_back(units, now);
    }

    /// Where the client stands, as far as it is known here.
    pub fn level(&self, claim: &Claim, now: u64) -> Level {
        let mut shard = self.shard(claim.id).lock();
        shard.held(claim.id, self.half).lease.level(&claim.terms, 0, now)
    }

    /// What the store is told about a charge that nobody can refuse any more, and what is left after it.
    pub fn force(&self, claim: &Claim, now: u64) -> (Ask, Level) {
        let mut shard = self.shard(claim.id).lock();
        let lease = &mut shard.held(claim.id, self.half).lease;
        lease.charged(&claim.terms, claim.cost, now);
        let level = lease.level(&claim.terms, claim.cost, now);
        let ask = Ask {
            id: claim.id,
            tag: claim.tag,
            terms: claim.terms,
            least: claim.cost,
            most: claim.cost,
            out: false,
            manner: Manner::Force,
            settle: Settlement::default(),
        };
        (ask, level)
    }

    /// The state of the key's bucket by the clock of this process, as it was last told; 0: it is not known.
    pub fn tat(&self, id: u128) -> u64 {
        let shard = self.shard(id).lock();
        let held = shard.young.get(&id).or_else(|| shard.old.get(&id));
        held.map_or(0, |held| held.lease.tat())
    }

    /// Units in hand of a key, and for how long it is refused here, nanoseconds.
    pub fn holding(&self, id: u128, now: u64) -> (u32, u64) {
        let shard = self.shard(id).lock();
        let held = shard.young.get(&id).or_else(|| shard.old.get(&id));
        held.map_or((0, 0), |held| (held.lease.units(now), held.lease.refused_for(now)))
    }

    /// Forgets what is held of a key: the store has begun it anew. Units in hand count as spent.
    pub fn forget(&self, id: u128) {
        let mut shard = self.shard(id).lock();
        let held = (shard.young.remove(&id), shard.old.remove(&id));
        drop(shard);
        drop(held); // wakes who waits, outside the lock
    }

    /// The store has answered; `sent`: when it was asked; `spent` units of the grant are spent already.
    pub fn answered(&self, ask: &Ask, reply: &Reply, spent: u32, sent: u64, now: u64) {
        let mut shard = self.shard(ask.id).lock();
        let held = shard.held(ask.id, self.half);
        held.lease.answered(ask, reply, spent, sent, now);
        let waiting = std::mem::take(&mut held.waiting);
        if held.lease.is_held(now) && shard.lent.len() < MOST_LENT {
            let since = sent.saturating_add(2 * ask.terms.lease);
            shard.lent.push_back((since, *ask));
        }
        drop(shard);
        drop(waiting); // wakes them, outside the lock
    }

    /// The question has failed. `sent`: the store may have heard it.
    pub fn unanswered(&self, ask: &Ask, sent: bool) {
        let mut shard = self.shard(ask.id).lock();
        let held = shard.held(ask.id, self.half);
        held.lease.unanswered(ask, sent);
        let waiting = std::mem::take(&mut held.waiting);
        drop(shard);
        drop(waiting);
    }

    /// The next key that has units to give back and asks for none any more.
    pub fn overdue(&self, now: u64) -> Option<Ask> {
        for shard in &self.shards {
            let mut shard = shard.lock();
            while shard.lent.front().is_some_and(|(since, _)| *since <= now) {
                let Some((_, ask)) = shard.lent.pop_front() else { break };
                let held = shard.young.get_mut(&ask.id);
                let Some(settle) = held.and_then(|held| held.lease.overdue(now)) else {
                    continue;
                };
                return Some(Ask {
                    least: 0,
                    most: 0,
                    settle,
                    ..ask
                });
            }
        }
        None
    }

    /// Keys that are kept, and those of them with units in hand.
    pub fn occupancy(&self, now: u64) -> (usize, usize) {
        let (mut keys, mut leases) = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock();
            let all = || shard.young.values().chain(shard.old.values());
            keys += all().count();
            leases += all().filter(|held| held.lease.is_held(now)).count();
        }
        (keys, leases)
    }

    fn shard(&self, id: u128) -> &Mutex<Shard<W>> {
        &self.shards[(id >> 124) as usize & (SHARDS - 1)]
    }
}

impl<W> Shard<W> {
    fn held(&mut self, id: u128, half: usize) -> &mut Held<W> {
        if !self.young.contains_key(&id) {
            if self.young.len() >= half {
                self.old = std::mem::take(&mut self.young);
            }
            let held = self.old.remove(&id).unwrap_or_default();
            self.young.insert(id, held);
        }
        self.young.entry(id).or_default()
    }
}

fn ask(lease: &mut Lease, waiting: usize, claim: &Claim, now: u64) -> Ask {
    let others = u32::try_from(waiting).unwrap_or(u32::MAX).saturating_mul(claim.cost);
    let (most, settle) = lease.ask(&claim.terms, claim.cost, others, now);
    Ask {
        id: claim.id,
        tag: claim.tag,
        terms: claim.terms,
        least: claim.cost,
        most: most.min(claim.terms.bucket.capacity()),
        out: claim.out || !claim.terms.is_exact(),
        manner: claim.manner,
        settle,
    }
}

/// Units of a limit on failures, or of one of several stores, that are out until the outcome is known.
#[must_use]
pub fn settlement(ask: &Ask, reply: &Reply, unspent: bool) -> Ask {
    Ask {
        least: 0,
        most: 0,
        settle: Settlement {
            units: reply.granted,
            unspent: if unspent { reply.granted } else { 0 },
            clock: reply.clock,
        },
        ..*ask
    }
}
