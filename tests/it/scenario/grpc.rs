//! gRPC behind the gateway. Clients speak HTTP/1.1 here, which is enough to see what the gateway says by itself.

use std::time::Instant;

use crate::support::client::{self, Response};
use crate::support::gateway::{self, Running};
use crate::support::port::Closed;
use crate::support::service::{Say, Service, Speaks};

async fn before(server: std::net::SocketAddr, keys: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"{server}\"]\nprotocol = \"h2\"\n{keys}\n\
         [[route]]\nname = \"calls\"\npath = \"/shop.Cart/*\"\nupstream = \"app\"\n"
    ))
    .await
}

async fn call(gateway: &Running, path: &str, fields: &str) -> Response {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\nContent-Length: 5\r\n{fields}\r\n\0\0\0\0\0"
    );
    client::ask(gateway.address, request).await
}

#[track_caller]
fn refused(answer: &Response, status: &str) {
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status)));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert!(answer.header("grpc-message").is_some_and(|message| !message.is_empty()));
    assert!(answer.body.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_what_a_grpc_client_understands() {
    let nowhere = Closed::new();
    let gateway = before(nowhere.address, "").await;
    refused(&call(&gateway, "/shop.Cart/Add", "").await, "14");
    let line = gateway.logged(1).await;
    assert_eq!(line["refusal"], "bad_gateway", "the log keeps its word");
    refused(&call(&gateway, "/other.Service/Add", "").await, "12");
    let answer = gateway.get("/other.Service/Add").await;
    assert_eq!(answer.status, 404, "others are answered as ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_limits_the_exchange() {
    let service = Service::start(Speaks::Http2, None, |_| Say {
        hangs: true,
        ..Say::default()
    })
    .await;
    let gateway = before(service.address, "").await;
    let asked = Instant::now();
    refused(&call(&gateway, "/shop.Cart/Add", "grpc-timeout: 2S\r\n").await, "4");
    assert!(asked.elapsed() >= std::time::Duration::from_secs(2));
    assert_eq!(service.last_field("te").as_deref(), Some("trailers"));
    let told = service.last_field("grpc-timeout").expect("what is left");
    let micros: u64 = told.trim_end_matches('u').parse().expect("microseconds");
    assert!((1..=2_000_000).contains(&micros), "{told}");
    refused(&call(&gateway, "/shop.Cart/Add", "grpc-timeout: 0n\r\n").await, "4");
    assert_eq!(service.received(), 1, "nobody waits for the second one any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_limit_may_be_shorter() {
    let service = Service::start(Speaks::Http2, None, |_| Say {
        hangs: true,
        ..Say::default()
    })
    .await;
    let gateway = before(service.address, "first_byte_timeout = \"200ms\"").await;
    refused(&call(&gateway, "/shop.Cart/Add", "grpc-timeout: 1H\r\n").await, "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_in_parts_is_cut_at_the_deadline() {
    let service = Service::start(Speaks::Http2, None, |_| Say {
        body: vec!["part".into()],
        trailers: Vec::new(),
        stalls: true,
        ..Say::default()
    })
    .await;
    let gateway = before(service.address, "").await;
    let answer = call(&gateway, "/shop.Cart/Watch", "grpc-timeout: 2S\r\n").await;
    assert_eq!((answer.status, answer.text(), answer.truncated), (200, "part", true));
}
