//! The model, compiled: every name resolved to what it names, every metric to its counter.

mod named;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::access;
use super::auth::{self, RouteAuth, Way};
use super::limits::{CompiledLimits, RouteBandwidth, RouteLimits};
use super::sharing::Sharing;
use super::tls::{self, Profiles};
use super::{
    Acme, ClientTls, Concurrency, LoadError, LogSink, Queue, Registry, RouteCache, ServerTls, Spans, Stamp, Telemetry,
};
use crate::answer::Answer;
use crate::auth::ClaimedFields;
use crate::balance::{Pool, Priority, Quantile, Sticky};
use crate::config::model::{self, Config};
use crate::observe::Throttle;
use crate::observe::identity::{Sampler, Tracing};
use crate::observe::metrics::{Metrics, RouteMetrics, UNROUTED, UpstreamMetrics};
use crate::policy::{Admission, Delivery, Redirect, Rewrite, ToHttps};
use crate::route::{self, Router};
use crate::slot::Slot;
use named::Named;

/// Of the failures of one upstream, the log tells one in this time.
const COMPLAINT: Duration = Duration::from_secs(10);

/// Everything that one request reads; immutable.
pub struct Snapshot {
    /// Counts up with every configuration that is applied.
    pub generation: u64,
    /// The listeners' limits.
    pub server: Arc<model::Server>,
    /// What is asked of operators.
    pub admin: model::Admin,
    /// TLS towards them.
    pub admin_tls: Option<Arc<ServerTls>>,
    /// TLS towards clients.
    pub tls: Option<Arc<ServerTls>>,
    /// The certificate that is obtained.
    pub acme: Option<Arc<Acme>>,
    /// Where what arrives in clear text is sent; `None`: it is served.
    pub to_https: Option<ToHttps>,
    /// The upstreams, as routes name them.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The names of the rate limits, in file order.
    pub rate_limits: Vec<Arc<str>>,
    /// Files that the configuration names and that were read for it, as they were before.
    pub(crate) inputs: Vec<(PathBuf, Option<Stamp>)>,
    /// Where lines go; `None`: nowhere.
    pub access_log: Option<LogSink>,
    /// In which fields traces are, and which of them are recorded.
    pub tracing: Tracing,
    /// Where spans go; `None`: nowhere.
    pub spans: Option<Arc<Spans>>,
    /// Who is told of spans and metrics; `None`: nobody.
    pub telemetry: Option<Arc<Telemetry>>,
    /// What is done to answers that no route gives.
    pub delivery: Delivery,
    /// Fields that no client may send to an upstream.
    pub claimed: ClaimedFields,
    /// The caches of all routes, none of them twice: what a change is told to.
    pub caches: Vec<RouteCache>,
    /// What caches share with other gateways; `None`: nothing.
    pub sharing: Option<Arc<Sharing>>,
    /// Counters of requests that no route took.
    pub no_route: RouteMetrics,
    router: Router,
    routes: Vec<Arc<Route>>,
    pub(super) limits: CompiledLimits,
}

/// A route, compiled.
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// Its path, where it has but one.
    pub pattern: Option<Arc<str>>,
    /// What it does.
    pub action: Action,
    /// What it asks first.
    pub admission: Admission,
    /// Who may use it; `None`: everybody.
    pub auth: Option<Arc<RouteAuth>>,
    /// The limits that its requests are counted by; `None`: none.
    pub limits: Option<Arc<RouteLimits>>,
    /// How fast its bodies flow; `None`: at any speed.
    pub bandwidth: Option<Arc<RouteBandwidth>>,
    /// What is done to its answers.
    pub delivery: Delivery,
    /// Whether its requests are logged.
    pub access_log: bool,
    /// What is kept of its answers; `None`: nothing.
    pub cache: Option<RouteCache>,
    /// Its class where not everybody can be served.
    pub priority: Priority,
    /// How many of its requests may be in progress.
    pub concurrency: Option<Arc<Concurrency>>,
    /// Its counters.
    pub metrics: RouteMetrics,
}

/// What a route does.
pub enum Action {
    /// Sends the request to an upstream.
    Proxy {
        /// Which.
        upstream: Arc<Upstream>,
        /// The path that it sees.
        rewrite: Option<Rewrite>,
    },
    /// Gives this answer.
    Respond(Answer),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Serves files.
    Files(model::Files),
    /// Serves the metrics.
    Metrics,
    /// Serves the health endpoints below these prefixes, the longest first.
    Health(Vec<Box<str>>),
}

