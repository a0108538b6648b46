//! Passive outlier ejection: what requests tell of a server, and how it compares with the others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{Tick, ticks};
use super::{Endpoint, OutlierSettings};

/// Success rates are compared among so many servers at least, with so many requests each.
const SERVERS_MIN: usize = 5;
const REQUESTS_MIN: u32 = 100;
/// An outlier is so many standard deviations below the mean. Of five servers one cannot be more than two below.
const DEVIATIONS: f64 = 1.9;
/// And so much at least: where all is well, hundredths of a percent eject nobody.
const DISTANCE_MIN: f64 = 0.05;

/// A server that was ejected, for whoever announces it.
#[derive(Debug, Clone)]
pub struct Ejection {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// Why.
    pub cause: Cause,
    /// For how long.
    pub time: Duration,
}

/// Why a server was ejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// So many requests failed in a row.
    Consecutive(u32),
    /// Fewer succeed than with the other servers; shares between 0 and 1.
    SuccessRate {
        /// With this one.
        own: f64,
        /// On average.
        mean: f64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consecutive(1) => f.write_str("a failure"),
            Self::Consecutive(failures) => write!(f, "{failures} failures in a row"),
            Self::SuccessRate { own, mean } => {
                write!(
                    f,
                    "{:.0} % of its requests succeed, on average {:.0} % do",
                    own * 100.0,
                    mean * 100.0
                )
            }
        }
    }
}

/// What requests told of one server.
#[derive(Debug, Default)]
pub(super) struct Passive {
    in_a_row: AtomicU32,
    requests: AtomicU32,
    failures: AtomicU32,
    ejected_until: AtomicU64,
    ejections: AtomicU64,
    record: Mutex<Record>,
}

/// The ejections so far.
#[derive(Debug, Default)]
struct Record {
    /// How many times the base time the last one lasted.
    multiple: u32,
    cause: Option<Cause>,
}

impl Passive {
    /// A request succeeded.
    pub(super) fn succeeded(&self) {
        if self.in_a_row.load(Relaxed) != 0 {
            self.in_a_row.store(0, Relaxed);
        }
        self.requests.fetch_add(1, Relaxed);
    }

    /// A request failed; whether these were too many in a row. Those that were in flight when it was ejected do not count.
    pub(super) fn failed(&self, settings: &OutlierSettings, now: Tick) -> bool {
        if self.is_ejected(now) {
            return false;
        }
        self.requests.fetch_add(1, Relaxed);
        self.failures.fetch_add(1, Relaxed);
        let failures = self.in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        let limit = settings.consecutive_failures;
        let over = limit > 0 && failures >= limit;
        if over {
            // Counted anew: where it may not be ejected, only every so many failures ask again.
            self.in_a_row.store(0, Relaxed);
        }
        over
    }

    pub(super) fn is_ejected(&self, now: Tick) -> bool {
        now < self.ejected_until.load(Relaxed)
    }

    /// When the last ejection ends or ended; 0: there was none.
    pub(super) fn ejected_until(&self) -> Tick {
        self.ejected_until.load(Relaxed)
    }

    pub(super) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Why it was ejected last.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.record.lock().cause
    }

    /// Ejects the server; for how long. Each ejection lasts a base time longer than the one before, and each base time
    /// without one makes the next a base time shorter.
    pub(super) fn eject(&self, cause: Cause, settings: &OutlierSettings, now: Tick) -> Duration {
        let mut record = self.record.lock();
        let base = ticks(settings.base_time).max(1);
        let good = now.saturating_sub(self.ejected_until.load(Relaxed)) / base;
        record.multiple = record
            .multiple
            .saturating_sub(u32::try_from(good).unwrap_or(u32::MAX))
            .saturating_add(1);
        record.cause = Some(cause);
        let time = settings
            .base_time
            .saturating_mul(record.multiple)
            .min(settings.max_time);
        self.in_a_row.store(0, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        self.ejected_until.store(now.saturating_add(ticks(time)), Relaxed);
        time
    }

    /// Ends an ejection and forgets what led to it.
    pub(super) fn pardon(&self) {
        let mut record = self.record.lock();
        *record = Record::default();
        self.in_a_row.store(0, Relaxed);
        self.ejected_until.store(0, Relaxed);
    }

    /// Requests and failures since the last call.
    pub(super) fn take_rate(&self) -> (u32, u32) {
        (self.requests.swap(0, Relaxed), self.failures.swap(0, Relaxed))
    }
}

