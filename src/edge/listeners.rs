//! Listening sockets: bound before anything else is started, so that a port in use is an error and not a surprise.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Written bytes wait in this buffer until a flush, so that a head and a small body leave in one packet.
const WRITE_BUFFER: usize = 1460;

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
    socket: std::net::TcpListener,
    wanted: SocketAddr,
    address: SocketAddr,
}

impl Bound {
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

/// Binds every address, or none.
///
/// # Errors
/// Every address that cannot be bound, not only the first.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<Bound>, Vec<BindError>> {
    let mut bound = Vec::new();
    let mut errors = Vec::new();
    for &address in addresses {
        match bind_one(address) {
            Ok(socket) => bound.push(socket),
            Err(source) => errors.push(BindError { address, source }),
        }
    }
    if errors.is_empty() { Ok(bound) } else { Err(errors) }
}

fn bind_one(address: SocketAddr) -> io::Result<Bound> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restart must not wait for the last connections of the process before it.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` is IPv6 only, so that `0.0.0.0` can stand beside it on every machine.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let socket = std::net::TcpListener::from(socket);
    Ok(Bound {
        address: socket.local_addr()?,
        wanted: address,
        socket,
    })
}

/// What a listener is for: those of different roles never stand for one another, though their addresses be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Clients, in clear text.
    Clear,
    /// Clients, over TLS.
    Tls,
    /// Operators.
    Admin,
}

/// A socket that accepts.
#[derive(Debug)]
struct Listener {
    role: Role,
    /// As the file has it: the port may be 0.
    wanted: SocketAddr,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// The sockets that accept; each can be stopped by itself, and others can be added at any time.
#[derive(Debug, Default)]
pub struct Edge {
    listeners: Vec<Listener>,
}

impl Edge {
    /// Without a listener yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

    /// Accepts connections for `app`. Must be called within a tokio runtime.
    pub fn accept<A: ServerApp + Send + Sync + 'static>(&mut self, role: Role, bound: Bound, app: A) {
        let Bound {
            socket,
            wanted,
            address,
        } = bound;
        let name = address.to_string();
        let mut fds = Fds::new();
        fds.add(name.clone(), socket.into_raw_fd());
        let fds: ListenFds = Arc::new(Mutex::new(fds));
        let mut service = Service::new(name.clone(), app);
        // The gate reads into a buffer of its own, and only when there is something to read.
        service.add_listener(ListenerConfig::tcp(name).l4_buffer(L4BufferSettings::new(0, WRITE_BUFFER)));
        let (stop, stopping) = watch::channel(false);
        self.listeners.push(Listener {
            role,
            wanted,
            address,
            stop,
            accepting: tokio::spawn(async move { service.start_service(Some(fds), stopping, 1).await }),
        });
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
