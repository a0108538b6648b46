//! The door: who may connect, whose connection it is, and the TLS handshake; all before the first request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::apps::HttpServerApp;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::tls::ALPN;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpStream, UnixStream};

use super::announced;
use super::caps::{Place, Refused};
use super::farewell::close;
use super::gate::{After, Client, Gate};
use super::link::{Conn, Link};
use super::observer::Observer;
use super::socket::Socket;
use crate::config::model;
use crate::observe::metrics::InFlight;

/// How long a connection that there is no room for is told so.
const TURN_AWAY_TIME: Duration = Duration::from_millis(100);

/// Who has been let in.
struct Guest {
    conn: Conn,
    client: Client,
    _place: Place,
    _open: InFlight,
}

impl<A, O> Gate<A, O>
where
    A: HttpServerApp + Send + Sync + 'static,
    O: Observer,
{
    /// Serves a connection to its end. `peer`: who is at its other end.
    pub(super) async fn serve_socket(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, shutdown: ShutdownWatch) {
        // Boxed: what is needed at the door only is not kept for as long as the connection lasts.
        if let Some(guest) = Box::pin(self.open(stream, peer, &shutdown)).await {
            self.serve(guest.conn, guest.client, &shutdown).await;
        }
    }

    /// Lets a connection in that speaks HTTP/1; one of HTTP/2 is served to its end. `None`: that is all.
    async fn open(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, shutdown: &ShutdownWatch) -> Option<Guest> {
        let local = stream.local_addr().ok()?; // if it has not been closed already
        let mut stream: Stream = Box::new(Socket::new(stream));
        let mut client = Client {
            peer,
            local,
            link: Arc::new(Link::new(shutdown.clone())),
            tls: None,
        };
        let limits = self.observer.limits();
        let announced = self.listener.is_some_and(|listener| {
            let over_tls = self.secure.is_some();
            self.observer
                .is_announced(&limits, client.peer.ip(), listener, over_tls)
        });
        // Who announces others counts in the total only, until it has said whose connection it is.
        let mut stranger = if announced {
            None
        } else {
            self.stranger(&client, &limits)
        };
        let mut place = match self.admit(stranger, &limits) {
            Ok(place) => place,
            Err(which) => {
                drop(limits);
                self.turn_away(stream, &client, which).await;
                return None;
            }
        };
        let open = self.observer.opened();
        if announced {
            let read = Box::pin(announced::read(stream, limits.header_timeout)).await;
            let (back, ends) = match read {
                Ok(read) => read,
                Err(why) => {
                    self.observer.misannounced(client.peer.ip(), why);
                    return None; // what it speaks is not known: there is nothing that could be answered
                }
            };
            stream = back;
            if let Some(ends) = ends {
                (client.peer, client.local) = (ends.source, ends.destination);
                stranger = self.stranger(&client, &limits);
                place = match self.admit(stranger, &limits) {
                    Ok(own) => own,
                    Err(which) => {
                        drop(place);
                        self.turn_away(stream, &client, which).await;
                        return None;
                    }
                };
            }
        }
        drop(limits);
        if let Some(secure) = &self.secure {
            let shaken = Box::pin(secure.shake(stream, stranger, &*self.observer)).await?;
            client.tls = Some(shaken.secured);
            stream = shaken.stream;
            if stream.selected_alpn_proto() == Some(ALPN::H2) {
                Box::pin(self.serve_h2(stream, client, shutdown)).await;
                return None;
            }
        }
        let conn = Conn::new(stream);
        Some(Guest {
            conn,
            client,
            _place: place,
            _open: open,
        })
    }

    /// Serves a connection from this machine, over a socket in the file system.
    pub(super) async fn serve_local(self: Arc<Self>, stream: UnixStream, shutdown: ShutdownWatch) {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let client = Client {
            peer: here,
            local: here,
            link: Arc::new(Link::new(shutdown.clone())),
            tls: None,
        };
        let stream: Stream = Box::new(L4Stream::from(stream));
        let limits = self.observer.limits();
        let admitted = self.admit(None, &limits);
        drop(limits);
        let _place = match admitted {
            Ok(place) => place,
            Err(which) => {
                self.turn_away(stream, &client, which).await;
                return;
            }
        };
        let _open = self.observer.opened();
        let conn = Conn::new(stream);
        self.serve(conn, client, &shutdown).await;
    }

    /// The client, unless it is a trusted proxy, on whose connections many clients come.
    fn stranger(&self, client: &Client, limits: &model::Server) -> Option<IpAddr> {
        let ip = client.peer.ip();
        (!self.observer.is_trusted(limits, ip)).then_some(ip)
    }

    fn admit(&self, stranger: Option<IpAddr>, limits: &model::Server) -> Result<Place, Refused> {
        self.welcome(stranger, limits)?;
        self.caps
            .admit(stranger, limits.max_connections, limits.max_connections_per_client)
    }

    /// Whether this client may connect now; trusted proxies always may.
    fn welcome(&self, client: Option<IpAddr>, limits: &model::Server) -> Result<(), Refused> {
        let Some(client) = client.filter(|_| self.observer.is_guarded()) else {
            return Ok(());
        };
        if self.observer.is_banned(client) {
            return Err(Refused::Banned);
        }
        match limits.connection_rate_per_client {
            Some(rate) => self.caps.arrive(client, rate),
            None => Ok(()),
        }
    }

    /// Counts a connection that there is no room for, and tells its client so in one write that hardly waits: a flood must
    /// not cost more than this. Over TLS a handshake would have to come first, and that would.
    async fn turn_away(&self, stream: Stream, client: &Client, which: Refused) {
        self.observer.capped(which);
        if self.secure.is_none() {
            let conn = Conn::new(stream);
            let told = self.refuse(conn, client, Instant::now(), which.reason(), TURN_AWAY_TIME);
            if let After::Close(conn) = Box::pin(told).await {
                close(conn).await;
            }
        }
    }
}
