//! Every family of metrics: name, meaning, labels. `docs/metrics.md` lists them; a test compares the two.
//!
//! Children are metrics with constant labels, each registered by itself. The vectors of the client library hash label
//! values joined without a separator, so that upstream `api` with server `1web:80` and upstream `api1` with server
//! `web:80` would count into one.

use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// Seconds, from what a cache hit takes to what a long poll takes.
const BUCKETS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Seconds, of a round trip within a site.
const FINE_BUCKETS: [f64; 12] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5,
];

/// A family of metrics.
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
}

const fn family(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, help, labels }
}

pub(super) const REQUESTS: Family = family(
    "gateway_requests_total",
    &["route", "method", "status"],
    "Requests by route, method and class of the status.",
);
pub(super) const REQUEST_DURATION: Family = family(
    "gateway_request_duration_seconds",
    &["route"],
    "Time from the head of a request to the end of its answer.",
);
pub(super) const REQUESTS_IN_FLIGHT: Family = family(
    "gateway_requests_in_flight",
    &["route"],
    "Requests that are being served.",
);
pub(super) const REQUEST_BYTES: Family = family(
    "gateway_request_bytes_total",
    &["route"],
    "Bytes of requests read from clients.",
);
pub(super) const RESPONSE_BYTES: Family = family(
    "gateway_response_bytes_total",
    &["route"],
    "Bytes of answers written to clients.",
);

pub(super) const UPSTREAM_DURATION: Family = family(
    "gateway_upstream_duration_seconds",
    &["upstream"],
    "Time from the choice of a server to the head of its answer.",
);
pub(super) const UPSTREAM_RETRIES: Family = family(
    "gateway_upstream_retries_total",
    &["upstream"],
    "Attempts beyond the first of a request.",
);
pub(super) const UPSTREAM_HEDGES: Family = family(
    "gateway_upstream_hedges_total",
    &["upstream", "won"],
    "Requests for which a second server was asked because the first was slow, by whether the second answered first.",
);
pub(super) const UPSTREAM_NO_SERVER: Family = family(
    "gateway_upstream_no_server_total",
    &["upstream"],
    "Requests for which no server could be chosen.",
);
pub(super) const UPSTREAM_SHED: Family = family(
    "gateway_upstream_shed_total",
    &["upstream", "priority"],
    "Requests refused because every server had as many as it takes.",
);
pub(super) const UPSTREAM_BUDGET: Family = family(
    "gateway_upstream_retry_budget_left",
    &["upstream"],
    "Further attempts that the retry budget allows now.",
);
pub(super) const UPSTREAM_BREAKER: Family = family(
    "gateway_upstream_breaker_state",
    &["upstream"],
    "The circuit breaker: 0 closed or none, 1 half open, 2 open.",
);
pub(super) const UPSTREAM_QUEUE: Family = family(
    "gateway_upstream_queue_waiting",
    &["upstream"],
    "Requests that wait for a server that is less full.",
);
pub(super) const UPSTREAM_PANICKING: Family = family(
    "gateway_upstream_panicking",
    &["upstream"],
    "Whether so few servers are fit that ejected ones are used as well.",
);
pub(super) const SERVER_STATE: Family = family(
    "gateway_upstream_server_state",
    &["upstream", "server", "state"],
    "Addresses of a server in each state.",
);
pub(super) const SERVER_LATENCY: Family = family(
    "gateway_upstream_server_latency_seconds",
    &["upstream", "server"],
    "How long the next answer of a server is expected to take.",
);
pub(super) const SERVER_EJECTIONS: Family = family(
    "gateway_upstream_ejections_total",
    &["upstream", "server"],
    "How often failing requests took a server out for a while.",
);
pub(super) const SERVER_HEALTHY: Family = family(
    "gateway_upstream_server_healthy",
    &["upstream", "server"],
    "Whether a server is considered healthy.",
);
pub(super) const SERVER_PICKS: Family = family(
    "gateway_upstream_picks_total",
    &["upstream", "server"],
    "Attempts for which a server was chosen.",
);
pub(super) const SERVER_FAILURES: Family = family(
    "gateway_upstream_failures_total",
    &["upstream", "server", "kind"],
    "Attempts that failed before the head of an answer arrived.",
);
pub(super) const SERVER_IN_FLIGHT: Family = family(
    "gateway_upstream_in_flight",
    &["upstream", "server"],
    "Requests that a server is working on.",
);
pub(super) const SERVER_CONNECTIONS: Family = family(
    "gateway_upstream_connections_total",
    &["upstream", "server", "reused"],
    "Connections that carried an attempt, new or out of the pool.",
);

