//! The gate: owns a client's connection from its first byte to its last.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::request;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::caps::Caps;
use super::direct::{Direct, Lent, Served};
use super::farewell::{LINGER_TIME, close, linger};
use super::head::{self, Framing};
use super::http2::Stalled;
use super::lane::Lane;
use super::link::{Conn, Link};
use super::observer::{Arrival, Observer, RefusedRequest};
use super::rest::{Next, Rest};
use super::scanner::{Extent, Scanner};
use super::secure::Secure;
use super::tls::Secured;
use crate::answer::Reason;
use crate::config::model;
use crate::http1;

/// The application behind a listener, one strict request at a time.
pub struct Gate<A, O> {
    pub(super) app: Arc<A>,
    pub(super) observer: Arc<O>,
    pub(super) caps: Arc<Caps>,
    /// Answers over HTTP/2 that wait for their client.
    pub(super) stalled: Arc<Stalled>,
    pub(super) last_call: watch::Receiver<bool>,
    pub(super) secure: Option<Arc<Secure>>,
    pub(super) direct: Option<Arc<dyn Direct>>,
    /// Only held: whoever has the other end knows by it whether connections are left.
    _alive: Option<Arc<()>>,
    /// Where it listens, as the file has it; `None`: the file says nothing about connections to it.
    pub(super) listener: Option<SocketAddr>,
}

impl<A, O> Gate<A, O> {
    /// Puts `app` behind the gate. `caps` is shared by all listeners that count together. `last_call` becomes `true` when
    /// connections between two requests must wait no longer for the next one.
    #[must_use]
    pub fn new(app: Arc<A>, observer: Arc<O>, caps: Arc<Caps>, last_call: watch::Receiver<bool>) -> Self {
        Self {
            app,
            observer,
            caps,
            last_call,
            secure: None,
            direct: None,
            _alive: None,
            listener: None,
            stalled: Arc::default(),
        }
    }

    /// The same, for TLS; handshakes of all listeners with the same `secure` count together.
    #[must_use]
    pub fn over_tls(self, secure: Arc<Secure>) -> Self {
        Self {
            secure: Some(secure),
            ..self
        }
    }

    /// Holds `alive` for as long as a listener or a connection has this gate: from the moment that it is accepted.
    #[must_use]
    pub fn while_alive(self, alive: Arc<()>) -> Self {
        Self {
            _alive: Some(alive),
            ..self
        }
    }

    /// The same, at an address of the file, which may say that connections to it are announced.
    #[must_use]
    pub fn at(self, listener: SocketAddr) -> Self {
        Self {
            listener: Some(listener),
            ..self
        }
    }

    /// Asks `direct` first.
    #[must_use]
    pub fn with_fast_lane(mut self, direct: Arc<dyn Direct>) -> Self {
        self.direct = Some(direct);
        self
    }
}

/// Who is at the other end, for as long as the connection lasts.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) link: Arc<Link>,
    pub(super) tls: Option<Arc<Secured>>,
}

/// Whether the connection goes on after a request.
pub(super) enum After {
    Keep(Conn),
    Close(Conn),
    Gone,
}