/// An upstream, compiled.
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Its servers.
    pub pool: Arc<Pool>,
    /// The `Host` it is sent; `None`: the client's.
    pub host: Option<HeaderValue>,
    /// What is spoken with the servers.
    pub protocol: model::Protocol,
    /// TLS to the servers; `None`: clear text.
    pub tls: Option<Arc<ClientTls>>,
    /// TLS of the probes of its health check.
    pub probe_tls: Option<Arc<ClientTls>>,
    /// What the proxy prepared for connections to the servers.
    pub prepared: Slot,
    /// Limits of one attempt.
    pub timeouts: model::UpstreamTimeouts,
    /// Requests that wait while every server is full.
    pub queue: Queue,
    /// How long its answers take, where a second server is asked by that.
    pub latencies: Option<Quantile>,
    /// Signs the cookies of sticky sessions.
    pub sticky: Option<Sticky>,
    /// How a client is told to come back when no server is fit: one interval of the health check.
    pub retry_after: Option<Duration>,
    /// Its counters.
    pub metrics: UpstreamMetrics,
    /// Failures that were told to the log.
    pub complaints: Throttle,
    /// The model, for the loops that feed the pool.
    pub model: model::Upstream,
    /// The servers, as the file names them.
    pub(super) servers: Vec<Arc<str>>,
    /// Where the counters of servers are.
    pub(super) all_metrics: Arc<Metrics>,
}

impl Upstream {
    pub(super) fn compile(
        model: model::Upstream,
        (tls, probe_tls): Profiles,
        pool: Arc<Pool>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let mut servers: Vec<Arc<str>> = Vec::new();
        for server in &model.servers {
            let name: Arc<str> = server.to_string().into();
            if !servers.contains(&name) {
                let _ = metrics.server(&model.name, &name); // shown from the start
                servers.push(name);
            }
        }
        Self {
            name: Arc::clone(&model.name),
            pool,
            host: model.host.clone(),
            protocol: model.protocol,
            tls,
            probe_tls,
            prepared: Slot::default(),
            timeouts: model.timeouts,
            queue: Queue::new(model.queue.size, model.queue.timeout),
            latencies: matches!(model.hedge.map(|hedge| hedge.after), Some(model::HedgeAfter::P95))
                .then(Quantile::default),
            // Validation has seen to the secret's length.
            sticky: model.sticky.as_ref().and_then(|sticky| {
                Sticky::new(sticky.secret.expose().as_bytes(), &model.name, sticky.ttl.as_secs()).ok()
            }),
            retry_after: model.health_check.as_ref().map(|check| check.interval),
            metrics: metrics.upstream(&model.name),
            complaints: Throttle::new(COMPLAINT),
            servers,
            all_metrics: Arc::clone(metrics),
            model,
        }
    }

    /// Whether this is what `compile` would make of these.
    pub(super) fn is_as(&self, model: &model::Upstream, (tls, probe_tls): &Profiles) -> bool {
        let same = |one: &Option<Arc<ClientTls>>, other: &Option<Arc<ClientTls>>| {
            one.as_ref().map(|tls| tls.fingerprint) == other.as_ref().map(|tls| tls.fingerprint)
        };
        self.model == *model && same(&self.tls, tls) && same(&self.probe_tls, probe_tls)
    }
}

