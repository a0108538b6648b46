//! A running gateway, assembled: listeners before anything else, then what feeds the pools, then traffic. A reload builds
//! the same beside what runs, and takes its place only when nothing can fail any more.

mod stop;
mod wanted;
mod work;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};

pub use self::stop::Drained;
use self::wanted::{Sockets, Wanted};
use self::work::{prepare, tasks};
use crate::admin::{self, Way};
use crate::answer::Rendered;
use crate::config::Config;
use crate::config::model::{AdminListen, Dns};
use crate::edge::{Ask, BindError, Caps, Edge, Gate, Inherited, LocalError, Responder, Role, Secure};
use crate::proxy::{Application, FastLane, GateSide, Proxy};
use crate::runtime::discovery::Resolver;
use crate::runtime::tasks::Tasks;
use crate::runtime::{Keepsakes, Live, LoadError, Registry, Upstream};

/// How long a start waits for the store of limits.
const STORE: Duration = Duration::from_millis(500);

/// Why a configuration could not be put into force.
#[derive(Debug)]
pub enum StartError {
    /// Sockets that could not be bound.
    Bind(Vec<BindError>),
    /// The socket in the file system that could not be.
    BindLocal(LocalError),
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
            Self::BindLocal(error) => error.fmt(f),
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
    operators: Side,
    listening: RwLock<Listening>,
    /// Held by whoever changes it: reloads and the stop, one after the other.
    world: Mutex<World>,
}

/// What the connections of one kind of peers have in common.
struct Side {
    caps: Arc<Caps>,
    secure: Arc<Secure>,
    /// Held by every connection from the moment that it is accepted.
    alive: Arc<()>,
    /// Whether connections between two requests are to wait no longer.
    last_call: watch::Sender<bool>,
}

impl Side {
    fn new() -> Self {
        Self {
            caps: Arc::default(),
            secure: Arc::default(),
            alive: Arc::default(),
            last_call: watch::channel(false).0,
        }
    }

    fn gate<A>(&self, app: Arc<A>, observer: Arc<GateSide>) -> Gate<A, GateSide> {
        let gate = Gate::new(app, observer, Arc::clone(&self.caps), self.last_call.subscribe());
        gate.while_alive(Arc::clone(&self.alive))
    }

    /// Whether there is no connection and no listener, not even one that has just been accepted and not been looked at.
    fn is_empty(&self) -> bool {
        Arc::strong_count(&self.alive) == 1
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
    admin: Option<AdminListen>,
}

impl Gateway {
    /// Starts a gateway within the current tokio runtime. Returns once connections are accepted.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: Config, registry: Arc<Registry>) -> Result<Self, StartError> {
        Self::start_with(config, registry, Inherited::default(), &Keepsakes::default()).await
    }

