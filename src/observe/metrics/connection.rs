//! What is counted of client connections.

use prometheus::{IntCounter, IntGauge, Registry};

use super::{InFlight, catalogue};

/// Which limit closed a connection; the closed list of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionLimit {
    /// `max_connections`.
    Total,
    /// `max_connections_per_client`.
    Client,
    /// `connection_rate_per_client`.
    Rate,
    /// A ban.
    Ban,
    /// It had to begin with a PROXY header, and did not.
    Announcement,
}

/// Handles to the metrics of client connections.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    active: IntGauge,
    accepted: IntCounter,
    refused_total: IntCounter,
    refused_client: IntCounter,
    refused_rate: IntCounter,
    refused_ban: IntCounter,
    refused_announcement: IntCounter,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            active: catalogue::CONNECTIONS_ACTIVE.gauge(registry, &[]),
            accepted: catalogue::CONNECTIONS_ACCEPTED.counter(registry, &[]),
            refused_total: catalogue::CONNECTIONS_REFUSED.counter(registry, &["total_limit"]),
            refused_client: catalogue::CONNECTIONS_REFUSED.counter(registry, &["client_limit"]),
            refused_rate: catalogue::CONNECTIONS_REFUSED.counter(registry, &["rate_limit"]),
            refused_ban: catalogue::CONNECTIONS_REFUSED.counter(registry, &["banned"]),
            refused_announcement: catalogue::CONNECTIONS_REFUSED.counter(registry, &["proxy_protocol"]),
        }
    }

    /// A connection was accepted, and is open for as long as the answer of this is held.
    pub fn accepted(&self) -> InFlight {
        self.accepted.inc();
        InFlight::begin(&self.active)
    }

    /// A connection was closed at once.
    pub fn refused(&self, limit: ConnectionLimit) {
        match limit {
            ConnectionLimit::Total => self.refused_total.inc(),
            ConnectionLimit::Client => self.refused_client.inc(),
            ConnectionLimit::Rate => self.refused_rate.inc(),
            ConnectionLimit::Ban => self.refused_ban.inc(),
            ConnectionLimit::Announcement => self.refused_announcement.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn connections_come_go_and_are_refused() {
        let metrics = Metrics::new();
        let connections = metrics.connections();
        let open = connections.accepted();
        drop(connections.accepted());
        connections.refused(ConnectionLimit::Total);
        connections.refused(ConnectionLimit::Client);
        connections.refused(ConnectionLimit::Client);
        let page = metrics.render();
        drop(open);
        for sample in [
            "gateway_connections_active 1\n",
            "gateway_connections_accepted_total 2\n",
            "gateway_connections_refused_total{reason=\"total_limit\"} 1\n",
            "gateway_connections_refused_total{reason=\"client_limit\"} 2\n",
        ] {
            assert!(page.contains(sample), "{sample}{page}");
        }
    }
}
