//! How fast bodies flow. What is measured is that nothing is faster than the file says; no machine is too slow for that.

use std::time::{Duration, Instant};

use crate::support::client;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};

const BODY: usize = 96 << 10;

/// A burst of a third of the body, and a second for the rest.
const SLOW: &str =
    "[bandwidth.slow]\ndownload = \"64KB/s\"\nupload = \"64KB/s\"\nburst = \"32KB\"\nallow = [\"10.0.0.0/8\"]\n";

/// A site whose whole burst is free again for every client that asks first.
async fn site(route: &str) -> (Origin, Running) {
    let origin = Origin::start(|_| reply(200, "", &"x".repeat(BODY))).await;
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n{SLOW}[upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n{route}\n",
        origin.address
    ))
    .await;
    (origin, gateway)
}

async fn download(gateway: &Running, client: &str) -> Duration {
    let started = Instant::now();
    let answer = client::get(gateway.address, "/", &format!("X-Forwarded-For: {client}\r\n")).await;
    assert_eq!((answer.status, answer.body.len()), (200, BODY));
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_flow_no_faster_than_the_file_says() {
    let (_origin, gateway) = site("bandwidth = [\"slow\"]").await;
    assert!(download(&gateway, "192.0.2.1").await >= Duration::from_secs(1));
    // Two of one client share, one of another does not wait for them: all three end, the two after two seconds.
    let started = Instant::now();
    let (one, other, else_) = tokio::join!(
        download(&gateway, "192.0.2.2"),
        download(&gateway, "192.0.2.2"),
        download(&gateway, "192.0.2.3"),
    );
    assert!(one.max(other) >= Duration::from_millis(2500), "{one:?} {other:?}");
    assert!(else_ >= Duration::from_secs(1) && started.elapsed() >= one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_one_flow_and_some_never_wait() {
    let slowest =
        "[bandwidth.route]\ndownload = \"4KB/s\"\nburst = \"96KB\"\nkey = \"route\"\nallow = [\"10.0.0.0/8\"]\n";
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n{slowest}\
         [[route]]\nname = \"all\"\npath = \"/*\"\nbandwidth = [\"route\"]\nrespond = {{ body = \"{}\" }}\n",
        "x".repeat(BODY)
    ))
    .await;
    // The burst is for one; what follows would take 24 s, and the clients wait together.
    download(&gateway, "192.0.2.1").await;
    for client in ["10.0.0.1", "10.0.0.2", "10.0.0.1"] {
        download(&gateway, client).await;
    }
    let mut waiting = gateway.connect().await;
    waiting
        .send("GET / HTTP/1.1\r\nHost: site.test\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n")
        .await;
    download(&gateway, "10.0.0.3").await;
    drop(waiting); // nothing is left behind
    gateway.drain(Some(Duration::ZERO)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_flow_no_faster_either() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("large"), "x".repeat(BODY)).expect("a file");
    let gateway = gateway::start(&format!(
        "{SLOW}[[route]]\nname = \"all\"\npath = \"/*\"\nbandwidth = [\"slow\"]\nfiles = {{ root = {:?} }}\n",
        directory.path()
    ))
    .await;
    let started = Instant::now();
    assert_eq!(gateway.get("/large").await.body.len(), BODY);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_flow_no_faster_than_the_file_says() {
    let origin = Origin::fixed("ok").await;
    let gateway = gateway::start(&format!(
        "{SLOW}[upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nbandwidth = [\"slow\"]\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    let started = Instant::now();
    let head = format!("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: {BODY}\r\n\r\n");
    let answer = client::ask(gateway.address, head + &"x".repeat(BODY)).await;
    assert_eq!(answer.status, 200);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(origin.received()[0].body.len(), BODY);
}
