//! Asks the admin listener of a gateway that runs: the way of every command that looks into one or tells it something.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

use super::{BAD_COMMAND, BAD_ENVIRONMENT, BAD_FILE, GOOD, colour, say};
use crate::config;
use crate::config::model::AdminListen;
use crate::tls;

/// How long connecting may take, and a whole exchange.
const CONNECT: Duration = Duration::from_secs(5);
const EXCHANGE: Duration = Duration::from_secs(60);
/// Longest answer, bytes.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Where the token comes from with `--admin`.
const TOKEN: &str = "GATEWAY_ADMIN_TOKEN";

/// Which gateway.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// The admin listener of the gateway to ask, an address or unix:/path, with the token of $GATEWAY_ADMIN_TOKEN; without
    /// it `[admin]` of the file says where
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin: Option<AdminListen>,
    /// The certificate that the listener of --admin shows, PEM: TLS is spoken then
    #[arg(long, value_name = "FILE", global = true, requires = "admin")]
    admin_tls: Option<PathBuf>,
    /// Your certificate and those between it and its authority, PEM, for a listener that asks for one
    #[arg(long, value_name = "FILE", global = true, requires = "admin_key")]
    admin_cert: Option<PathBuf>,
    /// The key of --admin-cert, PEM
    #[arg(long, value_name = "FILE", global = true, requires = "admin_cert")]
    admin_key: Option<PathBuf>,
}

impl Which {
    /// Whether anything is said of it: otherwise it is the one that serves the file, as it asks to be asked.
    pub(super) fn is_given(&self) -> bool {
        self.is_address() || self.admin_cert.is_some()
    }

    /// Whether its address is named.
    pub(super) fn is_address(&self) -> bool {
        self.admin.is_some()
    }

    /// What is said to a listener that shows this certificate. Says what is wrong with the files; the exit code then.
    fn tls(&self, certificate: Option<&Path>) -> Result<Option<Arc<ClientConfig>>, u8> {
        let own = self.admin_cert.as_deref().zip(self.admin_key.as_deref());
        let config = certificate
            .map(|certificate| tls::knowing(certificate, own))
            .transpose();
        config.map(|config| config.map(Arc::new)).map_err(|fault| {
            say(&format!("error: TLS cannot be spoken to the gateway: {fault}"));
            BAD_ENVIRONMENT
        })
    }
}

/// An admin listener, and what it wants to see.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    address: AdminListen,
    token: Option<String>,
    /// `None`: clear text.
    tls: Option<Arc<ClientConfig>>,
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
    /// At this address, where this certificate is shown. Says what is wrong where it cannot be asked; the exit code then.
    pub(super) fn at(
        address: AdminListen,
        certificate: Option<&Path>,
        token: Option<String>,
        which: &Which,
    ) -> Result<Self, u8> {
        Ok(Self {
            address: reachable(address),
            token,
            tls: which.tls(certificate)?,
        })
    }

    /// The gateway that `--admin` or the file names. Says what is wrong where there is none; the exit code then.
    pub(super) fn find(which: &Which, file: &Path) -> Result<Self, u8> {
        if let Some(address) = which.admin.clone() {
            let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
            let tls = which.tls(which.admin_tls.as_deref())?;
            return Ok(Self { address, token, tls });
        }
        let admin = match config::load(file) {
            Ok(loaded) => loaded.config.admin,
            Err(report) => {
                say(&report.render_text(colour()));
                say("help: `--admin ADDRESS` asks a gateway without its file");
                return Err(BAD_FILE);
            }
        };
        let Some(listen) = admin.listen.clone() else {
            say(&format!(
                "error: {} has `listen = false` in `[admin]`: nobody can be asked",
                file.display()
            ));
            return Err(BAD_ENVIRONMENT);
        };
        let token = admin.token.as_ref().map(|token| token.expose().to_owned());
        Self::at(listen, admin.certificate(), token, which)
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
            let help = match self.tls {
                Some(_) => "help: `--admin-cert` and `--admin-key` are your certificate, where it asks for one",
                None => "help: is it running? `--admin ADDRESS` names another one, `--admin-tls` one that speaks TLS",
            };
            say(&format!(
                "error: the gateway cannot be asked at {}: {why}\n{help}",
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
            match (&self.address, &self.tls) {
                (AdminListen::Tcp(address), None) => converse(TcpStream::connect(address).await).await,
                (AdminListen::Tcp(address), Some(tls)) => converse(shaken(*address, tls).await).await,
                (AdminListen::Unix(path), _) => converse(UnixStream::connect(path).await).await,
            }
        };
        let connected = tokio::time::timeout(CONNECT, connected).await;
        let (mut sender, driving) = connected.map_err(|_| format!("no connection within {CONNECT:?}"))??;
        let response = sender.send_request(request).await.map_err(|error| whole(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| whole(&*error))?.to_bytes();
        driving.abort();
        Ok(Reply { status, body })
    }
}

/// A connection after its handshake.
async fn shaken(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(address.ip().into(), stream).await
}

/// An error with its causes: of a handshake that the other side refuses, the alert is the last of them.
fn whole(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// HTTP/1.1 over a connection, if there is one.
async fn converse<S>(stream: io::Result<S>) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream.map_err(|error| error.to_string())?);
    let (sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|error| whole(&error))?;
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
