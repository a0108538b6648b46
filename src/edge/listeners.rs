//! Listening sockets: bound before anything else is started, so that a port in use is an error and not a surprise. What
//! another process has bound for this one (the one before it, or the service manager) is taken instead.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use pingora::apps::HttpServerApp;
use rustix::net::sockopt::set_socket_reuseport;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::accept_all;
use super::gate::Gate;
use super::local::{BoundLocal, Local, LocalError};
use super::observer::Observer;

/// A socket that could not be bound, with its cause and its cure.
#[derive(Debug)]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, port) = (self.address, self.address.port());
        write!(f, "cannot listen on {address}: ")?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "port {port} is in use by another process.\nhelp: `ss -ltnp 'sport = :{port}'` shows which; stop it, or \
                 give another port in the file's `listen`"
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "this user may not use port {port}.\nhelp: listen on a port from 1024 up, or grant the capability: \
                 `setcap cap_net_bind_service=+ep` on the binary, `AmbientCapabilities=CAP_NET_BIND_SERVICE` in systemd"
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "this machine has no address {}.\nhelp: `ip addr` lists its addresses; 0.0.0.0 means all of them",
                address.ip()
            ),
            _ => write!(f, "{}", self.source),
        }
    }
}

impl std::error::Error for BindError {}

/// A bound socket that does not accept yet: connections wait in its queue.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    /// The same socket once more.
    twin: TcpListener,
    wanted: SocketAddr,
    address: SocketAddr,
}

impl Bound {
    fn of(socket: TcpListener, wanted: SocketAddr) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            address: socket.local_addr()?,
            twin: socket.try_clone()?,
            wanted,
            socket,
        })
    }

    /// Where it listens; the port is the real one where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it was to listen, as the file has it.
    #[must_use]
    pub fn wanted(&self) -> SocketAddr {
        self.wanted
    }
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<Bound> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restart must not wait for the last connections of the process before it.
    socket.set_reuse_address(true)?;
    if shared {
        set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        // `[::]` is IPv6 only, so that `0.0.0.0` can stand beside it on every machine.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Bound::of(socket.into(), address)
}

/// Sockets that listen already, from whoever bound them before this process was there.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Heirloom>);

#[derive(Debug)]
struct Heirloom {
    /// What it was bound for; `None`: whoever bound it says only where.
    bound_for: Option<(Role, SocketAddr)>,
    socket: TcpListener,
}

impl Inherited {
    /// One more. `bound_for`: in which role, and as which address of the file.
    pub fn add(&mut self, bound_for: Option<(Role, SocketAddr)>, socket: TcpListener) {
        self.0.push(Heirloom { bound_for, socket });
    }

    /// Where those are that nobody has taken.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|one| one.socket.local_addr().ok()).collect()
    }

    /// That of this role and address; else one at this address, whatever it was for.
    fn take(&mut self, role: Role, wanted: SocketAddr) -> Option<TcpListener> {
        let same = |one: &Heirloom| one.bound_for == Some((role, wanted));
        let there = |one: &Heirloom| wanted.port() != 0 && one.socket.local_addr().is_ok_and(|at| at == wanted);
        let place = self.0.iter().position(same).or_else(|| self.0.iter().position(there))?;
        Some(self.0.swap_remove(place).socket)
    }
}

/// What a listener is for: those of different roles never stand for one another, though their addresses be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Clients, in clear text.
    Clear,
    /// Clients, over TLS.
    Tls,
    /// Operators.
    Admin,
    /// Operators, over TLS.
    AdminTls,
}

