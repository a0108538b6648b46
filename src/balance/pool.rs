//! The servers of one upstream: who is in, who is fit, whose turn it is.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::breaker::Breaker;
use super::clock::tick;
use super::dice::Dice;
use super::member::{Member, merged};
use super::shared::Shared;
use super::{
    BreakerState, Budget, Drain, Endpoint, EndpointView, Lease, Outcome, Priority, Settings, State, TooManyDrained,
    Transition,
};

/// What an update changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Servers that are new.
    pub joined: Vec<Arc<Endpoint>>,
    /// Servers that are gone; requests they have are finished.
    pub left: Vec<Arc<Endpoint>>,
}

/// What a request asks of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Servers that it has tried already.
    pub tried: &'a [SocketAddr],
    /// Its key for consistent hashing, hashed; `None`: any server.
    pub hash: Option<u64>,
    /// What its cookie says of the server it had before, as [`Endpoint::session`] gives it.
    pub sticky: Option<&'a str>,
    /// Its class: a fifth of each limited server is kept for each higher class that has been seen within ten seconds.
    pub priority: Priority,
    /// Now.
    pub now: Instant,
}

impl Ask<'_> {
    /// For any server.
    #[must_use]
    pub fn any(now: Instant) -> Self {
        Self {
            tried: &[],
            hash: None,
            sticky: None,
            priority: Priority::Normal,
            now,
        }
    }
}

/// Why there is no server for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickError {
    /// No server is fit.
    NoneFit,
    /// Every server that is fit has as many requests as it may: worth waiting for.
    AllFull,
    /// The circuit breaker is open, or tests the upstream with others.
    BreakerOpen {
        /// After this time it is worth trying again.
        retry_after: Duration,
    },
    /// Every server that is fit was tried.
    AllTried,
}

impl fmt::Display for PickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoneFit => "no server is fit",
            Self::AllFull => "every server has as many requests as it may",
            Self::BreakerOpen { .. } => "the circuit breaker is open",
            Self::AllTried => "every server was tried",
        })
    }
}

impl std::error::Error for PickError {}

/// The servers of one upstream.
pub struct Pool {
    shared: Arc<Shared>,
    on_update: Mutex<Option<Hook>>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

impl Pool {
    /// An empty pool for the upstream of this name.
    #[must_use]
    pub fn new(name: Arc<str>, settings: Settings) -> Self {
        Self::around(Shared::new(name, settings, Dice::Thread))
    }

    /// The same with a seed for everything that is left to chance: for simulations that can be repeated.
    #[must_use]
    pub fn seeded(name: Arc<str>, settings: Settings, seed: u64) -> Self {
        Self::around(Shared::new(name, settings, Dice::seeded(seed)))
    }

    fn around(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            on_update: Mutex::new(None),
        }
    }

    /// The pool that stands in this one's place after a reload: new settings, the same servers, until [`Pool::update`]
    /// names others; breaker and budgets go on where their settings stay. The old one stays usable for requests that began
    /// with it, but what they report no longer changes a server's health: the old one cannot tell which server is the last
    /// of the new one. To be called when the reload can no longer fail.
    #[must_use]
    pub fn successor(&self, settings: Settings) -> Self {
        let old = &self.shared;
        old.succeeded.store(true, Relaxed);
        let dice = match &old.dice {
            Dice::Thread => Dice::Thread,
            Dice::Seeded(_) => Dice::seeded(old.dice.number()),
        };
        let mut shared = Shared::new(Arc::clone(&old.name), settings, dice);
        shared.drains = Arc::clone(&old.drains);
        shared.cursor = old.cursor.load(Relaxed).into();
        if old.breaker.as_ref().map(|breaker| breaker.settings()) == settings.breaker {
            shared.breaker.clone_from(&old.breaker);
        }
        for (new, old) in [
            (&mut shared.retry_budget, &old.retry_budget),
            (&mut shared.hedge_budget, &old.hedge_budget),
        ] {
            if new.settings() == old.settings() {
                new.clone_from(old);
            }
        }
        let endpoints = old.endpoints();
        for endpoint in endpoints.iter() {
            if settings.health.is_none() {
                // Nobody will look again: a verdict from the past would be shown for ever.
                endpoint.forget_health();
            }
            if settings.outlier.is_none() {
                endpoint.passive.pardon();
            }
            endpoint.limiter.configure(settings.adaptive);
        }
        shared.replace(endpoints, old.made(), &shared.change());
        Self::around(shared)
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// What the file says about it.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Every server, fit or not, in the order of the file.
    #[must_use]
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        self.shared.endpoints()
    }

