//! Who is turned away from everything for a while, because limits refused it again and again.
//!
//! Refusals are counted by client address: in a window that begins with the first of them, and in a bounded number of
//! windows. A client that reaches the number is banned. The bans are bounded, too; one more than there is room for takes
//! the place of the one that would end first. Both bounds forget in favour of clients: nobody is banned by them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};

/// Most bans at a time.
pub const MAX_BANS: usize = 100_000;

/// Windows in which refusals are counted: sets of them, and how many a set has.
const SETS: usize = 4096;
const WAYS: usize = 8;

/// Most changes that wait for whoever tells others about them.
const MAX_CHANGES: usize = 10_000;

/// `ban = { … }`: when a client is turned away from everything, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanRule {
    /// Refusals, at least 1.
    pub after: u32,
    /// The time in which they come, from the first of them, nanoseconds.
    pub within: u64,
    /// How long the client is turned away, nanoseconds.
    pub duration: u64,
    /// How many leading bits of an IPv6 address make a client.
    pub ipv6_prefix: u8,
}

/// A client that is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// The client: an address, or a network of IPv6.
    pub client: IpNet,
    /// The limit that it was banned by.
    pub policy: Arc<str>,
    /// When it began and when it ends, nanoseconds of a monotonic clock.
    pub since: u64,
    /// The first moment at which it is over.
    pub until: u64,
}

impl Ban {
    /// What is left of it.
    #[must_use]
    pub fn left(&self, now: u64) -> Duration {
        Duration::from_nanos(self.until.saturating_sub(now))
    }
}

/// What became of the list in this process; what comes from elsewhere is no change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A client was banned.
    Banned(Ban),
    /// A ban was lifted before its end.
    Lifted {
        /// Whose.
        client: IpNet,
        /// When, nanoseconds of the clock of bans.
        at: u64,
        /// When it would have ended.
        until: u64,
    },
}

/// The bans in force.
#[derive(Debug)]
pub struct Bans {
    /// How many there may be in force: nothing is locked to learn that there is none.
    count: AtomicUsize,
    list: RwLock<List>,
    refusals: Mutex<Refusals>,
    changes: Mutex<VecDeque<Change>>,
}

impl Default for Bans {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            list: RwLock::default(),
            refusals: Mutex::new(Refusals::new()),
            changes: Mutex::default(),
        }
    }
}

impl Bans {
    /// What is left of the client's ban; `None`: it is not banned.
    #[must_use]
    pub fn banned(&self, client: IpAddr, now: u64) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let list = self.list.read();
        let until = |bits| Some(list.bans.get(&network(client, bits)?)?.until);
        let longest = list.prefixes.iter().filter_map(|&(bits, _)| until(bits)).max();
        let over = list.order.first().is_some_and(|(until, _)| *until <= now);
        drop(list);
        if over {
            self.expire(now);
        }
        let left = longest?.checked_sub(now)?;
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// A limit refused a client; returns the ban if that was once too often.
    pub fn refused(&self, client: IpAddr, policy: &Arc<str>, rule: &BanRule, now: u64) -> Option<Ban> {
        let client = subject(client, rule.ipv6_prefix);
        let too_often = self.refusals.lock().note(client, policy, rule, now);
        if !too_often {
            return None;
        }
        let ban = Ban {
            client,
            policy: Arc::clone(policy),
            since: now,
            until: now.saturating_add(rule.duration),
        };
        self.add(ban.clone(), now);
        self.changed(Change::Banned(ban.clone()));
        Some(ban)
    }

    /// Takes over a ban from elsewhere. Of two for one client the one that ends later counts.
    pub fn add(&self, ban: Ban, now: u64) {
        let mut list = self.list.write();
        list.expire(now);
        list.insert(ban);
        self.count.store(list.bans.len(), Relaxed);
    }

    /// Lifts the ban of a client; `false`: there was none.
    pub fn lift(&self, client: IpNet, now: u64) -> bool {
        let client = client.trunc();
        let Some(ban) = self.remove(client, now, now) else {
            return false;
        };
        let (at, until) = (now, ban.until);
        self.changed(Change::Lifted { client, at, until });
        true
    }

    /// Forgets the ban of a client that was lifted elsewhere at the moment `at`; what began later stays. `false`: there was
    /// none.
    pub fn forget(&self, client: IpNet, at: u64, now: u64) -> bool {
        self.remove(client.trunc(), at, now).is_some()
    }

    fn remove(&self, client: IpNet, at: u64, now: u64) -> Option<Ban> {
        let mut list = self.list.write();
        list.expire(now);
        let known = list.bans.get(&client).filter(|ban| ban.since <= at);
        let ban = known.is_some().then(|| list.remove(&client)).flatten();
        self.count.store(list.bans.len(), Relaxed);
        ban
    }

    /// Forgets what is over: so that looking costs nothing again.
    fn expire(&self, now: u64) {
        let mut list = self.list.write();
        list.expire(now);
        self.count.store(list.bans.len(), Relaxed);
    }

