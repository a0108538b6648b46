//! What clients and operators still have after another process has taken over: their sessions, their streams, their drains.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use crate::support::client::{self, Connection};
use crate::support::origin::Origin;
use crate::support::port::free;
use crate::support::process::{Process, command_in};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

const NAME: &str = "site.test";

/// A gateway with TLS whose process is replaced.
struct Site {
    authority: Authority,
    directory: TempDir,
    admin: SocketAddr,
    tls: SocketAddr,
}

impl Site {
    fn new(tls: &str, servers: &[SocketAddr]) -> Self {
        let authority = Authority::new();
        let (cert, key) = authority.site("site", &[NAME]);
        let site = Self {
            authority,
            directory: tempfile::tempdir().expect("directory"),
            admin: free(),
            tls: free(),
        };
        let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nshutdown_timeout = \"2s\"\n[admin]\nlisten = \"{}\"\n[access_log]\n\
             enabled = false\n[tls]\nlisten = [\"{}\"]\n{tls}\n[[certificate]]\ncert = {cert:?}\nkey = {key:?}\n\
             [upstream.app]\nservers = [{}]\nbalance = \"round-robin\"\n[[route]]\nname = \"all\"\npath = \"/*\"\n\
             upstream = \"app\"\n",
            site.admin,
            site.tls,
            servers.join(", "),
        );
        std::fs::write(site.file(), text).expect("file");
        site
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    async fn run(&self) -> Process {
        Process::run_in(self.directory.path()).await
    }

    async fn gateway(&self, arguments: &[&str]) -> Output {
        command_in(self.directory.path(), arguments).await
    }

    async fn succeeds(&self, arguments: &[&str]) {
        let output = self.gateway(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    }

    /// The process that serves; commands find it by the file.
    async fn pid(&self) -> u64 {
        let status = client::admin(self.admin, "/api/v1/status").await.json();
        status["pid"].as_u64().expect("a number")
    }

    /// Another process has taken over, and this one has ended.
    async fn upgrade(&self, process: Process) {
        let before = self.pid().await;
        self.succeeds(&["upgrade"]).await;
        assert_eq!(process.replaced().await.code(), Some(0));
        assert_ne!(self.pid().await, before);
    }

    async fn stop(&self) {
        self.succeeds(&["-s", "stop"]).await;
        eventually("it has ended", async || TcpStream::connect(self.admin).await.is_err()).await;
    }

    async fn shake(&self, config: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.tls).await.expect("connect");
        let name = NAME.try_into().expect("a name");
        let shaken = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
        timeout(PATIENCE, shaken).await.expect("in time").expect("a handshake")
    }

    /// One request over a connection of its own, which a ticket comes along with; whether a session was taken up again.
    async fn ask(&self, config: &Arc<ClientConfig>) -> bool {
        let stream = self.shake(config).await;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let mut connection = Connection::over(stream);
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        assert_eq!(connection.ask(&request).await.status, 200);
        resumed
    }
}

impl Drop for Site {
    /// A process that has taken over is nobody's child here.
    fn drop(&mut self) {
        let _ = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
            .env("GATEWAY_RUN_DIR", self.directory.path().join("run"))
            .args(["-s", "stop", "-c"])
            .arg(self.file())
            .output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_taken_up_again_with_tickets_of_the_process_before() {
    let origin = Origin::fixed("hello").await;
    let secret = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(secret.path(), "k".repeat(48)).expect("written");
    for tls in [String::new(), format!("ticket_key = {:?}", secret.path())] {
        let site = Site::new(&tls, &[origin.address]);
        let mut process = site.run().await;
        for version in [&TLS13, &TLS12] {
            let config = Arc::new(site.authority.trusting_version(&[version], &["http/1.1"], None));
            assert!(!site.ask(&config).await, "the first one");
            site.upgrade(process).await;
            assert!(site.ask(&config).await, "{version:?}, {tls}");
            assert!(site.ask(&config).await, "with what the new process gave");
            // The next round begins with a process of ours again.
            site.stop().await;
            process = site.run().await;
        }
    }
}

/// An application that gives half an answer below `/slow`, and the rest when it is told.
async fn halves(rest: Arc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let rest = Arc::clone(&rest);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                if !head.starts_with(b"GET /slow") {
                    return stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick")
                        .await;
                }
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
                    .await?;
                rest.notified().await;
                stream.write_all(b"-rest").await
            });
        }
    });
    address
}

async fn begin(client: &mut SendRequest<Bytes>, path: &str) -> Result<h2::RecvStream, h2::Error> {
    timeout(PATIENCE, async {
        *client = client.clone().ready().await?;
        let request = Request::get(format!("https://{NAME}{path}"))
            .body(())
            .expect("a request");
        let (response, _) = client.send_request(request, true)?;
        let response = response.await?;
        assert_eq!(response.status(), 200);
        Ok(response.into_body())
    })
    .await
    .expect("in time")
}

