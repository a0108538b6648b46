//! What is counted of what is sent to a collector.

use prometheus::{IntCounter, Registry};

use super::catalogue;

/// Handles to the metrics of telemetry.
#[derive(Debug, Clone)]
pub struct TelemetryMetrics {
    sent: IntCounter,
    dropped: IntCounter,
    exports: [(&'static str, IntCounter, IntCounter); 2],
}

impl TelemetryMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let spans = |result| catalogue::TELEMETRY_SPANS.counter(registry, &[result]);
        let exports = |signal| {
            let of = |result| catalogue::TELEMETRY_EXPORTS.counter(registry, &[signal, result]);
            (signal, of("taken"), of("failed"))
        };
        Self {
            sent: spans("sent"),
            dropped: spans("dropped"),
            exports: ["traces", "metrics"].map(exports),
        }
    }

    /// The collector has taken so many spans.
    pub fn sent(&self, spans: usize) {
        self.sent.inc_by(spans as u64);
    }

    /// So many spans are lost.
    pub fn dropped(&self, spans: usize) {
        self.dropped.inc_by(spans as u64);
    }

    /// A message was sent: `traces` or `metrics`.
    pub fn exported(&self, signal: &str, taken: bool) {
        if let Some((_, good, bad)) = self.exports.iter().find(|(known, ..)| *known == signal) {
            if taken { good } else { bad }.inc();
        }
    }
}
