//! One probe: what is asked of a server, on a connection of its own, and what its answer is taken for.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};

use super::connect::Dialer;
use super::{grpc, http1, http2};
use crate::balance::Endpoint;
use crate::config::model::{HealthCheck, HttpCheck, Probing, Protocol, Upstream};
use crate::runtime::{ClientTls, UNIX};

/// Most bytes of a body that are looked at.
pub(super) const BODY_MAX: usize = 64 * 1024;
const AGENT: &str = "deals247-gateway";

/// What is asked of every server of an upstream.
pub(super) struct Probe {
    dialer: Dialer,
    asks: Probing,
    host: Option<HeaderValue>,
    http2: bool,
    timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// `grpc-status`, from the head or the trailers.
    pub(super) grpc_status: Option<HeaderValue>,
}

/// Why a server did not pass.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer in time.
    TimedOut(Duration),
    /// The gateway lacks what a connection takes: says nothing about the server.
    Starved(io::Error),
    /// Not connected.
    Connect(io::Error),
    /// No TLS.
    Tls(io::Error),
    /// HTTP/2 was not agreed upon.
    NotHttp2,
    /// The connection broke, or what came is not the protocol.
    Broken(String),
    /// Another status than one that means healthy.
    Status(u16),
    /// The body lacks what it must contain.
    Body,
    /// The call of the health service failed with this status.
    Call(Option<HeaderValue>),
    /// What the health service said in place of SERVING.
    NotServing(&'static str),
    /// The request cannot be written.
    Request(http::Error),
}

impl Probe {
    /// The probe of an upstream's check; `tls` is the check's, loaded.
    pub(super) fn new(upstream: &Upstream, check: &HealthCheck, tls: Option<Arc<ClientTls>>) -> Self {
        let (host, grpc) = match &check.probing {
            Probing::Http(http) => (&http.host, false),
            Probing::Tcp => (&None, false),
            Probing::Grpc { host, .. } => (host, true),
        };
        // Another port is another service: a small health server next to the application, which speaks HTTP/1.1.
        let http2 = grpc || upstream.protocol == Protocol::H2 && check.port.is_none();
        Self {
            // Another port is another service here, too.
            dialer: Dialer::new(
                check.port,
                tls,
                http2,
                upstream.proxy_protocol.filter(|_| check.port.is_none()),
            ),
            asks: check.probing.clone(),
            host: host.as_ref().or(upstream.host.as_ref()).cloned(),
            http2,
            timeout: check.timeout,
        }
    }

    /// Asks a server.
    pub(super) async fn ask(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let judged = async {
            match &self.asks {
                Probing::Tcp => self.dialer.connect(endpoint).await.map(drop),
                Probing::Http(check) => self.ask_http(check, endpoint).await,
                Probing::Grpc { service, .. } => self.ask_grpc(service, endpoint).await,
            }
        };
        tokio::time::timeout(self.timeout, judged)
            .await
            .unwrap_or(Err(Failure::TimedOut(self.timeout)))
    }

    async fn ask_http(&self, check: &HttpCheck, endpoint: &Endpoint) -> Result<(), Failure> {
        let request = self.request(&check.method, &check.path, endpoint)?;
        let wanted = check.body.as_deref().map(str::as_bytes);
        let body_max = if wanted.is_some() { BODY_MAX } else { 0 };
        let io = self.dialer.connect(endpoint).await?;
        let reply = if self.http2 {
            http2::exchange(io, request, Vec::new(), body_max).await?
        } else {
            http1::exchange(io, request, body_max).await?
        };
        if !check.accepts(reply.status) {
            return Err(Failure::Status(reply.status));
        }
        match wanted {
            Some(wanted) if !contains(&reply.body, wanted) => Err(Failure::Body),
            _ => Ok(()),
        }
    }

    async fn ask_grpc(&self, service: &str, endpoint: &Endpoint) -> Result<(), Failure> {
        let mut request = self.request(&Method::POST, grpc::PATH, endpoint)?;
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
        let io = self.dialer.connect(endpoint).await?;
        let reply = http2::exchange(io, request, grpc::check(service), BODY_MAX).await?;
        grpc::judge(&reply)
    }

    fn request(&self, method: &Method, target: &str, endpoint: &Endpoint) -> Result<Request<()>, Failure> {
        let server = &**endpoint.server();
        let server = if server.starts_with(UNIX) { "localhost" } else { server };
        let host = self.host.as_ref().map_or(server.as_bytes(), HeaderValue::as_bytes);
        let mut request = Request::builder()
            .method(method.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*");
        if self.http2 {
            let scheme = if self.dialer.is_tls() {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            };
            let authority = Authority::try_from(host).map_err(|error| Failure::Request(error.into()))?;
            let uri = Uri::builder()
                .scheme(scheme)
                .authority(authority)
                .path_and_query(target);
            request = request
                .uri(uri.build().map_err(Failure::Request)?)
                .version(Version::HTTP_2);
        } else {
            request = request.uri(target).header(HOST, host).header("connection", "close");
        }
        request.body(()).map_err(Failure::Request)
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}

impl Failure {
    /// Why there is no connection. A gateway out of descriptors or memory, as under a flood of clients, must not judge all
    /// its servers dead. (No local address or port is no such case: it is also how a machine without IPv6 says that it
    /// will never reach an address.)
    pub(super) fn of_connect(error: io::Error) -> Self {
        const ENFILE: i32 = 23; // the same on every Unix
        const EMFILE: i32 = 24;
        let starved =
            matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) || error.kind() == io::ErrorKind::OutOfMemory;
        if starved {
            Self::Starved(error)
        } else {
            Self::Connect(error)
        }
    }

    /// What a library says, with its causes.
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Broken(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Starved(error) => write!(f, "the gateway cannot open a connection: {error}"),
            Self::Connect(error) => write!(f, "cannot connect: {}", error.kind()),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
            Self::NotHttp2 => f.write_str("the server does not speak HTTP/2"),
            Self::Broken(error) => write!(f, "no valid answer: {error}"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Body => f.write_str("the body does not contain what it must"),
            Self::Call(Some(status)) => write!(f, "grpc-status {}", String::from_utf8_lossy(status.as_bytes())),
            Self::Call(None) => f.write_str("the health service answered without a status"),
            Self::NotServing(word) => write!(f, "the health service says {word}"),
            Self::Request(error) => write!(f, "the probe cannot be sent: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
