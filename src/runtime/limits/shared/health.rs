//! Whether the store can be asked, for people: one line when it no longer can, one when it can again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use super::failure::Failure;
use crate::observe::metrics::StoreMetrics;

/// The health of the store, all connections together.
pub(super) struct Health {
    pub(super) metrics: StoreMetrics,
    state: Mutex<State>,
    gateways: AtomicU32,
    /// The store is in force: its state is the one that the metrics show.
    in_force: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Connections that cannot be used, by their places.
    down: BTreeSet<usize>,
    /// When the first of them went down, and whether that was told.
    since: Option<Instant>,
    told: Told,
    reason: String,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Degraded,
    /// And that somebody must see to it.
    NeedsPeople,
}

/// The store, as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreView {
    /// Why it cannot be asked; `None`: it can.
    pub degraded: Option<String>,
    /// Gateways that share it, this one too, as it was last told.
    pub gateways: u32,
}

impl Health {
    /// Of so many connections, none of which is there yet.
    pub(super) fn new(connections: usize, metrics: StoreMetrics) -> Self {
        Self {
            metrics,
            state: Mutex::new(State {
                down: (0..connections).collect(),
                since: Some(Instant::now()),
                reason: "it has not answered yet".to_owned(),
                ..State::default()
            }),
            gateways: AtomicU32::new(1),
            in_force: AtomicBool::new(false),
        }
    }

    /// The store is in force from now on, or no longer.
    pub(super) fn put_in_force(&self, in_force: bool) {
        let state = self.state.lock();
        self.in_force.store(in_force, Relaxed);
        self.metrics.degraded(in_force && !state.down.is_empty());
    }

    fn show(&self, degraded: bool) {
        if self.in_force.load(Relaxed) {
            self.metrics.degraded(degraded);
        }
    }

    /// A connection cannot be used.
    pub(super) fn down(&self, place: usize, why: &Failure) {
        let mut state = self.state.lock();
        let State {
            down,
            since,
            told,
            reason,
        } = &mut *state;
        down.insert(place);
        since.get_or_insert_with(Instant::now);
        let due = if why.needs_people() {
            Told::NeedsPeople
        } else {
            Told::Degraded
        };
        let tell = *told == Told::Nothing || due == Told::NeedsPeople && *told == Told::Degraded;
        *reason = why.to_string();
        if tell {
            *told = due;
            self.show(true);
            tracing::error!(
                reason = %why,
                "Redis cannot be asked about rate limits: each limit does what its on_store_error says"
            );
        }
    }

    /// A connection can be used.
    pub(super) fn up(&self, place: usize) {
        let mut state = self.state.lock();
        if !state.down.remove(&place) || !state.down.is_empty() {
            return;
        }
        self.show(false);
        let since = state.since.take();
        if std::mem::take(&mut state.told) != Told::Nothing {
            let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            tracing::info!(
                after = format!("{seconds:.1} s"),
                "Redis answers again: limits are shared"
            );
        }
    }

    /// A connection more, which is not there yet.
    pub(super) fn expect(&self, place: usize) {
        self.state.lock().down.insert(place);
    }

    /// A connection that is no longer needed.
    pub(super) fn forget(&self, place: usize) {
        self.up(place);
    }

    /// Whether a connection cannot be used.
    pub(super) fn is_down(&self) -> bool {
        !self.state.lock().down.is_empty()
    }

    /// So many gateways share the store.
    pub(super) fn count(&self, gateways: u32) {
        self.gateways.store(gateways.max(1), Relaxed);
        self.metrics.gateways(gateways.max(1));
    }

    /// How many gateways share the store, as it was last told; 1 before that.
    pub(super) fn gateways(&self) -> u32 {
        self.gateways.load(Relaxed)
    }

    /// Whether it is known by now how the store is.
    pub(super) fn is_known(&self) -> bool {
        let state = self.state.lock();
        state.told != Told::Nothing || state.down.is_empty()
    }

    pub(super) fn view(&self) -> StoreView {
        let state = self.state.lock();
        StoreView {
            degraded: (!state.down.is_empty()).then(|| state.reason.clone()),
            gateways: self.gateways(),
        }
    }
}