    /// How many servers are fit: neither probes nor requests speak against them.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.shared.fit()
    }

    /// Whether so few servers are fit that ejected ones get requests, too.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.shared.is_panicking()
    }

    /// How many requests may be sent again.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.retry_budget
    }

    /// How many requests may be sent twice.
    #[must_use]
    pub fn hedge_budget(&self) -> &Budget {
        &self.shared.hedge_budget
    }

    /// Where the circuit breaker is; `None`: there is none.
    #[must_use]
    pub fn breaker(&self, now: Instant) -> Option<BreakerState> {
        self.shared.breaker_state(now)
    }

    /// Every server as it is now, in the order of the file.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<EndpointView> {
        let (endpoints, now) = (self.endpoints(), tick(now));
        let view = |endpoint: &Arc<Endpoint>| EndpointView::new(endpoint, &self.shared.settings, now);
        endpoints.iter().map(view).collect()
    }

    /// Picks a server: the one of the session where that can take the request; else by the pool's strategy one that is fit,
    /// not full, and was not tried.
    ///
    /// # Errors
    /// [`PickError`].
    pub fn pick(&self, ask: &Ask<'_>) -> Result<Lease, PickError> {
        let shared = &self.shared;
        let admit = |breaker: &Arc<Breaker>| breaker.admit(tick(ask.now));
        let refused = |retry_after| PickError::BreakerOpen { retry_after };
        let ticket = shared.breaker.as_ref().map(admit).transpose().map_err(refused)?;
        match shared.choose(ask) {
            Ok(endpoint) => Ok(Lease::new(endpoint, Arc::clone(shared), ticket)),
            Err(error) => {
                if let (Some(breaker), Some(ticket)) = (&shared.breaker, ticket) {
                    breaker.cancel(ticket);
                }
                Err(error)
            }
        }
    }

    /// Replaces the servers. One that stays (same server, same address) keeps its state; of one that is named twice the
    /// weights add up. One that joins others starts slowly; where none stays, all are equally new and start at once.
    pub fn update(&self, members: Vec<Member>) -> Change {
        let shared = &self.shared;
        let mut change = Change::default();
        {
            let lock = shared.change();
            let mut known: HashMap<_, _> = shared
                .endpoints()
                .iter()
                .map(|e| (identity(e), Arc::clone(e)))
                .collect();
            let mut next: Vec<Arc<Endpoint>> = Vec::with_capacity(members.len());
            for member in merged(members) {
                let endpoint = match known.remove(&(Arc::clone(&member.server), member.address)) {
                    Some(endpoint) => {
                        endpoint.describe(&member);
                        endpoint
                    }
                    None => {
                        let joined = Arc::new(Endpoint::new(Arc::clone(&shared.name), &member));
                        joined.limiter.configure(shared.settings.adaptive);
                        change.joined.push(Arc::clone(&joined));
                        joined
                    }
                };
                next.push(endpoint);
            }
            if change.joined.len() < next.len() {
                change.joined.iter().for_each(|endpoint| endpoint.ramp.join());
            }
            change.left = known.into_values().collect();
            shared.drains.apply(next.iter().map(|endpoint| &**endpoint));
            shared.replace(next.into(), shared.made(), &lock);
        }
        let hook = self.on_update.lock().clone();
        if let Some(hook) = hook {
            hook();
        }
        change
    }

    /// Takes a server out of service, or puts it back ([`Drain::Off`]): requests in flight finish. `name` is a server as the
    /// file names it, with all addresses that it has and will have, or one of its addresses as [`Endpoint::session`] gives
    /// it, for as long as that is there. The last server can be drained, too: the operator decides.
    ///
    /// # Errors
    /// [`TooManyDrained`].
    pub fn drain(&self, name: &str, how: Drain) -> Result<(), TooManyDrained> {
        let _change = self.shared.change();
        let endpoints = self.endpoints();
        self.shared
            .drains
            .set(name, how, endpoints.iter().map(|endpoint| &**endpoint))
    }

    /// What is drained, as [`Pool::drain`] takes it.
    #[must_use]
    pub fn drains(&self) -> Vec<(String, Drain)> {
        self.shared.drains.list()
    }

    /// Whether a server is drained by its name in the file: also one that has no address at the moment.
    #[must_use]
    pub fn is_drained(&self, server: &str) -> bool {
        self.shared.drains.holds(server)
    }

    /// Has `hook` called after every [`Pool::update`], in place of the hook before. It must not block.
    pub fn on_update(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.on_update.lock() = Some(Arc::new(hook));
    }

    /// Takes in the result of a probe. A pool without health checks learns nothing from it. A server that is back starts
    /// slowly.
    pub fn observe(&self, endpoint: &Endpoint, outcome: Outcome<'_>, now: Instant) -> Option<Transition> {
        let thresholds = self.shared.settings.health?;
        let lock = self.shared.change();
        let transition = endpoint.observe(outcome, thresholds, now);
        if let Some(Transition {
            from: State::Unhealthy, ..
        }) = transition
        {
            endpoint.ramp.start(tick(now).max(endpoint.passive.ejected_until()));
        }
        self.shared.settle(tick(now), &lock);
        transition
    }

    /// Takes in that a request could not connect. With health checks it counts like a failed probe, so that a dead server
    /// is out before the next ones would notice; but it never takes out the last server that is fit: requests fail for
    /// reasons of the gateway's own too (no ports, no route), and a wrong verdict on the last server would cost everything.
    /// Without health checks it is only counted, since no probe would ever bring the server back. Not to be called where
    /// the gateway is known to be the cause. It does not stand in for [`Lease::finish`].
    pub fn connect_failed(&self, endpoint: &Endpoint, now: Instant) -> Option<Transition> {
        endpoint.count_connect_failure();
        let shared = &self.shared;
        let thresholds = shared.settings.health.filter(|_| !shared.succeeded.load(Relaxed))?;
        let lock = shared.change();
        let transition = endpoint.suspect(shared.is_expendable(endpoint, tick(now)), thresholds, now);
        if transition.is_some() {
            shared.rebuild(tick(now), &lock);
        }
        transition
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", self.name())
            .field("settings", self.settings())
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

fn identity(endpoint: &Arc<Endpoint>) -> (Arc<str>, SocketAddr) {
    (Arc::clone(endpoint.server()), endpoint.address())
}

#[cfg(test)]
mod tests;
