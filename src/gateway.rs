//! A running gateway, assembled: listeners before anything else, then what feeds the pools, then traffic.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin;
use crate::balance::Endpoint;
use crate::config::Config;
use crate::edge::{self, BindError, Caps, Edge, Gate, Responder};
use crate::proxy::{GateSide, Proxy};
use crate::runtime::discovery::{self, Resolver};
use crate::runtime::{Live, LoadError, Registry, Upstream, prober};

/// How long the start waits for names and first health checks before it serves without them.
const PREPARATION: Duration = Duration::from_secs(3);

/// Why a gateway could not be started.
#[derive(Debug)]
pub enum StartError {
    /// Sockets that could not be bound.
    Bind(Vec<BindError>),
    /// The configuration could not be put into force.
    Load(LoadError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    write!(f, "{}{error}", if index == 0 { "" } else { "\nerror: " })?;
                }
                Ok(())
            }
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A gateway that serves.
pub struct Gateway {
    /// The snapshot in force, and what outlives it.
    pub live: Arc<Live>,
    addresses: Vec<SocketAddr>,
    admin_address: Option<SocketAddr>,
    edge: Edge,
    admin_edge: Edge,
    caps: Arc<Caps>,
    background: JoinSet<()>,
    stop_background: watch::Sender<bool>,
}

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight has finished.
    Empty,
    /// The deadline came first: this many connections were cut.
    Cut(usize),
}

impl Gateway {
    /// Starts a gateway within the current tokio runtime. Returns once connections are accepted.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: Config, registry: Arc<Registry>) -> Result<Self, StartError> {
        let admin = config.admin.listen;
        let bound = bind_all(&config.server.listen, admin)?;
        let resolver = Arc::new(Resolver::new(config.dns.clone()));
        let live = Live::new(config, registry).map_err(StartError::Load)?;

        let mut background = JoinSet::new();
        let (stop_background, stopping) = watch::channel(false);
        prepare(&live, &resolver).await;
        for upstream in &live.peek().upstreams {
            background.spawn(discovery::run(
                upstream.model.clone(),
                Arc::clone(&upstream.pool),
                Arc::clone(&resolver),
                stopping.clone(),
            ));
            if upstream.model.health_check.is_some() {
                background.spawn(prober::run(
                    upstream.model.clone(),
                    upstream.probe_tls.clone(),
                    Arc::clone(&upstream.pool),
                    health_hook(upstream),
                    stopping.clone(),
                ));
            }
        }

        let mut edge = Edge::new();
        let caps = Arc::new(Caps::default());
        let proxy = Proxy::application(Arc::clone(&live));
        let side = Arc::new(GateSide::new(Arc::clone(&live)));
        let mut addresses = Vec::new();
        for socket in bound.server {
            addresses.push(socket.address());
            edge.accept(
                socket,
                Gate::new(Arc::clone(&proxy), Arc::clone(&side), Arc::clone(&caps)),
            );
        }
        let mut admin_edge = Edge::new();
        let admin_address = bound.admin.map(|socket| {
            let address = socket.address();
            let answers = Responder::new({
                let live = Arc::clone(&live);
                move |ask| admin::answer(Arc::clone(&live), ask)
            });
            let side = Arc::new(GateSide::for_operators(Arc::clone(&live)));
            admin_edge.accept(socket, Gate::new(answers, side, Arc::new(Caps::default())));
            address
        });
        Ok(Self {
            live,
            addresses,
            admin_address,
            edge,
            admin_edge,
            caps,
            background,
            stop_background,
        })
    }

    /// Where clients connect; the real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the admin listener is.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Stops: no new connections, what is in flight finishes, at the latest at the deadline (`None`: whenever it does).
    pub async fn drain(mut self, deadline: Option<Duration>) -> Drained {
        self.live.registry.drain();
        self.edge.stop().await;
        let give_up = deadline.map(|deadline| Instant::now() + deadline);
        while self.caps.open() > 0 && give_up.is_none_or(|give_up| Instant::now() < give_up) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let open = self.caps.open();
        self.stop_background.send_replace(true);
        self.background.shutdown().await;
        self.admin_edge.stop().await;
        let registry = Arc::clone(&self.live.registry);
        let _ = tokio::task::spawn_blocking(move || registry.flush_logs()).await;
        if open == 0 { Drained::Empty } else { Drained::Cut(open) }
    }
}

struct Sockets {
    server: Vec<edge::Bound>,
    admin: Option<edge::Bound>,
}

fn bind_all(server: &[SocketAddr], admin: Option<SocketAddr>) -> Result<Sockets, StartError> {
    let addresses: Vec<SocketAddr> = server.iter().copied().chain(admin).collect();
    let mut sockets = edge::bind(&addresses).map_err(StartError::Bind)?;
    let admin = admin.and_then(|_| sockets.pop());
    Ok(Sockets { server: sockets, admin })
}

/// Resolves names and checks every server once, so that the first request already meets known servers.
async fn prepare(live: &Live, resolver: &Arc<Resolver>) {
    let mut work = JoinSet::new();
    for upstream in live.pin().upstreams.iter().cloned() {
        let resolver = Arc::clone(resolver);
        work.spawn(async move {
            discovery::resolve_once(&upstream.model, &upstream.pool, &resolver).await;
            if upstream.model.health_check.is_some() {
                let tls = upstream.probe_tls.clone();
                prober::first_round(&upstream.model, tls, &upstream.pool, health_hook(&upstream)).await;
            }
        });
    }
    let all = async { while work.join_next().await.is_some() {} };
    let slow = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tracing::info!("waiting for names to resolve and servers to be checked, {PREPARATION:?} at most");
        tokio::time::sleep(PREPARATION - Duration::from_secs(1)).await;
        tracing::warn!("serving before every name was resolved and every server was checked");
    };
    tokio::select! {
        () = all => {}
        () = slow => {}
    }
}

/// Shows what the probes find.
fn health_hook(upstream: &Arc<Upstream>) -> impl Fn(&Endpoint, bool) + Send + Sync + 'static {
    let upstream = Arc::clone(upstream);
    move |endpoint, _healthy| upstream.show_health(endpoint)
}
