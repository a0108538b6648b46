//! The closed list of metrics. Labels come from names in the file, never from a path, a host or an address of a client.
//!
//! What a request touches is resolved once, when a snapshot is compiled: a [`RouteMetrics`] holds its counters and
//! needs neither a lock nor a look-up by label. Handles are cached by name, so counters survive a reload.

mod catalogue;
mod connection;
mod limit;
mod refusal;
mod route;
mod upstream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TEXT_FORMAT, TextEncoder};

use crate::answer::Reason;

pub use connection::{ConnectionLimit, ConnectionMetrics};
pub use limit::{LimitMetrics, LimitVerdict};
pub use route::RouteMetrics;
pub use upstream::{FailureKind, ServerMetrics, UpstreamMetrics};

use refusal::Refusals;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// The `route` label of requests that no route took.
pub const UNROUTED: &str = "-";

/// The metrics of one gateway: a registry of their own, no globals.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: Mutex<HashMap<Box<str>, RouteMetrics>>,
    upstreams: Mutex<HashMap<Box<str>, UpstreamMetrics>>,
    servers: Mutex<HashMap<ServerKey, ServerMetrics>>,
    limits: Mutex<HashMap<Box<str>, LimitMetrics>>,
    connections: ConnectionMetrics,
    refusals: Refusals,
    generation: IntGauge,
    reload_success: IntGauge,
    reload_time: IntGauge,
    access_log_dropped: IntCounter,
    panics: IntCounter,
}

/// Upstream and server, as written in the file.
type ServerKey = (Box<str>, Box<str>);

impl Metrics {
    /// Metrics with every count at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        catalogue::BUILD_INFO
            .gauge(&registry, &[env!("CARGO_PKG_VERSION")])
            .set(1);
        // The collector comes with the client library; without /proc it shows nothing, which is not an error.
        #[cfg(target_os = "linux")]
        catalogue::register(&registry, prometheus::process_collector::ProcessCollector::for_self());
        let reload_success = catalogue::RELOAD_SUCCESS.gauge(&registry, &[]);
        reload_success.set(1);
        Arc::new(Self {
            connections: ConnectionMetrics::new(&registry),
            generation: catalogue::GENERATION.gauge(&registry, &[]),
            reload_success,
            reload_time: catalogue::RELOAD_TIME.gauge(&registry, &[]),
            access_log_dropped: catalogue::ACCESS_LOG_DROPPED.counter(&registry, &[]),
            panics: catalogue::PANICS.counter(&registry, &[]),
            routes: Mutex::default(),
            upstreams: Mutex::default(),
            servers: Mutex::default(),
            limits: Mutex::default(),
            refusals: Refusals::new(&registry),
            registry,
        })
    }

    /// The metrics of a route; [`UNROUTED`] for requests that no route took.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteMetrics {
        let mut routes = self.routes.lock();
        if let Some(known) = routes.get(name) {
            return known.clone();
        }
        let new = RouteMetrics::new(&self.registry, name);
        routes.insert(name.into(), new.clone());
        new
    }

    /// The metrics of an upstream.
    #[must_use]
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        let mut upstreams = self.upstreams.lock();
        if let Some(known) = upstreams.get(name) {
            return known.clone();
        }
        let new = UpstreamMetrics::new(&self.registry, name);
        upstreams.insert(name.into(), new.clone());
        new
    }

    /// The metrics of a server; `server` is the entry as written in the file.
    #[must_use]
    pub fn server(&self, upstream: &str, server: &str) -> ServerMetrics {
        let key = (Box::from(upstream), Box::from(server));
        self.servers
            .lock()
            .entry(key)
            .or_insert_with(|| ServerMetrics::new(&self.registry, upstream, server))
            .clone()
    }

    /// Shows a server no more. Handles that are still held stay usable; what they count is not shown.
    pub fn forget_server(&self, upstream: &str, server: &str) {
        let key = (Box::from(upstream), Box::from(server));
        // The lock is held over both steps: otherwise a server that comes back in between loses its new metrics.
        let mut servers = self.servers.lock();
        if let Some(metrics) = servers.remove(&key) {
            metrics.unregister(&self.registry);
        }
    }

    /// The metrics of a rate limit.
    #[must_use]
    pub fn limit(&self, name: &str) -> LimitMetrics {
        let mut limits = self.limits.lock();
        if let Some(known) = limits.get(name) {
            return known.clone();
        }
        let new = LimitMetrics::new(&self.registry, name);
        limits.insert(name.into(), new.clone());
        new
    }

    /// The metrics of client connections.
    #[must_use]
    pub fn connections(&self) -> &ConnectionMetrics {
        &self.connections
    }

    /// Counts an answer of the gateway's own that refuses a request.
    pub fn refused(&self, reason: Reason) {
        self.refusals.count(reason as usize, || reason.word());
    }

    /// A configuration took effect at `now`: at the start, or by a reload.
    pub fn config_loaded(&self, generation: u64, now: SystemTime) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.reload_success.set(1);
        self.reload_time.set(unix_seconds(now));
    }

    /// A reload was refused at `now`; what ran before runs on.
    pub fn reload_failed(&self, now: SystemTime) {
        self.reload_success.set(0);
        self.reload_time.set(unix_seconds(now));
    }

    /// The counter of access-log lines that were not written, for [`super::access_log::AccessLog::start`].
    #[must_use]
    pub fn access_log_dropped(&self) -> IntCounter {
        self.access_log_dropped.clone()
    }

    /// Counts a panic that was caught.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Everything in the Prometheus text format 0.0.4; see [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        let mut page = Vec::with_capacity(16 * 1024);
        // Writing to memory cannot fail, and a family without samples is left out by the registry. Should the encoder
        // refuse one all the same, what it wrote before is still of use to whoever scrapes.
        if let Err(error) = TextEncoder::new().encode(&families, &mut page) {
            tracing::error!(%error, "the metrics page is incomplete");
        }
        String::from_utf8(page).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Something is under way for as long as this is held.