/// The servers whose success rates are outliers, the worst first. In: requests and failures of each server.
pub(super) fn outliers(rates: &[(u32, u32)]) -> Vec<(usize, Cause)> {
    let rate = |&(requests, failures): &(u32, u32)| 1.0 - f64::from(failures.min(requests)) / f64::from(requests);
    let with_volume = || {
        rates
            .iter()
            .enumerate()
            .filter(|(_, (requests, _))| *requests >= REQUESTS_MIN)
    };
    let count = with_volume().count();
    if count < SERVERS_MIN {
        return Vec::new();
    }
    let mean = with_volume().map(|(_, one)| rate(one)).sum::<f64>() / count as f64;
    let variance = with_volume().map(|(_, one)| (rate(one) - mean).powi(2)).sum::<f64>() / count as f64;
    let bar = (mean - DEVIATIONS * variance.sqrt()).min(mean - DISTANCE_MIN);
    let mut found: Vec<(usize, f64)> = with_volume()
        .map(|(index, one)| (index, rate(one)))
        .filter(|(_, own)| *own < bar)
        .collect();
    found.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let cause = |(index, own)| (index, Cause::SuccessRate { own, mean });
    found.into_iter().map(cause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn failures_in_a_row_count_and_one_success_forgives() {
        let settings = OutlierSettings {
            consecutive_failures: 3,
            ..OutlierSettings::default()
        };
        let passive = Passive::default();
        for (event, over) in [
            ('-', false),
            ('-', false),
            ('+', false),
            ('-', false),
            ('-', false),
            ('-', true),
            ('-', false),
            ('-', false),
            ('-', true),
        ] {
            match event {
                '+' => passive.succeeded(),
                _ => assert_eq!(passive.failed(&settings, 1), over),
            }
        }
        assert_eq!(passive.take_rate(), (9, 8));
        assert_eq!(passive.take_rate(), (0, 0));
        let never = OutlierSettings {
            consecutive_failures: 0,
            ..settings
        };
        assert!((0..100).all(|_| !passive.failed(&never, 1)));
    }

    #[test]
    fn ejections_become_longer_and_shorter_again() {
        let settings = OutlierSettings::default();
        let passive = Passive::default();
        let eject = |at: u64| passive.eject(Cause::Consecutive(5), &settings, at * SECOND).as_secs();
        assert_eq!(eject(100), 30);
        assert_eq!(eject(131), 60);
        assert_eq!(eject(192), 90);
        // Back at 282; two base times without one.
        assert_eq!(eject(345), 60);
        for _ in 0..100 {
            eject(345);
        }
        assert_eq!(eject(345), 300, "the longest");
        assert!(passive.is_ejected(644 * SECOND) && !passive.is_ejected(645 * SECOND));
        assert!(!passive.failed(&settings, 644 * SECOND));
        assert_eq!(passive.take_rate(), (0, 0), "what was in flight does not count");
        passive.pardon();
        assert!(!passive.is_ejected(345 * SECOND));
        assert_eq!(passive.cause(), None);
    }

    #[test]
    fn success_rates() {
        let ok = (1000, 0);
        let found = |rates: &[(u32, u32)]| outliers(rates).into_iter().map(|(index, _)| index).collect::<Vec<_>>();
        let none: [usize; 0] = [];
        assert_eq!(found(&[ok, ok, ok, ok, (1000, 600)]), [4]);
        assert_eq!(found(&[ok, ok, ok, ok, (99, 99)]), none, "too few requests");
        assert_eq!(found(&[ok, ok, ok, (1000, 1000)]), none, "too few servers");
        assert_eq!(
            found(&[ok, ok, ok, ok, (1000, 10)]),
            none,
            "one percent is nothing to be ejected for"
        );
        assert_eq!(found(&[(1000, 300); 8]), none, "when all are bad, none is an outlier");
        let mut many = vec![ok; 20];
        (many[3], many[7]) = ((1000, 400), (1000, 700));
        assert_eq!(found(&many), [7, 3], "the worst first");
        assert_eq!(found(&[]), none);
        assert_eq!(
            outliers(&[ok, ok, ok, ok, (1000, 600)])[0].1.to_string(),
            "40 % of its requests succeed, on average 88 % do"
        );
    }
}
