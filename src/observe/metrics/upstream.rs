//! What is counted of an upstream and of each of its servers.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, Registry};

use super::{InFlight, catalogue};
use crate::balance::{BreakerState, Priority};

/// Handles to the metrics of one upstream; cheap to clone.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    duration: Histogram,
    retries: IntCounter,
    hedges: [IntCounter; 2],
    no_server: IntCounter,
    shed: [IntCounter; Priority::ALL.len()],
    budget: IntGauge,
    breaker: IntGauge,
    queue: IntGauge,
    panicking: IntGauge,
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        Self {
            duration: catalogue::UPSTREAM_DURATION.histogram(registry, &[name]),
            retries: catalogue::UPSTREAM_RETRIES.counter(registry, &[name]),
            hedges: ["false", "true"].map(|won| catalogue::UPSTREAM_HEDGES.counter(registry, &[name, won])),
            no_server: catalogue::UPSTREAM_NO_SERVER.counter(registry, &[name]),
            shed: Priority::ALL.map(|class| catalogue::UPSTREAM_SHED.counter(registry, &[name, class.word()])),
            budget: catalogue::UPSTREAM_BUDGET.gauge(registry, &[name]),
            breaker: catalogue::UPSTREAM_BREAKER.gauge(registry, &[name]),
            queue: catalogue::UPSTREAM_QUEUE.gauge(registry, &[name]),
            panicking: catalogue::UPSTREAM_PANICKING.gauge(registry, &[name]),
        }
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        let Self {
            duration,
            retries,
            hedges,
            no_server,
            shed,
            budget,
            breaker,
            queue,
            panicking,
        } = self;
        catalogue::unregister(registry, duration.clone());
        for counter in [retries, no_server].into_iter().chain(hedges).chain(shed) {
            catalogue::unregister(registry, counter.clone());
        }
        for gauge in [budget, breaker, queue, panicking] {
            catalogue::unregister(registry, gauge.clone());
        }
    }

    /// The head of an answer arrived after `time`.
    pub fn answered(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }

    /// A request is tried once more.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A second server was asked because the first was slow; `won`: it answered first.
    pub fn hedged(&self, won: bool) {
        self.hedges[usize::from(won)].inc();
    }

    /// A request of this class is refused because every server has as many as it takes.
    pub fn shed(&self, priority: Priority) {
        self.shed[priority as usize].inc();
    }

    /// How it is at the moment: what is left of the retry budget, the breaker, requests that wait, and whether too few
    /// servers are fit.
    pub fn show(&self, budget: u64, breaker: Option<BreakerState>, waiting: usize, panicking: bool) {
        self.budget.set(i64::try_from(budget).unwrap_or(i64::MAX));
        self.breaker.set(match breaker {
            None | Some(BreakerState::Closed) => 0,
            Some(BreakerState::HalfOpen) => 1,
            Some(BreakerState::Open) => 2,
        });
        self.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.panicking.set(i64::from(panicking));
    }

    /// No server could be chosen for a request.
    pub fn no_server(&self) {
        self.no_server.inc();
    }
}

/// What a server can be; the closed list of the `state` label.
pub(super) const STATES: [&str; 7] = [
    "healthy",
    "unknown",
    "slow_start",
    "draining",
    "ejected",
    "unhealthy",
    "unresolved",
];

/// What is not counted of a server but is.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerNow {
    /// How many of its addresses are in each of the [`STATES`].
    pub(super) states: [i64; STATES.len()],
    /// How long the slowest of them is expected to take.
    pub(super) latency: Duration,
}

/// Why an attempt failed; the closed list of the `kind` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// Connected, but no answer in time.
    Timeout,
    /// The connection broke off.
    Reset,
    /// The answer breaks the rules of HTTP.
    Invalid,
}

impl FailureKind {
    const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Reset, Self::Invalid];

    /// As the metrics have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
        }
    }
}

/// Handles to the metrics of one server; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerMetrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    healthy: IntGauge,
    states: [IntGauge; STATES.len()],
    latency: Gauge,
    ejections: IntCounter,
    picks: IntCounter,
    failures: [IntCounter; FailureKind::ALL.len()],
    in_flight: IntGauge,
    connections_new: IntCounter,
    connections_reused: IntCounter,
}

