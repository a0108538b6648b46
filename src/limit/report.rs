//! What an operator learns from a limit that refuses nothing yet: whom it would have refused, how many clients there are,
//! how often they ask, and which limit would let 99 % of them pass.
//!
//! The space is bounded whatever comes: clients are counted by a sketch (HyperLogLog), rates by a histogram, and the rates
//! of single clients by a sample of clients, chosen by the hash of their keys and halved when it grows too large.

mod histogram;
mod sketch;

use std::collections::HashMap;

use super::key::Key;
use histogram::Histogram;
use sketch::Sketch;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// How long a client's burst may last.
const SLICE: u64 = 10 * SECOND;

/// Most clients whose rates are followed at a time.
const FOLLOWED: usize = 4096;

/// The family of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// IPv4, and IPv6 addresses that stand for one.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What one limit has seen since it began.
#[derive(Debug, Default)]
pub struct Report {
    counts: [Counts; 2],
    minute: u64,
    followed: HashMap<u128, Client>,
    /// One client in so many, as a power of two, is followed.
    sample: u32,
    rates: Histogram,
    bursts: Histogram,
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    refused: u64,
    clients: Sketch,
}

#[derive(Debug, Default)]
struct Client {
    units: u64,
    slice: u64,
    in_slice: u64,
    most: u64,
}

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Of clients with IPv4 addresses.
    pub ipv4: Seen,
    /// Of clients with IPv6 addresses.
    pub ipv6: Seen,
    /// Units that a client asks for in a minute: of every other one, at most (within an eighth).
    pub median: u64,
    /// The same of nine in ten.
    pub p90: u64,
    /// The same of 99 in 100.
    pub p99: u64,
    /// The most that any did.
    pub most: u64,
    /// What would let 99 in 100 pass; `None` before a minute is over.
    pub suggestion: Option<Suggestion>,
}

/// Counts of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Requests.
    pub requests: u64,
    /// Requests that would have been refused.
    pub refused: u64,
    /// About how many clients (within 7 %, nineteen times in twenty).
    pub clients: u64,
}

/// A limit that would let 99 of 100 clients pass, with a quarter to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// Units a minute.
    pub per_minute: u64,
    /// Units at once beyond the first, as the file counts them: what 99 of 100 ask for within ten seconds.
    pub burst: u64,
}

impl Class {
    /// Of the client that a key was made for.
    #[must_use]
    pub fn of(key: Key) -> Self {
        if key.is_ipv6() { Self::Ipv6 } else { Self::Ipv4 }
    }
}

impl Report {
    /// Notes a request. `refused`: it would have been; `now`: nanoseconds of a monotonic clock.
    pub fn note(&mut self, key: Key, cost: u32, refused: bool, now: u64) {
        self.advance(now);
        let counts = &mut self.counts[Class::of(key) as usize];
        counts.requests += 1;
        counts.refused += u64::from(refused);
        counts.clients.note(key.id);
        if !follows(self.sample, key.id) {
            return;
        }
        let client = self.followed.entry(key.id).or_default();
        let (slice, units) = (now / SLICE, u64::from(cost));
        if slice != client.slice {
            (client.slice, client.in_slice) = (slice, 0);
        }
        client.units += units;
        client.in_slice += units;
        client.most = client.most.max(client.in_slice);
        while self.followed.len() > FOLLOWED && self.sample < u128::BITS {
            self.sample += 1;
            let sample = self.sample;
            self.followed.retain(|id, _| follows(sample, *id));
        }
    }

    /// A minute may be over although nobody asks any more.
    pub fn advance(&mut self, now: u64) {
        let minute = now / MINUTE;
        if minute > self.minute {
            self.finish(minute);
        }
    }

    /// What there is to say. The minute that is not over is left out of the rates.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let seen = |class: Class| {
            let counts = &self.counts[class as usize];
            Seen {
                requests: counts.requests,
                refused: counts.refused,
                clients: counts.clients.estimate(),
            }
        };
        let spare = |units: u64| units + units.div_ceil(4);
        let p99 = self.rates.quantile(99, 100);
        Summary {
            ipv4: seen(Class::Ipv4),
            ipv6: seen(Class::Ipv6),
            median: self.rates.quantile(1, 2),
            p90: self.rates.quantile(9, 10),
            p99,
            most: self.rates.most(),
            suggestion: (p99 > 0).then(|| Suggestion {
                per_minute: spare(p99),
                burst: spare(self.bursts.quantile(99, 100)) - 1,
            }),
        }
    }

    fn finish(&mut self, minute: u64) {
        self.minute = minute;
        for (_, client) in self.followed.drain() {
            self.rates.note(client.units);
            self.bursts.note(client.most);
        }
        // The next minute may be quieter.
        self.sample = self.sample.saturating_sub(1);
    }
}

/// Whether a client belongs to the sample: its hash decides, so each is in or out for good.
fn follows(sample: u32, id: u128) -> bool {
    // The sketch looks at the other end of the hash.
    id.leading_zeros() >= sample
}

#[cfg(test)]
mod tests;