impl<A, O> Gate<A, O>
where
    A: HttpServerApp + Send + Sync + 'static,
    O: Observer,
{
    pub(super) async fn serve(&self, mut conn: Conn, client: Client, shutdown: &ShutdownWatch) {
        let mut rest = Rest::new(self.last_call.clone());
        let mut served = 0;
        loop {
            let limits = self.observer.limits();
            let patience = if served == 0 {
                limits.header_timeout
            } else {
                limits.keepalive_timeout
            };
            if conn.ahead.is_empty() {
                conn.ahead = BytesMut::new(); // what is idle holds no buffer
                match rest.until_bytes(&mut conn, patience).await {
                    Next::Bytes => {}
                    Next::Closed => return Box::pin(close(conn)).await,
                }
            }
            served += 1;
            let last = served >= limits.keepalive_requests || *shutdown.borrow();
            match self.request(conn, &client, &limits, last, shutdown).await {
                After::Keep(kept) => conn = kept,
                After::Close(conn) => return Box::pin(linger(conn)).await,
                After::Gone => return,
            }
        }
    }

    /// One request. What is large or rare is boxed: a connection carries this state while it waits, too.
    async fn request(
        &self,
        mut conn: Conn,
        client: &Client,
        limits: &model::Server,
        last: bool,
        shutdown: &ShutdownWatch,
    ) -> After {
        let started = Instant::now();
        let extent = match read_head(&mut conn, limits).await {
            Ok(Some(extent)) => extent,
            Ok(None) => return After::Gone, // hung up in the middle of a head: nobody is there to be told
            Err(reason) => return Box::pin(self.refuse(conn, client, started, reason, LINGER_TIME)).await,
        };
        let direct = match self.take_in(conn, extent, client, limits, last, started) {
            Ok(direct) => direct,
            Err(other) => return Box::pin(self.otherwise(other, client, shutdown)).await,
        };
        let keep = match direct.await {
            Served::Done { keep } => keep,
            // Whoever takes nothing is not waited for once more.
            Served::Gone => {
                drop(client.link.take_home());
                return After::Gone;
            }
            Served::NotMine(lent) => return Box::pin(self.by_application(lent, client, shutdown)).await,
        };
        match client.link.take_home() {
            Some(conn) if keep => After::Keep(conn),
            Some(conn) => After::Close(conn),
            None => After::Gone,
        }
    }

    /// Judges a head, and begins with the request if it is for the fast lane.
    fn take_in<'a>(
        &'a self,
        mut conn: Conn,
        extent: Extent,
        client: &Client,
        limits: &model::Server,
        last: bool,
        started: Instant,
    ) -> Result<BoxFuture<'a, Served>, Box<Otherwise>> {
        let direct = self.direct.as_ref().filter(|_| limits.fast_lane);
        let (bytes, head, parts) = match take_head(&mut conn, extent, limits, direct.is_some()) {
            Ok(taken) => taken,
            Err(reason) => return Err(Box::new(Otherwise::Refuse { conn, reason, started })),
        };
        let link = &client.link;
        link.begin(limits.max_body);
        let arrival = Box::new(Arrival {
            link: Arc::clone(link),
            peer: client.peer,
            local: client.local,
            started,
            framing: head.framing,
            keep_alive: head.keep_alive && !last,
            upgrade: head.upgrade,
            tls: client.tls.clone(),
            head: bytes,
            absolute: head.absolute,
        });
        let lane = Lane::new(conn, Arc::clone(link), head.framing, head.upgrade, limits.body_timeout);
        match (direct, parts) {
            (Some(direct), Some(parts)) => Ok(direct.serve(parts, lane, arrival)),
            _ => Err(Box::new(Otherwise::Lend(Lent { lane, arrival }))),
        }
    }

    /// What is not for the fast lane.
    async fn otherwise(&self, other: Box<Otherwise>, client: &Client, shutdown: &ShutdownWatch) -> After {
        match *other {
            Otherwise::Refuse { conn, reason, started } => {
                self.refuse(conn, client, started, reason, LINGER_TIME).await
            }
            Otherwise::Lend(lent) => self.by_application(Box::new(lent), client, shutdown).await,
        }
    }

    /// One request, by the application.
    async fn by_application(&self, lent: Box<Lent>, client: &Client, shutdown: &ShutdownWatch) -> After {
        let Lent { lane, mut arrival } = *lent;
        let link = &client.link;
        let (started, keep_alive) = (arrival.started, arrival.keep_alive);
        let whole = arrival.framing == Framing::None || arrival.upgrade;
        let bytes = head::for_pingora(std::mem::take(&mut arrival.head), arrival.absolute.as_ref());
        let reusable = if whole {
            self.lend(Box::new(lane), bytes, arrival, shutdown).await.is_some()
        } else {
            let kept = bytes.clone();
            let lent = self.lend(Box::new(lane), bytes, arrival, shutdown);
            match Box::pin(unless_stalled(lent, link)).await {
                Some(stream) => stream.is_some(),
                None => {
                    let Some(mut conn) = link.take_home() else {
                        return After::Gone;
                    };
                    conn.ahead = kept; // for the log
                    let reason = Reason::GatewayTimeout;
                    return Box::pin(self.refuse(conn, client, started, reason, LINGER_TIME)).await;
                }
            }
        };
        // The lane handed the connection back when it was dropped, be it by Pingora just now or with `reusable`.
        match link.take_home() {
            Some(conn) if (reusable || link.is_kept()) && conn.unsent.is_empty() && keep_alive && !link.is_tunnel() => {
                After::Keep(conn)
            }
            Some(conn) if link.is_tunnel() => {
                close(conn).await;
                After::Gone
            }
            Some(conn) => After::Close(conn),
            None => After::Gone,
        }
    }

    /// Lends the connection to the application. Not `async`: the session is several KiB and goes straight into the
    /// application's own box.
    fn lend<'a>(
        &'a self,
        lane: Box<Lane>,
        head: BytesMut,
        arrival: Box<Arrival>,
        shutdown: &'a ShutdownWatch,
    ) -> BoxFuture<'a, Option<ReusedHttpStream>> {
        let mut session = ServerSession::new_http1(lane);
        session.set_pipelined_prefix(head);
        session.set_connection_user_context(Some(arrival));
        self.app.process_new_http(session, shutdown)
    }

    pub(super) async fn refuse(
        &self,
        mut conn: Conn,
        client: &Client,
        started: Instant,
        reason: Reason,
        time: Duration,
    ) -> After {
        let Conn { io, ahead, unsent } = &mut conn;
        let request = RefusedRequest {
            reason,
            peer: client.peer,
            head: ahead,
            started,
            tls: client.tls.as_ref().map(|tls| tls.version),
            version: http::Version::HTTP_11,
        };
        let reply = self.observer.phrase(&request);
        let bytes = reply.to_http1();
        let write = async {
            unsent.extend_from_slice(&bytes); // an invitation to send the body, perhaps
            io.write_all(unsent).await?;
            unsent.clear();
            io.flush().await
        };
        let sent = matches!(tokio::time::timeout(time, write).await, Ok(Ok(())));
        self.observer
            .refused(&request, &reply, if sent { bytes.len() as u64 } else { 0 });
        if sent { After::Close(conn) } else { After::Gone }
    }
}

