//! One address of one server of an upstream, and what is known about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use super::clock::{Tick, between};
use super::latency::Estimate;
use super::limit::Limiter;
use super::outlier::Passive;
use super::ramp::Ramp;
use super::{Drain, Health, Member, Outcome, State, Thresholds, Transition};
use crate::slot::Slot;

/// As many requests at once as come.
const UNLIMITED: u32 = u32::MAX;

/// One address of one server.
///
/// It *is* its upstream's name, its server as written in the file and its address: as long as these three stay, the same
/// value lives on through re-resolutions and reloads, with its health, its counters and its requests in flight. The
/// atomics are statistics, none of them orders access to other memory: hence `Relaxed` everywhere.
#[derive(Debug)]
pub struct Endpoint {
    upstream: Arc<str>,
    server: Arc<str>,
    session: Box<str>,
    address: SocketAddr,
    weight: AtomicU32,
    backup: AtomicBool,
    max_requests: AtomicU32,
    /// A [`Drain`], by its code.
    drain: AtomicU8,
    in_flight: AtomicUsize,
    /// Of those in flight, how many wait for the head of their answer.
    awaiting: AtomicUsize,
    /// Since when none of these was answered.
    quiet_since: AtomicU64,
    picks: AtomicU64,
    failures: AtomicU64,
    connect_failures: AtomicU64,
    /// The share of the last attempts that failed, in parts of [`ALL_FAILED`].
    failing: AtomicU32,
    /// Whether requests counted against the server, so that a good connection takes the lock only after a bad one.
    suspect: AtomicBool,
    /// Whether the probes say that it is out: the state of `health`, for those who pick.
    down: AtomicBool,
    health: Mutex<Health>,
    /// What the layer that speaks with the server keeps for it: its idle connections live as long as it does.
    pub kept: Slot,
    /// The counters that are shown of it.
    pub tally: Slot,
    pub(super) latency: Estimate,
    pub(super) passive: Passive,
    pub(super) ramp: Ramp,
    pub(super) limiter: Limiter,
}

impl Endpoint {
    pub(super) fn new(upstream: Arc<str>, member: &Member) -> Self {
        let Member { server, address, .. } = member;
        let literal = server.parse::<SocketAddr>().is_ok_and(|literal| literal == *address);
        let endpoint = Self {
            upstream,
            session: if literal {
                (&**server).into()
            } else {
                format!("{server}@{address}").into()
            },
            server: Arc::clone(server),
            address: *address,
            weight: AtomicU32::new(1),
            backup: AtomicBool::new(false),
            max_requests: AtomicU32::new(UNLIMITED),
            drain: AtomicU8::new(Drain::Off.code()),
            in_flight: AtomicUsize::new(0),
            awaiting: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            picks: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            failing: AtomicU32::new(0),
            suspect: AtomicBool::new(false),
            down: AtomicBool::new(false),
            health: Mutex::default(),
            kept: Slot::default(),
            tally: Slot::default(),
            latency: Estimate::default(),
            passive: Passive::default(),
            ramp: Ramp::default(),
            limiter: Limiter::default(),
        };
        endpoint.describe(member);
        endpoint
    }

    /// The upstream's name.
    #[must_use]
    pub fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// The server as the file names it, `host:port`: the label of metrics.
    #[must_use]
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// What a sticky session is bound to: the server's name, and where that is not an address itself, `@` and the address.
    /// A client finds its server again among all addresses of a name, and by the name alone where that has only one.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Share of the requests relative to the others, at least 1.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Whether it is picked only when no other is fit.
    #[must_use]
    pub fn is_backup(&self) -> bool {
        self.backup.load(Relaxed)
    }

