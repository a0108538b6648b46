//! A reload drops nothing, takes over what lives, and is whole or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use deals247_gateway::gateway::StartError;
use tokio::net::{TcpListener, TcpStream};

use crate::support::client::{self, Connection};
use crate::support::eventually;
use crate::support::gateway;
use crate::support::origin::{Flag, Origin, Step, raw, reply};
use crate::support::port::{free, listens};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A site whose every answer comes from this server; `more`: further tables.
fn site(server: SocketAddr, upstream: &str, more: &str) -> String {
    format!(
        "[upstream.app]\nservers = [\"{server}\"]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n{more}"
    )
}

fn fixed(body: &str) -> String {
    format!("[[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {{ body = \"{body}\" }}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_request_of_a_connection_reads_the_new_file() {
    let gateway = gateway::start(&fixed("one")).await;
    let mut connection = gateway.connect().await;
    assert_eq!(connection.ask(GET).await.text(), "one");
    assert_eq!(gateway.reload(&fixed("two")).await.expect("reloaded"), 2);
    assert_eq!(connection.ask(GET).await.text(), "two");
    assert!(gateway.metric("gateway_config_generation").await == 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_and_a_slow_answer_do_not_notice_fifty_reloads() {
    let origin = Origin::start(|request| {
        if request.line().contains("/ws") {
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: x\r\n\r\n";
            [raw(agreed), vec![Step::Echo]].concat()
        } else {
            // The body comes in 60 pieces, over the time of the reloads.
            let mut steps = raw("HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n");
            for _ in 0..60 {
                steps.extend([Step::Wait(Duration::from_millis(20)), Step::Send(b"x".to_vec())]);
            }
            steps
        }
    })
    .await;
    let gateway = gateway::start(&site(origin.address, "", "")).await;
    let mut tunnel = gateway.connect().await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert_eq!(tunnel.ask(upgrade).await.status, 101);
    let mut slow = gateway.connect().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request is under way", async || origin.received().len() == 2).await;
    for round in 0..50_u32 {
        let upstream = format!("connect_timeout = \"{}s\"", 1 + round % 5);
        let more = format!("[[route]]\nname = \"r{round}\"\npath = \"/r{round}\"\nrespond = {{ body = \"r\" }}\n");
        gateway
            .reload(&site(origin.address, &upstream, &more))
            .await
            .expect("reloaded");
        tunnel.send(format!("round {round}")).await;
        assert_eq!(tunnel.read_some().await, format!("round {round}").into_bytes());
    }
    assert_eq!(slow.response(false).await.expect("an answer").body, vec![b'x'; 60]);
    assert_eq!(origin.received().len(), 2, "nothing was asked twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_request_fails_and_no_connection_is_closed() {
    let origin = Origin::fixed("hello").await;
    let other = Origin::fixed("hello").await;
    let gateway = gateway::start(&site(origin.address, "", "")).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, asked, address) = (Arc::clone(&stop), Arc::clone(&asked), gateway.address);
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await;
                let mut served = 0;
                while !stop.load(SeqCst) {
                    let answer = connection.ask(GET).await;
                    assert_eq!((answer.status, answer.text()), (200, "hello"));
                    asked.fetch_add(1, SeqCst);
                    served += 1;
                    if answer.header("connection") == Some("close") {
                        assert_eq!(served, 1000, "only what the file says closes it");
                        (connection, served) = (Connection::open(address).await, 0);
                    }
                }
            })
        })
        .collect();
    for round in 0..100 {
        let before = asked.load(SeqCst);
        // Servers, settings, limits, routes: something of everything changes.
        let server = [origin.address, other.address][round % 2];
        let upstream = ["", "balance = \"round-robin\"", "outlier = { failures = 7 }"][round % 3];
        let more = format!(
            "rate_limit = [\"l{0}\"]\n[rate_limit.l{0}]\nrate = \"100000/s\"\nburst = 100000\n",
            round % 4
        );
        gateway.reload(&site(server, upstream, &more)).await.expect("reloaded");
        eventually("requests go on", async || asked.load(SeqCst) > before + 8).await;
    }
    stop.store(true, SeqCst);
    for client in clients {
        client.await.expect("no request failed");
    }
    assert!(other.received().len() > 50 && origin.received().len() > 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go() {
    let told = Flag::default();
    let answer = told.clone();
    let origin = Origin::start(move |request| {
        let wait = request.line().contains("/slow").then(|| Step::Await(told.clone()));
        wait.into_iter().chain(reply(200, "", "done")).collect()
    })
    .await;
    let (first, second) = (free(), free());
    let listen = |addresses: &[SocketAddr]| {
        let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        format!("listen = [{}]\n{}", addresses.join(", "), site(origin.address, "", ""))
    };
    let gateway = gateway::start(&listen(&[first])).await;
    gateway.reload(&listen(&[first, second])).await.expect("reloaded");
    assert_eq!(gateway.gateway.addresses(), [first, second]);
    assert_eq!(client::get(second, "/", "").await.text(), "done");
    let admin = gateway.admin;

    let mut busy = Connection::open(first).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("in flight", async || origin.received().len() == 2).await;
    gateway.reload(&listen(&[second])).await.expect("reloaded");
    listens(first.port(), 0).await;
    assert!(TcpStream::connect(first).await.is_err(), "it accepts no more");
    answer.raise();
    let last = busy.response(false).await.expect("an answer");
    assert_eq!((last.text(), last.header("connection")), ("done", Some("close")));
    assert_eq!(client::get(second, "/", "").await.text(), "done");
    assert_eq!(gateway.gateway.admin_address(), Some(admin), "port 0 stays where it is");
    assert_eq!(client::admin(admin, "/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_takes_the_place_of_a_wider_or_narrower_one() {
    let gateway = gateway::start(&fixed("one")).await;
    let port = free().port();
    // One after the other on the same port, while connections come.
    for (round, listen) in ["0.0.0.0", "127.0.0.1", "0.0.0.0", "127.0.0.1"].into_iter().enumerate() {
        let body = format!("round {round}");
        let text = format!("listen = [\"{listen}:{port}\"]\n{}", fixed(&body));
        gateway.reload(&text).await.expect("reloaded");
        listens(port, 1).await;
        let answer = client::ask(SocketAddr::from(([127, 0, 0, 1], port)), GET).await;
        assert_eq!(answer.text(), body);
        let elsewhere = TcpStream::connect(SocketAddr::from(([127, 0, 0, 2], port))).await;
        assert_eq!(elsewhere.is_ok(), listen == "0.0.0.0", "{listen}");
        let another = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
        assert!(another.is_err(), "nobody else gets in");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_changes_nothing() {
    let gateway = gateway::start(&fixed("one")).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let (taken, free) = (taken.local_addr().expect("address"), free());
    let text = format!("listen = [\"{free}\", \"{taken}\"]\n{}", fixed("two"));
    match gateway.reload(&text).await {
        Err(StartError::Bind(errors)) => assert_eq!(errors[0].address, taken),
        other => panic!("{other:?}"),
    }
    assert_eq!(gateway.get("/").await.text(), "one");
    listens(free.port(), 0).await;
    assert!(TcpStream::connect(free).await.is_err(), "the good one is free again");

    // The access log cannot be opened; the upstream's changes must not have been made either.
    let origin = Origin::fixed("hello").await;
    gateway.reload(&site(origin.address, "", "")).await.expect("reloaded");
    let before = gateway.gateway.live.pin();
    let changed = site(origin.address, "balance = \"random\"", "");
    let refused = gateway.reload_as(&changed, |config| {
        if let Some(log) = &mut config.access_log {
            log.target = deals247_gateway::config::model::LogTarget::File("/nowhere/at/all".into());
        }
    });
    assert!(matches!(refused.await, Err(StartError::Load(_))));
    let after = gateway.gateway.live.pin();
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(gateway.get("/").await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_counters_and_buckets_are_carried_over() {
    let (good, bad) = (Origin::fixed("good").await, free());
    let text = |more: &str| {
        format!(
            "[upstream.app]\nservers = [\"{}\", \"{bad}\"]\nhealth_check = {{ path = \"/\", interval = \"1h\", unhealthy_after = 1 }}\n{more}\n\
             [rate_limit.few]\nrate = \"1/h\"\nburst = 2\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\nrate_limit = [\"few\"]\n",
            good.address
        )
    };
    let gateway = gateway::start(&text("")).await;
    let endpoints = gateway.gateway.live.pin().upstreams[0].pool.endpoints();
    let is_out = |index: usize| !endpoints[index].state().is_usable();
    assert_eq!((is_out(0), is_out(1)), (false, true));
    assert_eq!(gateway.get("/").await.status, 200);

    for (round, more) in ["", "balance = \"random\"", "panic_threshold = \"10%\"", ""]
        .iter()
        .enumerate()
    {
        let before = gateway.gateway.live.pin();
        gateway.reload(&text(more)).await.expect("reloaded");
        let after = gateway.gateway.live.pin();
        let same = Arc::ptr_eq(&before.upstreams[0], &after.upstreams[0]);
        assert_eq!(same, round == 0, "what the file says the same of is the same");
        let now = after.upstreams[0].pool.endpoints();
        for (old, new) in endpoints.iter().zip(now.iter()) {
            assert!(Arc::ptr_eq(old, new), "round {round}: a server keeps its state");
        }
    }
    assert!(is_out(1));
    assert_eq!(
        gateway
            .metric("gateway_requests_total{method=\"GET\",route=\"all\",status=\"2xx\"}")
            .await,
        1.0
    );
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.get("/").await.status, 429, "the bucket was not filled again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_named_is_let_go() {
    let origin = Origin::fixed("hello").await;
    let more = "rate_limit = [\"few\"]\n[rate_limit.few]\nrate = \"1/s\"\nburst = 5\n\
                [[route]]\nname = \"old\"\npath = \"/old\"\nrespond = { body = \"\" }\n";
    let gateway = gateway::start(&site(origin.address, "", more)).await;
    assert_eq!(gateway.get("/").await.text(), "hello");
    assert_eq!(gateway.get("/old").await.text(), "");
    let upstream = Arc::downgrade(&gateway.gateway.live.pin().upstreams[0]);
    let page = client::admin(gateway.admin, "/metrics").await;
    for name in ["upstream=\"app\"", "route=\"old\"", "policy=\"few\""] {
        assert!(page.text().contains(name), "{name}");
    }
    gateway.reload(&fixed("two")).await.expect("reloaded");
    eventually("nobody holds it", async || upstream.upgrade().is_none()).await;
    let page = client::admin(gateway.admin, "/metrics").await;
    for name in ["upstream=\"app\"", "route=\"old\"", "policy=\"few\""] {
        assert!(!page.text().contains(name), "{name}: {}", page.text());
    }
    // It may come back, from zero.
    gateway.reload(&site(origin.address, "", "")).await.expect("reloaded");
    assert_eq!(gateway.get("/").await.text(), "hello");
}