    /// The same, after another process: of the sockets that listen already those that the configuration names are used,
    /// the others closed; `kept` is what it leaves beside them.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start_with(
        config: Config,
        registry: Arc<Registry>,
        inherited: Inherited,
        kept: &Keepsakes,
    ) -> Result<Self, StartError> {
        let mut edge = Edge::new(inherited);
        let wanted = Wanted::of(&config);
        let bound = wanted.bind(&mut edge)?;
        let dns = config.dns.clone();
        registry.take_secrets(kept);
        let live = Live::new(config, registry).map_err(StartError::Load)?;
        let resolver = Arc::new(Resolver::new(dns.clone()));
        let snapshot = live.pin();
        // A store that is not there is nothing to wait for: limits are counted here until it is.
        let store = tokio::time::timeout(STORE, live.registry.store_ready());
        let (_, ()) = tokio::join!(store, prepare(&snapshot.upstreams, &resolver));
        live.registry.take_drains(kept, &snapshot);

        let gateway = Self {
            proxy: Proxy::application(Arc::clone(&live)),
            side: Arc::new(GateSide::new(Arc::clone(&live))),
            live,
            clients: Side::new(),
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
        world.tasks.replace(tasks(&snapshot, &gateway.live, &resolver)).await;
        gateway.accept(&mut world.edge, bound).await;
        let unused = world.edge.drop_inherited();
        if !unused.is_empty() {
            tracing::info!(
                ?unused,
                "sockets that were handed over are closed: the file does not name them"
            );
        }
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
        let bound = wanted.bind(&mut world.edge)?;
        let dns = config.dns.clone();
        let next = self.live.compile(config).map_err(StartError::Load)?;

        // From here on nothing can fail.
        if dns != world.dns {
            world.resolver = Arc::new(Resolver::new(dns.clone()));
            world.dns = dns;
        }
        let before = self.live.pin();
        let wanted_tasks = tasks(&next, &self.live, &world.resolver);
        // Whoever feeds a pool from an old list must be gone before it is filled from the new one.
        world.tasks.retire(&wanted_tasks).await;
        let is_new = |upstream: &&Arc<Upstream>| !before.upstreams.iter().any(|old| Arc::ptr_eq(old, upstream));
        let new: Vec<Arc<Upstream>> = next.upstreams.iter().filter(is_new).cloned().collect();
        prepare(&new, &world.resolver).await;
        let generation = next.generation;
        self.live.put_in_force(next);
        world.tasks.replace(wanted_tasks).await;
        self.accept(&mut world.edge, bound).await;
        world.edge.keep_local(wanted.local()).await;
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

    async fn accept(&self, edge: &mut Edge, Sockets { bound, local }: Sockets) {
        for (role, socket) in bound {
            match role {
                Role::Clear => {
                    let gate = self.gate().at(socket.wanted());
                    edge.accept(role, socket, gate);
                }
                Role::Tls => {
                    let gate = self
                        .gate()
                        .at(socket.wanted())
                        .over_tls(Arc::clone(&self.clients.secure));
                    edge.accept(role, socket, gate);
                }
                Role::Admin => edge.accept(role, socket, self.admin_gate(Way::Network)),
                Role::AdminTls => {
                    let secure = Arc::clone(&self.operators.secure);
                    edge.accept(role, socket, self.admin_gate(Way::Network).over_tls(secure));
                }
            }
        }
        if let Some(local) = local {
            edge.accept_local(local, self.admin_gate(Way::Local)).await;
        }
        self.note_listeners(edge);
    }

    fn admin_gate(&self, way: Way) -> Gate<Responder<impl Fn(Ask) -> BoxFuture<'static, Rendered> + use<>>, GateSide> {
        let live = Arc::clone(&self.live);
        let answers = Responder::new(move |ask| Box::pin(admin::answer(Arc::clone(&live), way, ask)) as BoxFuture<_>);
        let side = Arc::new(GateSide::for_operators(Arc::clone(&self.live)));
        self.operators.gate(answers, side)
    }

    /// Sees to it that operators who open the socket in the file system find this process there: another one that was to
    /// replace it may have been, and is gone.
    pub async fn stay_in_place(&self) {
        let mut world = self.world.lock().await;
        let Some(path) = world.edge.local().map(Path::to_owned) else {
            return;
        };
        match world.edge.bind_local(&path) {
            Ok(local) => {
                let bound = Vec::new();
                self.accept(&mut world.edge, Sockets { bound, local }).await;
            }
            Err(error) => tracing::error!(%error, "operators do not find this process any more"),
        }
    }

    fn note_listeners(&self, edge: &Edge) {
        *self.listening.write() = Listening {
            clients: edge.addresses(Role::Clear),
            tls: edge.addresses(Role::Tls),
            admin: match edge.local() {
                Some(path) => Some(AdminListen::Unix(path.to_owned())),
                None => [Role::Admin, Role::AdminTls]
                    .into_iter()
                    .find_map(|role| edge.addresses(role).pop())
                    .map(AdminListen::Tcp),
            },
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

    /// Where the admin listener is; the real port.
    #[must_use]
    pub fn admin(&self) -> Option<AdminListen> {
        self.listening.read().admin.clone()
    }

    /// The same, where it is an address.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        match self.admin()? {
            AdminListen::Tcp(address) => Some(address),
            AdminListen::Unix(_) => None,
        }
    }

    /// Client connections that are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.clients.caps.open()
    }
}
