//! What the server below the application does: limits, idle connections, stopping, upgrades.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::demo::wire::{parse, raw};

#[tokio::test]
async fn replicas_share_a_database() {
    let options = Options::default();
    let one = spawn("one", listener().await, options.clone()).unwrap();
    let two = spawn("two", listener().await, options).unwrap();
    assert_eq!(
        send(&one, "POST /api/deals", r#"{"title":"x","store":"y"}"#)
            .await
            .status,
        201
    );
    assert_eq!(get(&two, "/api/deals/501").await.status, 200);
    assert_eq!(get(&two, "/__echo").await.json()["replica"], "two");
    assert_eq!((one.stats().requests(), two.stats().requests()), (1, 2));
    assert_eq!(two.stats().connections(), 2);
}

#[tokio::test]
async fn node_has_its_rules() {
    let server = replica().await;
    let status = async |bytes: Vec<u8>| parse(&raw(server.address(), &bytes).await).status;
    assert_eq!(status(b"GET /api/health HTTP/1.1\r\n\r\n".to_vec()).await, 400);
    assert_eq!(status(b"GET /api/health HTTP/1.1\r\nHost:\r\n\r\n".to_vec()).await, 400);
    assert_eq!(status(b"GET /api/health HTTP/1.0\r\n\r\n".to_vec()).await, 200);
    let large = |length: usize| {
        format!(
            "GET /api/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n",
            "x".repeat(length)
        )
    };
    assert_eq!(status(large(15_000).into_bytes()).await, 200);
    assert_eq!(status(large(17_000).into_bytes()).await, 431);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_five_seconds() {
    let server = replica().await;
    let begin = tokio::time::Instant::now();
    let answer = parse(&raw(server.address(), b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").await);
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    assert_eq!(answer.header("keep-alive"), Some("timeout=5"));
    assert!(begin.elapsed().as_secs_f64() > 4.9, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_stopped_server_is_gone() {
    let server = replica().await;
    let address = server.address();
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(open.read(&mut [0; 1024]).await.unwrap() > 0);
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(matches!(open.read(&mut [0; 1024]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_replica_goes_away_and_comes_back() {
    let server = replica().await;
    let answer = ask(server.address(), "POST /__stop?seconds=3", &[], b"").await;
    assert_eq!((answer.status, answer.text()), (202, "gone for 3 s\n"));
    let becomes = async |up: bool| {
        while TcpStream::connect(server.address()).await.is_ok() != up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), becomes(false))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(20), becomes(true))
        .await
        .unwrap();
    assert_eq!(get(&server, "/api/health").await.status, 200);
}

async fn upgrade(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /ws/echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let answer = parse(&head);
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    stream
}

#[tokio::test]
async fn a_websocket_echoes_until_the_server_stops() {
    let server = replica().await;
    let mut stream = upgrade(server.address()).await;
    stream
        .write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
        .await
        .unwrap();
    let mut frame = [0; 7];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x81\x05Hello");
    server.stop().await;
    assert!(matches!(stream.read(&mut frame).await, Ok(0) | Err(_)));

    let server = replica().await;
    let plain = get(&server, "/ws/echo").await;
    assert_eq!((plain.status, plain.header("sec-websocket-version")), (426, Some("13")));
}

#[tokio::test]
async fn with_latency_it_still_answers() {
    let options = Options {
        latency: true,
        ..Options::default()
    };
    let server = spawn("slow", listener().await, options).unwrap();
    assert_eq!(get(&server, "/api/deals").await.status, 200);
}
