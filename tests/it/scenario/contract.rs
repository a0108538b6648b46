//! The contract file, unchanged but for addresses, before the stand-in application.

use std::net::SocketAddr;

use deals247_gateway::demo::{self, Server};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client;
use crate::support::gateway;
use crate::support::gateway::Running;

struct Site {
    gateway: Running,
    replicas: Vec<Server>,
    _frontend: Server,
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

async fn site() -> Site {
    let options = demo::app::Options::default();
    let mut replicas = Vec::new();
    for name in ["one", "two"] {
        replicas.push(demo::app::spawn(name, listener().await.0, options.clone()).expect("replica"));
    }
    let frontend = demo::frontend::spawn(listener().await.0).expect("frontend");
    let contract = include_str!("../config/contract.toml");
    // The test's own tables stand in the place of the file's.
    let text = contract
        .replace("\"127.0.0.1:3000\"", &format!("\"{}\"", frontend.address()))
        .replace("\"127.0.0.1:5000\"", &format!("\"{}\"", replicas[0].address()))
        .replace("\"127.0.0.1:5001\"", &format!("\"{}\"", replicas[1].address()))
        .replace("\"0.0.0.0:80\"", "\"127.0.0.1:0\"")
        .replace("\"127.0.0.1:9900\"", "\"127.0.0.1:0\"");
    Site {
        gateway: gateway::start_whole(&text).await,
        replicas,
        _frontend: frontend,
    }
}

const SECURITY: [&str; 4] = [
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_site_is_served_as_its_nginx_conf_meant() {
    let site = site().await;
    let gateway = &site.gateway;
    // Routing: prefixes end at segments.
    for (path, route, upstream) in [
        ("/", "frontend", "web"),
        ("/search", "frontend", "web"),
        ("/submit-deal", "frontend", "web"),
        ("/sw.js", "frontend", "web"),
        ("/apix", "frontend", "web"),
        ("/api/health", "api", "api"),
        ("/api/deals", "deals", "api"),
        ("/api/deals/7", "deals", "api"),
        ("/api/users", "api", "api"),
    ] {
        let count = gateway.log().await.len();
        let answer = gateway.get(path).await;
        // The preview server itself sends what begins with /api on to an API that the stand-in does not have.
        assert!(answer.status < 500 || path == "/apix", "{path}: {}", answer.status);
        for name in SECURITY {
            assert!(answer.header(name).is_some(), "{path}: {name}");
        }
        assert_eq!(answer.header("x-powered-by"), None, "{path}");
        let line = gateway.logged(count + 1).await;
        assert_eq!(
            (&line["route"], &line["upstream"]),
            (&route.into(), &upstream.into()),
            "{path}"
        );
    }
    let page = gateway.get("/deal/7").await;
    assert_eq!((page.status, page.body.len()), (200, 1307));
    let deal = gateway.get("/api/deals/7").await;
    assert_eq!(deal.status, 200);
    assert!(deal.header("etag").expect("ETag").starts_with("W/\""));
    let tag = deal.header("etag").expect("ETag").to_owned();
    let same = client::get(gateway.address, "/api/deals/7", &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!(same.status, 304);
    let short = gateway.get("/s/d001").await;
    assert_eq!(short.status, 302);
    assert!(short.header("location").is_some());
    let health = gateway.get("/health").await;
    assert_eq!(
        (health.status, health.text(), health.header("content-type")),
        (200, "healthy\n", Some("text/plain"))
    );
    let metrics = gateway.get("/api/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("gateway_requests_total"));
    let list = client::get(gateway.address, "/api/deals?limit=100", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(list.header("content-encoding"), Some("gzip"));
    assert!(
        site.replicas.iter().all(|replica| replica.stats().requests() > 0),
        "both replicas take part"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_asset_of_the_page_loads() {
    let site = site().await;
    for path in demo::frontend::paths() {
        let answer = client::get(site.gateway.address, path, "Accept-Encoding: gzip, br\r\n").await;
        assert_eq!((answer.status, answer.truncated), (200, false), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_websocket_client_talks_through() {
    let site = site().await;
    let url = format!("ws://{}/api/../ws/echo", site.gateway.address);
    // The contract sends /ws to the frontend, which knows no WebSocket; the API's echo is asked by its own route.
    assert!(tokio_tungstenite::connect_async(&url).await.is_err());
    let text = format!(
        "[upstream.api]\nservers = [\"{}\"]\n[[route]]\nname = \"live\"\npath = \"/ws/*\"\nupstream = \"api\"\n",
        site.replicas[0].address()
    );
    let gateway = gateway::start(&text).await;
    let (mut socket, answer) = tokio_tungstenite::connect_async(format!("ws://{}/ws/echo", gateway.address))
        .await
        .expect("a handshake");
    assert_eq!(answer.status(), 101);
    for size in [0, 1, 125, 126, 60_000] {
        let message = Message::text("x".repeat(size));
        socket.send(message.clone()).await.expect("send");
        assert_eq!(socket.next().await.expect("open").expect("message"), message);
    }
    socket.close(None).await.expect("close");
}
