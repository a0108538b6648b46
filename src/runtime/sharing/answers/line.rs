//! What waits to be written: so much and no more. What comes when the line is full is not written.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::tier::Counts;
use crate::cache::Offer;

/// Most answers that wait.
const MOST: usize = 1024;

/// Most bytes of bodies that wait.
const MOST_BYTES: u64 = 16 << 20;

/// An answer that is to be written.
pub(super) struct Waiting {
    pub(super) offer: Offer,
    /// The cache that keeps it.
    pub(super) cache: Arc<str>,
    /// The largest body that this one shares, bytes.
    pub(super) most: u64,
    pub(super) counts: Arc<Counts>,
}

#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    pub(super) more: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: u64,
}

impl Line {
    /// `false`: there is no room.
    pub(super) fn push(&self, waiting: Waiting) -> bool {
        let bytes = waiting.offer.entry.body.in_memory();
        let mut state = self.state.lock();
        if state.waiting.len() >= MOST || state.bytes + bytes > MOST_BYTES {
            return false;
        }
        state.bytes += bytes;
        state.waiting.push_back(waiting);
        drop(state);
        self.more.notify_one();
        true
    }

    /// The one that has waited longest.
    pub(super) fn pop(&self) -> Option<Waiting> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front()?;
        // A body may take more memory by now, for its forms.
        state.bytes = state.bytes.saturating_sub(next.offer.entry.body.in_memory());
        if state.waiting.is_empty() {
            state.bytes = 0;
        }
        Some(next)
    }
}
