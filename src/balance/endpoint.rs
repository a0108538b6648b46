//! One address of one server of an upstream, and what is known about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use super::{Health, Outcome, State, Thresholds, Transition};

/// One address of one server.
///
/// It *is* its upstream's name, its server as written in the file and its address: as long as these three stay, the same
/// value lives on through re-resolutions and reloads, with its health, its counters and its requests in flight. The
/// atomics are statistics, none of them orders access to other memory: hence `Relaxed` everywhere.
#[derive(Debug)]
pub struct Endpoint {
    upstream: Arc<str>,
    server: Arc<str>,
    address: SocketAddr,
    weight: AtomicU32,
    in_flight: AtomicUsize,
    picks: AtomicU64,
    connect_failures: AtomicU64,
    /// Whether requests counted against the server, so that a good connection takes the lock only after a bad one.
    suspect: AtomicBool,
    health: Mutex<Health>,
}

impl Endpoint {
    pub(super) fn new(upstream: Arc<str>, server: Arc<str>, address: SocketAddr, weight: u32) -> Self {
        Self {
            upstream,
            server,
            address,
            weight: AtomicU32::new(weight.max(1)),
            in_flight: AtomicUsize::new(0),
            picks: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            health: Mutex::default(),
        }
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

    /// How often a request could not connect to it.
    #[must_use]
    pub fn connect_failures(&self) -> u64 {
        self.connect_failures.load(Relaxed)
    }

    /// What is known about its health now.
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

    pub(super) fn reweigh(&self, weight: u32) {
        self.weight.store(weight.max(1), Relaxed);
    }

    pub(super) fn observe(&self, outcome: Outcome<'_>, thresholds: Thresholds, now: Instant) -> Option<Transition> {
        self.health.lock().observe(outcome, thresholds, now)
    }

    pub(super) fn count_connect_failure(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    pub(super) fn suspect(&self, expendable: bool, thresholds: Thresholds, now: Instant) -> Option<Transition> {
        let mut health = self.health.lock();
        self.suspect.store(true, Relaxed);
        health.connect_failed(expendable, thresholds, now)
    }

    pub(super) fn forget_health(&self) {
        *self.health.lock() = Health::default();
    }

    pub(super) fn enter(&self) {
        self.picks.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}
