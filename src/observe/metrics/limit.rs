//! What is counted of a rate limit.

use prometheus::{IntCounter, Registry};

use super::catalogue;

/// What became of a request by one limit; the closed list of the `verdict` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitVerdict {
    /// It was charged and passed.
    Allowed,
    /// It was charged and waited.
    Delayed,
    /// It was refused.
    Denied,
    /// A limit that only reports would have refused it.
    Reported,
}

impl LimitVerdict {
    const ALL: [Self; 4] = [Self::Allowed, Self::Delayed, Self::Denied, Self::Reported];

    fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Delayed => "delayed",
            Self::Denied => "denied",
            Self::Reported => "reported",
        }
    }
}

/// Handles to the metrics of one limit; cheap to clone.
#[derive(Debug, Clone)]
pub struct LimitMetrics {
    decisions: [IntCounter; LimitVerdict::ALL.len()],
    bans: IntCounter,
}

impl LimitMetrics {
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        Self {
            decisions: LimitVerdict::ALL
                .map(|verdict| catalogue::LIMIT_DECISIONS.counter(registry, &[name, verdict.word()])),
            bans: catalogue::LIMIT_BANS.counter(registry, &[name]),
        }
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        for counter in self.decisions.iter().chain([&self.bans]) {
            catalogue::unregister(registry, counter.clone());
        }
    }

    /// Counts a decision.
    pub fn decided(&self, verdict: LimitVerdict) {
        self.decisions[verdict as usize].inc();
    }

    /// How often it decided so.
    #[must_use]
    pub fn count(&self, verdict: LimitVerdict) -> u64 {
        self.decisions[verdict as usize].get()
    }

    /// How many clients it banned.
    #[must_use]
    pub fn bans(&self) -> u64 {
        self.bans.get()
    }

    /// Counts a client that was banned.
    pub fn banned(&self) {
        self.bans.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn each_verdict_has_its_own_count_and_survives_a_reload() {
        let metrics = Metrics::new();
        for (index, verdict) in LimitVerdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, index);
            for _ in 0..=index {
                metrics.limit("api").decided(verdict);
            }
        }
        let page = metrics.render();
        for (verdict, count) in [("allowed", 1), ("delayed", 2), ("denied", 3), ("reported", 4)] {
            let sample = format!("gateway_limit_decisions_total{{policy=\"api\",verdict=\"{verdict}\"}} {count}\n");
            assert!(page.contains(&sample), "{sample}{page}");
        }
    }
}
