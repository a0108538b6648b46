//! HTTP/2 with clients (RFC 9113): the library speaks the protocol, a guard before it counts frames, and each request goes
//! the way of any other. Everything that a client can make the gateway hold or do has a bound.

mod guard;
mod judge;
mod quiet;
mod session;
mod stalled;
mod stream;
mod wire;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use h2::server::{Builder, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::{Method, Request, Uri};
use pingora::apps::HttpServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use self::guard::Guard;
use self::quiet::{Alarm, Running};
use self::session::H2Session;
pub(super) use self::stalled::Stalled;
pub(crate) use self::stream::Broken;
pub use self::stream::H2Stream;
use self::stream::{Home, Waiting};
use self::wire::Wire;
use super::direct::NotMine;
use super::gate::{Client, Gate, unless_stalled};
use super::head::Framing;
use super::link::Link;
use super::observer::{Arrival, Handed, Observer, RefusedRequest};
use crate::answer::Reason;
use crate::config::model;

/// Requests at a time on one connection.
const STREAMS: u32 = 100;
/// Bytes of a body that may be on their way before the application takes them; of all bodies of a connection together.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Answers of one client that may wait for it at a time; of a trusted proxy, on whose connections many come, ten times as
/// many.
const STALLED: usize = 48;
/// Bytes of an answer that wait in the library for the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that the client has taken back, or that broke the rules, while they wait to be forgotten.
const BROKEN_STREAMS: usize = 20;
/// How long the end of a connection may take: the last frames, and the client's answer to them.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the requests of a connection share.
struct Shared {
    client: Client,
    waiting: Arc<Waiting>,
    running: Running,
    shutdown: ShutdownWatch,
}

/// One request, while it is worked on.
struct OneOf(Arc<Shared>);

impl OneOf {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.running.begin();
        Self(Arc::clone(shared))
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        self.0.running.end();
    }
}

fn options(limits: &model::Server) -> Builder {
    let mut options = Builder::new();
    options
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head.size).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(BROKEN_STREAMS)
        .max_pending_accept_reset_streams(BROKEN_STREAMS)
        .max_local_error_reset_streams(Some(4 * BROKEN_STREAMS));
    options
}

/// What a connection does next.
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
enum Next {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// Something has happened, perhaps to several requests: the others that were woken come first, so that what they all
    /// say leaves together.
    Woken,
    /// The client has gone, or has broken the protocol.
    Gone,
    /// It asks too much.
    Calm,
    /// There was nothing to do for too long, or the gateway stops.
    Idle,
}

