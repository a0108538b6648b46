//! What a request at a server costs, and which of those that cost about the same takes it.

use smallvec::SmallVec;

use super::clock::Tick;
use super::dice::Dice;
use super::roster::Seat;

/// Servers whose costs lie so close together count as equal: seconds, and a share of the least cost. Below it differences
/// are those of the moment (a collection, a thread that waited for its turn, a connection that had to be made), and who
/// goes by them sends nearly everything to the one server that happened to be lucky.
const NEAR: f64 = 0.005;
const NEAR_SHARE: f64 = 0.25;

/// Up to so many servers all are compared; beyond, two random ones, so that a pick does not grow with the pool.
pub(super) const COMPARED: usize = 16;

/// How long a request to a server is expected to take.
pub(super) trait Price {
    /// Seconds; `None`: nothing is known.
    fn seconds(&self, seat: &Seat) -> Option<f64>;
}

/// By what is known of its latency, at this time.
pub(super) struct Expected(pub(super) Tick);

impl Price for Expected {
    fn seconds(&self, seat: &Seat) -> Option<f64> {
        seat.endpoint.expected(self.0)
    }
}

/// All cost the same: what is in flight decides.
pub(super) struct Nothing;

impl Price for Nothing {
    fn seconds(&self, _: &Seat) -> Option<f64> {
        Some(0.0)
    }
}

/// A server that would take the request, as it is at this moment.
struct Candidate<'a> {
    seat: &'a Seat,
    /// What is known of its price.
    seconds: Option<f64>,
    /// Requests in flight; what counts one at the heaviest server counts more at the others.
    load: f64,
}

/// The choice among these servers. The cost of one is its price × (1 + requests in flight for its weight); one of which
/// nothing is known has the best price that is known: it gets requests, but not all at once, since those in flight count. Of
/// those that cost [about](NEAR) the least, the one with the fewest requests in flight for its weight; of equals any, in
/// proportion to their weights.
pub(super) fn cheapest_of<'a>(
    seats: impl Iterator<Item = &'a Seat>,
    price: &impl Price,
    dice: &Dice,
) -> Option<&'a Seat> {
    let candidate = |seat: &'a Seat| Candidate {
        seat,
        seconds: price.seconds(seat),
        load: seat.endpoint.in_flight() as f64 / seat.weight,
    };
    let mut all: SmallVec<[Candidate<'_>; COMPARED]> = seats.map(candidate).collect();
    let heaviest = all.iter().map(|one| one.seat.weight).fold(0.0, f64::max);
    all.iter_mut().for_each(|one| one.load *= heaviest);
    let known = all.iter().filter_map(|one| one.seconds).reduce(f64::min);
    let cost = |one: &Candidate<'_>| one.seconds.or(known).unwrap_or_default() * (1.0 + one.load);
    let least = all.iter().map(cost).reduce(f64::min)?;
    let bound = (least * (1.0 + NEAR_SHARE)).max(least + NEAR);
    let (mut chosen, mut fewest, mut weight) = (None, f64::INFINITY, 0.0);
    for Candidate { seat, load, .. } in all.iter().filter(|one| cost(one) <= bound) {
        if *load < fewest {
            (chosen, fewest, weight) = (Some(*seat), *load, seat.weight);
        } else if *load == fewest {
            weight += seat.weight;
            if dice.unit() * weight < seat.weight {
                chosen = Some(*seat);
            }
        }
    }
    chosen
}
