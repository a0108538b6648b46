//! What a request costs, for the application behind `--latency`: log-normal times around the measured medians, one
//! worker per replica, ten database connections for all of them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Spread of the log-normal distribution.
const SIGMA: f64 = 0.6;
/// Share of answers that are much slower.
const SLOW_SHARE: f64 = 0.005;
/// Anything shorter is below what the timer can do.
const TICK: Duration = Duration::from_millis(1);

/// What one request takes at the median, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    /// Of the replica's only thread.
    cpu: u32,
    /// While holding a database connection.
    database: u32,
    /// From request to answer on an idle machine.
    total: u32,
}

impl Price {
    pub(super) const HEALTH: Self = Self::new(170, 0, 190);
    pub(super) const DEAL: Self = Self::new(420, 110, 600);
    pub(super) const REFERENCE: Self = Self::new(440, 470, 900);
    pub(super) const PERSONAL: Self = Self::new(550, 240, 900);
    pub(super) const SHORT_LINK: Self = Self::new(620, 290, 2_600);
    pub(super) const WRITE: Self = Self::new(780, 480, 4_900);
    pub(super) const EXPORT: Self = Self::new(3_800, 13_000, 12_000);
    pub(super) const ANALYTICS: Self = Self::new(3_000, 600_000, 664_000);
    pub(super) const MAIL: Self = Self::new(900, 0, 3_000_000);

    const fn new(cpu: u32, database: u32, total: u32) -> Self {
        Self { cpu, database, total }
    }

    /// A list of this many deals.
    pub(super) fn list(deals: usize) -> Self {
        let deals = u32::try_from(deals).unwrap_or(u32::MAX).min(10_000);
        Self::new(570 + 83 * deals / 10, 600 + 22 * deals / 10, 1_550 + 13 * deals)
    }
}

/// A replica's only thread.
#[derive(Debug)]
pub(super) struct Worker {
    state: Option<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    free_at: Option<Instant>,
}

impl Worker {
    /// A worker that takes its time, or one that takes none.
    pub(super) fn new(takes_time: bool, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self {
            state: takes_time.then(|| Mutex::new(State { random, free_at: None })),
        }
    }

    /// Waits for as long as a request of this price takes; `pool` are the database's connections.
    pub(super) async fn charge(&self, price: Price, pool: &Semaphore) {
        let Some(state) = &self.state else { return };
        let (turn, database, rest) = state.lock().times(price, Instant::now());
        pass(turn, state).await;
        if !database.is_zero() {
            // The pool is never closed; if it were, there would be nothing to wait for.
            let _connection = pool.acquire().await;
            pass(database, state).await;
        }
        pass(rest, state).await;
    }
}

impl State {
    /// Until the thread has done its part, with a database connection, and besides.
    fn times(&mut self, price: Price, now: Instant) -> (Duration, Duration, Duration) {
        let factor = self.factor();
        let scaled = |micros: u32| Duration::from_secs_f64(f64::from(micros) * factor / 1e6);
        let (cpu, database, total) = (scaled(price.cpu), scaled(price.database), scaled(price.total));
        let begin = self.free_at.map_or(now, |free_at| free_at.max(now));
        let end = begin + cpu;
        self.free_at = Some(end);
        (end - now, database, total.saturating_sub(cpu + database))
    }

    fn factor(&mut self) -> f64 {
        // Box and Muller's transform; the first factor must not be 0.
        let (radius, angle) = (1.0 - self.random.f64(), self.random.f64());
        let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        let slow = if self.random.f64() < SLOW_SHARE {
            5.0 + 15.0 * self.random.f64()
        } else {
            1.0
        };
        (SIGMA * normal).exp() * slow
    }

    /// Rounds to what the timer can do, right on average.
    fn rounded(&mut self, time: Duration) -> Duration {
        if time >= TICK {
            time
        } else if self.random.f64() < time.as_secs_f64() / TICK.as_secs_f64() {
            TICK
        } else {
            Duration::ZERO
        }
    }
}

async fn pass(time: Duration, state: &Mutex<State>) {
    let time = state.lock().rounded(time);
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            random: fastrand::Rng::with_seed(1),
            free_at: None,
        }
    }

    #[test]
    fn the_median_is_the_measured_one() {
        let mut state = state();
        let mut factors: Vec<f64> = (0..10_001).map(|_| state.factor()).collect();
        factors.sort_by(f64::total_cmp);
        assert!((0.97..1.03).contains(&factors[5_000]), "{}", factors[5_000]);
        // exp(0.6 × 1.2816) = 2.158
        assert!((2.05..2.3).contains(&factors[9_000]), "{}", factors[9_000]);
        assert!(factors[10_000] > 10.0);
    }

    #[tokio::test]
    async fn one_thread_does_one_thing_at_a_time() {
        let (mut state, now) = (state(), Instant::now());
        let turns: Vec<Duration> = (0..100).map(|_| state.times(Price::EXPORT, now).0).collect();
        assert!(turns.is_sorted());
        assert!(turns[99] > Duration::from_millis(300), "{:?}", turns[99]);
    }

    #[test]
    fn rounds_right_on_average() {
        let mut state = state();
        let sum: Duration = (0..10_000).map(|_| state.rounded(Duration::from_micros(190))).sum();
        assert!((1_700..2_100).contains(&sum.as_millis()), "{sum:?}");
        assert_eq!(state.rounded(Duration::from_secs(2)), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn without_latency_nothing_waits_even_for_a_connection() {
        let none = Semaphore::new(0);
        Worker::new(false, 1).charge(Price::ANALYTICS, &none).await;
    }

    #[test]
    fn lists_cost_what_was_measured() {
        for (deals, cpu) in [(12, 670), (100, 1_300), (500, 4_700)] {
            let price = Price::list(deals);
            assert!(price.cpu.abs_diff(cpu) < cpu / 8, "{deals}: {price:?}");
        }
    }
}