impl<A, O> Gate<A, O>
where
    A: HttpServerApp + Send + Sync + 'static,
    O: Observer,
{
    /// Serves a connection to its end.
    pub(super) async fn serve_h2(self: &Arc<Self>, io: Stream, client: Client, shutdown: &ShutdownWatch) {
        let limits = self.observer.limits();
        let wire = Wire::new(io);
        let (guarded, calm) = Guard::new(wire.clone(), limits.header_timeout);
        let handshake = options(&limits).handshake::<_, Bytes>(guarded);
        let Ok(Ok(mut connection)) = tokio::time::timeout(limits.header_timeout, handshake).await else {
            return;
        };
        let peer = client.peer.ip();
        let most = if self.observer.is_trusted(&limits, peer) {
            10 * STALLED
        } else {
            STALLED
        };
        let shared = Arc::new(Shared {
            client,
            waiting: Arc::new(Waiting {
                stalled: Arc::clone(&self.stalled),
                client: peer.to_canonical(),
                most,
            }),
            running: Running::new(),
            shutdown: shutdown.clone(),
        });
        let (mut stop, mut last_call) = (shutdown.clone(), self.last_call.clone());
        // Of these only those are asked that have been woken; everything else is with each frame.
        let mut stopping = FuturesUnordered::from_iter([async move {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = last_call.wait_for(|last| *last) => {}
            }
        }]);
        let mut alarm = Alarm::after(limits.keepalive_timeout);
        let mut served = 0;
        let mut leaving = false;
        wire.gather();
        loop {
            let mut waited = false;
            let next = poll_fn(|cx| {
                if waited && shared.running.count() > 1 {
                    return Poll::Ready(Next::Woken);
                }
                if calm.poll_wanted(cx).is_ready() {
                    return Poll::Ready(Next::Calm);
                }
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => return Poll::Ready(Next::Request(request, respond)),
                    // The library ends by itself what it finds at fault; what it was about to say is sent afterwards.
                    Poll::Ready(_) => return Poll::Ready(Next::Gone),
                    Poll::Pending => {}
                }
                if matches!(wire.poll_out(cx), Poll::Ready(Err(_))) {
                    return Poll::Ready(Next::Gone);
                }
                waited = true;
                if !leaving && stopping.poll_next_unpin(cx).is_ready() {
                    return Poll::Ready(Next::Idle);
                }
                let patience = || match leaving {
                    true => GOODBYE,
                    false => self.observer.limits().keepalive_timeout,
                };
                alarm.poll(cx, &shared.running, patience).map(|()| Next::Idle)
            });
            match next.await {
                Next::Request(request, respond) => {
                    served += 1;
                    self.take(request, respond, &shared);
                    if served < limits.keepalive_requests || leaving {
                        continue;
                    }
                }
                Next::Woken => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Next::Idle if !leaving => {}
                Next::Idle | Next::Gone => break,
                Next::Calm => {
                    connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
                    break;
                }
            }
            leaving = true;
            connection.graceful_shutdown();
            alarm = Alarm::after(GOODBYE);
        }
        wire.at_once();
        let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| connection.poll_closed(cx))).await;
    }

    /// Begins with a request.
    fn take(self: &Arc<Self>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>, shared: &Arc<Shared>) {
        // Those that were taken back count as long as they are worked on: to take back must not be a way around the bound.
        if shared.running.count() >= STREAMS as usize {
            respond.send_reset(Code::REFUSED_STREAM);
            return;
        }
        let (gate, one) = (Arc::clone(self), OneOf::new(shared));
        tokio::spawn(async move {
            // What was taken back in the same breath never begins.
            if poll_fn(|cx| respond.poll_reset(cx)).now_or_never().is_some() {
                return;
            }
            gate.answer(request, respond, &one.0).await;
        });
    }

    async fn answer(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>, shared: &Shared) {
        let Shared {
            client,
            waiting,
            shutdown,
            ..
        } = shared;
        let started = Instant::now();
        let limits = self.observer.limits();
        let (mut parts, body) = request.into_parts();
        let framing = match judge::judge(&mut parts, &limits.head, body.is_end_stream()) {
            Ok(framing) => framing,
            Err(reason) => {
                self.refuse_h2(&parts.method, &parts.uri, &mut respond, client, started, reason);
                if !body.is_end_stream() {
                    drop(body);
                    linger(respond).await;
                }
                return;
            }
        };
        let link = Arc::new(Link::beside(shutdown.clone(), Arc::clone(&client.link.words)));
        link.begin(limits.max_body);
        let arrival = Box::new(Arrival {
            link: Arc::clone(&link),
            peer: client.peer,
            local: client.local,
            started,
            framing,
            keep_alive: true,
            upgrade: false,
            tls: client.tls.clone(),
            head: Bytes::new(),
            absolute: None,
        });
        parts.extensions = http::Extensions::new();
        let head_request = parts.method == Method::HEAD;
        let mut stream = H2Stream::new(
            body,
            respond,
            head_request,
            link,
            Arc::clone(waiting),
            limits.body_timeout,
        );
        let home = (framing != Framing::None).then(Home::default);
        if let Some(home) = &home {
            stream = stream.returning_to(Arc::clone(home));
        }
        let all = match self.direct.as_ref().filter(|_| limits.fast_lane) {
            Some(direct) => direct.serve_h2(parts, stream, arrival).await,
            None => Some(Box::new(NotMine {
                request: parts,
                stream,
                arrival,
            })),
        };
        if let Some(all) = all {
            // Boxed: what the fast lane serves moves no state of it.
            Box::pin(self.lend_h2(*all, home.as_ref(), client, shutdown)).await;
        }
        let left = home.and_then(|home| home.lock().take());
        if let Some(respond) = left {
            linger(respond).await;
        }
    }

    /// Lends the stream to the application. `home`: where it is found afterwards, if it has a body.
    async fn lend_h2(&self, lent: NotMine, home: Option<&Home>, client: &Client, shutdown: &ShutdownWatch) {
        let NotMine {
            mut request,
            stream,
            arrival,
        } = lent;
        let (started, link) = (arrival.started, Arc::clone(&arrival.link));
        request.extensions.insert(Handed::new(arrival));
        let whose = home.map(|home| (home, request.method.clone(), request.uri.clone()));
        let request = RequestHeader::from(request);
        let session = ServerSession::new_custom(Box::new(H2Session::new(request, stream)));
        let lent = self.app.process_new_http(session, shutdown);
        let Some((home, method, uri)) = whose else {
            let _ = lent.await;
            return;
        };
        if unless_stalled(lent, &link).await.is_none()
            && let Some(respond) = &mut *home.lock()
        {
            self.refuse_h2(&method, &uri, respond, client, started, Reason::GatewayTimeout);
        }
    }

    fn refuse_h2(
        &self,
        method: &Method,
        uri: &Uri,
        respond: &mut SendResponse<Bytes>,
        client: &Client,
        started: Instant,
        reason: Reason,
    ) {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let line = format!("{method} {target} HTTP/2\r\n");
        let refused = RefusedRequest {
            reason,
            peer: client.peer,
            head: line.as_bytes(),
            started,
            tls: client.tls.as_ref().map(|tls| tls.version),
            version: http::Version::HTTP_2,
        };
        let reply = self.observer.phrase(&refused);
        let mut response = http::Response::new(());
        *response.status_mut() = reply.rendered.status;
        *response.headers_mut() = reply.rendered.headers.clone();
        response.headers_mut().remove(http::header::CONNECTION);
        let body = if reply.head_only {
            Bytes::new()
        } else {
            reply.rendered.body.clone()
        };
        let length = body.len() as u64;
        let sent = match respond.send_response(response, body.is_empty()) {
            Ok(mut stream) if !body.is_empty() => stream.send_data(body, true).is_ok(),
            sent => sent.is_ok(),
        };
        self.observer.refused(&refused, &reply, if sent { length } else { 0 });
    }
}

/// After an answer that came before the end of the request: what else the client sends is thrown away for a moment. It would
/// be told by a reset that nobody wants it (RFC 9113 §8.1), which some clients, curl 7 among them, take for the loss of the
/// answer where both come at once.
async fn linger(mut respond: SendResponse<Bytes>) {
    let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| respond.poll_reset(cx))).await;
}
