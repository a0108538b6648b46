//! The closed list of metrics. Labels come from names in the file, never from a path, a host or an address of a client.
//!
//! What a request touches is resolved once, when a snapshot is compiled: a [`RouteMetrics`] holds its counters and
//! needs neither a lock nor a look-up by label. Handles are cached by name, so counters survive a reload.

mod acme;
mod cache;
mod catalogue;
mod connection;
mod limit;
mod refusal;
mod route;
mod store;
mod telemetry;
mod tier;
mod tls;
mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TEXT_FORMAT, TextEncoder};

use crate::answer::Reason;
use crate::cache::Report;

pub use acme::AcmeMetrics;
pub use cache::CacheMetrics;
pub use connection::{ConnectionLimit, ConnectionMetrics};
pub use limit::{LimitMetrics, LimitVerdict};
pub use route::RouteMetrics;
pub use store::{DecisionSource, SourceMetrics, StoreMetrics};
pub use telemetry::TelemetryMetrics;
pub use tls::{CertificateMetrics, Handshake, TlsMetrics};
pub use upstream::{FailureKind, ServerMetrics, UpstreamMetrics};

use refusal::Refusals;
use tier::TierMetrics;
use upstream::{STATES, ServerNow};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// The `route` label of requests that no route took.
pub const UNROUTED: &str = "-";

/// Most servers of one upstream that are shown one by one.
pub const SERVERS_MAX: usize = 256;

/// The `server` label of all further ones together.
pub const OTHERS: &str = "others";

