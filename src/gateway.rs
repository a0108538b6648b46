//! A running gateway, assembled: listeners before anything else, then what feeds the pools, then traffic. A reload builds
//! the same beside what runs, and takes its place only when nothing can fail any more.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin;
use crate::balance::Endpoint;
use crate::config::Config;
use crate::config::model::Dns;
use crate::edge::{self, BindError, Bound, Caps, Edge, Gate, Responder, Role, Secure};
use crate::proxy::{Application, FastLane, GateSide, Proxy};
use crate::runtime::discovery::{self, Resolver};
use crate::runtime::tasks::{Task, Tasks};
use crate::runtime::{Live, LoadError, Registry, Snapshot, Upstream, prober, watch_certificates};

/// How long a start or a reload waits for names and first health checks before it serves without them.
const PREPARATION: Duration = Duration::from_secs(3);

/// How long a start waits for the store of limits.
const STORE: Duration = Duration::from_millis(500);

/// How long a stop waits for the next request of a connection that is idle.
const IDLE_GRACE: Duration = Duration::from_secs(2);

/// Why a configuration could not be put into force.
#[derive(Debug)]
pub enum StartError {
    /// Sockets that could not be bound.
    Bind(Vec<BindError>),
    /// What it needs cannot be had.
    Load(LoadError),
    /// The gateway is stopping.
    Stopping,
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
            Self::Stopping => f.write_str("the gateway is stopping"),
        }
    }
}

impl std::error::Error for StartError {}

/// A gateway that serves.
pub struct Gateway {
    /// The snapshot in force, and what outlives it.
    pub live: Arc<Live>,
    proxy: Arc<Application>,
    side: Arc<GateSide>,
    clients: Side,
    secure: Arc<Secure>,
    operators: Side,
    listening: RwLock<Listening>,
    /// Held by whoever changes it: reloads and the stop, one after the other.
    world: Mutex<World>,
}

/// What the connections of one kind of peers have in common.
struct Side {
    caps: Arc<Caps>,
    /// Whether connections between two requests are to wait no longer.
    last_call: watch::Sender<bool>,
}

impl Side {
    fn new() -> Self {
        Self {
            caps: Arc::default(),
            last_call: watch::channel(false).0,
        }
    }

    fn gate<A>(&self, app: Arc<A>, observer: Arc<GateSide>) -> Gate<A, GateSide> {
        Gate::new(app, observer, Arc::clone(&self.caps), self.last_call.subscribe())
    }
}

/// What a configuration has set up around the snapshot.
struct World {
    edge: Edge,
    tasks: Tasks,
    resolver: Arc<Resolver>,
    dns: Dns,
    stopping: bool,
}

/// Where connections are accepted.
#[derive(Default)]
struct Listening {
    clients: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
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
        let edge = Edge::new();
        let wanted = Wanted::of(&config);
        let bound = wanted.bind(&edge)?;
        let dns = config.dns.clone();
        let live = Live::new(config, registry).map_err(StartError::Load)?;
        let resolver = Arc::new(Resolver::new(dns.clone()));
        let snapshot = live.pin();
        // A store that is not there is nothing to wait for: limits are counted here until it is.
        let store = tokio::time::timeout(STORE, live.registry.store_ready());
        let (_, ()) = tokio::join!(store, prepare(&snapshot.upstreams, &resolver));

