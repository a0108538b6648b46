//! What Node's HTTP server does on every connection, whatever application runs on it: HTTP/1.1 only, an idle connection
//! is closed after five seconds, a head over 16 KiB is refused, a request without `Host` is refused.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::reply::{self, Response};

/// Node closes an idle connection after this time. (It gives an unfinished head 60 s; here both are one limit.)
const IDLE: Duration = Duration::from_secs(5);
/// Node's `maxHeaderSize`.
const HEAD_SIZE: usize = 16 * 1024;
/// Node takes 2,000 fields; what fits into 16 KiB with sensible names is far less.
const HEAD_FIELDS: usize = 512;
/// More than the demonstration needs, fewer than would exhaust file descriptors.
const MAX_CONNECTIONS: usize = 4096;
/// How long answers in flight may still leave when a replica is told to stop.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A request as hyper hands it over.
pub(super) type Request = http::Request<Incoming>;

/// What runs on the server.
pub(super) trait Application: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request, server: &Context) -> impl Future<Output = Response> + Send;
}

/// What an application can ask of the server it runs on.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// Changes (or its sender goes away) when the server stops: for what outlives its request.
    pub(super) closing: watch::Receiver<()>,
    pause: mpsc::Sender<Duration>,
}

impl Context {
    /// Stops the server, connections and all, and starts it again after this time.
    pub(super) fn pause(&self, time: Duration) {
        // A full queue means that it is stopping already.
        let _ = self.pause.try_send(time);
    }
}

/// What a server has counted since it was started.
#[derive(Debug, Default)]
pub struct Stats {
    requests: AtomicU64,
    connections: AtomicU64,
}

impl Stats {
    /// Requests whose head was read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A running server. Dropping it stops it and cuts its connections.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Server {
    address: SocketAddr,
    stats: Arc<Stats>,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted; the counters outlive the server.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Stops it and cuts its connections; when this returns, the port is closed.
    pub async fn stop(mut self) {
        self.task.abort();
        // The only result of an aborted task is that it was aborted.
        let _ = (&mut self.task).await;
    }

    /// Waits for as long as it runs.
    pub async fn run(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts an application on a bound listener, in the current runtime.
///
/// # Errors
/// The listener has no address.
pub(super) fn spawn<A: Application>(listener: TcpListener, application: A) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let stats = Arc::new(Stats::default());
    let task = tokio::spawn(serve(listener, address, Arc::new(application), Arc::clone(&stats)));
    Ok(Server { address, stats, task })
}

async fn serve<A: Application>(listener: TcpListener, address: SocketAddr, application: Arc<A>, stats: Arc<Stats>) {
    let mut listener = listener;
    loop {
        let (closing, closed) = watch::channel(());
        let (pause, mut paused) = mpsc::channel(1);
        let context = Context { closing: closed, pause };
        let mut connections = JoinSet::new();
        let pause = loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        stats.connections.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(connection(stream, Arc::clone(&application), Arc::clone(&stats), context.clone()));
                    }
                    // Out of file descriptors, mostly: give those that are open a chance to close.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = connections.join_next() => {}
                Some(pause) = paused.recv() => break pause,
            }
        };
        drop(listener);
        tokio::time::sleep(LAST_WORDS).await;
        drop(connections);
        drop(closing);
        tokio::time::sleep(pause).await;
        listener = bind_again(address).await;
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            // Somebody else has taken the port meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn connection<A: Application>(stream: TcpStream, application: Arc<A>, stats: Arc<Stats>, context: Context) {
    // Node does the same; an error means that the peer has gone, and reading will say so.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request| {
        let (application, context) = (Arc::clone(&application), context.clone());
        stats.requests.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(respond(&*application, request, &context).await) }
    });
    // An error here is the client's affair: it went away, or sent what is not HTTP and was told so.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_header_size(HEAD_SIZE)
        .max_headers(HEAD_FIELDS)
        .half_close(true)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn respond<A: Application>(application: &A, request: Request, context: &Context) -> Response {
    let version = request.version();
    let stays = keeps_alive(version, request.headers());
    let host = request.headers().get(HOST).is_some_and(|host| !host.is_empty());
    if version == Version::HTTP_11 && !host {
        let mut response = reply::empty(StatusCode::BAD_REQUEST);
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let mut response = application.answer(request, context).await;
    if stays && !response.headers().contains_key(CONNECTION) {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.insert(
            HeaderName::from_static("keep-alive"),
            HeaderValue::from_static("timeout=5"),
        );
    }
    response
}

fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &str| {
        headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(option))
    };
    if version == Version::HTTP_11 {
        !says("close")
    } else {
        says("keep-alive")
    }
}
