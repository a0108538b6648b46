//! What waits to be written: so much and no more. What comes when the line is full is not written.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use crate::cache::tier::Offer;

/// Most answers that wait.
const MOST: usize = 1024;

/// Most bytes of bodies that wait: they are in memory for it.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Default)]
pub(super) struct Line {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    offers: VecDeque<Offer>,
    bytes: u64,
    /// It is known what there is, and so what there is room for.
    ready: bool,
    closed: bool,
}

impl Line {
    /// `false`: there is no room.
    pub(super) fn push(&self, offer: Offer) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = offer.entry.body.in_memory();
        if waiting.offers.len() >= MOST || waiting.bytes + bytes > MOST_BYTES.max(bytes) {
            return false;
        }
        waiting.bytes += bytes;
        waiting.offers.push_back(offer);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// From now on what waits is written.
    pub(super) fn ready(&self) {
        self.waiting.lock().ready = true;
        self.more.notify_all();
    }

    /// Waits for the next one; `None`: there will be no more.
    pub(super) fn next(&self) -> Option<Offer> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if waiting.ready
                && let Some(offer) = waiting.offers.pop_front()
            {
                waiting.bytes = waiting.bytes.saturating_sub(offer.entry.body.in_memory());
                return Some(offer);
            }
            self.more.wait(&mut waiting);
        }
    }

    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.more.notify_all();
    }
}
