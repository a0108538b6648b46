//! What a pool and its leases share: who is picked, and what attempts change about that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};

use super::breaker::Breaker;
use super::clock::{Tick, between, tick, ticks};
use super::dice::Dice;
use super::drain::Drains;
use super::lease::{AttemptOutcome, Finish};
use super::outlier::{Cause, outliers};
use super::pool::{Ask, PickError};
use super::roster::{Roster, is_down, is_fit};
use super::select::{Door, Query};
use super::{Budget, Drain, Ejection, Endpoint, Priority, Settings};

/// How often a pick starts again because the server that it chose became full at that moment.
const RACES: usize = 4;
/// The share of a limited server that is kept for each higher class, and for how long after that was last seen.
const KEPT: f64 = 0.2;
const REMEMBERED: Duration = Duration::from_secs(10);

/// Picking is lock-free: it reads an immutable roster. Everything that changes the roster goes through one lock, so that
/// no change is lost and the last server is judged knowing that it is the last.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    pub(super) dice: Dice,
    pub(super) cursor: AtomicUsize,
    pub(super) breaker: Option<Arc<Breaker>>,
    pub(super) retry_budget: Arc<Budget>,
    pub(super) hedge_budget: Arc<Budget>,
    pub(super) drains: Arc<Drains>,
    /// A successor is in force: what is reported here no longer changes a server's health.
    pub(super) succeeded: AtomicBool,
    /// When each class last asked for a server; 0: never.
    seen: [AtomicU64; Priority::ALL.len()],
    roster: ArcSwap<Roster>,
    changes: Mutex<()>,
    /// When success rates are compared next; 0: not decided yet.
    comparison: AtomicU64,
}

impl Shared {
    pub(super) fn new(name: Arc<str>, settings: Settings, dice: Dice) -> Self {
        Self {
            name,
            dice,
            cursor: AtomicUsize::new(0),
            breaker: settings.breaker.map(|settings| Arc::new(Breaker::new(settings))),
            retry_budget: Arc::new(Budget::new(settings.retry_budget)),
            hedge_budget: Arc::new(Budget::new(settings.hedge_budget)),
            drains: Arc::default(),
            succeeded: AtomicBool::new(false),
            seen: Default::default(),
            roster: ArcSwap::default(),
            changes: Mutex::new(()),
            comparison: AtomicU64::new(0),
            settings,
        }
    }

