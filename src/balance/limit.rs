//! How many requests at once a server can take, learnt from its answers: Gradient2 of Netflix' concurrency-limits, without
//! its two known faults.
//!
//! - The limit does not grow while answers get slower (there the room for a queue was added in any case).
//! - The long-term latency cannot drift up with a queue: where more requests in flight no longer bring more answers but
//!   only longer waits (the covariances say so, as in Uber's Cinnamon), the limit shrinks and the reference starts anew
//!   from the shortest recent latency.
//!
//! There are no probes with few requests: they would be a brown-out of our own making.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::AdaptiveSettings;
use super::clock::{Tick, between};

/// No limit.
const NONE: u32 = u32::MAX;
/// How much slower than usual an answer may be before the limit shrinks.
const TOLERANCE: f64 = 1.5;
/// How far one window moves the limit towards what it suggests.
const SMOOTHING: f64 = 0.2;
/// Windows over which the long-term latency is averaged.
const LONG: f64 = 600.0;
/// By how much the limit may grow, at least; else by its root.
const ROOM: f64 = 4.0;
/// A window is over after this time and so many answers.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_ANSWERS: u32 = 10;
/// Windows over which covariances are taken, and how many there must be.
const WINDOWS: usize = 10;
const WINDOWS_MIN: usize = 5;
/// For how many windows a saturated server is believed to be one, if nothing tells.
const HOLD: u32 = 10;
/// What is left of its limit with each.
const SHRINK: f64 = 0.9;

/// The limit of one server.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: AtomicU32,
    gradient: Mutex<Option<Box<Gradient>>>,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            limit: AtomicU32::new(NONE),
            gradient: Mutex::new(None),
        }
    }
}

impl Limiter {
    /// Begins to learn, goes on within other bounds, or stops.
    pub(super) fn configure(&self, settings: Option<AdaptiveSettings>) {
        let mut gradient = self.gradient.lock();
        let Some(settings) = settings else {
            *gradient = None;
            return self.limit.store(NONE, Relaxed);
        };
        let known = gradient.get_or_insert_with(|| Box::new(Gradient::new(settings)));
        known.within(settings);
        self.limit.store(known.limit(), Relaxed);
    }

    /// `None`: as many as come.
    pub(super) fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Relaxed)).filter(|&limit| limit != NONE)
    }

    /// Takes in an answer, with the requests in flight when it came. While another thread does the same it is left out.
    pub(super) fn answered(&self, latency: Duration, in_flight: usize, now: Tick) {
        if let Some(mut gradient) = self.gradient.try_lock()
            && let Some(gradient) = gradient.as_mut()
        {
            gradient.answered(latency.as_secs_f64().max(1e-6), in_flight as f64, now);
            self.limit.store(gradient.limit(), Relaxed);
        }
    }
}

#[derive(Debug)]
struct Gradient {
    min: f64,
    max: f64,
    limit: f64,
    /// The long-term latency, seconds, and of how many windows.
    long: f64,
    windows: f64,
    window: Window,
    points: [Point; WINDOWS],
    /// How many of the points, the latest first, count.
    filled: usize,
    /// More in flight brings nothing but waiting: for so many windows this is still believed.
    saturated: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    started: Tick,
    answers: u32,
    in_flight: f64,
    latency: f64,
}

/// What a window measured.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    in_flight: f64,
    throughput: f64,
    latency: f64,
}

impl Gradient {
    fn new(settings: AdaptiveSettings) -> Self {
        Self {
            min: 1.0,
            max: f64::from(u32::MAX - 1),
            limit: f64::from(settings.initial),
            long: 0.0,
            windows: 0.0,
            window: Window::default(),
            points: [Point::default(); WINDOWS],
            filled: 0,
            saturated: 0,
        }
    }

    fn within(&mut self, settings: AdaptiveSettings) {
        self.min = f64::from(settings.min.max(1));
        self.max = f64::from(settings.max.min(NONE - 1)).max(self.min);
        self.limit = self.limit.clamp(self.min, self.max);
    }

    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn answered(&mut self, latency: f64, in_flight: f64, now: Tick) {
        let window = &mut self.window;
        if window.answers == 0 {
            window.started = now;
        }
        window.answers += 1;
        window.in_flight += in_flight;
        window.latency += latency;
        let elapsed = between(window.started, now);
        if elapsed < WINDOW || window.answers < WINDOW_ANSWERS {
            return;
        }
        let answers = f64::from(window.answers);
        let point = Point {
            in_flight: window.in_flight / answers,
            throughput: answers / elapsed.as_secs_f64(),
            latency: window.latency / answers,
        };
        self.window = Window::default();
        self.measured(point);
    }

    fn measured(&mut self, point: Point) {
        self.windows = (self.windows + 1.0).min(LONG);
        self.long += (point.latency - self.long) / self.windows;
        if self.long > 2.0 * point.latency {
            self.long *= 0.95; // after an overload: it would take long to come down by itself
        }
        if point.in_flight < self.limit / 2.0 {
            self.saturated = 0;
            return; // the limit limits nobody, so this says nothing about it
        }
        self.points.rotate_right(1);
        self.points[0] = point;
        self.filled = (self.filled + 1).min(WINDOWS);
        self.judge();
        let gradient = (TOLERANCE * self.long / point.latency).clamp(0.5, 1.0);
        let grows = gradient == 1.0 && self.saturated == 0;
        let room = if grows { self.limit.sqrt().max(ROOM) } else { 0.0 };
        let suggested = self.limit * gradient + room;
        self.limit = (self.limit + (suggested - self.limit) * SMOOTHING).clamp(self.min, self.max);
    }

