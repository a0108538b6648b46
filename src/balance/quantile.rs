//! In which time 95 of 100 answers come: a histogram of the last minute or so, without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::clock::tick;

/// The edges of the buckets grow by a quarter of an octave: 19 % from one to the next, from 1 µs to about 70 minutes.
const BUCKETS: usize = 128;
const PER_OCTAVE: f64 = 4.0;
/// So long one half of the histogram is filled; then the other half begins anew.
const HALF: u64 = 30 * 1_000_000_000;
/// Of fewer answers nothing is concluded.
const ENOUGH: u32 = 100;

/// Latencies of the answers of one upstream.
#[derive(Debug)]
pub struct Quantile {
    halves: [[AtomicU32; BUCKETS]; 2],
    /// Which half is being filled: the number of halves since the process began.
    turn: AtomicU64,
}

impl Default for Quantile {
    fn default() -> Self {
        Self {
            halves: [const { [const { AtomicU32::new(0) }; BUCKETS] }; 2],
            turn: AtomicU64::new(0),
        }
    }
}

impl Quantile {
    /// Takes in an answer.
    pub fn record(&self, latency: Duration, now: Instant) {
        let turn = tick(now) / HALF;
        let half = &self.halves[(turn % 2) as usize];
        let before = self.turn.fetch_max(turn, Relaxed);
        if before < turn {
            // Who comes first clears it. What others write meanwhile may be lost: these are statistics.
            let stale = if turn - before > 1 {
                &self.halves[..]
            } else {
                std::slice::from_ref(half)
            };
            stale.iter().flatten().for_each(|bucket| bucket.store(0, Relaxed));
        }
        half[bucket(latency)].fetch_add(1, Relaxed);
    }

    /// In which time 95 of 100 answers come, rounded up to the edge of a bucket; `None`: too few are known.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        let count = |index: usize| {
            self.halves[0][index]
                .load(Relaxed)
                .saturating_add(self.halves[1][index].load(Relaxed))
        };
        let all = (0..BUCKETS).fold(0_u32, |sum, index| sum.saturating_add(count(index)));
        if all < ENOUGH {
            return None;
        }
        let mut slower = all;
        let edge = (0..BUCKETS).find(|&index| {
            slower = slower.saturating_sub(count(index));
            u64::from(slower) * 20 <= u64::from(all)
        });
        edge.map(upper_edge)
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = (latency.as_nanos() as f64 / 1000.0).max(1.0);
    ((micros.log2() * PER_OCTAVE) as usize).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> Duration {
    Duration::from_nanos((((bucket + 1) as f64 / PER_OCTAVE).exp2() * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_of_twenty() {
        let (quantile, now) = (Quantile::default(), Instant::now());
        for index in 0..99 {
            assert_eq!(quantile.p95(), None);
            quantile.record(Duration::from_millis(if index % 25 == 0 { 900 } else { 10 }), now);
        }
        quantile.record(Duration::from_millis(10), now);
        let p95 = quantile.p95().expect("known");
        assert!(
            (Duration::from_millis(10)..Duration::from_millis(12)).contains(&p95),
            "{p95:?}"
        );
        for _ in 0..10 {
            quantile.record(Duration::from_millis(900), now);
        }
        let p95 = quantile.p95().expect("known");
        assert!(
            (Duration::from_millis(900)..Duration::from_millis(1100)).contains(&p95),
            "{p95:?}"
        );
    }

    #[test]
    fn the_past_is_forgotten() {
        let (quantile, start) = (Quantile::default(), Instant::now());
        (0..200).for_each(|_| quantile.record(Duration::from_secs(5), start));
        let later = start + Duration::from_secs(61);
        (0..100).for_each(|_| quantile.record(Duration::from_millis(1), later));
        assert!(quantile.p95().expect("known") < Duration::from_millis(2));
    }

    #[test]
    fn no_latency_is_out_of_bounds() {
        for latency in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_micros(1),
            Duration::MAX,
        ] {
            assert!(bucket(latency) < BUCKETS);
            assert!(upper_edge(bucket(latency)) >= latency.min(Duration::from_secs(3600)));
        }
    }
}