impl Snapshot {
    /// Compiles a configuration; takes over from the registry what exists already.
    ///
    /// # Errors
    /// [`LoadError`]; what the registry holds is as before then.
    pub fn compile(config: Config, generation: u64, registry: &Registry) -> Result<Self, LoadError> {
        let inputs = Stamp::all(config.inputs());
        // First what can fail: from the first pool on, there is no way back.
        let profiles = config
            .upstreams
            .iter()
            .map(tls::profiles)
            .collect::<Result<Vec<_>, _>>()?;
        let tls = config.tls.map(|tls| ServerTls::load(tls, registry)).transpose();
        let tls = tls.map_err(LoadError::ServerTls)?.map(Arc::new);
        let admin_tls = config.admin.tls.clone();
        let admin_tls = admin_tls
            .map(|tls| ServerTls::load_for_operators(tls, registry))
            .transpose();
        let admin_tls = admin_tls.map_err(LoadError::ServerTls)?.map(Arc::new);
        let redis_tls = config.redis.as_ref().map(|redis| ClientTls::of_redis("[redis]", redis));
        let redis_tls = redis_tls.transpose()?.flatten();
        let cache_redis = config
            .cache_redis
            .map(|shared| ClientTls::of_redis("[cache_redis]", &shared).map(|tls| (shared, tls)));
        let cache_redis = cache_redis.transpose()?;
        let redis = config.redis.as_ref().map(|redis| (redis, redis_tls.as_ref()));
        let acme = config.acme.map(|acme| registry.acme(acme, redis)).transpose()?;
        let sampler = config.telemetry.as_ref().and_then(|telemetry| telemetry.sample);
        let tracing = Tracing::new(&config.propagation, sampler.map(Sampler::new));
        let telemetry = config.telemetry.map(|told| registry.telemetry(told)).transpose()?;
        let claimed = auth::claimed_fields(&config.auths);
        let ways = config
            .auths
            .into_iter()
            .map(|auth| Way::compile(auth, registry).map(Arc::new));
        let ways = ways.collect::<Result<Vec<_>, _>>()?;
        let disks = registry
            .caches
            .disks(config.routes.iter().filter_map(|route| route.cache.as_ref()))?;
        let countries = config
            .server
            .country_file
            .as_deref()
            .map(access::countries)
            .transpose()?;
        let accesses = config
            .accesses
            .into_iter()
            .map(|access| access::compile(access, countries.as_ref()).map(Arc::new));
        let accesses = accesses.collect::<Result<Vec<_>, _>>()?;
        let access_log = match config.access_log {
            Some(log) => Some(LogSink {
                log: registry.access_log(&log.target).map_err(LoadError::AccessLog)?,
                target: log.target,
                format: log.format,
                redact: log.redact,
            }),
            None => None,
        };
        let audit_log = config.admin.audit_log.as_ref();
        registry.audit.write_to(audit_log).map_err(LoadError::AuditLog)?;
        let upstreams: Vec<Arc<Upstream>> = config
            .upstreams
            .into_iter()
            .zip(profiles)
            .map(|(model, profiles)| registry.upstream(model, profiles))
            .collect();
        for way in &ways {
            way.reach(&upstreams, registry);
        }
        let limits = CompiledLimits::new(
            &config.rate_limits,
            redis,
            &registry.limits,
            &registry.metrics,
            registry.started,
        );
        let rate_limits = config.rate_limits.iter().map(|limit| Arc::clone(&limit.name)).collect();
        let sharing = registry.caches.share(cache_redis);
        let router = Router::new(config.routes.iter().map(|route| route.matcher.clone()).collect());
        let named = Named {
            upstreams: &upstreams,
            ways: &ways,
            accesses: &accesses,
            limits: &limits,
            bandwidths: &config.bandwidths,
            disks: &disks,
            sharing: sharing.as_ref(),
        };
        let routes: Vec<Arc<Route>> = config
            .routes
            .into_iter()
            .map(|route| Arc::new(named.compile(route, registry)))
            .collect();
        let mut caches: Vec<RouteCache> = Vec::new();
        for cache in routes.iter().filter_map(|route| route.cache.as_ref()) {
            if caches.iter().all(|known| known.policy.name != cache.policy.name) {
                caches.push(cache.clone());
            }
        }
        Ok(Self {
            generation,
            to_https: tls.as_ref().and_then(|tls| {
                Some(ToHttps {
                    port: tls.settings.redirect_http?,
                })
            }),
            tls,
            acme,
            server: Arc::new(config.server),
            admin: config.admin,
            admin_tls,
            router,
            routes,
            limits,
            caches,
            sharing,
            upstreams,
            rate_limits,
            inputs,
            access_log,
            tracing,
            spans: telemetry.as_ref().and_then(|telemetry| telemetry.spans().cloned()),
            telemetry,
            delivery: Delivery {
                headers: config.default_headers,
                cors: config.default_cors,
                compress: None,
            },
            claimed,
            no_route: registry.metrics.route(UNROUTED),
        })
    }

    /// Every route, in file order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// The route that takes a request.
    #[must_use]
    pub fn route(&self, request: &route::Request<'_>) -> Option<&Arc<Route>> {
        self.routes.get(self.router.find(request)?)
    }
}
