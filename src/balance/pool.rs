//! The servers of one upstream: who is in, who is fit, whose turn it is.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::rotation::Rotation;
use super::{Endpoint, Outcome, Thresholds, Transition};

/// How a pool chooses among the servers that are fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
}

/// What the file says about a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// How it chooses.
    pub strategy: Strategy,
    /// When active health checks change a server's state; `None`: there are none, and every server is always fit.
    pub health: Option<Thresholds>,
}

/// An address that a server of the file has at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The server as the file names it, `host:port`.
    pub server: Arc<str>,
    /// One of its addresses.
    pub address: SocketAddr,
    /// Its share; zero counts as one.
    pub weight: u32,
}

/// What an update changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Servers that are new.
    pub joined: Vec<Arc<Endpoint>>,
    /// Servers that are gone; requests they have are finished.
    pub left: Vec<Arc<Endpoint>>,
}

/// The servers of one upstream.
///
/// Picking is lock-free: it reads an immutable rotation and moves one cursor. Everything that changes the rotation goes
/// through one lock, so that no change is lost and the last server is judged knowing that it is the last.
pub struct Pool {
    name: Arc<str>,
    settings: Settings,
    rotation: ArcSwap<Rotation>,
    cursor: AtomicUsize,
    members: Mutex<Arc<[Arc<Endpoint>]>>,
    on_update: Mutex<Option<Hook>>,
    succeeded: AtomicBool,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// A server that was picked; it counts as in flight until this is dropped.
#[derive(Debug)]
pub struct Lease(Arc<Endpoint>);

impl Pool {
    /// An empty pool for the upstream of this name.
    #[must_use]
    pub fn new(name: Arc<str>, settings: Settings) -> Self {
        Self {
            name,
            settings,
            rotation: ArcSwap::default(),
            cursor: AtomicUsize::new(0),
            members: Mutex::new(Arc::new([])),
            on_update: Mutex::new(None),
            succeeded: AtomicBool::new(false),
        }
    }

    /// The pool that stands in this one's place after a reload: new settings, the same servers, until [`Pool::update`]
    /// names others. The old one stays usable for requests that began with it, but what they report no longer changes a
    /// server's health: the old one cannot tell which server is the last of the new one. To be called when the reload can
    /// no longer fail.
    #[must_use]
    pub fn successor(&self, settings: Settings) -> Self {
        self.succeeded.store(true, Relaxed);
        let pool = Self::new(Arc::clone(&self.name), settings);
        let endpoints = self.endpoints();
        if settings.health.is_none() {
            // Nobody will look again: a verdict from the past would be shown for ever.
            endpoints.iter().for_each(|endpoint| endpoint.forget_health());
        }
        {
            let mut members = pool.members.lock();
            *members = endpoints;
            pool.rebuild(&members);
        }
        pool
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the file says about it.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every server, fit or not, in the order of the file.
    #[must_use]
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.members.lock())
    }

    /// How many servers are fit.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.rotation.load().endpoints().len()
    }

    /// Picks a server: one that is fit and whose address is not among `tried`, if there is such a one; else one that was
    /// tried. `None`: no server is fit.
    #[must_use]
    pub fn pick(&self, tried: &[SocketAddr]) -> Option<Lease> {
        let rotation = self.rotation.load();
        let endpoint = match self.settings.strategy {
            Strategy::RoundRobin => rotation.pick(self.cursor.fetch_add(1, Relaxed), tried)?,
        };
        endpoint.enter();
        Some(Lease(Arc::clone(endpoint)))
    }

    /// Replaces the servers. One that stays (same server, same address) keeps its state; of one that is named twice the
    /// weights add up.
    pub fn update(&self, members: Vec<Member>) -> Change {
        let mut change = Change::default();
        {
            let mut current = self.members.lock();
            let mut known: HashMap<_, _> = current.iter().map(|e| (identity(e), Arc::clone(e))).collect();
            let mut next: Vec<Arc<Endpoint>> = Vec::with_capacity(members.len());
            for Member {
                server,
                address,
                weight,
            } in merged(members)
            {
                let key = (server, address);
                let endpoint = known.remove(&key).unwrap_or_else(|| {
                    let joined = Arc::new(Endpoint::new(Arc::clone(&self.name), key.0, address, weight));
                    change.joined.push(Arc::clone(&joined));
                    joined
                });
                endpoint.reweigh(weight);
                next.push(endpoint);
            }
            change.left = known.into_values().collect();
            *current = next.into();
            self.rebuild(&current);
        }
        let hook = self.on_update.lock().clone();
        if let Some(hook) = hook {
            hook();
        }
        change
    }

    /// Has `hook` called after every [`Pool::update`], in place of the hook before. It must not block.
    pub fn on_update(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.on_update.lock() = Some(Arc::new(hook));
    }

    /// Takes in the result of a probe. A pool without health checks learns nothing from it.
    pub fn observe(&self, endpoint: &Endpoint, outcome: Outcome<'_>, now: Instant) -> Option<Transition> {
        let thresholds = self.settings.health?;
        let members = self.members.lock();
        let transition = endpoint.observe(outcome, thresholds, now);
        // Compared and not inferred from the transition: after a reload the pool before this one may still observe.
        if !self.is_settled(&members) {
            self.rebuild(&members);
        }
        transition
    }

    /// Takes in that a request could not connect. With health checks it counts like a failed probe, so that a dead server
    /// is out before the next ones would notice; but it never takes out the last server that is fit: requests fail for
    /// reasons of the gateway's own too (no ports, no route), and a wrong verdict on the last server would cost everything.
    /// Without health checks it is only counted, since nothing would ever bring the server back. Not to be called where the
    /// gateway is known to be the cause.
    pub fn connect_failed(&self, endpoint: &Endpoint, now: Instant) -> Option<Transition> {
        endpoint.count_connect_failure();
        let thresholds = self.settings.health.filter(|_| !self.succeeded.load(Relaxed))?;
        let members = self.members.lock();
        let mut others = members.iter().filter(|other| !std::ptr::eq(other.as_ref(), endpoint));
        let expendable = others.any(|other| self.is_usable(other));
        let transition = endpoint.suspect(expendable, thresholds, now);
        if transition.is_some() {
            self.rebuild(&members);
        }
        transition
    }

    fn is_usable(&self, endpoint: &Endpoint) -> bool {
        self.settings.health.is_none() || endpoint.state().is_usable()
    }

    fn is_settled(&self, members: &[Arc<Endpoint>]) -> bool {
        let rotation = self.rotation.load();
        let usable = members.iter().filter(|endpoint| self.is_usable(endpoint));
        usable.map(Arc::as_ptr).eq(rotation.endpoints().iter().map(Arc::as_ptr))
    }

    fn rebuild(&self, members: &[Arc<Endpoint>]) {
        let usable = members.iter().filter(|endpoint| self.is_usable(endpoint));
        self.rotation.store(Arc::new(Rotation::new(usable.cloned().collect())));
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// The server.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn identity(endpoint: &Arc<Endpoint>) -> (Arc<str>, SocketAddr) {
    (Arc::clone(endpoint.server()), endpoint.address())
}

/// Each member once, in the order of its first mention, with the sum of its weights.
fn merged(members: Vec<Member>) -> Vec<Member> {
    let mut places = HashMap::new();
    let mut merged: Vec<Member> = Vec::with_capacity(members.len());
    for mut member in members {
        member.weight = member.weight.max(1);
        let place = *places
            .entry((Arc::clone(&member.server), member.address))
            .or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => first.weight = first.weight.saturating_add(member.weight),
            None => merged.push(member),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