    fn judge(&mut self) {
        self.saturated = self.saturated.saturating_sub(1);
        let points = &self.points[..self.filled];
        if points.len() < WINDOWS_MIN {
            return;
        }
        let Some((throughput, latency)) = elasticities(points) else {
            return; // too steady to tell: what was found last holds for a while
        };
        if throughput < 0.4 && latency > 0.5 {
            self.saturated = HOLD;
            let shortest = points.iter().map(|point| point.latency).fold(f64::INFINITY, f64::min);
            let most = points.iter().map(|point| point.throughput).fold(0.0, f64::max);
            self.long = self.long.min(shortest);
            // By Little's law so many keep it just busy.
            self.limit = (self.limit * SHRINK).max(most * shortest).min(self.limit);
        } else {
            self.saturated = 0;
        }
    }
}

/// By how many percent throughput and latency grow with one percent more in flight. By Little's law they add up to one:
/// (1, 0) is a server with room, (0, 1) one whose requests only wait.
fn elasticities(points: &[Point]) -> Option<(f64, f64)> {
    let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (in_flight, throughput, latency) = (mean(|p| p.in_flight), mean(|p| p.throughput), mean(|p| p.latency));
    let variance = points.iter().map(|p| (p.in_flight - in_flight).powi(2)).sum::<f64>();
    if variance < (0.02 * in_flight).powi(2) * points.len() as f64 {
        return None;
    }
    let slope = |of: fn(&Point) -> f64, middle: f64| {
        let covariance = points
            .iter()
            .map(|p| (p.in_flight - in_flight) * (of(p) - middle))
            .sum::<f64>();
        covariance / variance * in_flight / middle
    };
    Some((slope(|p| p.throughput, throughput), slope(|p| p.latency, latency)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::dice::Dice;

    const SETTINGS: AdaptiveSettings = AdaptiveSettings {
        min: 4,
        initial: 20,
        max: 1000,
    };

    /// A server that works on `capacity` requests at once, each for about 10 ms, always offered as much as the limit
    /// allows but at most `offered`; the limits at the ends of that many seconds.
    fn learn(limiter: &Limiter, capacity: f64, offered: u32, seconds: u64, start: Tick) -> Vec<u32> {
        let dice = Dice::seeded(3);
        let (mut now, end) = (start, start + seconds * 1_000_000_000);
        let mut limits = Vec::new();
        let mut mark = start;
        while now < end {
            let in_flight = limiter.limit().unwrap().min(offered);
            let busy = f64::from(in_flight).min(capacity);
            let wait = 0.010 * f64::from(in_flight) / busy;
            now += (0.010 / busy * 1e9) as u64;
            limiter.answered(Duration::from_secs_f64(dice.jitter(wait)), in_flight as usize, now);
            if now >= mark + 1_000_000_000 {
                mark = now;
                limits.push(limiter.limit().unwrap());
            }
        }
        limits
    }

    #[test]
    fn finds_the_room_there_is() {
        let limiter = Limiter::default();
        assert_eq!(limiter.limit(), None);
        limiter.configure(Some(SETTINGS));
        assert_eq!(limiter.limit(), Some(20));
        let limits = learn(&limiter, 100_000.0, u32::MAX, 60, 1);
        assert_eq!(limits.last(), Some(&1000), "{limits:?}");
    }

    #[test]
    fn does_not_grow_with_the_queue() {
        let limiter = Limiter::default();
        limiter.configure(Some(SETTINGS));
        let limits = learn(&limiter, 10.0, u32::MAX, 120, 1);
        let late = &limits[30..];
        assert!(
            late.iter().all(|&limit| (7..=45).contains(&limit)),
            "10 would do: {limits:?}"
        );
        // Then the server becomes ten times as large, then small again.
        let limits = learn(&limiter, 100.0, u32::MAX, 120, 200_000_000_000);
        assert!(
            limits[60..].iter().all(|&limit| (70..=300).contains(&limit)),
            "{limits:?}"
        );
        let limits = learn(&limiter, 10.0, u32::MAX, 120, 400_000_000_000);
        assert!(
            limits[60..].iter().all(|&limit| (7..=45).contains(&limit)),
            "{limits:?}"
        );
    }

    #[test]
    fn a_limit_that_limits_nobody_stays() {
        let limiter = Limiter::default();
        limiter.configure(Some(SETTINGS));
        let limits = learn(&limiter, 100.0, 8, 30, 1);
        assert!(limits.iter().all(|&limit| limit >= 16), "{limits:?}");
    }

    #[test]
    fn other_bounds_keep_what_was_learnt() {
        let limiter = Limiter::default();
        limiter.configure(Some(SETTINGS));
        learn(&limiter, 100_000.0, u32::MAX, 60, 1);
        limiter.configure(Some(AdaptiveSettings { max: 50, ..SETTINGS }));
        assert_eq!(limiter.limit(), Some(50));
        limiter.configure(Some(AdaptiveSettings {
            min: 60,
            initial: 0,
            max: 0,
        }));
        assert_eq!(
            limiter.limit(),
            Some(60),
            "nonsense is taken as the nearest that is not"
        );
        limiter.configure(None);
        assert_eq!(limiter.limit(), None);
        limiter.answered(Duration::ZERO, 5, 1);
    }
}