/// A socket that accepts.
#[derive(Debug)]
struct Listener {
    role: Role,
    /// As the file has it: the port may be 0.
    wanted: SocketAddr,
    address: SocketAddr,
    /// The same socket once more, for whoever is to go on with it.
    socket: TcpListener,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// The sockets that accept; each can be stopped by itself, and others can be added at any time.
#[derive(Debug, Default)]
pub struct Edge {
    listeners: Vec<Listener>,
    inherited: Inherited,
    /// The one of operators that is in the file system.
    local: Option<Local>,
    /// This process is about to take the place of a gateway that runs.
    replaces: bool,
}

impl Edge {
    /// Without a listener yet; sockets that are there already are used before new ones are bound.
    #[must_use]
    pub fn new(inherited: Inherited) -> Self {
        Self {
            listeners: Vec::new(),
            local: None,
            // Only a gateway says what its sockets are for.
            replaces: inherited.0.iter().any(|one| one.bound_for.is_some()),
            inherited,
        }
    }

    /// Binds every address for its role, or none.
    ///
    /// # Errors
    /// Every address that cannot be bound, not only the first.
    pub fn bind(&mut self, wanted: &[(Role, SocketAddr)]) -> Result<Vec<(Role, Bound)>, Vec<BindError>> {
        let mut bound = Vec::new();
        let mut errors = Vec::new();
        for &(role, address) in wanted {
            match self.bind_one(role, address) {
                Ok(socket) => bound.push((role, socket)),
                Err(source) => errors.push(BindError { address, source }),
            }
        }
        if errors.is_empty() { Ok(bound) } else { Err(errors) }
    }

    /// A socket that is there already, of another process or of a listener that leaves; else a new one.
    fn bind_one(&mut self, role: Role, address: SocketAddr) -> io::Result<Bound> {
        if let Some(socket) = self.inherited.take(role, address) {
            return Bound::of(socket, address);
        }
        let fixed = address.port() != 0;
        if let Some(same) = self.listeners.iter().find(|one| fixed && one.address == address) {
            return Bound::of(same.socket.try_clone()?, address);
        }
        let bound = bind_one(address, false);
        let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        if !bound.as_ref().err().is_some_and(in_use) {
            return bound;
        }
        // `0.0.0.0:80` and `127.0.0.1:80` stand in each other's way, and both may be ours: what is in the way leaves
        // when this one accepts. Only for the moment of binding do both agree to share the port.
        let ours = || self.listeners.iter().filter(|one| one.address.port() == address.port());
        if ours().next().is_none() {
            return bound;
        }
        let share = |socket: &TcpListener, value| set_socket_reuseport(socket, value).map_err(io::Error::from);
        ours().try_for_each(|one| share(&one.socket, true))?;
        let bound = bind_one(address, true);
        ours().try_for_each(|one| share(&one.socket, false))?;
        let bound = bound?;
        share(&bound.socket, false)?;
        Ok(bound)
    }

    /// Lets go of the sockets that nobody has asked for. Returns where they were.
    pub fn drop_inherited(&mut self) -> Vec<SocketAddr> {
        self.replaces = false;
        std::mem::take(&mut self.inherited).addresses()
    }

    /// Every socket that accepts, once more, with what it is for: for whoever is to go on with it.
    ///
    /// # Errors
    /// The process may have no more descriptors.
    pub fn sockets(&self) -> io::Result<Vec<(Role, SocketAddr, OwnedFd)>> {
        let twice = |listener: &Listener| Ok((listener.role, listener.wanted, listener.socket.try_clone()?.into()));
        self.listeners.iter().map(twice).collect()
    }

    /// Where the listeners of this role are; the real ports.
    #[must_use]
    pub fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        let of_role = self.listeners.iter().filter(|listener| listener.role == role);
        of_role.map(|listener| listener.address).collect()
    }

    /// Which of the addresses that are wanted for this role are not listened on.
    #[must_use]
    pub fn missing(&self, role: Role, wanted: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut there: Vec<SocketAddr> = self
            .listeners
            .iter()
            .filter(|listener| listener.role == role)
            .map(|listener| listener.wanted)
            .collect();
        let mut missing = wanted.to_vec();
        missing.retain(|address| match there.iter().position(|one| one == address) {
            Some(place) => {
                there.swap_remove(place);
                false
            }
            None => true,
        });
        missing
    }

