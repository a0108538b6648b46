//! What is counted of the store that rate limits share.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::catalogue;

/// What decided about a request; the closed list of the `source` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionSource {
    /// The store.
    Store,
    /// Units in hand.
    Lease,
    /// A refusal of the store that still stands.
    Memory,
    /// This process, which counts by itself while the store cannot be asked.
    Local,
    /// Nobody: without the store everything is admitted.
    Allow,
    /// Nobody: without the store everything is refused.
    Deny,
}

impl DecisionSource {
    const ALL: [Self; 6] = [
        Self::Store,
        Self::Lease,
        Self::Memory,
        Self::Local,
        Self::Allow,
        Self::Deny,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Lease => "lease",
            Self::Memory => "memory",
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Handles to what is counted of one limit; cheap to clone.
#[derive(Debug, Clone)]
pub struct SourceMetrics([IntCounter; DecisionSource::ALL.len()]);

impl SourceMetrics {
    pub(super) fn new(registry: &Registry, limit: &str) -> Self {
        Self(DecisionSource::ALL.map(|source| catalogue::LIMITER_DECISIONS.counter(registry, &[limit, source.word()])))
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        for counter in &self.0 {
            catalogue::unregister(registry, counter.clone());
        }
    }

    /// Counts a decision.
    pub fn decided(&self, source: DecisionSource) {
        self.0[source as usize].inc();
    }
}

/// The closed list of the `kind` label of errors.
const KINDS: [&str; 4] = ["timeout", "connection", "refused", "full"];

/// Handles to what is counted of the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    duration: Histogram,
    operations: IntCounter,
    errors: [IntCounter; KINDS.len()],
    connections: IntCounter,
    degraded: IntGauge,
    gateways: IntGauge,
    keys: IntGauge,
    leases: IntGauge,
}

impl StoreMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            duration: catalogue::LIMITER_DURATION.fine_histogram(registry, &[]),
            operations: catalogue::LIMITER_OPERATIONS.counter(registry, &[]),
            errors: KINDS.map(|kind| catalogue::LIMITER_ERRORS.counter(registry, &[kind])),
            connections: catalogue::LIMITER_CONNECTIONS.counter(registry, &[]),
            degraded: catalogue::LIMITER_DEGRADED.gauge(registry, &[]),
            gateways: catalogue::LIMITER_GATEWAYS.gauge(registry, &[]),
            keys: catalogue::LIMITER_KEYS.gauge(registry, &[]),
            leases: catalogue::LIMITER_LEASES.gauge(registry, &[]),
        }
    }

    /// So many scripts are about to be run.
    pub fn asking(&self, scripts: usize) {
        self.operations.inc_by(scripts as u64);
    }

    /// A pipeline was answered.
    pub fn answered(&self, after: Duration) {
        self.duration.observe(after.as_secs_f64());
    }

    /// Something failed: `timeout`, `connection`, `refused` or `full`.
    pub fn failed(&self, kind: &str) {
        if let Some(place) = KINDS.iter().position(|known| *known == kind) {
            self.errors[place].inc();
        }
    }

    /// A connection is being made.
    pub fn connecting(&self) {
        self.connections.inc();
    }

    /// Whether the store cannot be asked.
    pub fn degraded(&self, degraded: bool) {
        self.degraded.set(degraded.into());
    }

    /// So many gateways share the store.
    pub fn gateways(&self, gateways: u32) {
        self.gateways.set(gateways.into());
    }

    /// Of so many keys something is known, of so many there are units in hand.
    pub fn held(&self, keys: usize, leases: usize) {
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.leases.set(i64::try_from(leases).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn each_word_has_its_own_count() {
        let metrics = Metrics::new();
        for (index, source) in DecisionSource::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, index);
            metrics.sources("api").decided(source);
        }
        for kind in KINDS {
            metrics.store().failed(kind);
        }
        metrics.store().failed("nothing of ours");
        let page = metrics.render();
        for source in ["store", "lease", "memory", "local", "allow", "deny"] {
            let sample = format!("gateway_limiter_decisions_total{{policy=\"api\",source=\"{source}\"}} 1\n");
            assert!(page.contains(&sample), "{sample}{page}");
        }
        for kind in KINDS {
            let sample = format!("gateway_limiter_store_errors_total{{kind=\"{kind}\"}} 1\n");
            assert!(page.contains(&sample), "{sample}{page}");
        }
    }
}