async fn part(body: &mut h2::RecvStream) -> Option<Bytes> {
    let data = timeout(PATIENCE, body.data()).await.expect("in time")?.expect("data");
    let _ = body.flow_control().release_capacity(data.len());
    Some(data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_http2_are_told_and_their_streams_finish() {
    let rest = Arc::new(Notify::new());
    let site = Site::new("", &[halves(Arc::clone(&rest)).await]);
    let process = site.run().await;
    let config = Arc::new(site.authority.trusting(&["h2"], None));
    let connect = async || {
        let shaken = h2::client::handshake(site.shake(&config).await)
            .await
            .expect("a handshake");
        let (client, connection) = shaken;
        (client, tokio::spawn(connection))
    };
    let (mut client, connection) = connect().await;
    let mut slow = begin(&mut client, "/slow").await.expect("an answer");
    assert_eq!(part(&mut slow).await.as_deref(), Some(b"first".as_slice()));
    let (mut idle, closing) = connect().await;
    let mut quick = begin(&mut idle, "/").await.expect("an answer");
    assert_eq!(part(&mut quick).await.as_deref(), Some(b"quick".as_slice()));

    site.succeeds(&["upgrade"]).await;
    // Who waits for nothing is told, and goes; GOAWAY without a fault, of which the library says nothing.
    timeout(PATIENCE, closing)
        .await
        .expect("in time")
        .expect("joined")
        .expect("a good end");
    eventually("no further request is taken", async || {
        begin(&mut client, "/")
            .await
            .is_err_and(|error| error.is_go_away() || error.is_library())
    })
    .await;
    assert!(!connection.is_finished(), "a stream is open");
    rest.notify_one();
    assert_eq!(part(&mut slow).await.as_deref(), Some(b"-rest".as_slice()));
    assert_eq!(part(&mut slow).await, None);
    timeout(PATIENCE, connection)
        .await
        .expect("in time")
        .expect("joined")
        .expect("a good end");
    assert_eq!(process.replaced().await.code(), Some(0));
    let (mut next, _connection) = connect().await;
    assert!(begin(&mut next, "/").await.is_ok(), "the new process serves");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_took_out_of_service_stays_out() {
    let (one, two) = (Origin::fixed("one").await, Origin::fixed("two").await);
    let site = Site::new("", &[one.address, two.address]);
    let server = one.address.to_string();
    let config = Arc::new(site.authority.trusting(&["http/1.1"], None));
    let process = site.run().await;
    let drained = async || -> Vec<Value> {
        let shown = client::admin(site.admin, "/api/v1/upstreams/app").await.json();
        let servers = shown["servers"].as_array().expect("servers");
        let of = |server: &Value| serde_json::json!([server["draining"], server["sessions_kept"]]);
        servers.iter().map(of).collect()
    };
    let yes = serde_json::json!([true, true]);
    let no = serde_json::json!([false, false]);
    site.succeeds(&["drain", "app", &server, "--keep-sessions"]).await;
    assert_eq!(drained().await, [yes.clone(), no.clone()]);

    // From the first request that the new process takes on, and through the next upgrade as well.
    site.upgrade(process).await;
    site.succeeds(&["upgrade"]).await;
    assert_eq!(drained().await, [yes, no.clone()]);
    for _ in 0..4 {
        site.ask(&config).await;
    }
    assert_eq!(one.received().len(), 0);
    assert_eq!(two.received().len(), 4);

    // And it is back when operators say so, there and later.
    site.succeeds(&["undrain", "app", &server]).await;
    site.succeeds(&["upgrade"]).await;
    assert_eq!(drained().await, [no.clone(), no]);
    for _ in 0..4 {
        site.ask(&config).await;
    }
    assert!(!one.received().is_empty());
    site.stop().await;
}

/// Whoever has come to the old process and asks only when the new one serves is not cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_has_just_come_in_is_answered() {
    let site = Site::new("", &[free()]);
    let process = site.run().await;
    let mut operator = Connection::open(site.admin).await;
    site.succeeds(&["upgrade"]).await;
    let answer = operator.ask("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    drop(operator);
    assert_eq!(process.replaced().await.code(), Some(0));
    site.stop().await;
}

/// An order that came when the drains had been handed over would be forgotten: it is refused instead, and can be given to
/// the new process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_replaced_takes_no_orders_for_the_next() {
    let (one, two) = (Origin::fixed("one").await, Origin::fixed("two").await);
    let site = Site::new("", &[one.address, two.address]);
    let process = site.run().await;
    let order = |server: SocketAddr| {
        format!(
            "POST /api/v1/upstreams/app/servers/{server}/drain HTTP/1.1\r\nHost: localhost\r\nX-Requested-With: x\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    // A client that waits for its next request keeps the process, and with it what operators say to it.
    let mut client = Connection::open(process.address).await;
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await.status,
        200
    );
    let mut before = Connection::open(site.admin).await;
    assert_eq!(before.ask(&order(one.address)).await.status, 200);
    site.succeeds(&["upgrade"]).await;
    let late = before.ask(&order(two.address)).await;
    assert_eq!(late.status, 409, "{}", late.text());
    assert_eq!(late.header("connection"), Some("close"));
    let now = client::ask(site.admin, order(two.address)).await;
    assert_eq!(now.status, 200);
    drop(client);
    assert_eq!(process.replaced().await.code(), Some(0));

    // An upgrade that fails hands nothing over: orders are taken as before.
    let text = std::fs::read_to_string(site.file()).expect("file");
    std::fs::write(site.file(), "[server").expect("file");
    let failed = client::ask(
        site.admin,
        "POST /api/v1/upgrade HTTP/1.1\r\nHost: localhost\r\nX-Requested-With: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(failed.status, 503, "{}", failed.text());
    std::fs::write(site.file(), text).expect("file");
    assert_eq!(client::ask(site.admin, order(two.address)).await.status, 200);
    site.stop().await;
}