    /// Accepts connections for `gate`. Must be called within a tokio runtime.
    pub fn accept<A, O>(&mut self, role: Role, bound: Bound, gate: Gate<A, O>)
    where
        A: HttpServerApp + Send + Sync + 'static,
        O: Observer,
    {
        let Bound {
            socket,
            twin,
            wanted,
            address,
        } = bound;
        let (stop, stopping) = watch::channel(false);
        self.listeners.push(Listener {
            role,
            wanted,
            address,
            socket: twin,
            stop,
            accepting: tokio::spawn(async move {
                let socket = match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => socket,
                    Err(error) => return tracing::error!(%address, %error, "cannot be listened on"),
                };
                let gate = Arc::new(gate);
                let serve = |(stream, peer), stopping| Arc::clone(&gate).serve_socket(stream, peer, stopping);
                accept_all(|cx| socket.poll_accept(cx), serve, stopping).await;
            }),
        });
    }

    /// Binds the socket in the file system, if it is not the one that accepts.
    ///
    /// # Errors
    /// [`LocalError`]
    pub fn bind_local(&self, wanted: &Path) -> Result<Option<BoundLocal>, LocalError> {
        match &self.local {
            Some(local) if local.path() == wanted && local.is_in_place() => Ok(None),
            // What answers at its place then is ours, or was put there by a successor that has failed.
            local => {
                let ours = local.as_ref().is_some_and(|local| local.path() == wanted);
                BoundLocal::bind(wanted, self.replaces || ours).map(Some)
            }
        }
    }

    /// Accepts operators at a socket in the file system, and no more at another one. Must be called within a tokio
    /// runtime.
    pub async fn accept_local<A, O>(&mut self, bound: BoundLocal, gate: Gate<A, O>)
    where
        A: HttpServerApp + Send + Sync + 'static,
        O: Observer,
    {
        match Local::accept(bound, gate) {
            Ok(local) => {
                if let Some(before) = self.local.replace(local) {
                    before.stop().await;
                }
            }
            Err(error) => tracing::error!(%error, "operators cannot be listened to at the socket of `[admin] listen`"),
        }
    }

    /// Where the socket in the file system is that accepts.
    #[must_use]
    pub fn local(&self) -> Option<&Path> {
        self.local.as_ref().map(Local::path)
    }

    /// Stops the socket in the file system, unless it is wanted.
    pub async fn keep_local(&mut self, wanted: Option<&Path>) {
        if let Some(local) = self.local.take_if(|local| Some(local.path()) != wanted) {
            local.stop().await;
        }
    }

    /// Stops the listeners of this role whose addresses are not wanted (any more), in the way of [`Edge::stop`]. Returns
    /// where they were.
    pub async fn keep(&mut self, role: Role, wanted: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut wanted = wanted.to_vec();
        let (gone, kept) = std::mem::take(&mut self.listeners).into_iter().partition(|listener| {
            if listener.role != role {
                return false;
            }
            match wanted.iter().position(|address| *address == listener.wanted) {
                Some(place) => {
                    wanted.swap_remove(place);
                    false
                }
                None => true,
            }
        });
        self.listeners = kept;
        stop(gone).await
    }

    /// Stops accepting for this role: its connections close as soon as they are idle, requests in flight finish. Returns
    /// once nothing is accepted any more; connections may still be open.
    pub async fn stop(&mut self, role: Role) {
        self.keep(role, &[]).await;
        if role == Role::Admin {
            self.keep_local(None).await;
        }
    }
}

async fn stop(listeners: Vec<Listener>) -> Vec<SocketAddr> {
    for listener in &listeners {
        listener.stop.send_replace(true);
    }
    let mut addresses = Vec::new();
    for listener in listeners {
        let _ = listener.accepting.await;
        addresses.push(listener.address);
    }
    addresses
}