    /// Most requests at once, as the file has it or as it was learnt, whichever is less; `None`: as many as come.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        let fixed = Some(self.max_requests.load(Relaxed)).filter(|&max| max != UNLIMITED);
        match (fixed, self.limiter.limit()) {
            (Some(fixed), Some(learnt)) => Some(fixed.min(learnt)),
            (fixed, learnt) => fixed.or(learnt),
        }
    }

    /// Leases that are held now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// How often it was picked.
    #[must_use]
    pub fn picks(&self) -> u64 {
        self.picks.load(Relaxed)
    }

    /// How many attempts failed, connections included.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// How often a request could not connect to it.
    #[must_use]
    pub fn connect_failures(&self) -> u64 {
        self.connect_failures.load(Relaxed)
    }

    /// How often failing requests took it out.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.passive.ejections()
    }

    /// Whether the operator takes it out.
    #[must_use]
    pub fn drain(&self) -> Drain {
        Drain::of_code(self.drain.load(Relaxed))
    }

    /// Whether it gets no new clients.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain() != Drain::Off
    }

    pub(super) fn set_drain(&self, drain: Drain) {
        self.drain.store(drain.code(), Relaxed);
    }

    /// What the active checks know about its health now.
    #[must_use]
    pub fn state(&self) -> State {
        self.health.lock().state()
    }

    /// Its health with history, a copy.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// Takes in that a request made a new connection to it, so that failures count only in a row. (A connection taken
    /// from the pool says nothing about whether the server still accepts.)
    pub fn connected(&self) {
        if self.suspect.load(Relaxed) {
            let mut health = self.health.lock();
            self.suspect.store(false, Relaxed);
            health.connected();
        }
    }

    /// Takes over what the file says of it.
    pub(super) fn describe(&self, member: &Member) {
        self.weight.store(member.weight.max(1), Relaxed);
        self.backup.store(member.backup, Relaxed);
        let max = member.max_requests.map_or(UNLIMITED, |max| max.get());
        self.max_requests.store(max, Relaxed);
    }

    pub(super) fn observe(&self, outcome: Outcome<'_>, thresholds: Thresholds, now: Instant) -> Option<Transition> {
        let mut health = self.health.lock();
        let transition = health.observe(outcome, thresholds, now);
        self.down.store(!health.state().is_usable(), Relaxed);
        transition
    }

    pub(super) fn count_connect_failure(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    /// An attempt failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
        let share = self.failing.load(Relaxed);
        self.failing.store(share + (ALL_FAILED - share) / REMEMBERED, Relaxed);
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&self) {
        let share = self.failing.load(Relaxed);
        if share > 0 {
            self.failing.store(share - share.div_ceil(REMEMBERED), Relaxed);
        }
    }

    /// Whether most of the last attempts failed.
    pub(super) fn mostly_fails(&self) -> bool {
        self.failing.load(Relaxed) > ALL_FAILED / 2
    }

    pub(super) fn suspect(&self, expendable: bool, thresholds: Thresholds, now: Instant) -> Option<Transition> {
        let mut health = self.health.lock();
        self.suspect.store(true, Relaxed);
        let transition = health.connect_failed(expendable, thresholds, now);
        self.down.store(!health.state().is_usable(), Relaxed);
        transition
    }

    pub(super) fn forget_health(&self) {
        let mut health = self.health.lock();
        *health = Health::default();
        self.down.store(false, Relaxed);
    }

    /// Whether the probes say that it is out.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// Whether it takes no request that may use this share of it.
    pub(super) fn is_full(&self, share: f64) -> bool {
        self.limit()
            .is_some_and(|limit| self.in_flight() >= places(limit, share))
    }

    /// Counts a request in, if there is room for it within this share.
    pub(super) fn enter(&self, share: f64, now: Tick) -> bool {
        let entered = match self.limit() {
            None => {
                self.in_flight.fetch_add(1, Relaxed);
                true
            }
            Some(limit) => {
                let most = places(limit, share);
                let within = |requests: usize| (requests < most).then_some(requests + 1);
                self.in_flight.fetch_update(Relaxed, Relaxed, within).is_ok()
            }
        };
        if entered {
            self.picks.fetch_add(1, Relaxed);
            if self.awaiting.fetch_add(1, Relaxed) == 0 {
                self.quiet_since.store(now, Relaxed);
            }
        }
        entered
    }

    /// A request has its answer, or its fault.
    pub(super) fn responded(&self, now: Tick) {
        self.quiet_since.store(now, Relaxed);
        self.awaiting.fetch_sub(1, Relaxed);
    }

    /// A request waits no more, and nothing is known of how it went.
    pub(super) fn abandoned(&self) {
        self.awaiting.fetch_sub(1, Relaxed);
    }

    /// Seconds that an answer is expected to take: what was learnt, or how long the server has been silent although it was
    /// asked, if that is more. Without this a server that freezes looks as fast as it was until the first time limit.
    pub(super) fn expected(&self, now: Tick) -> Option<f64> {
        let learnt = self.latency.seconds(now);
        if self.awaiting.load(Relaxed) == 0 {
            return learnt;
        }
        let silent = between(self.quiet_since.load(Relaxed), now).as_secs_f64();
        match learnt {
            Some(learnt) => Some(learnt.max(silent)),
            None => Some(silent).filter(|silent| *silent > FIRST_SILENCE),
        }
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

/// All attempts failed; and over about how many of them the share is taken: six in a row are more than half.
const ALL_FAILED: u32 = 1 << 16;
const REMEMBERED: u32 = 8;

/// A server that never answered is given this time, in seconds, before its silence counts.
const FIRST_SILENCE: f64 = 0.02;

/// How many of a server's places a request may be among, rounded up: of few nothing is kept.
fn places(limit: u32, share: f64) -> usize {
    if share >= 1.0 {
        return limit as usize;
    }
    ((f64::from(limit) * share).ceil() as usize).max(1)
}
