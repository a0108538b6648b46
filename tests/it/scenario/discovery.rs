//! Servers that come and go: by DNS, by SRV records, by a file.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::dns::{A, AAAA, Data, Fault, NameServer, SERVFAIL};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};

/// A route to an upstream whose servers are these; more keys of the upstream, and more tables, may follow.
async fn before(dns: &NameServer, servers: &str, more: &str) -> Running {
    // An answer may take long on a busy machine.
    before_within("10s", dns, servers, more).await
}

/// The same with a limit for the name server.
async fn before_within(limit: &str, dns: &NameServer, servers: &str, more: &str) -> Running {
    gateway::start(&format!(
        "[dns]\nservers = [\"{}\"]\ntimeout = \"{limit}\"\n[upstream.app]\nbalance = \"round-robin\"\n{servers}\n{more}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        dns.address
    ))
    .await
}

/// Replicas of one application: the same port at addresses of their own, each answering with its address.
async fn replicas<const N: usize>() -> ([Origin; N], u16) {
    'again: loop {
        let mut origins = Vec::new();
        let mut port = 0;
        for last in 1..=N {
            let last = u8::try_from(last).expect("few");
            let address = SocketAddr::from(([127, 0, 1, last], port));
            let free = match std::net::TcpListener::bind(address) {
                Ok(socket) => socket.local_addr().expect("address"),
                Err(_) => continue 'again, // somebody has that port there
            };
            port = free.port();
            let body = free.ip().to_string();
            origins.push(Origin::start_again(free, move |_| reply(200, "", &body)).await);
        }
        let Ok(origins) = origins.try_into() else {
            unreachable!("as many as there are");
        };
        return (origins, port);
    }
}

/// Who answers, of a number of requests that meets everybody.
async fn answering(gateway: &Running) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let answer = gateway.get("/").await;
        seen.insert(match answer.status {
            200 => answer.text().to_owned(),
            status => status.to_string(),
        });
    }
    seen
}

