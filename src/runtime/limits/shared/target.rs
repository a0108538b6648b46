//! Where the store is, and how it is connected to: anew each time, so that names and masters may change.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::failure::{Failure, Refusal};
use super::script::{BEAT, DECIDE, Digests};
use crate::config::model::{self, RedisServers};
use crate::runtime::ClientTls;

/// Longest time for one connection to be made and its scripts to be loaded.
const CONNECT: Duration = Duration::from_secs(1);

const DEFAULT_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A server that can be connected to.
#[derive(Clone)]
pub(in crate::runtime) struct Server {
    host: String,
    port: u16,
    login: RedisConnectionInfo,
    tls: Option<(Arc<ClientTls>, TlsConnector)>,
}

/// What is connected to.
#[derive(Clone)]
pub(in crate::runtime) enum Target {
    /// This one.
    Server(Server),
    /// Whichever these sentinels call the master.
    Sentinel {
        master: Box<str>,
        sentinels: Vec<Server>,
        /// How the master is logged in to; its address is filled in.
        template: Server,
    },
}

/// A connection with the scripts loaded. Dropped, it is closed.
pub(in crate::runtime) struct Connection {
    pub(in crate::runtime) handle: MultiplexedConnection,
    pub(super) digests: Digests,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Returns when the connection is lost.
    pub(in crate::runtime) async fn lost(&mut self) -> Failure {
        let _ = (&mut self.driver).await;
        Failure::Unreachable("the connection was closed".to_owned())
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The servers of the file. Several: the nodes of a Cluster.
pub(in crate::runtime) fn servers(redis: &model::Redis, tls: Option<&Arc<ClientTls>>) -> Vec<Target> {
    let server = |url: &model::Secret, port, credentials| Server::new(url.expose(), port, redis, tls, credentials);
    match &redis.servers {
        RedisServers::Single(url) => server(url, DEFAULT_PORT, true)
            .map(Target::Server)
            .into_iter()
            .collect(),
        RedisServers::Cluster(urls) => {
            let nodes = urls.iter().filter_map(|url| server(url, DEFAULT_PORT, true));
            nodes.map(Target::Server).collect()
        }
        RedisServers::Sentinel { master, urls } => {
            // What stands beside the URLs is for the master; a URL's own are the sentinels'.
            let sentinels: Vec<Server> = urls
                .iter()
                .filter_map(|url| server(url, SENTINEL_PORT, false))
                .collect();
            let template = urls.first().and_then(|url| server(url, DEFAULT_PORT, true));
            let target = template.map(|template| Target::Sentinel {
                master: master.clone(),
                sentinels,
                template,
            });
            target.into_iter().collect()
        }
    }
}

impl Server {
    /// `None`: the URL cannot be read, which validation has seen to.
    fn new(
        url: &str,
        default_port: u16,
        redis: &model::Redis,
        tls: Option<&Arc<ClientTls>>,
        credentials: bool,
    ) -> Option<Self> {
        let tls = url.starts_with("rediss://").then_some(tls).flatten();
        // The stream is ours: only the rest of the URL is the crate's.
        let plain = url.replacen("rediss://", "redis://", 1);
        let info = plain.as_str().into_connection_info().ok()?;
        let redis::ConnectionAddr::Tcp(host, _) = info.addr().clone() else {
            return None;
        };
        let port = redis::parse_redis_url(&plain)?.port().unwrap_or(default_port);
        let mut login = info.redis_settings().clone().set_skip_set_lib_name(); // one right less
        if credentials {
            if let Some(username) = &redis.username {
                login = login.set_username(username.expose());
            }
            if let Some(password) = &redis.password {
                login = login.set_password(password.expose());
            }
        }
        Some(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            login,
            tls: tls.map(|tls| (Arc::clone(tls), TlsConnector::from(tls.config(&[])))),
        })
    }

    /// The same login, elsewhere.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            ..self.clone()
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Host and port.
    pub(super) fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, Failure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| Failure::Unreachable(format!("{}: {error}", self.address())))?;
        stream.set_nodelay(true).map_err(|error| Failure::io(&error))?;
        let Some((tls, connector)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(tls.name(&self.address()).to_owned())
            .map_err(|error| Failure::io(&io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| {
            Failure::Unreachable(format!("{}: TLS: {error}", self.address()))
        })?))
    }

    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<(MultiplexedConnection, JoinHandle<()>), Failure> {
        let stream = self.stream().await?;
        // Every wait is bounded by whoever waits.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (handle, driver) = MultiplexedConnection::new_with_config(&self.login, stream, config)
            .await
            .map_err(|error| Failure::of(&error))?;
        Ok((handle, tokio::spawn(driver)))
    }
}