        let gateway = Self {
            proxy: Proxy::application(Arc::clone(&live)),
            side: Arc::new(GateSide::new(Arc::clone(&live))),
            live,
            clients: Side::new(),
            secure: Arc::default(),
            operators: Side::new(),
            listening: RwLock::default(),
            world: Mutex::new(World {
                edge,
                tasks: Tasks::default(),
                resolver: Arc::clone(&resolver),
                dns,
                stopping: false,
            }),
        };
        let mut world = gateway.world.lock().await;
        world.tasks.replace(tasks(&snapshot, &resolver)).await;
        gateway.accept(&mut world.edge, bound);
        drop(world);
        Ok(gateway)
    }

    /// Puts a configuration into force in place of the one that is: whole, or not at all. Requests that have begun finish
    /// with the old one; what both have in common is carried over. Listeners that are no longer named accept no more, and
    /// let their connections finish. Returns the new generation.
    ///
    /// To be run to its end: it must not be dropped on the way.
    ///
    /// # Errors
    /// [`StartError`]; nothing has changed then.
    pub async fn reload(&self, config: Config) -> Result<u64, StartError> {
        let mut world = self.world.lock().await;
        let world = &mut *world;
        if world.stopping {
            return Err(StartError::Stopping);
        }
        let wanted = Wanted::of(&config);
        let bound = wanted.bind(&world.edge)?;
        let dns = config.dns.clone();
        let next = self.live.compile(config).map_err(StartError::Load)?;

        // From here on nothing can fail.
        if dns != world.dns {
            world.resolver = Arc::new(Resolver::new(dns.clone()));
            world.dns = dns;
        }
        let before = self.live.pin();
        let wanted_tasks = tasks(&next, &world.resolver);
        // Whoever feeds a pool from an old list must be gone before it is filled from the new one.
        world.tasks.retire(&wanted_tasks).await;
        let is_new = |upstream: &&Arc<Upstream>| !before.upstreams.iter().any(|old| Arc::ptr_eq(old, upstream));
        let new: Vec<Arc<Upstream>> = next.upstreams.iter().filter(is_new).cloned().collect();
        prepare(&new, &world.resolver).await;
        let generation = next.generation;
        self.live.put_in_force(next);
        world.tasks.replace(wanted_tasks).await;
        self.accept(&mut world.edge, bound);
        for (role, addresses) in wanted.by_role() {
            world.edge.keep(role, addresses).await;
        }
        self.note_listeners(&world.edge);
        Ok(generation)
    }

    fn gate(&self) -> Gate<Application, GateSide> {
        let gate = self.clients.gate(Arc::clone(&self.proxy), Arc::clone(&self.side));
        gate.with_fast_lane(FastLane::new(Arc::clone(&self.live)))
    }

    fn accept(&self, edge: &mut Edge, bound: Vec<(Role, Bound)>) {
        for (role, socket) in bound {
            match role {
                Role::Clear => {
                    let gate = self.gate().at(socket.wanted());
                    edge.accept(role, socket, gate);
                }
                Role::Tls => {
                    let gate = self.gate().at(socket.wanted()).over_tls(Arc::clone(&self.secure));
                    edge.accept(role, socket, gate);
                }
                Role::Admin => {
                    let live = Arc::clone(&self.live);
                    let answers = Responder::new(move |ask| admin::answer(Arc::clone(&live), ask));
                    let side = Arc::new(GateSide::for_operators(Arc::clone(&self.live)));
                    edge.accept(role, socket, self.operators.gate(answers, side));
                }
            }
        }
        self.note_listeners(edge);
    }

    fn note_listeners(&self, edge: &Edge) {
        *self.listening.write() = Listening {
            clients: edge.addresses(Role::Clear),
            tls: edge.addresses(Role::Tls),
            admin: edge.addresses(Role::Admin).pop(),
        };
    }

    /// Where clients connect in clear text; the real ports.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.read().clients.clone()
    }

    /// Where clients connect with TLS; the real ports.
    #[must_use]
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        self.listening.read().tls.clone()
    }

    /// Where the admin listener is.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.listening.read().admin
    }

    /// Stops: no new connections, what is in flight finishes and is the last on its connection, at the latest at the
    /// deadline (`None`: whenever it does). Connections between two requests are given a moment: who has just sent the
    /// next request gets its answer. `/readyz` has said that the gateway stops since [`Registry::drain`] was called, here
    /// or before; the admin listener answers to the end.
    pub async fn drain(&self, deadline: Option<Duration>) -> Drained {
        self.live.registry.drain();
        let mut world = self.world.lock().await;
        world.stopping = true;
        world.edge.stop(Role::Clear).await;
        world.edge.stop(Role::Tls).await;
        let begun = Instant::now();
        let give_up = deadline.map(|deadline| begun + deadline);
        let last_call = begun + deadline.map_or(IDLE_GRACE, |deadline| IDLE_GRACE.min(deadline / 2));
        while self.clients.caps.open() > 0 && give_up.is_none_or(|give_up| Instant::now() < give_up) {
            if Instant::now() >= last_call {
                self.clients.last_call.send_replace(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let open = self.clients.caps.open();
        world.tasks.stop().await;
        self.operators.last_call.send_replace(true);
        world.edge.stop(Role::Admin).await;
        let registry = Arc::clone(&self.live.registry);
        let _ = tokio::task::spawn_blocking(move || registry.flush_logs()).await;
        if open == 0 { Drained::Empty } else { Drained::Cut(open) }
    }

    /// Client connections that are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.clients.caps.open()
    }
}

/// The listeners that a configuration names.
struct Wanted {
    clear: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
}

impl Wanted {
    fn of(config: &Config) -> Self {
        Self {
            clear: config.server.listen.clone(),
            tls: config.tls.as_ref().map_or_else(Vec::new, |tls| tls.listen.clone()),
            admin: config.admin.listen.into_iter().collect(),
        }
    }

    fn by_role(&self) -> [(Role, &[SocketAddr]); 3] {
        [
            (Role::Clear, &self.clear),
            (Role::Tls, &self.tls),
            (Role::Admin, &self.admin),
        ]
    }

    /// Binds those that are not there yet: all of them, or none.
    fn bind(&self, edge: &Edge) -> Result<Vec<(Role, Bound)>, StartError> {
        let missing = self.by_role().map(|(role, wanted)| (role, edge.missing(role, wanted)));
        let (roles, addresses): (Vec<Role>, Vec<SocketAddr>) = missing
            .into_iter()
            .flat_map(|(role, addresses)| addresses.into_iter().map(move |address| (role, address)))
            .unzip();
        let sockets = edge::bind(&addresses).map_err(StartError::Bind)?;
        Ok(roles.into_iter().zip(sockets).collect())
    }
}

/// The work in the background that a snapshot needs. What is carried from snapshot to snapshot is worked on without a
/// break: a task is made of the very things that the registry carries.
fn tasks(snapshot: &Snapshot, resolver: &Arc<Resolver>) -> Vec<Task> {
    let mut tasks = Vec::new();
    if let Some(tls) = snapshot.tls.clone() {
        let made_of = vec![Arc::clone(&tls) as _];
        tasks.push(Task::new("certificates", Arc::from("tls"), made_of, move |stop| {
            watch_certificates(tls, stop)
        }));
    }
    for upstream in &snapshot.upstreams {
        let name = Arc::clone(&upstream.name);
        let (this, by) = (Arc::clone(upstream), Arc::clone(resolver));
        tasks.push(Task::new(
            "discovery",
            Arc::clone(&name),
            vec![Arc::clone(upstream) as _, Arc::clone(resolver) as _],
            move |stop| discovery::run(this.model.clone(), Arc::clone(&this.pool), by, stop),
        ));
        if upstream.model.health_check.is_some() {
            let this = Arc::clone(upstream);
            tasks.push(Task::new(
                "prober",
                name,
                vec![Arc::clone(upstream) as _],
                move |stop| {
                    let (tls, pool) = (this.probe_tls.clone(), Arc::clone(&this.pool));
                    prober::run(this.model.clone(), tls, pool, health_hook(&this), stop)
                },
            ));
        }
    }
    tasks
}

/// Resolves names and checks every server once, so that the first request already meets known servers.
async fn prepare(upstreams: &[Arc<Upstream>], resolver: &Arc<Resolver>) {
    let mut work = JoinSet::new();
    for upstream in upstreams.iter().cloned() {
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
fn health_hook(upstream: &Arc<Upstream>) -> impl Fn(&Endpoint, bool) + Send + Sync + use<> {
    let upstream = Arc::clone(upstream);
    move |endpoint, _healthy| upstream.show_health(endpoint)
}
