//! Connections that balancers announce by the PROXY protocol, in and out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use deals247_gateway::proxy_protocol::{self, Ends, Header, Version};

use crate::support::client::{self, Connection};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::Origin;
use crate::support::tls::{Authority, Signed};

const ASKED: &str = "GET /who HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn ends(source: &str) -> Option<Ends> {
    Some(Ends {
        source: source.parse().expect("source"),
        destination: "198.51.100.9:8443".parse().expect("destination"),
    })
}

fn header(version: Version, source: &str) -> Vec<u8> {
    proxy_protocol::write(version, ends(source))
}

async fn before(origin: &Origin, server: &str, more: &str) -> Running {
    gateway::start(&format!(
        "{server}\n[upstream.app]\nservers = [\"{}\"]\n{more}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await
}

/// What comes first, then a request; both in one write.
async fn ask_after(address: SocketAddr, first: &[u8]) -> Option<client::Response> {
    let mut connection = Connection::open(address).await;
    connection.send([first, ASKED.as_bytes()].concat()).await;
    connection.response(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_announced_is_the_client() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "proxy_protocol = [\"127.0.0.1\"]", "").await;
    for (first, client) in [
        (header(Version::V1, "192.0.2.7:4711"), "192.0.2.7"),
        (header(Version::V2, "192.0.2.8:4711"), "192.0.2.8"),
        (header(Version::V2, "[2001:db8::9]:4711"), "2001:db8::9"),
        // Nobody in particular: the connection's own end is all that is known.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (proxy_protocol::write(Version::V2, None), "127.0.0.1"),
    ] {
        let answer = ask_after(gateway.address, &first).await.expect("an answer");
        assert_eq!(answer.status, 200, "{client}");
        assert_eq!(origin.last().header("x-forwarded-for"), Some(client));
    }
    gateway.logged(5).await;
    // A line is written when its answer has been: lines of several connections come in any order.
    let lines = gateway.log().await;
    let logged = |client: &str| lines.iter().filter(|line| line["client"] == client).count();
    assert_eq!((logged("192.0.2.7"), logged("127.0.0.1")), (1, 2));

    // A connection is one client's to its end, and the header may come in pieces.
    let mut connection = Connection::open(gateway.address).await;
    for byte in header(Version::V2, "192.0.2.10:1") {
        connection.send([byte]).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert_eq!(connection.ask(ASKED).await.status, 200);
        assert_eq!(origin.last().header("x-forwarded-for"), Some("192.0.2.10"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_must_announce_and_does_not_is_cut() {
    let origin = Origin::fixed("hello").await;
    let server = "proxy_protocol = [\"127.0.0.1\"]\nheader_timeout = \"300ms\"";
    let gateway = before(&origin, server, "").await;
    let cases: [&[u8]; 5] = [
        b"",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01",
        b"PROXY ",
    ];
    for (count, first) in (1..).zip(cases) {
        let mut connection = Connection::open(gateway.address).await;
        connection
            .send(if first == b"PROXY " {
                first.to_vec()
            } else {
                [first, ASKED.as_bytes()].concat()
            })
            .await;
        assert!(connection.is_closed().await, "{first:?}");
        let refused = async || {
            gateway
                .metric("gateway_connections_refused_total{reason=\"proxy_protocol\"}")
                .await
        };
        eventually("it is counted", async || refused().await == f64::from(count)).await;
    }
    assert!(origin.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_listed_announces_nothing() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(
        &origin,
        "proxy_protocol = [\"192.0.2.0/24\"]\ntrusted_proxies = [\"127.0.0.1\"]",
        "",
    )
    .await;
    for version in [Version::V1, Version::V2] {
        let answer = ask_after(gateway.address, &header(version, "192.0.2.7:1"))
            .await
            .expect("an answer");
        assert_eq!(answer.status, 400, "{version:?}");
    }
    assert!(origin.received().is_empty(), "a header was taken for a request");
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_by_client_counts_those_who_are_announced() {
    let origin = Origin::fixed("hello").await;
    let server =
        "proxy_protocol = [\"127.0.0.1\"]\nmax_connections_per_client = 1\ntrusted_proxies = [\"203.0.113.1\"]";
    let more = "[rate_limit.each]\nrate = \"2/h\"\nburst = 1\nkey = \"client-ip\"\n[defaults]\nrate_limit = [\"each\"]\nallow = [\"192.0.2.0/24\"]";
    let gateway = before(&origin, server, more).await;
    let mut held = Connection::open(gateway.address).await;
    held.send(header(Version::V2, "192.0.2.7:1")).await;
    assert_eq!(held.ask(ASKED).await.status, 200);
    let second = ask_after(gateway.address, &header(Version::V2, "192.0.2.7:2"))
        .await
        .expect("an answer");
    assert_eq!(second.status, 503, "its second connection");
    let other = ask_after(gateway.address, &header(Version::V2, "192.0.2.8:2"))
        .await
        .expect("an answer");
    assert_eq!(other.status, 200, "another client's first");
    assert_eq!(held.ask(ASKED).await.status, 200);
    assert_eq!(held.ask(ASKED).await.status, 429, "its own limit");
    let stranger = ask_after(gateway.address, &header(Version::V1, "198.51.100.1:2"))
        .await
        .expect("an answer");
    assert_eq!(stranger.status, 403, "the list of the route");
    // Whoever is announced is believed only where it is trusted by itself.
    let forged = "GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: 192.0.2.99\r\n\r\n";
    for (source, status) in [("198.51.100.2:2", 403), ("203.0.113.1:2", 200)] {
        let mut connection = Connection::open(gateway.address).await;
        connection.send(header(Version::V2, source)).await;
        assert_eq!(connection.ask(forged).await.status, status, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_comes_behind_the_header() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let (cert, key) = authority.site("site", &["site.test"]);
    let gateway = before(
        &origin,
        "",
        &format!(
            "[tls]\nlisten = [\"127.0.0.1:0\"]\nproxy_protocol = {{ from = [\"private\"], listen = [\"127.0.0.1:0\"] }}\n\
             [[certificate]]\ncert = {cert:?}\nkey = {key:?}\n"
        ),
    )
    .await;
    for version in [Version::V1, Version::V2] {
        let mut tcp = TcpStream::connect(gateway.tls()).await.expect("connect");
        tcp.write_all(&header(version, "192.0.2.7:4711"))
            .await
            .expect("written");
        let config = Arc::new(authority.trusting(&["http/1.1"], None));
        let name = ServerName::try_from("site.test").expect("a name");
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .expect("a handshake");
        let answer = Connection::over(stream).ask(ASKED).await;
        assert_eq!(answer.status, 200);
        let told = origin.last();
        assert_eq!(told.header("x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(told.header("x-forwarded-proto"), Some("https"));
    }
    // The listener in clear text has no such rule.
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(
        ask_after(gateway.address, &header(Version::V1, "192.0.2.7:1"))
            .await
            .expect("an answer")
            .status,
        400
    );
}

/// What connections began with, and how many requests each of them carried.
type Seen = Vec<(Option<Ends>, usize)>;

/// A server behind the PROXY protocol: what each connection began with, and how many requests it carried.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    async fn start(identity: Option<Signed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let acceptor = identity.map(|identity| identity.acceptor(&["http/1.1"]));
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, acceptor) = (Arc::clone(&log), acceptor.clone());
                tokio::spawn(async move {
                    // Byte by byte: what follows is not the header's.
                    let (mut bytes, mut byte) = (Vec::new(), [0]);
                    let ends = loop {
                        stream.read_exact(&mut byte).await.expect("a byte of a header");
                        bytes.push(byte[0]);
                        match proxy_protocol::read(&bytes).expect("a header") {
                            Header::Partial => {}
                            Header::Complete { ends, .. } => break ends,
                        }
                    };
                    let place = {
                        let mut log = log.lock().expect("log");
                        log.push((ends, 0));
                        log.len() - 1
                    };
                    let mut stream: Box<dyn client::Duplex> = match acceptor {
                        None => Box::new(stream),
                        Some(acceptor) => Box::new(acceptor.accept(stream).await.expect("a handshake")),
                    };
                    let mut read = Vec::new();
                    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
                        if read.ends_with(b"\r\n\r\n") {
                            read.clear();
                            log.lock().expect("log")[place].1 += 1;
                            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                            stream.write_all(answer).await.expect("written");
                            stream.flush().await.expect("flushed");
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<(Option<Ends>, usize)> {
        self.seen.lock().expect("log").clone()
    }
}

async fn told(version: &str, identity: Option<(Signed, String)>) {
    let (identity, tls) = identity.map_or((None, String::new()), |(identity, tls)| (Some(identity), tls));
    let server = Server::start(identity).await;
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[upstream.app]\nservers = [\"{}\"]\nproxy_protocol = \"{version}\"\n{tls}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        server.address
    ))
    .await;
    let mut one = gateway.connect().await;
    for client in ["192.0.2.7", "192.0.2.8", "2001:db8::9"] {
        let request = format!("GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: {client}\r\n\r\n");
        assert_eq!(one.ask(&request).await.text(), "ok");
    }
    assert_eq!(gateway.get("/").await.text(), "ok");
    let seen = server.seen();
    let clients: Vec<String> = seen
        .iter()
        .map(|(ends, _)| ends.expect("a client").source.ip().to_canonical().to_string())
        .collect();
    assert_eq!(clients, ["192.0.2.7", "192.0.2.8", "2001:db8::9", "127.0.0.1"]);
    assert!(seen.iter().all(|(_, requests)| *requests == 1), "{seen:?}");
    let last = seen[3].0.expect("ends");
    assert_ne!(last.source.port(), 0, "the client's own port is known");
    assert_eq!(last.destination, gateway.address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_told_whose_connection_it_is() {
    told("v1", None).await;
    told("v2", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_behind_tls_are_told_before_the_handshake() {
    for version in ["v1", "v2"] {
        let identity = Signed::by_itself("app.test");
        let tls = "tls = { verify = false, sni = \"app.test\" }".to_owned();
        told(version, Some((identity, tls))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_nobodys() {
    for version in ["v1", "v2"] {
        let server = Server::start(None).await;
        let gateway = gateway::start(&format!(
            "[upstream.app]\nservers = [\"{}\"]\nproxy_protocol = \"{version}\"\n\
             health_check = {{ path = \"/health\", interval = \"100ms\", timeout = \"100ms\" }}\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
            server.address
        ))
        .await;
        eventually("it was asked", async || server.seen().len() > 1).await;
        assert!(server.seen().iter().all(|(ends, _)| ends.is_none()));
        gateway.drain(Some(Duration::from_secs(1))).await;
    }
}
