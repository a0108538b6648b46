//! What is counted of certificates that are obtained.

use prometheus::{IntCounter, IntGauge, Registry};

use super::catalogue;

/// Handles to the metrics of the certificate that is obtained.
#[derive(Debug, Clone)]
pub struct AcmeMetrics {
    issued: IntCounter,
    failed: IntCounter,
    http: IntCounter,
    tls: IntCounter,
    next: IntGauge,
}

impl AcmeMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let orders = |result| catalogue::ACME_ORDERS.counter(registry, &[result]);
        let answers = |challenge| catalogue::ACME_CHALLENGES.counter(registry, &[challenge]);
        Self {
            issued: orders("issued"),
            failed: orders("failed"),
            http: answers("http-01"),
            tls: answers("tls-alpn-01"),
            next: catalogue::ACME_NEXT.gauge(registry, &[]),
        }
    }

    /// An order is over.
    pub fn ordered(&self, issued: bool) {
        if issued { &self.issued } else { &self.failed }.inc();
    }

    /// An authority was answered.
    pub fn answered(&self, over_tls: bool) {
        if over_tls { &self.tls } else { &self.http }.inc();
    }

    /// The certificate is to be obtained then, Unix time.
    pub fn next(&self, due: i64) {
        self.next.set(due);
    }
}
