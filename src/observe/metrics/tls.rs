//! What is counted of TLS with clients.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};

use super::{InFlight, catalogue};

/// How a handshake ended; the closed list of the `result` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// A new session.
    Full,
    /// A session was taken up again.
    Resumed,
    /// The client or the gateway gave up.
    Failed,
    /// It took too long.
    Timeout,
    /// There were too many at a time, or of one client.
    Refused,
}

/// Handles to the metrics of TLS with clients.
#[derive(Debug)]
pub struct TlsMetrics {
    handshakes: [IntCounter; 5],
    active: IntGauge,
    certificates: Mutex<HashMap<Box<str>, CertificateMetrics>>,
    registry: Registry,
}

/// Handles to the metrics of one certificate.
#[derive(Debug, Clone)]
pub struct CertificateMetrics {
    expiry: IntGauge,
    success: IntGauge,
}

impl TlsMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |result| catalogue::TLS_HANDSHAKES.counter(registry, &[result]);
        Self {
            handshakes: ["full", "resumed", "failed", "timeout", "refused"].map(counter),
            active: catalogue::TLS_HANDSHAKES_ACTIVE.gauge(registry, &[]),
            certificates: Mutex::default(),
            registry: registry.clone(),
        }
    }

    /// A handshake has begun, and lasts for as long as the answer of this is held.
    pub fn begun(&self) -> InFlight {
        InFlight::begin(&self.active)
    }

    /// A handshake is over.
    pub fn ended(&self, handshake: Handshake) {
        self.handshakes[handshake as usize].inc();
    }

    /// The metrics of a certificate; `label`: what the file calls it.
    #[must_use]
    pub fn certificate(&self, label: &str) -> CertificateMetrics {
        let mut certificates = self.certificates.lock();
        let new = || CertificateMetrics {
            expiry: catalogue::CERTIFICATE_EXPIRY.gauge(&self.registry, &[label]),
            success: catalogue::CERTIFICATE_SUCCESS.gauge(&self.registry, &[label]),
        };
        certificates.entry(label.into()).or_insert_with(new).clone()
    }
}

impl CertificateMetrics {
    /// It is in force; `not_after`: its end, Unix time.
    pub fn loaded(&self, not_after: i64) {
        self.expiry.set(not_after);
        self.success.set(1);
    }

    /// Its new files cannot be used.
    pub fn refused(&self) {
        self.success.set(0);
    }
}