impl Target {
    /// Connects, logs in and loads the scripts.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let ready = async {
            let mut connection = self.connected().await?;
            connection.load().await?;
            Ok(connection)
        };
        let connecting = tokio::time::timeout(CONNECT, ready).await;
        connecting.unwrap_or(Err(Failure::Slow))
    }

    /// Connects and logs in.
    pub(in crate::runtime) async fn open(&self) -> Result<Connection, Failure> {
        let connecting = tokio::time::timeout(CONNECT, self.connected()).await;
        connecting.unwrap_or(Err(Failure::Slow))
    }

    async fn connected(&self) -> Result<Connection, Failure> {
        let server = match self {
            Self::Server(server) => server.clone(),
            Self::Sentinel {
                master,
                sentinels,
                template,
            } => found(master, sentinels, template).await?,
        };
        let (mut handle, driver) = server.connect().await?;
        // From here on, whoever gives up closes the connection.
        let connection = Connection {
            digests: Digests {
                decide: String::new(),
                beat: String::new(),
            },
            handle: handle.clone(),
            driver,
        };
        if matches!(self, Self::Sentinel { .. }) {
            let role: Value = redis::cmd("ROLE")
                .query_async(&mut handle)
                .await
                .map_err(|error| Failure::of(&error))?;
            if !is_master(&role) {
                let why = format!("{} is not a master (yet)", server.address());
                return Err(Failure::Refused(Refusal::NotServing, why));
            }
        }
        Ok(connection)
    }
}

impl Connection {
    /// Loads the scripts.
    pub(super) async fn load(&mut self) -> Result<(), Failure> {
        let load = |error| Failure::of(&error);
        self.digests = Digests {
            decide: DECIDE.load().query_async(&mut self.handle).await.map_err(load)?,
            beat: BEAT.load().query_async(&mut self.handle).await.map_err(load)?,
        };
        Ok(())
    }
}

fn is_master(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    let word = parts.first().and_then(|word| String::from_redis_value_ref(word).ok());
    word.is_some_and(|word| word == "master")
}

/// Asks the sentinels where the master is; the first that knows is believed.
async fn found(master: &str, sentinels: &[Server], template: &Server) -> Result<Server, Failure> {
    /// One sentinel that does not answer leaves time for the others.
    const EACH: Duration = Duration::from_millis(250);

    let mut last = Failure::Unreachable("no sentinel answers".to_owned());
    for sentinel in sentinels {
        match tokio::time::timeout(EACH, asked(sentinel, master)).await {
            Ok(Ok((host, port))) => return Ok(template.at(&host, port)),
            Ok(Err(failure)) => last = failure,
            Err(_) => last = Failure::Unreachable(format!("{}: the sentinel does not answer", sentinel.address())),
        }
    }
    Err(last)
}

async fn asked(sentinel: &Server, master: &str) -> Result<(String, u16), Failure> {
    let (mut handle, driver) = sentinel.connect().await?;
    let known: Result<Option<(String, u16)>, _> = redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(master)
        .query_async(&mut handle)
        .await;
    driver.abort();
    let unknown = || Failure::Unreachable(format!("{}: no master is called `{master}`", sentinel.address()));
    known.map_err(|error| Failure::of(&error))?.ok_or_else(unknown)
}