pub(super) const CONNECTIONS_ACTIVE: Family =
    family("gateway_connections_active", &[], "Client connections that are open.");
pub(super) const CONNECTIONS_ACCEPTED: Family = family(
    "gateway_connections_accepted_total",
    &[],
    "Client connections that were accepted.",
);
pub(super) const CONNECTIONS_REFUSED: Family = family(
    "gateway_connections_refused_total",
    &["reason"],
    "Client connections closed at once because of a limit.",
);
pub(super) const REFUSALS: Family = family(
    "gateway_refusals_total",
    &["reason"],
    "Requests that the gateway refused itself.",
);

pub(super) const TLS_HANDSHAKES: Family = family(
    "gateway_tls_handshakes_total",
    &["result"],
    "TLS handshakes with clients that are over.",
);
pub(super) const TLS_HANDSHAKES_ACTIVE: Family = family(
    "gateway_tls_handshakes_active",
    &[],
    "Client connections that are in their TLS handshake.",
);
pub(super) const CERTIFICATE_EXPIRY: Family = family(
    "gateway_certificate_expiry_timestamp_seconds",
    &["certificate"],
    "When the certificate in force expires, in Unix time.",
);
pub(super) const CERTIFICATE_SUCCESS: Family = family(
    "gateway_certificate_last_load_success",
    &["certificate"],
    "Whether the files of a certificate, as they are now, could be taken into use.",
);

pub(super) const ACME_ORDERS: Family = family(
    "gateway_acme_orders_total",
    &["result"],
    "Orders of certificates that are over.",
);
pub(super) const ACME_CHALLENGES: Family = family(
    "gateway_acme_challenges_total",
    &["challenge"],
    "Answers to an authority that asked whether a name is ours.",
);
pub(super) const ACME_NEXT: Family = family(
    "gateway_acme_due_timestamp_seconds",
    &[],
    "When the certificate is to be obtained or renewed, in Unix time.",
);

pub(super) const TELEMETRY_SPANS: Family = family(
    "gateway_telemetry_spans_total",
    &["result"],
    "Spans that a collector has taken, and that were lost.",
);
pub(super) const TELEMETRY_EXPORTS: Family = family(
    "gateway_telemetry_exports_total",
    &["signal", "result"],
    "Messages to a collector.",
);

pub(super) const LIMIT_DECISIONS: Family = family(
    "gateway_limit_decisions_total",
    &["policy", "verdict"],
    "Decisions of rate limits.",
);
pub(super) const LIMIT_BANS: Family = family(
    "gateway_limit_bans_total",
    &["policy"],
    "Clients that a rate limit banned.",
);

pub(super) const LIMITER_DECISIONS: Family = family(
    "gateway_limiter_decisions_total",
    &["policy", "source"],
    "Decisions of shared rate limits by what decided: the store, a lease, a refusal that is remembered, or without the \
     store one of local, allow and deny.",
);
pub(super) const LIMITER_DURATION: Family = family(
    "gateway_limiter_store_duration_seconds",
    &[],
    "Time from a pipeline to the shared store to its answer.",
);
pub(super) const LIMITER_OPERATIONS: Family = family(
    "gateway_limiter_store_operations_total",
    &[],
    "Scripts that the shared store was asked to run for decisions.",
);
pub(super) const LIMITER_ERRORS: Family = family(
    "gateway_limiter_store_errors_total",
    &["kind"],
    "Questions to the shared store and connections to it that failed.",
);
pub(super) const LIMITER_CONNECTIONS: Family = family(
    "gateway_limiter_store_connections_total",
    &[],
    "Attempts to connect to the shared store.",
);
pub(super) const LIMITER_DEGRADED: Family = family(
    "gateway_limiter_degraded",
    &[],
    "Whether the shared store cannot be asked.",
);
pub(super) const LIMITER_GATEWAYS: Family = family(
    "gateway_limiter_gateways",
    &[],
    "Gateways that share the store, as it was last told.",
);
pub(super) const LIMITER_KEYS: Family = family(
    "gateway_limiter_keys",
    &[],
    "Keys of the shared store of which this process knows something.",
);
pub(super) const LIMITER_LEASES: Family = family("gateway_limiter_leases", &[], "Keys of which units are in hand.");

pub(super) const CACHE_REQUESTS: Family = family(
    "gateway_cache_requests_total",
    &["cache", "verdict"],
    "Requests by what the cache did with them.",
);
pub(super) const CACHE_FETCHES: Family = family(
    "gateway_cache_fetches_total",
    &["cache"],
    "Requests to applications on behalf of the cache.",
);
pub(super) const CACHE_ENTRIES: Family =
    family("gateway_cache_entries", &["cache"], "Answers that are kept in memory.");