    /// Whether nobody is banned: then nothing needs to be looked up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// How many there are in force.
    #[must_use]
    pub fn len(&self, now: u64) -> usize {
        self.expire(now);
        self.count.load(Relaxed)
    }

    /// The bans in force, those that end first first.
    #[must_use]
    pub fn list(&self, now: u64) -> Vec<Ban> {
        let list = self.list.read();
        let in_force = list.order.iter().filter(|(until, _)| *until > now);
        in_force
            .filter_map(|(_, client)| list.bans.get(client).cloned())
            .collect()
    }

    /// What has changed in this process since this was asked last; the oldest are forgotten beyond ten thousand.
    pub fn changes(&self) -> Vec<Change> {
        self.changes.lock().drain(..).collect()
    }

    fn changed(&self, change: Change) {
        let mut changes = self.changes.lock();
        if changes.len() == MAX_CHANGES {
            changes.pop_front();
        }
        changes.push_back(change);
    }
}

/// Who is banned: an address of IPv4, or the network of one of IPv6.
#[must_use]
pub fn subject(client: IpAddr, ipv6_prefix: u8) -> IpNet {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpNet::from(IpAddr::V4(v4)),
        IpAddr::V6(v6) => network(IpAddr::V6(v6), ipv6_prefix.min(128)).unwrap_or_else(|| IpAddr::V6(v6).into()),
    }
}

/// The network of a client with so many bits; an address of IPv4 is itself.
fn network(client: IpAddr, bits: u8) -> Option<IpNet> {
    match client.to_canonical() {
        IpAddr::V4(v4) => (bits == 32).then(|| IpAddr::V4(v4).into()),
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpNet::new(Ipv6Addr::from_bits(v6.to_bits() & mask).into(), bits).ok()
        }
    }
}

#[derive(Debug, Default)]
struct List {
    bans: HashMap<IpNet, Ban>,
    order: BTreeSet<(u64, IpNet)>,
    /// Which lengths of prefixes there are, and how often: as many as limits have, mostly one or two.
    prefixes: Vec<(u8, usize)>,
}

impl List {
    fn insert(&mut self, mut ban: Ban) {
        ban.client = ban.client.trunc();
        if let Some(known) = self.bans.get(&ban.client) {
            if known.until >= ban.until {
                return;
            }
            let client = ban.client;
            self.remove(&client);
        }
        if self.bans.len() >= MAX_BANS
            && let Some((_, first)) = self.order.first().copied()
        {
            self.remove(&first);
        }
        let bits = ban.client.prefix_len();
        match self.prefixes.iter_mut().find(|(known, _)| *known == bits) {
            Some((_, count)) => *count += 1,
            None => self.prefixes.push((bits, 1)),
        }
        self.order.insert((ban.until, ban.client));
        self.bans.insert(ban.client, ban);
    }

    fn remove(&mut self, client: &IpNet) -> Option<Ban> {
        let ban = self.bans.remove(client)?;
        self.order.remove(&(ban.until, *client));
        if let Some(at) = (self.prefixes.iter()).position(|(bits, _)| *bits == client.prefix_len()) {
            self.prefixes[at].1 -= 1;
            if self.prefixes[at].1 == 0 {
                self.prefixes.swap_remove(at);
            }
        }
        Some(ban)
    }

    fn expire(&mut self, now: u64) {
        while let Some((until, client)) = self.order.first().copied()
            && until <= now
        {
            self.remove(&client);
        }
    }
}

/// Refusals, by client and limit.
#[derive(Debug)]
struct Refusals {
    /// Taken when the first client is refused.
    sets: Vec<[Window; WAYS]>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// The client and the limit, hashed; 0: nobody.
    who: u64,
    count: u32,
    end: u64,
}

impl Refusals {
    fn new() -> Self {
        Self {
            sets: Vec::new(),
            hasher: RandomState::new(),
        }
    }

    /// Counts a refusal; whether it is the last that the rule has patience for.
    fn note(&mut self, client: IpNet, policy: &Arc<str>, rule: &BanRule, now: u64) -> bool {
        let who = self.hasher.hash_one((client, &**policy)).max(1);
        if self.sets.is_empty() {
            self.sets = vec![Default::default(); SETS];
        }
        let set = &mut self.sets[who as usize % SETS];
        let known = set.iter().position(|window| window.who == who);
        let at = known.unwrap_or_else(|| {
            // Who has been refused least, or whose window is over.
            let worth = |window: &Window| if window.end <= now { 0 } else { window.count };
            (0..WAYS).min_by_key(|&at| worth(&set[at])).unwrap_or(0)
        });
        let window = &mut set[at];
        if window.who != who || window.end <= now {
            *window = Window {
                who,
                count: 0,
                end: now.saturating_add(rule.within),
            };
        }
        window.count += 1;
        if window.count < rule.after {
            return false;
        }
        *window = Window::default();
        true
    }
}

#[cfg(test)]
mod tests;