/// A request that is not for the fast lane.
enum Otherwise {
    Refuse {
        conn: Conn,
        reason: Reason,
        started: Instant,
    },
    Lend(Lent),
}

/// The application's result; `None`: nobody took the body any more, and the exchange was ended.
pub(super) async fn unless_stalled<T>(lent: BoxFuture<'_, T>, link: &Link) -> Option<T> {
    tokio::select! {
        biased;
        done = lent => Some(done),
        () = link.stalled() => None,
    }
}

/// Takes a complete head out of what was read, and judges it; `apart`: it is taken apart as well. What is refused stays where
/// it was, for the log.
fn take_head(
    conn: &mut Conn,
    extent: Extent,
    limits: &model::Server,
    apart: bool,
) -> Result<(Bytes, head::Head, Option<request::Parts>), Reason> {
    conn.ahead.advance(extent.start);
    let bytes = conn.ahead.split_to(extent.end - extent.start).freeze();
    let judged = if apart {
        head::take_apart(&bytes, &limits.head)
    } else {
        head::judge(&bytes, &limits.head).map(|head| (head, None))
    };
    match judged {
        Ok((head, parts)) => Ok((bytes, head, parts)),
        Err(reason) => {
            let later = std::mem::replace(&mut conn.ahead, BytesMut::from(&bytes[..]));
            conn.ahead.unsplit(later);
            Err(reason)
        }
    }
}

/// Reads until a head is complete; `None`: the client hung up.
async fn read_head(conn: &mut Conn, limits: &model::Server) -> Result<Option<Extent>, Reason> {
    let mut scanner = Scanner::default();
    if let Some(extent) = scanner.scan(&conn.ahead, &limits.head)? {
        return Ok(Some(extent)); // mostly: a head comes in one piece
    }
    let Conn { io, ahead, .. } = conn;
    let complete = async {
        loop {
            match poll_fn(|cx| http1::poll_read(io, cx, ahead)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Ok(None),
            }
            if let Some(extent) = scanner.scan(ahead, &limits.head)? {
                return Ok(Some(extent));
            }
        }
    };
    Box::pin(tokio::time::timeout(limits.header_timeout, complete))
        .await
        .unwrap_or(Err(Reason::RequestTimeout))
}
