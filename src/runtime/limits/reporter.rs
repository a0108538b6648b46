//! What a limit that only reports has seen, told to the log from time to time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limit::{Charge, Report, Summary};
use crate::observe::Throttle;

/// How often the log tells it.
const TELL: Duration = Duration::from_secs(600);

/// What a limit that only reports has seen.
pub(super) struct Reporter {
    report: Mutex<Report>,
    telling: Throttle,
}

impl Reporter {
    pub(super) fn new() -> Self {
        let telling = Throttle::new(TELL);
        // There is nothing to tell at first.
        telling.admit(Instant::now());
        Self {
            report: Mutex::default(),
            telling,
        }
    }

    /// What it has seen so far.
    pub(super) fn summary(&self, now: u64) -> Summary {
        let mut report = self.report.lock();
        report.advance(now);
        report.summary()
    }

    pub(super) fn note(&self, charge: &Charge<'_>, refused: bool, at: Instant, now: u64) {
        let mut report = self.report.lock();
        report.note(charge.key, charge.cost, refused, now);
        if self.telling.admit(at).is_none() {
            return;
        }
        let summary = report.summary();
        drop(report);
        tracing::info!(
            limit = &*charge.policy.name,
            requests = summary.ipv4.requests + summary.ipv6.requests,
            would_refuse = summary.ipv4.refused + summary.ipv6.refused,
            clients_ipv4 = summary.ipv4.clients,
            clients_ipv6 = summary.ipv6.clients,
            per_minute_median = summary.median,
            per_minute_p99 = summary.p99,
            per_minute_most = summary.most,
            suggested_per_minute = summary.suggestion.map(|suggestion| suggestion.per_minute),
            suggested_burst = summary.suggestion.map(|suggestion| suggestion.burst),
            "what a limit that only reports has seen"
        );
    }
}
