//! What one gateway holds of one key of a shared store: units on lease, a refusal that still stands, a question under way.
//!
//! How many units are asked for follows what is spent: one at first, twice as many after a lease that was spent whole,
//! never more than twice what is spent in the length of a lease; after one that ran out as many as were used, and a few more
//! (two standard deviations of random arrivals), so that mostly the next one is not spent early. The next one is asked for
//! before a lease is spent: at a quarter of it, or later if less than that lasts for a round trip. Whoever is refused is
//! refused here until the store would admit him; a hot key that is refused is left alone for half a lease, so that its
//! units gather in the store and are fetched together.

use super::gcra::Level;
use super::shared::{Ask, Reply, Settlement, Terms};

/// A question that has had no answer for this long is given up, nanoseconds.
const GIVEN_UP: u64 = 1_000_000_000;

/// For how many leases' lengths a key that was refused counts as pressed.
const PRESSED: u64 = 4;

/// Time for which the units must last that are left when the next ones are asked for, nanoseconds.
const ROUND_TRIP: f32 = 5_000_000.0;

/// What is held of one key.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// The store's state as it was last told, by the clock of this process; 0: nothing is known.
    tat: u64,
    /// Until when it is refused here, whatever costs as much or more.
    refused_until: u64,
    refused_cost: u32,
    /// Until when it is left to gather units whenever few are left.
    pressed_until: u64,
    /// When a question went out that has no answer yet; 0: none.
    asked: u64,
    /// Units in hand, the older ones first.
    lots: [Lot; 2],
    settle: Settlement,
    /// Units to ask for.
    pace: u32,
    /// Units spent in the length of a lease, decaying.
    spent: f32,
    spent_at: u64,
}

/// Units that were granted together.
#[derive(Debug, Clone, Copy, Default)]
struct Lot {
    granted: u32,
    left: u32,
    /// When they are worth nothing any more.
    until: u64,
    clock: u64,
}

/// What becomes of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// It is paid with units in hand.
    Paid,
    /// It is refused.
    Refused,
    /// The store must be asked.
    Ask,
    /// The store is being asked.
    Wait,
}

impl Lease {
    /// Pays `cost` units at `now`, or says what to do instead.
    pub(super) fn draw(&mut self, terms: &Terms, cost: u32, now: u64) -> Draw {
        self.expire(now);
        if !terms.is_exact() && self.in_hand() >= cost {
            self.pay(cost);
            self.note_spent(terms, cost, now);
            return Draw::Paid;
        }
        if self.refused_until > now && cost >= self.refused_cost {
            return Draw::Refused;
        }
        if !terms.is_exact() && self.is_asking(now) {
            return Draw::Wait;
        }
        Draw::Ask
    }

    /// Takes units back that were drawn for a request that another limit refused. What ran out meanwhile is settled as
    /// unspent with its lot, or lost.
    pub(super) fn put_back(&mut self, cost: u32, now: u64) {
        self.expire(now);
        let mut rest = cost;
        for lot in self.lots.iter_mut().rev() {
            let back = rest.min(lot.granted - lot.left);
            lot.left += back;
            rest -= back;
        }
    }

    /// Whether the next lease should be asked for before this one is spent.
    pub(super) fn wants_more(&self, terms: &Terms, now: u64) -> bool {
        let [first, second] = &self.lots;
        !terms.is_exact()
            && second.granted == 0
            && first.granted > 1
            && first.left <= (first.granted / 4).min(self.soon(terms))
            && self.refused_until <= now
            && !self.is_asking(now)
    }

    /// The question for `least` units or more. `others`: units that others wait for.
    pub(super) fn ask(&mut self, terms: &Terms, least: u32, others: u32, now: u64) -> (u32, Settlement) {
        if self.lots[0].granted > 0 && self.lots[0].left == 0 {
            self.close(0, false);
        }
        let settle = std::mem::take(&mut self.settle);
        if terms.is_exact() {
            return (least, settle);
        }
        self.asked = now;
        let pace = u64::from(self.pace).min(terms.ahead()) as u32;
        let most = pace.max(least).max(others.saturating_add(least));
        (most, settle)
    }

    /// The store has answered; `sent`: when it was asked. `spent` units of what it granted are spent already.
    pub(super) fn answered(&mut self, ask: &Ask, reply: &Reply, spent: u32, sent: u64, now: u64) {
        let terms = &ask.terms;
        self.asked = 0;
        self.expire(now);
        self.tat = now.saturating_add(reply.backlog);
        if reply.retry_in > 0 {
            let pause = reply.retry_in.max(terms.lease / 2).min(terms.denial);
            self.refused_until = now.saturating_add(pause);
            self.refused_cost = ask.least;
            self.pressed_until = now.saturating_add(PRESSED * terms.lease);
            return;
        }
        if reply.granted == 0 {
            return; // refused by another limit
        }
        self.refused_until = 0;
        if terms.is_exact() {
            return;
        }
        if now < self.pressed_until {
            let room = terms.bucket.look(reply.backlog, 0).room;
            if u64::from(room) < terms.ahead() / 2 {
                self.refused_until = now.saturating_add(terms.lease / 2);
                self.refused_cost = 0;
                self.pressed_until = now.saturating_add(PRESSED * terms.lease);
            }
        }
        self.note_spent(terms, spent, now);
        let lot = Lot {
            granted: reply.granted,
            left: reply.granted.saturating_sub(spent),
            until: sent.saturating_add(terms.lease),
            clock: reply.clock,
        };
        if self.lots[0].granted > 0 && self.lots[1].granted > 0 {
            self.close(0, false); // cannot be: nothing is asked for then
        }
        let free = usize::from(self.lots[0].granted > 0);
        self.lots[free] = lot;
        self.grow(terms);
        self.expire(now);
    }