    pub(super) fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.roster.load().all)
    }

    pub(super) fn fit(&self) -> usize {
        self.roster.load().fit
    }

    pub(super) fn is_panicking(&self) -> bool {
        self.roster.load().panicking
    }

    /// To be held by whoever changes what the roster is made of.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock()
    }

    /// Makes the roster anew without knowing the time: the next pick, which does, makes it once more.
    pub(super) fn replace(&self, all: Arc<[Arc<Endpoint>]>, made: Tick, _: &MutexGuard<'_, ()>) {
        let mut roster = Roster::new(all, &self.settings, made);
        roster.valid_until = 0;
        self.roster.store(Arc::new(roster));
    }

    /// The time that the roster knows.
    pub(super) fn made(&self) -> Tick {
        self.roster.load().made
    }

    pub(super) fn rebuild(&self, now: Tick, _: &MutexGuard<'_, ()>) {
        let all = self.endpoints();
        all.iter().for_each(|endpoint| endpoint.ramp.notice(now));
        self.roster.store(Arc::new(Roster::new(all, &self.settings, now)));
    }

    /// Makes the roster anew if the probes changed something. Compared and not inferred from a transition: after a reload
    /// the pool before this one may still observe.
    pub(super) fn settle(&self, now: Tick, change: &MutexGuard<'_, ()>) {
        if !self.roster.load().is_settled(&self.settings) {
            self.rebuild(now, change);
        }
    }

    /// Whether a server other than this one could take its requests.
    pub(super) fn is_expendable(&self, endpoint: &Endpoint, now: Tick) -> bool {
        let roster = self.roster.load();
        let mut others = roster
            .all
            .iter()
            .filter(|other| !std::ptr::eq(other.as_ref(), endpoint));
        others.any(|other| is_fit(other, &self.settings, now) && !other.is_draining())
    }

    pub(super) fn choose(&self, ask: &Ask<'_>) -> Result<Arc<Endpoint>, PickError> {
        let now = tick(ask.now);
        let mut roster = self.roster.load();
        if now >= roster.valid_until {
            // Only one makes it anew; the others go on with the old one for a moment.
            if let Some(change) = self.changes.try_lock() {
                self.rebuild(now, &change);
            }
            roster = self.roster.load();
        }
        let query = Query {
            tried: ask.tried,
            hash: ask.hash,
            now,
            share: self.share(ask.priority, now),
            settings: &self.settings,
            dice: &self.dice,
            cursor: &self.cursor,
        };
        if let Some(session) = ask.sticky
            && let Some(endpoint) = self.of_session(&roster, session, &query)
            && endpoint.enter(query.share, now)
        {
            return Ok(Arc::clone(endpoint));
        }
        let mut tried = false;
        for tier in [&roster.first, &roster.spare] {
            for _ in 0..RACES {
                match tier.choose(&query) {
                    Some(endpoint) if endpoint.enter(query.share, now) => return Ok(Arc::clone(endpoint)),
                    Some(_) => {}
                    None => break,
                }
            }
            // Nothing was chosen: why? A server that is merely full is still better than a backup.
            let mut doors = tier.seats.iter().map(|seat| query.door(&seat.endpoint));
            if doors.any(|door| match door {
                Door::Full | Door::Open => true,
                Door::Tried => {
                    tried = true;
                    false
                }
                Door::Shut => false,
            }) {
                return Err(PickError::AllFull);
            }
        }
        Err(if tried { PickError::AllTried } else { PickError::NoneFit })
    }

    /// How much of each server's limit a request of this class may use.
    fn share(&self, priority: Priority, now: Tick) -> f64 {
        let seen = |class: &Priority| {
            let last = self.seen[*class as usize].load(Relaxed);
            last != 0 && between(last, now) < REMEMBERED
        };
        if priority > Priority::Low {
            self.seen[priority as usize].store(now, Relaxed);
        }
        let higher = Priority::ALL.iter().filter(|class| **class > priority && seen(class));
        1.0 - KEPT * higher.count() as f64
    }

    /// The server that a session is bound to, if it can take the request: also a backup, also while it drains but keeps its
    /// sessions.
    fn of_session<'a>(&self, roster: &'a Roster, session: &str, query: &Query<'_>) -> Option<&'a Arc<Endpoint>> {
        let exact = roster.all.iter().find(|endpoint| endpoint.session() == session);
        let endpoint = exact.or_else(|| {
            // Its address changed: still the same server if the name has only one.
            let (name, address) = session.rsplit_once('@').unwrap_or((session, ""));
            let mut named = roster.all.iter().filter(|endpoint| **endpoint.server() == *name);
            let only = named.next().filter(|_| named.next().is_none());
            only.filter(|_| address.is_empty() || address.parse::<SocketAddr>().is_ok())
        })?;
        let ejected = endpoint.passive.is_ejected(query.now) && !roster.panicking;
        let out = is_down(endpoint, &self.settings)
            || ejected
            || endpoint.drain() == Drain::Everything
            || query.tried.contains(&endpoint.address());
        (!out).then_some(endpoint)
    }

    /// Takes in how an attempt went.
    pub(super) fn learn(&self, endpoint: &Arc<Endpoint>, finish: &Finish) -> Vec<Ejection> {
        let now = tick(finish.now);
        let mut ejected = Vec::new();
        match finish.outcome {
            AttemptOutcome::Success => {
                endpoint.succeeded();
                if let Some(latency) = finish.latency {
                    endpoint.latency.answered(latency, now);
                    if self.settings.adaptive.is_some() {
                        endpoint.limiter.answered(latency, endpoint.in_flight(), now);
                    }
                }
                if self.settings.outlier.is_some() {
                    endpoint.passive.succeeded();
                }
            }
            AttemptOutcome::Error | AttemptOutcome::Failure { .. } => {
                endpoint.failed();
                match finish.outcome {
                    AttemptOutcome::Failure { retry_after } => endpoint.latency.failed(retry_after, now),
                    _ if endpoint.mostly_fails() => endpoint.latency.failed(None, now),
                    _ => {}
                }
                if let Some(settings) = &self.settings.outlier
                    && endpoint.passive.failed(settings, now)
                {
                    ejected.extend(self.eject(endpoint, Cause::Consecutive(settings.consecutive_failures), now));
                }
            }
        }
        self.compare(now, &mut ejected);
        ejected
    }

    /// Compares the success rates, once an interval.
    fn compare(&self, now: Tick, ejected: &mut Vec<Ejection>) {
        let Some(settings) = self.settings.outlier.filter(|settings| settings.success_rate) else {
            return;
        };
        let due = self.comparison.load(Relaxed);
        if now < due {
            return;
        }
        let next = now.saturating_add(ticks(settings.interval).max(1));
        if self.comparison.compare_exchange(due, next, Relaxed, Relaxed).is_err() || due == 0 {
            return; // another thread does it; or the first interval begins
        }
        let all = self.endpoints();
        let rates: Vec<(u32, u32)> = all.iter().map(|endpoint| endpoint.passive.take_rate()).collect();
        for (index, cause) in outliers(&rates) {
            ejected.extend(self.eject(&all[index], cause, now));
        }
    }

    /// Ejects a server, unless too many are or it is the last that is fit.
    fn eject(&self, endpoint: &Arc<Endpoint>, cause: Cause, now: Tick) -> Option<Ejection> {
        let settings = self.settings.outlier?;
        let change = self.change();
        let all = self.endpoints();
        let member = all.iter().any(|other| Arc::ptr_eq(other, endpoint));
        let ejected = all.iter().filter(|other| other.passive.is_ejected(now)).count();
        let allowed = ((all.len() as f64 * settings.max_ejected) as usize).max(1);
        let right = member
            && ejected < allowed
            && is_fit(endpoint, &self.settings, now)
            && self.is_expendable(endpoint, now)
            && !self.succeeded.load(Relaxed);
        if !right {
            return None;
        }
        let time = endpoint.passive.eject(cause, &settings, now);
        endpoint.ramp.start(endpoint.passive.ejected_until());
        self.rebuild(now, &change);
        Some(Ejection {
            endpoint: Arc::clone(endpoint),
            cause,
            time,
        })
    }

    pub(super) fn breaker_state(&self, now: Instant) -> Option<super::BreakerState> {
        self.breaker.as_ref().map(|breaker| breaker.state(tick(now)))
    }
}