async fn until_answering(what: &str, gateway: &Running, who: &[&str]) {
    let who: BTreeSet<String> = who.iter().map(|who| (*who).to_owned()).collect();
    eventually(what, async || answering(gateway).await == who).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_come_and_go_by_dns() {
    let dns = NameServer::start().await;
    let (_origins, port) = replicas::<3>().await;
    dns.addresses("app.test", 1, &["127.0.1.1"]);
    let gateway = before(&dns, &format!("servers = [\"app.test:{port}\"]"), "").await;
    assert_eq!(answering(&gateway).await, BTreeSet::from(["127.0.1.1".to_owned()]));

    dns.addresses("replicas.test", 1, &["127.0.1.1", "127.0.1.2", "127.0.1.3"]);
    dns.set("app.test", 1, &[Data::Cname("replicas.test")]);
    until_answering("three replicas", &gateway, &["127.0.1.1", "127.0.1.2", "127.0.1.3"]).await;

    dns.addresses("app.test", 1, &["127.0.1.3"]);
    until_answering("one replica", &gateway, &["127.0.1.3"]).await;
    for _ in 0..8 {
        assert_eq!(
            gateway.get("/").await.text(),
            "127.0.1.3",
            "a replica that is gone gets nothing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leaves_finishes_its_requests() {
    let dns = NameServer::start().await;
    let ([leaving, _staying], port) = replicas::<2>().await;
    // In place of the first one, one that sends the second part of its answer when it is told to.
    let address = leaving.address;
    drop(leaving);
    let (finish, finished) = oneshot::channel();
    let answers = tokio::spawn(async move {
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await, // the one before is still being dropped
            }
        };
        let (mut stream, _) = listener.accept().await.expect("a connection");
        drop(listener); // it takes one request only
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.expect("a request");
        let first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        stream.write_all(first).await.expect("sent");
        finished.await.expect("told");
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.expect("sent");
    });
    dns.addresses("app.test", 1, &["127.0.1.1"]);
    let gateway = before(&dns, &format!("servers = [\"app.test:{port}\"]"), "").await;
    let mut busy = gateway.connect().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut received = String::new();
    while !received.contains("first") {
        let more = busy.read_some().await;
        assert!(!more.is_empty(), "closed after {received:?}");
        received.push_str(&String::from_utf8_lossy(&more));
    }
    dns.addresses("app.test", 1, &["127.0.1.2"]);
    until_answering("the other replica", &gateway, &["127.0.1.2"]).await;
    finish.send(()).expect("the replica");
    while !received.ends_with("last\r\n0\r\n\r\n") {
        let more = busy.read_some().await;
        assert!(!more.is_empty(), "cut after {received:?}");
        received.push_str(&String::from_utf8_lossy(&more));
    }
    answers.await.expect("answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_exist_yet_costs_only_its_own_routes() {
    let dns = NameServer::start().await;
    let (_origins, port) = replicas::<1>().await;
    let other = Origin::fixed("other").await;
    let more = format!(
        "[upstream.other]\nservers = [\"{}\"]\n[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"other\"",
        other.address
    );
    let gateway = before(&dns, &format!("servers = [\"app.test:{port}\"]"), &more).await;
    assert_eq!(gateway.get("/").await.status, 503);
    assert_eq!(gateway.get("/other").await.text(), "other");
    dns.addresses("app.test", 1, &["127.0.1.1"]);
    until_answering("the name", &gateway, &["127.0.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_fails_takes_nothing_away_and_a_name_that_is_gone_does() {
    let dns = NameServer::start().await;
    let (_origins, port) = replicas::<2>().await;
    dns.addresses("app.test", 1, &["127.0.1.1"]);
    let servers = format!("servers = [\"app.test:{port}\"]\nresolve_interval = \"1s\"");
    let gateway = before_within("500ms", &dns, &servers, "").await;
    until_answering("the first address", &gateway, &["127.0.1.1"]).await;
    for fault in [Fault::Silent, Fault::Code(SERVFAIL)] {
        dns.fails(Some(fault));
        let asked = dns.asked("app.test", A);
        // It was asked so often that its silence is known to the gateway.
        eventually("questions", async || dns.asked("app.test", A) > asked + 4).await;
        assert_eq!(gateway.get("/").await.text(), "127.0.1.1", "{fault:?}");
    }
    dns.fails(None);
    dns.addresses("app.test", 1, &["127.0.1.2"]);
    until_answering("the new address", &gateway, &["127.0.1.2"]).await;
    dns.remove("app.test");
    until_answering("nobody", &gateway, &["503"]).await;
    dns.addresses("app.test", 1, &["127.0.1.1"]);
    until_answering("the name again", &gateway, &["127.0.1.1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_is_long_does_not_hold_longer_than_the_interval() {
    let dns = NameServer::start().await;
    let (_origins, port) = replicas::<2>().await;
    // Docker says ten minutes, whatever happens.
    dns.addresses("app.test", 600, &["127.0.1.1"]);
    let servers = format!("servers = [\"app.test:{port}\"]\nresolve_interval = \"1s\"");
    let gateway = before(&dns, &servers, "").await;
    eventually("the second look-up", async || dns.asked("app.test", A) > 1).await;
    dns.addresses("app.test", 600, &["127.0.1.2"]);
    until_answering("the new address", &gateway, &["127.0.1.2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_have_their_ports_and_weights_from_dns() {
    let dns = NameServer::start().await;
    let (one, two, spare) = (
        Origin::fixed("one").await,
        Origin::fixed("two").await,
        Origin::fixed("spare").await,
    );
    let service = |origin: &Origin, priority, weight| Data::Srv {
        priority,
        weight,
        port: origin.address.port(),
        target: "node.test",
    };
    dns.addresses("node.test", 1, &["127.0.0.1"]);
    // It knows nothing about IPv6, and does not say so properly.
    dns.fails_for("node.test", AAAA, Fault::Code(SERVFAIL));
    let records = [service(&one, 0, 3), service(&two, 0, 1), service(&spare, 1, 1)];
    dns.set("_http._tcp.app.test", 1, &records);
    // Answers with many records do not fit into a datagram.
    dns.truncates(true);
    let gateway = before(&dns, "servers = [\"srv:_http._tcp.app.test\"]", "").await;
    for _ in 0..8 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let counts = [&one, &two, &spare].map(|origin| origin.received().len());
    assert_eq!(counts, [6, 2, 0], "by weight, the first priority only");
    assert!(dns.over_tcp() > 0);
    dns.adds_glue(true);
    dns.set("_http._tcp.app.test", 1, &records[2..]);
    until_answering("the spare one", &gateway, &["spare"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_servers_is_followed() {
    let dns = NameServer::start().await;
    let (_origins, port) = replicas::<3>().await;
    dns.addresses("app.test", 1, &["127.0.1.3"]);
    let directory = tempfile::tempdir().expect("directory");
    let (path, next) = (directory.path().join("servers"), directory.path().join("next"));
    fs::write(&path, "# nobody yet\n").expect("file");
    let gateway = before(&dns, &format!("servers_file = {path:?}"), "").await;
    assert_eq!(gateway.get("/").await.status, 503, "no servers");

    fs::write(
        &path,
        format!("# replicas\n127.0.1.1:{port}\n127.0.1.2:{port} weight=2\n"),
    )
    .expect("file");
    until_answering("the file's", &gateway, &["127.0.1.1", "127.0.1.2"]).await;

    fs::write(&next, format!("app.test:{port}\n")).expect("file");
    fs::rename(&next, &path).expect("renamed");
    until_answering("the name in the file", &gateway, &["127.0.1.3"]).await;

    fs::write(&path, "127.0.1.1\n").expect("file");
    // A second file, good again, shows that the faulty one was passed over: meanwhile there was never anybody else.
    for _ in 0..100 {
        assert_eq!(gateway.get("/").await.text(), "127.0.1.3");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(&path, format!("127.0.1.2:{port}\n")).expect("file");
    until_answering("the good list", &gateway, &["127.0.1.2"]).await;
}