    /// The question has failed. If it was sent, nobody knows whether the store has heard what was settled: to tell it
    /// twice would give back too much.
    pub(super) fn unanswered(&mut self, ask: &Ask, sent: bool) {
        self.asked = 0;
        if !sent {
            self.settle.add(ask.settle);
        }
    }

    /// The store will be told that this was charged.
    pub(super) fn charged(&mut self, terms: &Terms, cost: u32, now: u64) {
        self.tat = terms.bucket.charge(self.tat, now, cost);
    }

    /// Units that ran out without being spent are told to the store even if nobody asks for more; `None`: there are none.
    pub(super) fn overdue(&mut self, now: u64) -> Option<Settlement> {
        self.expire(now);
        let overdue = self.settle.unspent > 0 && self.in_hand() == 0 && !self.is_asking(now);
        overdue.then(|| std::mem::take(&mut self.settle))
    }

    /// Where the client stands at `now`, as far as it is known here, after `spent` units were paid.
    pub(super) fn level(&self, terms: &Terms, spent: u32, now: u64) -> Level {
        // What is in hand is charged already and may be spent; but what was spent this moment is not full again.
        let in_hand = terms.bucket.span(self.in_hand().min(terms.bucket.capacity()));
        let backlog = self.tat.saturating_sub(now).saturating_sub(in_hand);
        terms.bucket.look(backlog.max(terms.bucket.span(spent)), 0)
    }

    /// For how long it is refused here.
    pub(super) fn refused_for(&self, now: u64) -> u64 {
        self.refused_until.saturating_sub(now)
    }

    /// The state of the bucket at the store, by the clock of this process.
    pub(super) fn tat(&self) -> u64 {
        self.tat
    }

    /// Units in hand that are still worth something.
    pub(super) fn units(&self, now: u64) -> u32 {
        let lots = self.lots.iter().filter(|lot| lot.until > now);
        lots.fold(0, |units, lot| units.saturating_add(lot.left))
    }

    /// Whether units are in hand that are still worth something.
    pub(super) fn is_held(&self, now: u64) -> bool {
        self.lots.iter().any(|lot| lot.left > 0 && lot.until > now)
    }

    fn in_hand(&self) -> u32 {
        self.lots[0].left.saturating_add(self.lots[1].left)
    }

    fn is_asking(&self, now: u64) -> bool {
        self.asked != 0 && now.saturating_sub(self.asked) < GIVEN_UP
    }

    fn pay(&mut self, cost: u32) {
        let mut rest = cost;
        for lot in &mut self.lots {
            let paid = rest.min(lot.left);
            lot.left -= paid;
            rest -= paid;
        }
    }

    /// Closes lots that ran out, and what is spent where a later one stands in line.
    fn expire(&mut self, now: u64) {
        for at in [1, 0] {
            let lot = self.lots[at];
            if lot.granted > 0 && lot.until <= now {
                self.close(at, lot.left > 0);
            }
        }
        if self.lots[0].left == 0 && self.lots[1].granted > 0 {
            if self.lots[0].granted > 0 {
                self.close(0, false);
            }
            self.lots.swap(0, 1);
        }
    }

    fn close(&mut self, at: usize, ran_out: bool) {
        let lot = std::mem::take(&mut self.lots[at]);
        self.settle.add(Settlement {
            units: lot.granted,
            unspent: lot.left,
            clock: lot.clock,
        });
        if ran_out {
            let used = lot.granted - lot.left;
            self.pace = used + 2 * used.isqrt() + 1;
        }
    }

    /// The next question asks for twice as many, at most twice what is spent in a lease's length.
    fn grow(&mut self, terms: &Terms) {
        let most = (self.spent * 2.0).ceil().clamp(1.0, 1e9) as u32;
        let most = most.min(u32::try_from(terms.ahead()).unwrap_or(u32::MAX).max(1));
        let newest = self.lots[1].granted.max(self.lots[0].granted);
        // What was granted may be less than what was asked for.
        self.pace = newest.max(self.pace).saturating_mul(2).clamp(1, most);
    }

    /// Units that are spent while a question is under way, roughly.
    fn soon(&self, terms: &Terms) -> u32 {
        (self.spent * ROUND_TRIP / terms.lease.max(1) as f32).clamp(1.0, 1e9) as u32
    }

    fn note_spent(&mut self, terms: &Terms, cost: u32, now: u64) {
        let passed = now.saturating_sub(self.spent_at) as f32 / terms.lease.max(1) as f32;
        self.spent = self.spent * (-passed).exp() + cost as f32;
        self.spent_at = self.spent_at.max(now);
    }
}

#[cfg(test)]
mod tests;
