//! HTTP/2 with clients (RFC 9113): the library speaks the protocol, a guard before it counts frames, and each request goes
//! the way of any other. Everything that a client can make the gateway hold or do has a bound.

mod guard;
mod judge;
mod session;
mod stalled;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::{Method, Request, Uri};
use pingora::apps::HttpServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;

use self::guard::{Calm, Guard};
use self::session::{H2Session, Home, Waiting};
pub(super) use self::stalled::Stalled;
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

/// The requests that are being worked on, those among them that the client has taken back.
#[derive(Default)]
struct Running {
    count: AtomicUsize,
    none: Notify,
}

struct OneOf(Arc<Running>);

impl Running {
    fn begin(self: &Arc<Self>) -> OneOf {
        self.count.fetch_add(1, Relaxed);
        OneOf(Arc::clone(self))
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Relaxed) == 1 {
            self.0.none.notify_one();
        }
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

type H2 = Connection<Guard<Stream>, Bytes>;

/// Why a connection takes no further requests.
#[expect(clippy::large_enum_variant, reason = "one a request, taken apart at once")]
enum Next {
    Request(Request<RecvStream>, SendResponse<Bytes>),
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
        let (guarded, calm) = Guard::new(io, limits.header_timeout);
        let handshake = options(&limits).handshake::<_, Bytes>(guarded);
        let Ok(Ok(mut connection)) = tokio::time::timeout(limits.header_timeout, handshake).await else {
            return;
        };
        let client = Arc::new(client);
        let running = Arc::new(Running::default());
        let mut served = 0;
        let mut leaving = false;
        loop {
            match self.next(&mut connection, &calm, &running, leaving, shutdown).await {
                Next::Request(request, respond) => {
                    served += 1;
                    self.take(request, respond, &client, &running, shutdown);
                    if served >= limits.keepalive_requests && !leaving {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                }
                Next::Idle if !leaving => {
                    leaving = true;
                    connection.graceful_shutdown();
                }
                Next::Idle | Next::Gone => break,
                Next::Calm => {
                    connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
                    break;
                }
            }
        }
        let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| connection.poll_closed(cx))).await;
    }

    async fn next(
        &self,
        connection: &mut H2,
        calm: &Calm,
        running: &Arc<Running>,
        leaving: bool,
        shutdown: &ShutdownWatch,
    ) -> Next {
        let patience = if leaving {
            GOODBYE
        } else {
            self.observer.limits().keepalive_timeout
        };
        let idle = async {
            loop {
                let woken = running.none.notified();
                if running.count.load(Relaxed) == 0 {
                    break;
                }
                woken.await;
            }
            tokio::time::sleep(patience).await;
        };
        let mut stop = shutdown.clone();
        let mut last_call = self.last_call.clone();
        tokio::select! {
            biased;
            () = poll_fn(|cx| calm.poll_wanted(cx)) => Next::Calm,
            request = poll_fn(|cx| match connection.poll_accept(cx) {
                // The library ends by itself what it finds at fault; what it was about to say is sent afterwards.
                Poll::Ready(Some(Ok((request, respond)))) => Poll::Ready(Next::Request(request, respond)),
                Poll::Ready(_) => Poll::Ready(Next::Gone),
                Poll::Pending => Poll::Pending,
            }) => request,
            _ = stop.wait_for(|stop| *stop), if !leaving => Next::Idle,
            _ = last_call.wait_for(|last| *last), if !leaving => Next::Idle,
            () = idle => Next::Idle,
        }
    }

    /// Begins with a request.
    fn take(
        self: &Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        client: &Arc<Client>,
        running: &Arc<Running>,
        shutdown: &ShutdownWatch,
    ) {
        // Those that were taken back count as long as they are worked on: to take back must not be a way around the bound.
        if running.count.load(Relaxed) >= STREAMS as usize {
            respond.send_reset(Code::REFUSED_STREAM);
            return;
        }
        let one = running.begin();
        let (gate, client, shutdown) = (Arc::clone(self), Arc::clone(client), shutdown.clone());
        tokio::spawn(async move {
            let _one = one;
            // What was taken back in the same breath never begins.
            if let Some(true) =
                futures_util::FutureExt::now_or_never(poll_fn(|cx| respond.poll_reset(cx).map(|_| true)))
            {
                return;
            }
            gate.answer(request, respond, &client, &shutdown).await;
        });
    }

    async fn answer(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        client: &Client,
        shutdown: &ShutdownWatch,
    ) {
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
        let link = Arc::new(Link::new(shutdown.clone()));
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
        });
        parts.extensions = http::Extensions::new();
        parts.extensions.insert(Handed::new(arrival));
        let waiting = Waiting {
            stalled: Arc::clone(&self.stalled),
            client: client.peer.ip().to_canonical(),
            most: if self.observer.is_trusted(&limits, client.peer.ip()) {
                10 * STALLED
            } else {
                STALLED
            },
        };
        let whose = (framing != Framing::None).then(|| (parts.method.clone(), parts.uri.clone()));
        let session = H2Session::new(
            RequestHeader::from(parts),
            body,
            respond,
            Arc::clone(&link),
            waiting,
            limits.body_timeout,
        );
        let Some((method, uri)) = whose else {
            let session = ServerSession::new_custom(Box::new(session));
            let _ = self.app.process_new_http(session, shutdown).await;
            return;
        };
        let home = Home::default();
        let session = ServerSession::new_custom(Box::new(session.returning_to(Arc::clone(&home))));
        let lent = self.app.process_new_http(session, shutdown);
        let stalled = unless_stalled(lent, &link).await.is_none();
        let Some(mut respond) = home.lock().take() else { return };
        if stalled {
            self.refuse_h2(&method, &uri, &mut respond, client, started, Reason::GatewayTimeout);
        }
        linger(respond).await;
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
