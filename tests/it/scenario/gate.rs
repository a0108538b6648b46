//! The gate: strict heads, limits, pipelining, patience.

use std::time::Duration;

use crate::support::client::{self, Connection};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};

async fn before(origin: &Origin, server: &str) -> Running {
    gateway::start(&format!(
        "{server}\n[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ambiguous_is_refused_logged_and_never_forwarded() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "").await;
    let cases = [
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        ),
        (400, "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
        (405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            501,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ];
    for (count, (status, request)) in cases.iter().enumerate() {
        let mut connection = gateway.connect().await;
        connection.send(request).await;
        let answer = connection
            .response(false)
            .await
            .unwrap_or_else(|| panic!("an answer to {request:?}"));
        assert_eq!(answer.status, *status, "{request:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{request:?}"
        );
        assert!(answer.header("x-request-id").is_some(), "{request:?}");
        assert_eq!(answer.header("server"), None);
        let line = gateway.logged(count + 1).await;
        assert_eq!(line["status"], *status, "{request:?}");
        assert_eq!(line["request_id"], answer.header("x-request-id").expect("id"));
    }
    assert_eq!(origin.received().len(), 0);
    assert!(gateway.metric("gateway_refusals_total{reason=\"bad_request\"}").await >= 7.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_have_bounds_and_their_own_statuses() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(
        &origin,
        "max_header_size = \"4KB\"\nmax_header_count = 20\nmax_uri_length = \"1KB\"",
    )
    .await;
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(2000));
    assert_eq!(client::ask(gateway.address, long_target).await.status, 414);
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(5000));
    assert_eq!(client::ask(gateway.address, long_field).await.status, 431);
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(30));
    assert_eq!(client::ask(gateway.address, many_fields).await.status, 431);
    let just_good = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "a".repeat(900),
        "X: y\r\n".repeat(19)
    );
    assert_eq!(client::ask(gateway.address, just_good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_limited_by_announcement_and_by_count() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "max_body = \"1KB\"").await;
    // By announcement: refused before a byte of the body is sent.
    let mut connection = gateway.connect().await;
    let answer = connection
        .ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n")
        .await;
    assert_eq!(answer.status, 413);
    assert_eq!(origin.received().len(), 0);
    // By count, where nothing was announced.
    let chunks = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "a".repeat(2000)
    );
    assert_eq!(client::ask(gateway.address, chunks).await.status, 413);
    let small = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(client::ask(gateway.address, small).await.status, 200);
    assert_eq!(origin.last().body, b"abc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_all_answered_in_order() {
    let origin = Origin::start(|request| reply(200, "", request.line())).await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    let mut burst = String::new();
    for index in 0..20 {
        match index % 3 {
            0 => burst.push_str(&format!("GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n")),
            1 => burst.push_str(&format!(
                "POST /{index} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            )),
            _ => burst.push_str(&format!(
                "PUT /{index} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            )),
        }
    }
    connection.send(&burst).await;
    for index in 0..20 {
        let answer = connection.response(false).await.expect("an answer");
        let method = ["GET", "POST", "PUT"][index % 3];
        assert_eq!(answer.text(), format!("{method} /{index} HTTP/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_arrive_byte_by_byte() {
    let origin = Origin::start(|request| reply(200, "", &String::from_utf8_lossy(&request.body))).await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    for byte in b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n" {
        connection.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(connection.response(false).await.expect("an answer").text(), "abcdefg");
    assert_eq!(connection.ask("GET /y HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_closed_after_their_requests_their_idleness_and_on_wish() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "keepalive_requests = 3").await;
    let mut connection = gateway.connect().await;
    for last in [false, false, true] {
        let answer = connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(
            answer.header("connection"),
            Some(if last { "close" } else { "keep-alive" })
        );
    }
    assert!(connection.is_closed().await);
    let impatient = before(&origin, "keepalive_timeout = \"300ms\"").await;
    let mut idle = impatient.connect().await;
    assert_eq!(idle.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    assert!(idle.is_closed().await, "an idle connection is closed");
    let mut wish = gateway.connect().await;
    assert_eq!(
        wish.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .header("connection"),
        Some("close")
    );
    assert!(wish.is_closed().await);
    let mut old = gateway.connect().await;
    assert_eq!(old.ask("GET / HTTP/1.0\r\n\r\n").await.text(), "hello");
    assert!(old.is_closed().await);
    assert!(
        !origin.last().headers("host").is_empty(),
        "HTTP/1.1 to the upstream needs a Host"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_slow_bodies_are_cut() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "header_timeout = \"300ms\"\nbody_timeout = \"300ms\"").await;
    let drip = async |head: &str, mut connection: Connection| {
        connection.send(head).await;
        let dripping = async {
            // A byte now and then keeps a timeout between reads happy for ever; not this one.
            for _ in 0..200 {
                connection.send("a").await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(3), dripping).await;
        connection.response(false).await.map(|answer| answer.status)
    };
    assert_eq!(
        drip("GET / HTTP/1.1\r\nHost: a\r\nX: ", gateway.connect().await).await,
        Some(408)
    );
    let body = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(drip(body, gateway.connect().await).await, Some(408));
    let mut silent = gateway.connect().await;
    assert!(
        silent.is_closed().await,
        "a connection that never says anything is closed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_capped_by_client_and_in_all() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "max_connections_per_client = 3").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut connection = gateway.connect().await;
        assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
        held.push(connection);
    }
    let mut fourth = gateway.connect().await;
    assert_eq!(fourth.response(false).await.expect("an answer").status, 503);
    assert!(fourth.is_closed().await);
    held.pop();
    crate::support::eventually("the place is free again", async || gateway.get("/").await.status == 200).await;
    assert!(
        gateway
            .metric("gateway_connections_refused_total{reason=\"client_limit\"}")
            .await
            >= 1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_wins_over_host() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "").await;
    let answer = client::ask(
        gateway.address,
        "GET http://real.test/x?y HTTP/1.1\r\nHost: other.test\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(origin.last().line(), "GET /x?y HTTP/1.1");
    assert_eq!(origin.last().header("host"), Some("real.test"));
}