#[derive(Debug)]
#[must_use = "it is over as soon as this is dropped"]
pub struct InFlight(IntGauge);

impl InFlight {
    fn begin(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use http::{Method, StatusCode};
    use prometheus::proto::MetricType;

    use super::*;

    /// Metrics of which every family has a sample.
    fn touched() -> Arc<Metrics> {
        let metrics = Metrics::new();
        metrics
            .route("api")
            .record(&Method::GET, StatusCode::OK, Duration::from_millis(3), 10, 20);
        metrics.upstream("api").answered(Duration::from_millis(2));
        metrics.server("api", "127.0.0.1:5000").picked();
        metrics.limit("api").decided(LimitVerdict::Allowed);
        metrics.refusals.count(0, || "no_server");
        metrics.config_loaded(1, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        metrics
    }

    /// Type and labels by name, as the page of the documentation says.
    fn documented() -> BTreeMap<String, (String, Vec<String>)> {
        include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
                let mut labels: Vec<String> = cells[2]
                    .split(',')
                    .map(|label| label.trim().trim_matches('`').to_owned())
                    .filter(|label| !label.is_empty())
                    .collect();
                labels.sort();
                (cells[0].to_owned(), (cells[1].to_owned(), labels))
            })
            .collect()
    }

    #[test]
    fn every_metric_is_documented_as_it_is() {
        let mut shown = BTreeMap::new();
        for family in touched().registry.gather() {
            let kind = match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                other => panic!("{other:?}"),
            };
            let labels = family.get_metric()[0].get_label().iter().map(|l| l.name().to_owned());
            shown.insert(family.name().to_owned(), (kind.to_owned(), labels.collect()));
        }
        assert_eq!(shown, documented());
    }

    #[test]
    fn the_page_has_help_type_and_samples() {
        let page = touched().render();
        for line in [
            "# TYPE gateway_requests_total counter",
            "gateway_requests_total{method=\"GET\",route=\"api\",status=\"2xx\"} 1",
            "gateway_request_bytes_total{route=\"api\"} 10",
            "gateway_response_bytes_total{route=\"api\"} 20",
            "gateway_request_duration_seconds_bucket{route=\"api\",le=\"0.0025\"} 0",
            "gateway_request_duration_seconds_bucket{route=\"api\",le=\"0.005\"} 1",
            "gateway_request_duration_seconds_bucket{route=\"api\",le=\"+Inf\"} 1",
            "gateway_upstream_picks_total{server=\"127.0.0.1:5000\",upstream=\"api\"} 1",
            "gateway_refusals_total{reason=\"no_server\"} 1",
            "gateway_config_generation 1",
            "gateway_config_last_reload_success 1",
            "gateway_config_last_reload_timestamp_seconds 1700000000",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help");
            assert_eq!(line.ends_with(" counter"), name.ends_with("_total"), "{line}");
        }
    }

    #[test]
    fn handles_of_one_name_count_together() {
        let metrics = Metrics::new();
        for _ in 0..2 {
            metrics.upstream("api").retried();
            metrics.server("api", "a:1").connected(true);
        }
        let page = metrics.render();
        assert!(
            page.contains("gateway_upstream_retries_total{upstream=\"api\"} 2\n"),
            "{page}"
        );
        let reused = "gateway_upstream_connections_total{reused=\"true\",server=\"a:1\",upstream=\"api\"} 2\n";
        assert!(page.contains(reused), "{page}");
    }

    #[test]
    fn names_that_read_alike_when_joined_are_kept_apart() {
        let metrics = Metrics::new();
        metrics.server("api", "1web:80").picked();
        let _ = metrics.server("api1", "web:80");
        let page = metrics.render();
        assert!(page.contains("gateway_upstream_picks_total{server=\"1web:80\",upstream=\"api\"} 1\n"));
        assert!(page.contains("gateway_upstream_picks_total{server=\"web:80\",upstream=\"api1\"} 0\n"));
    }

    #[test]
    fn a_forgotten_server_is_gone_and_may_come_back_from_zero() {
        let metrics = Metrics::new();
        let held = metrics.server("api", "a:1");
        held.picked();
        let guard = held.in_flight();
        metrics.server("api", "b:1").picked();
        metrics.forget_server("api", "a:1");
        metrics.forget_server("api", "never:1");
        let page = metrics.render();
        assert!(!page.contains("a:1"), "{page}");
        assert!(page.contains("b:1"), "{page}");

        let _ = metrics.server("api", "a:1");
        drop(guard);
        let page = metrics.render();
        for sample in [
            "gateway_upstream_picks_total{server=\"a:1\",upstream=\"api\"} 0\n",
            "gateway_upstream_in_flight{server=\"a:1\",upstream=\"api\"} 0\n",
        ] {
            assert!(page.contains(sample), "{sample}{page}");
        }
    }

    #[test]
    fn a_failed_reload_shows_and_keeps_the_generation() {
        let metrics = Metrics::new();
        metrics.config_loaded(7, UNIX_EPOCH + Duration::from_secs(5));
        metrics.reload_failed(UNIX_EPOCH + Duration::from_secs(9));
        let page = metrics.render();
        assert!(page.contains("gateway_config_generation 7\n"));
        assert!(page.contains("gateway_config_last_reload_success 0\n"));
        assert!(page.contains("gateway_config_last_reload_timestamp_seconds 9\n"));
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let metrics = Metrics::new();
        let _ = metrics.upstream("a\"} 1\nevil{x=\"\\");
        let page = metrics.render();
        assert!(page.contains(r#"{upstream="a\"} 1\nevil{x=\"\\"} 0"#), "{page}");
        assert!(!page.lines().any(|line| line.starts_with("evil")));
    }
}