/// The metrics of one gateway: a registry of their own, no globals.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: Mutex<HashMap<Box<str>, RouteMetrics>>,
    upstreams: Mutex<HashMap<Box<str>, UpstreamMetrics>>,
    servers: Mutex<HashMap<ServerKey, ServerMetrics>>,
    limits: Mutex<HashMap<Box<str>, LimitMetrics>>,
    sources: Mutex<HashMap<Box<str>, SourceMetrics>>,
    store: OnceLock<StoreMetrics>,
    caches: Mutex<HashMap<Box<str>, CacheMetrics>>,
    tiers: TierMetrics,
    connections: ConnectionMetrics,
    tls: TlsMetrics,
    acme: OnceLock<AcmeMetrics>,
    telemetry: OnceLock<TelemetryMetrics>,
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
            tls: TlsMetrics::new(&registry),
            acme: OnceLock::new(),
            telemetry: OnceLock::new(),
            generation: catalogue::GENERATION.gauge(&registry, &[]),
            reload_success,
            reload_time: catalogue::RELOAD_TIME.gauge(&registry, &[]),
            access_log_dropped: catalogue::ACCESS_LOG_DROPPED.counter(&registry, &[]),
            panics: catalogue::PANICS.counter(&registry, &[]),
            routes: Mutex::default(),
            upstreams: Mutex::default(),
            servers: Mutex::default(),
            limits: Mutex::default(),
            sources: Mutex::default(),
            store: OnceLock::new(),
            caches: Mutex::default(),
            tiers: TierMetrics::default(),
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

    /// Answers given so far by all routes, and how many of them had a status of 5xx.
    #[must_use]
    pub fn answers(&self) -> (u64, u64) {
        let routes = self.routes.lock();
        let counts = routes.values().map(RouteMetrics::answers);
        counts.fold((0, 0), |sum, route| (sum.0 + route.0, sum.1 + route.1))
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

    /// The metrics of a server; `server` is the entry as written in the file. The servers of an upstream beyond the first
    /// [`SERVERS_MAX`] share the entry [`OTHERS`]: a servers file must not be able to fill the page.
    #[must_use]
    pub fn server(&self, upstream: &str, server: &str) -> ServerMetrics {
        let mut servers = self.servers.lock();
        let mut key = (Box::from(upstream), Box::from(server));
        if !servers.contains_key(&key) && servers.keys().filter(|(of, _)| **of == *upstream).count() >= SERVERS_MAX {
            key.1 = Box::from(OTHERS);
        }
        let (of, name) = (key.0.clone(), key.1.clone());
        servers
            .entry(key)
            .or_insert_with(|| ServerMetrics::new(&self.registry, &of, &name))
            .clone()
    }

    /// Shows the servers of an upstream no more that are not to `stay`. Handles that are still held stay usable; what they
    /// count is not shown.
    pub fn retain_servers(&self, upstream: &str, stay: impl Fn(&str) -> bool) {
        // The lock is held over both steps: otherwise a server that comes back in between loses its new metrics.
        self.servers.lock().retain(|(of, server), metrics| {
            let stays = **of != *upstream || stay(server);
            if !stays {
                metrics.unregister(&self.registry);
            }
            stays
        });
    }

    /// Shows of each address of an upstream's servers in which state it is, and how long its next answer is expected to take.
    pub fn show_servers<'a>(
        &self,
        upstream: &str,
        addresses: impl Iterator<Item = (&'a str, &'static str, Option<Duration>)>,
    ) {
        let servers = self.servers.lock();
        let mut all: HashMap<&str, ServerNow> = HashMap::new();
        for (server, state, latency) in addresses {
            let shown = servers.contains_key(&(Box::from(upstream), Box::from(server)));
            let now = all.entry(if shown { server } else { OTHERS }).or_default();
            if let Some(index) = STATES.iter().position(|known| *known == state) {
                now.states[index] += 1;
            }
            now.latency = now.latency.max(latency.unwrap_or_default());
        }
        for ((_, server), metrics) in servers.iter().filter(|((of, _), _)| **of == *upstream) {
            metrics.show(&all.remove(&**server).unwrap_or_default());
        }
    }

    /// Shows only what these say is still there: routes, upstreams, rate limits. As [`Metrics::retain_servers`].
    pub fn retain(&self, route: impl Fn(&str) -> bool, upstream: impl Fn(&str) -> bool, limit: impl Fn(&str) -> bool) {
        let registry = &self.registry;
        self.routes.lock().retain(|name, metrics| {
            let kept = &**name == UNROUTED || route(name);
            if !kept {
                metrics.unregister(registry);
            }
            kept
        });
        self.upstreams.lock().retain(|name, metrics| {
            let kept = upstream(name);
            if !kept {
                metrics.unregister(registry);
            }
            kept
        });
        self.limits.lock().retain(|name, metrics| {
            let kept = limit(name);
            if !kept {
                metrics.unregister(registry);
            }
            kept
        });
        self.sources.lock().retain(|name, metrics| {
            let kept = limit(name);
            if !kept {
                metrics.unregister(registry);
            }
            kept
        });
    }

    /// The metrics of the store that limits share.
    #[must_use]
    pub fn store(&self) -> StoreMetrics {
        self.store.get_or_init(|| StoreMetrics::new(&self.registry)).clone()
    }

    /// What decides about a limit that is shared.
    #[must_use]
    pub fn sources(&self, limit: &str) -> SourceMetrics {
        let mut sources = self.sources.lock();
        let new = || SourceMetrics::new(&self.registry, limit);
        sources.entry(limit.into()).or_insert_with(new).clone()
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

    /// The metrics of a cache.
    #[must_use]
    pub fn cache(&self, name: &str) -> CacheMetrics {
        let mut caches = self.caches.lock();
        if let Some(known) = caches.get(name) {
            return known.clone();
        }
        let new = CacheMetrics::new(&self.registry, name);
        caches.insert(name.into(), new.clone());
        new
    }

    /// Shows the second tiers of caches: cache, tier, and what it tells; all that there are.
    pub fn show_tiers<'a>(&self, tiers: impl Iterator<Item = (&'a str, &'static str, Report)>) {
        self.tiers.show(&self.registry, tiers);
    }

    /// Takes the metrics of a cache out.
    pub fn forget_cache(&self, name: &str) {
        if let Some(metrics) = self.caches.lock().remove(name) {
            metrics.unregister(&self.registry);
        }
    }

    /// The metrics of client connections.
    #[must_use]
    pub fn connections(&self) -> &ConnectionMetrics {
        &self.connections
    }

    /// The metrics of TLS with clients.
    #[must_use]
    pub fn tls(&self) -> &TlsMetrics {
        &self.tls
    }

    /// What is counted of the certificate that is obtained; shown from the first call on.
    #[must_use]
    pub fn acme(&self) -> AcmeMetrics {
        self.acme.get_or_init(|| AcmeMetrics::new(&self.registry)).clone()
    }

    /// What is counted of what is sent to a collector; shown from the first call on.
    #[must_use]
    pub fn telemetry(&self) -> TelemetryMetrics {
        let new = || TelemetryMetrics::new(&self.registry);
        self.telemetry.get_or_init(new).clone()
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

    /// Every family with what it counts.
    #[must_use]
    pub fn families(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// Everything in the Prometheus text format 0.0.4; see [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.families();
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
mod tests;
