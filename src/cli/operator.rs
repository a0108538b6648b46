//! Asks the admin listener of a gateway that runs: the way of every command that looks into one or tells it something.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::{BAD_COMMAND, BAD_ENVIRONMENT, BAD_FILE, GOOD, colour, say};
use crate::config;
use crate::config::model::AdminListen;

/// How long connecting may take, and a whole exchange.
const CONNECT: Duration = Duration::from_secs(5);
const EXCHANGE: Duration = Duration::from_secs(60);
/// Longest answer, bytes.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Where the token comes from with `--admin`.
const TOKEN: &str = "GATEWAY_ADMIN_TOKEN";

/// Which gateway.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// The admin listener of the gateway to ask, an address or unix:/path, with the token of $GATEWAY_ADMIN_TOKEN; without
    /// it `[admin]` of the file says where
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin: Option<AdminListen>,
}

impl Which {
    /// The one that serves the file.
    pub(super) fn of_file() -> Self {
        Self { admin: None }
    }

    /// Whether it is named.
    pub(super) fn is_given(&self) -> bool {
        self.admin.is_some()
    }
}

/// An admin listener, and what it wants to see.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    address: AdminListen,
    token: Option<String>,
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Reply {
    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Operator {
    /// At this address.
    pub(super) fn at(address: AdminListen, token: Option<String>) -> Self {
        Self {
            address: reachable(address),
            token,
        }
    }

    /// The gateway that `--admin` or the file names. Says what is wrong where there is none; the exit code then.
    pub(super) fn find(which: &Which, file: &Path) -> Result<Self, u8> {
        if let Some(address) = which.admin.clone() {
            let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
            return Ok(Self { address, token });
        }
        let admin = match config::load(file) {
            Ok(loaded) => loaded.config.admin,
            Err(report) => {
                say(&report.render_text(colour()));
                say("help: `--admin ADDRESS` asks a gateway without its file");
                return Err(BAD_FILE);
            }
        };
        let Some(listen) = admin.listen else {
            say(&format!(
                "error: {} has `listen = false` in `[admin]`: nobody can be asked",
                file.display()
            ));
            return Err(BAD_ENVIRONMENT);
        };
        Ok(Self {
            address: reachable(listen),
            token: admin.token.map(|token| token.expose().to_owned()),
        })
    }

    /// Asks, and waits for the whole answer. With a body, or where the method changes something, the request says that
    /// it is deliberate. Says what is wrong where there is no answer; the exit code then.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<&Value>,
    ) -> Result<Reply, u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let exchanged = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
            let exchange = self.exchange(method, path, accept, body);
            runtime
                .block_on(async { tokio::time::timeout(EXCHANGE, exchange).await })
                .unwrap_or_else(|_| Err(format!("no answer within {EXCHANGE:?}")))
        });
        exchanged.map_err(|why| {
            say(&format!(
                "error: the gateway cannot be asked at {}: {why}\nhelp: is it running? `--admin ADDRESS` names \
                 another one",
                self.address
            ));
            BAD_ENVIRONMENT
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<&Value>,
    ) -> Result<Reply, String> {
        let host = match &self.address {
            AdminListen::Tcp(address) => address.to_string(),
            AdminListen::Unix(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, accept)
            .header(HeaderName::from_static("x-requested-with"), "gateway");
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;

        let connected = async {
            match &self.address {
                AdminListen::Tcp(address) => converse(TcpStream::connect(address).await).await,
                AdminListen::Unix(path) => converse(UnixStream::connect(path).await).await,
            }
        };
        let connected = tokio::time::timeout(CONNECT, connected).await;
        let (mut sender, driving) = connected.map_err(|_| format!("no connection within {CONNECT:?}"))??;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        driving.abort();
        Ok(Reply { status, body })
    }
}

/// HTTP/1.1 over a connection, if there is one.
async fn converse<S>(stream: io::Result<S>) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream.map_err(|error| error.to_string())?);
    let (sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|error| error.to_string())?;
    Ok((sender, tokio::spawn(connection)))
}

/// Asks the gateway that `--admin` or the file names; `good` is told what it answered, if it did what was asked.
pub(super) fn run(
    file: &Path,
    which: &Which,
    method: Method,
    path: &str,
    accept: &'static str,
    body: Option<&Value>,
    good: impl FnOnce(&Reply),
) -> u8 {
    let reply = Operator::find(which, file).and_then(|operator| operator.ask(method, path, accept, body));
    match reply {
        Ok(reply) if reply.status == StatusCode::OK => {
            good(&reply);
            GOOD
        }
        Ok(reply) => refused(&reply),
        Err(code) => code,
    }
}

/// Says why the gateway did not do it.
fn refused(reply: &Reply) -> u8 {
    let problem = reply.json();
    let detail = problem["detail"].as_str().unwrap_or("the gateway refused");
    say(&format!("error: {detail}"));
    for known in ["upstreams", "servers", "caches", "limits"] {
        let names: Vec<&str> = problem[known]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !names.is_empty() {
            say(&format!("help: {known} are {}", names.join(", ")));
        }
    }
    if reply.status == StatusCode::NOT_FOUND {
        BAD_COMMAND
    } else {
        BAD_ENVIRONMENT
    }
}

/// Where a listener on every address is reached from this machine.
fn reachable(listen: AdminListen) -> AdminListen {
    let AdminListen::Tcp(address) = listen else {
        return listen;
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    AdminListen::Tcp(SocketAddr::new(ip, address.port()))
}

/// A name as a segment of a path.
pub(super) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:9900", "127.0.0.1:9900"),
            ("[::]:9900", "[::1]:9900"),
            ("10.0.0.1:9900", "10.0.0.1:9900"),
            ("unix:/run/admin.sock", "unix:/run/admin.sock"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }

    #[test]
    fn names_stay_one_segment() {
        assert_eq!(segment("app-1:5000"), "app-1:5000");
        assert_eq!(segment("unix:/run/ä?.sock"), "unix:%2Frun%2F%C3%A4%3F.sock");
        assert_eq!(segment("[::1]:80"), "%5B::1%5D:80");
    }
}
