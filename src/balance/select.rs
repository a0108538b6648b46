//! The strategies: from the servers that are fit, one that a request can be sent to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::clock::Tick;
use super::dice::Dice;
use super::price::{COMPARED, Expected, Nothing, Price, cheapest_of};
use super::roster::{Seat, Tier, is_down};
use super::{Endpoint, Settings, Strategy};

/// How often two random servers are drawn that both turn out to be no choice, before all are looked at.
const DRAWS: usize = 3;
/// So few requests in flight are over nobody's share: a key stays with its server while there is little to do.
const FEW: f64 = 4.0;

/// What a pick depends on.
pub(super) struct Query<'a> {
    pub(super) tried: &'a [SocketAddr],
    pub(super) hash: Option<u64>,
    pub(super) now: Tick,
    /// How much of each server's limit it may use.
    pub(super) share: f64,
    pub(super) settings: &'a Settings,
    pub(super) dice: &'a Dice,
    /// The turns of round robin.
    pub(super) cursor: &'a AtomicUsize,
}

/// Whether a server takes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// It had this request before.
    Tried,
    /// It has as many requests as it may.
    Full,
    /// It drains, or is out by the probes since the roster was made.
    Shut,
}

impl Query<'_> {
    pub(super) fn door(&self, endpoint: &Endpoint) -> Door {
        if endpoint.is_draining() || is_down(endpoint, self.settings) {
            Door::Shut
        } else if self.tried.contains(&endpoint.address()) {
            Door::Tried
        } else if endpoint.is_full(self.share) {
            Door::Full
        } else {
            Door::Open
        }
    }

    fn is_open(&self, seat: &Seat) -> bool {
        self.door(&seat.endpoint) == Door::Open
    }
}

impl Tier {
    /// The choice of the pool's strategy. `None`: no door is open.
    pub(super) fn choose(&self, query: &Query<'_>) -> Option<&Arc<Endpoint>> {
        let seat = match query.settings.strategy {
            Strategy::PeakEwma => self.cheapest(query, &Expected(query.now)),
            Strategy::LeastRequests => self.cheapest(query, &Nothing),
            Strategy::RoundRobin => self.next(query),
            Strategy::Random => self.random(query),
            Strategy::ConsistentHash { load_factor } => self.owner(query, load_factor),
        };
        seat.map(|seat| &seat.endpoint)
    }

    /// Of the servers that are about as cheap as the cheapest one, that with the fewest requests in flight for its weight.
    fn cheapest(&self, query: &Query<'_>, price: &impl Price) -> Option<&Seat> {
        if self.seats.len() > COMPARED {
            for _ in 0..DRAWS {
                let pair = [self.draw(query.dice)?, self.draw(query.dice)?];
                let open = pair.into_iter().filter(|seat| query.is_open(seat));
                if let Some(seat) = cheapest_of(open, price, query.dice) {
                    return Some(seat);
                }
            }
        }
        let open = self.seats.iter().filter(|seat| query.is_open(seat));
        cheapest_of(open, price, query.dice)
    }

    /// The server of this turn, or the first one after it whose door is open.
    fn next(&self, query: &Query<'_>) -> Option<&Seat> {
        let turn = query.cursor.fetch_add(1, Relaxed);
        let first = turn.checked_rem(self.turns.len())?;
        let (before, after) = self.turns.split_at(first);
        let turns = after.iter().chain(before).take(self.seats.len());
        let mut seats = turns.map(|&index| &self.seats[index as usize]);
        seats.find(|seat| query.is_open(seat)).or_else(|| {
            // Those that come rarely may lie far ahead.
            let (before, after) = self.seats.split_at(turn % self.seats.len());
            after.iter().chain(before).find(|seat| query.is_open(seat))
        })
    }

    fn random(&self, query: &Query<'_>) -> Option<&Seat> {
        let seat = self.draw(query.dice)?;
        if query.is_open(seat) {
            return Some(seat);
        }
        // Among the open ones in proportion: the shares of the others do not fall to one neighbour.
        let open = || self.seats.iter().filter(|seat| query.is_open(seat));
        let total: f64 = open().map(|seat| seat.weight).sum();
        let mut left = query.dice.unit() * total;
        let drawn = open().find(|seat| {
            left -= seat.weight;
            left < 0.0
        });
        drawn.or_else(|| open().next_back())
    }

    fn draw(&self, dice: &Dice) -> Option<&Seat> {
        let total = self.sums.last()?;
        let place = dice.unit() * total;
        let index = self.sums.partition_point(|&sum| sum <= place);
        self.seats.get(index).or(self.seats.last())
    }

    /// The key's first server on the circle that is open and not over its share of the load.
    fn owner(&self, query: &Query<'_>, load_factor: f64) -> Option<&Seat> {
        let key = query.hash.unwrap_or_else(|| query.dice.number());
        let (mut load, mut weight) = (1.0, 0.0);
        for seat in &self.seats {
            load += seat.endpoint.in_flight() as f64;
            weight += f64::from(seat.endpoint.weight());
        }
        let factor = load_factor.max(1.0);
        let has_room = |seat: &Seat| {
            let share = load * f64::from(seat.endpoint.weight()) / weight;
            (seat.endpoint.in_flight() as f64) < (share * factor).ceil().max(FEW)
        };
        // Enough to meet nearly every server; the rest is looked at in the order of the file.
        let most = self.seats.len() * 8 + 256;
        let walk = || {
            self.circle
                .from(key, most)
                .map(|index| &self.seats[index])
                .chain(&self.seats)
        };
        walk()
            .find(|seat| query.is_open(seat) && has_room(seat))
            .or_else(|| walk().find(|seat| query.is_open(seat)))
    }
}