impl ServerMetrics {
    pub(super) fn new(registry: &Registry, upstream: &str, server: &str) -> Self {
        let labels = [upstream, server];
        let connections = |reused| catalogue::SERVER_CONNECTIONS.counter(registry, &[upstream, server, reused]);
        let healthy = catalogue::SERVER_HEALTHY.gauge(registry, &labels);
        // Until a check says otherwise; a server without a check would look down for ever.
        healthy.set(1);
        Self(Arc::new(Handles {
            healthy,
            states: STATES.map(|state| catalogue::SERVER_STATE.gauge(registry, &[upstream, server, state])),
            latency: catalogue::SERVER_LATENCY.measure(registry, &labels),
            ejections: catalogue::SERVER_EJECTIONS.counter(registry, &labels),
            picks: catalogue::SERVER_PICKS.counter(registry, &labels),
            failures: FailureKind::ALL
                .map(|kind| catalogue::SERVER_FAILURES.counter(registry, &[upstream, server, kind.word()])),
            in_flight: catalogue::SERVER_IN_FLIGHT.gauge(registry, &labels),
            connections_new: connections("false"),
            connections_reused: connections("true"),
        }))
    }

    /// Whether the server is considered healthy; it is until this is called.
    pub fn set_healthy(&self, healthy: bool) {
        self.0.healthy.set(i64::from(healthy));
    }

    /// Failing requests took it out.
    pub fn ejected(&self) {
        self.0.ejections.inc();
    }

    /// What it is now.
    pub(super) fn show(&self, now: &ServerNow) {
        for (gauge, count) in self.0.states.iter().zip(now.states) {
            gauge.set(count);
        }
        self.0.latency.set(now.latency.as_secs_f64());
    }

    /// The server was chosen for an attempt.
    pub fn picked(&self) {
        self.0.picks.inc();
    }

    /// An attempt failed.
    pub fn failed(&self, kind: FailureKind) {
        self.0.failures[kind as usize].inc();
    }

    /// The server is working on a request for as long as the answer of this is held.
    pub fn in_flight(&self) -> InFlight {
        InFlight::begin(&self.0.in_flight)
    }

    /// An attempt has a connection: a new one, or one out of the pool.
    pub fn connected(&self, reused: bool) {
        let handles = &*self.0;
        if reused {
            handles.connections_reused.inc();
        } else {
            handles.connections_new.inc();
        }
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        let Handles {
            healthy,
            states,
            latency,
            ejections,
            picks,
            failures,
            in_flight,
            connections_new,
            connections_reused,
        } = &*self.0;
        catalogue::unregister(registry, latency.clone());
        for gauge in [healthy, in_flight].into_iter().chain(states) {
            catalogue::unregister(registry, gauge.clone());
        }
        let counters = [ejections, picks, connections_new, connections_reused];
        for counter in counters.into_iter().chain(failures) {
            catalogue::unregister(registry, counter.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_own_count() {
        let metrics = Metrics::new();
        let server = metrics.server("api", "a:1");
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            for _ in 0..=index {
                server.failed(kind);
            }
        }
        let page = metrics.render();
        for (kind, count) in [("connect", 1), ("timeout", 2), ("reset", 3), ("invalid", 4)] {
            let sample =
                format!("gateway_upstream_failures_total{{kind=\"{kind}\",server=\"a:1\",upstream=\"api\"}} {count}\n");
            assert!(page.contains(&sample), "{sample}{page}");
        }
    }

    #[test]
    fn a_server_is_healthy_until_it_is_not() {
        let metrics = Metrics::new();
        let server = metrics.server("api", "a:1");
        let sample = |value| format!("gateway_upstream_server_healthy{{server=\"a:1\",upstream=\"api\"}} {value}\n");
        assert!(metrics.render().contains(&sample(1)));
        server.set_healthy(false);
        assert!(metrics.render().contains(&sample(0)));
    }

    #[test]
    fn new_and_pooled_connections_are_told_apart() {
        let metrics = Metrics::new();
        let server = metrics.server("api", "a:1");
        server.connected(false);
        server.connected(true);
        server.connected(true);
        let page = metrics.render();
        for (reused, count) in [(false, 1), (true, 2)] {
            let labels = format!("{{reused=\"{reused}\",server=\"a:1\",upstream=\"api\"}}");
            let sample = format!("gateway_upstream_connections_total{labels} {count}\n");
            assert!(page.contains(&sample), "{sample}{page}");
        }
    }
}