pub(super) const CACHE_BYTES: Family = family(
    "gateway_cache_bytes",
    &["cache"],
    "Memory that kept answers take, in bytes.",
);
pub(super) const CACHE_EVICTIONS: Family = family(
    "gateway_cache_evictions",
    &["cache"],
    "Answers that left for others since the start.",
);
pub(super) const CACHE_PURGED: Family = family(
    "gateway_cache_purged_total",
    &["cache"],
    "Answers that were purged, or forgotten because of a change.",
);

pub(super) const CACHE_TIER_ENTRIES: Family = family(
    "gateway_cache_tier_entries",
    &["cache", "tier"],
    "Answers that a second tier keeps.",
);
pub(super) const CACHE_TIER_BYTES: Family = family(
    "gateway_cache_tier_bytes",
    &["cache", "tier"],
    "What the answers of a second tier take, in bytes.",
);
pub(super) const CACHE_TIER_EVENTS: Family = family(
    "gateway_cache_tier_events_total",
    &["cache", "tier", "event"],
    "Answers by what a second tier did with them.",
);

pub(super) const GENERATION: Family = family(
    "gateway_config_generation",
    &[],
    "Number of the configuration in effect; grows with every reload.",
);
pub(super) const RELOAD_SUCCESS: Family = family(
    "gateway_config_last_reload_success",
    &[],
    "Whether the last attempt to load a configuration succeeded.",
);
pub(super) const RELOAD_TIME: Family = family(
    "gateway_config_last_reload_timestamp_seconds",
    &[],
    "When a configuration was last loaded or refused, in Unix time.",
);
pub(super) const ACCESS_LOG_DROPPED: Family = family(
    "gateway_access_log_dropped_total",
    &[],
    "Access-log lines that were not written: the queue was full or the disk refused.",
);
pub(super) const PANICS: Family = family("gateway_panics_total", &[], "Panics that were caught.");
pub(super) const BUILD_INFO: Family = family("gateway_build_info", &["version"], "The version that runs; always 1.");

impl Family {
    /// A counter of this family, registered; `values` in the order of its labels.
    pub(super) fn counter(&self, registry: &Registry, values: &[&str]) -> IntCounter {
        let counter = IntCounter::with_opts(self.opts(values)).expect("names in the catalogue are valid");
        register(registry, counter.clone());
        counter
    }

    /// A gauge of this family, registered.
    pub(super) fn gauge(&self, registry: &Registry, values: &[&str]) -> IntGauge {
        let gauge = IntGauge::with_opts(self.opts(values)).expect("names in the catalogue are valid");
        register(registry, gauge.clone());
        gauge
    }

    /// A gauge of this family whose values are no whole numbers, registered.
    pub(super) fn measure(&self, registry: &Registry, values: &[&str]) -> Gauge {
        let gauge = Gauge::with_opts(self.opts(values)).expect("names in the catalogue are valid");
        register(registry, gauge.clone());
        gauge
    }

    /// A histogram of this family, registered.
    pub(super) fn histogram(&self, registry: &Registry, values: &[&str]) -> Histogram {
        self.histogram_of(&BUCKETS, registry, values)
    }

    /// A histogram of what takes microseconds mostly, registered.
    pub(super) fn fine_histogram(&self, registry: &Registry, values: &[&str]) -> Histogram {
        self.histogram_of(&FINE_BUCKETS, registry, values)
    }

    fn histogram_of(&self, buckets: &[f64], registry: &Registry, values: &[&str]) -> Histogram {
        let opts = HistogramOpts::from(self.opts(values)).buckets(buckets.to_vec());
        let histogram = Histogram::with_opts(opts).expect("names and buckets in the catalogue are valid");
        register(registry, histogram.clone());
        histogram
    }

    fn opts(&self, values: &[&str]) -> Opts {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let labels: HashMap<String, String> = self
            .labels
            .iter()
            .zip(values)
            .map(|(&name, &value)| (name.to_owned(), value.to_owned()))
            .collect();
        Opts::new(self.name, self.help).const_labels(labels)
    }
}

/// Shows a metric on the page. The caller has seen to it that there is none with these labels yet.
pub(super) fn register(registry: &Registry, collector: impl Collector + 'static) {
    if let Err(error) = registry.register(Box::new(collector)) {
        // A metric that is not shown must not cost a request.
        tracing::error!(%error, "a metric could not be registered");
    }
}

/// Takes a metric off the page.
pub(super) fn unregister(registry: &Registry, collector: impl Collector + 'static) {
    if let Err(error) = registry.unregister(Box::new(collector)) {
        tracing::error!(%error, "a metric could not be taken off the page");
    }
}
