//! A WebSocket over TLS meets the same policies as any request, and is a tunnel behind them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::gateway::{self, Running};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

/// As cheap as it can be, of "secret".
const BCRYPT: &str = "$2y$04$b/h30aruktzRGKvOmf4KyeXw147OyCS6Xc/y6z68AhCW2sN9UIM/O";

/// A server that sends back what it gets, and remembers whom it was told about.
async fn echo() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the library's own type")]
                let look = |request: &Request, answer: Response| {
                    let field = |name: &str| {
                        request
                            .headers()
                            .get(name)
                            .and_then(|value| value.to_str().ok())
                            .unwrap_or("-")
                            .to_owned()
                    };
                    let line = format!(
                        "{} {} {}",
                        field("x-user"),
                        field("x-forwarded-proto"),
                        field("authorization")
                    );
                    log.lock().expect("log").push(line);
                    Ok(answer)
                };
                let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, told)
}

struct Site {
    gateway: Running,
    authority: Authority,
}

impl Site {
    /// The socket, or the status of the refusal.
    async fn open(
        &self,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, u16> {
        let config = Arc::new(self.authority.trusting(&["http/1.1"], None));
        let tcp = TcpStream::connect(self.gateway.tls()).await.expect("connect");
        let name = ServerName::try_from("site.test").expect("a name");
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .expect("a handshake");
        let mut request = format!("wss://site.test{path}")
            .into_client_request()
            .expect("a request");
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await;
        match opened.expect("an answer in time") {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_policy_is_asked_before_the_tunnel_opens() {
    let (server, told) = echo().await;
    let authority = Authority::new();
    let (cert, key) = authority.site("site", &["site.test"]);
    let users = cert.with_file_name("users");
    std::fs::write(&users, format!("ann:{BCRYPT}\n")).expect("written");
    let gateway = gateway::start(&format!(
        "[tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = {cert:?}\nkey = {key:?}\n\
         [upstream.app]\nservers = [\"{server}\"]\n\
         [access.site]\ndeny_agents = [\"bad/*\"]\nscanners = true\nmethods = [\"GET\"]\n\
         [auth.staff]\nbasic = {{ file = {users:?} }}\nforward = {{ \"x-user\" = \"sub\" }}\ncredentials = \"remove\"\n\
         [rate_limit.few]\nrate = \"1/h\"\nburst = 1\n\
         [defaults]\naccess = \"site\"\n\
         [[route]]\nname = \"closed\"\npath = \"/closed/*\"\nupstream = \"app\"\nmaintenance = true\n\
         [[route]]\nname = \"limited\"\npath = \"/limited\"\nupstream = \"app\"\nauth = \"staff\"\nrate_limit = [\"few\"]\n\
         [[route]]\nname = \"ws\"\npath = \"/*\"\nupstream = \"app\"\nauth = \"staff\"\n\
         concurrency = {{ limit = 1, queue = 0 }}\n"
    ))
    .await;
    let site = Site { gateway, authority };
    let known = ("authorization", "Basic YW5uOnNlY3JldA==");
    for (path, fields, status) in [
        ("/ws", &[][..], 401),
        ("/ws", &[("authorization", "Basic YW5uOndyb25n")], 401),
        ("/ws", &[known, ("user-agent", "bad/1")], 403),
        ("/.env", &[known], 404),
        ("/closed/ws", &[known], 503),
    ] {
        assert_eq!(site.open(path, fields).await.err(), Some(status), "{path} {fields:?}");
    }
    assert!(
        told.lock().expect("log").is_empty(),
        "who was refused did not reach the application"
    );

    let mut socket = site.open("/ws", &[known, ("x-user", "root")]).await.expect("a socket");
    assert_eq!(*told.lock().expect("log"), ["ann https -"]);
    for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
        let message = Message::text("a".repeat(length));
        socket.send(message.clone()).await.expect("sent");
        let back = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time");
        assert_eq!(back.expect("a message").expect("good"), message, "{length}");
    }
    assert_eq!(site.open("/ws", &[known]).await.err(), Some(503), "one at a time");
    socket.close(None).await.expect("closed");
    drop(socket);
    eventually("its place is free again", async || {
        site.open("/ws", &[known]).await.is_ok()
    })
    .await;
    for _ in 0..2 {
        drop(site.open("/limited", &[known]).await.expect("a socket"));
    }
    assert_eq!(site.open("/limited", &[known]).await.err(), Some(429));
}
