//! What reaches the upstream, and what comes back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client;
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, raw, reply};

async fn before(origin: &Origin, server: &str, upstream: &str) -> Running {
    gateway::start(&format!(
        "{server}\n[upstream.app]\nservers = [\"{}\"]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_say_who_it_is() {
    let origin = Origin::fixed("").await;
    let gateway = before(&origin, "", "").await;
    client::get(
        gateway.address,
        "/",
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 1.2.3.4\r\n\
         Forwarded: for=1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\nX-Original-URL: /admin\r\nfirebase_uid: 7\r\n\
         X-Request-Id: mine\r\n",
    )
    .await;
    let seen = origin.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("site.test"));
    assert_eq!(
        seen.header("x-forwarded-port"),
        Some(&*gateway.address.port().to_string())
    );
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert!(
        seen.header("forwarded")
            .expect("Forwarded")
            .starts_with("for=127.0.0.1")
    );
    assert!(seen.header("via").expect("Via").starts_with("1.1 "));
    assert_eq!(seen.header("host"), Some("site.test"));
    assert_eq!(seen.headers("x_forwarded_for"), [""; 0]);
    assert_eq!(seen.headers("x-original-url"), [""; 0]);
    assert_eq!(seen.header("firebase_uid"), Some("7"));
    assert_ne!(seen.header("x-request-id"), Some("mine"));
    assert!(seen.header("traceparent").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_is_believed_up_to_the_first_stranger() {
    let origin = Origin::fixed("").await;
    let gateway = before(&origin, "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]", "").await;
    let answer = client::get(
        gateway.address,
        "/",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: from-the-edge\r\n",
    )
    .await;
    let seen = origin.last();
    assert_eq!(
        seen.header("x-forwarded-for"),
        Some("6.6.6.6, 192.0.2.7, 10.0.0.9, 127.0.0.1")
    );
    assert_eq!(seen.header("x-real-ip"), Some("192.0.2.7"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-request-id"), Some("from-the-edge"));
    assert_eq!(answer.header("x-request-id"), Some("from-the-edge"));
    assert_eq!(gateway.logged(1).await["client"], "192.0.2.7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_one_connection_do_not_pass_to_the_other() {
    let origin = Origin::start(|_| {
        raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
             Proxy-Authenticate: Basic\r\nTrailer: X-T\r\nX-Kept: 1\r\n\r\nok")
    })
    .await;
    let gateway = before(&origin, "", "host = \"inner.test\"").await;
    let answer = client::get(
        gateway.address,
        "/",
        "Connection: X-Private, keep-alive\r\nX-Private: 1\r\nTE: trailers\r\nProxy-Authorization: x\r\nKeep-Alive: 3\r\nX-Kept: 1\r\n",
    )
    .await;
    for name in ["keep-alive", "x-hop", "proxy-authenticate", "trailer"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    assert_eq!(answer.header("x-kept"), Some("1"));
    let seen = origin.last();
    for name in ["x-private", "te", "proxy-authorization", "keep-alive"] {
        assert!(seen.headers(name).is_empty(), "{name}: {}", seen.head);
    }
    assert_eq!(seen.header("x-kept"), Some("1"));
    assert_eq!(seen.header("host"), Some("inner.test"));
    assert_eq!(seen.header("x-forwarded-host"), Some("site.test"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_every_framing_arrive_whole() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/chunked") => {
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        }
        line if line.contains("/close") => [
            raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"),
            vec![Step::Close],
        ]
        .concat(),
        line if line.contains("/old") => [raw("HTTP/1.0 200 OK\r\n\r\nold"), vec![Step::Close]].concat(),
        line if line.contains("/early-hints") => {
            raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        line if line.contains("/304") => raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        line if line.contains("/204") => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        line if line.starts_with("HEAD") => raw("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"),
        _ => reply(206, "Content-Range: bytes 0-1/9\r\n", "ab"),
    })
    .await;
    let gateway = before(&origin, "", "").await;
    let mut connection = gateway.connect().await;
    let mut ask = async |method: &str, path: &str| {
        connection
            .ask(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await
    };
    assert_eq!(ask("GET", "/chunked").await.text(), "hello world");
    assert_eq!(ask("GET", "/close").await.text(), "until the end");
    assert_eq!(ask("GET", "/old").await.text(), "old");
    let hints = ask("GET", "/early-hints").await;
    assert_eq!((hints.status, hints.header("link")), (103, Some("</x>")));
    assert_eq!(connection.response(false).await.expect("the answer").text(), "ok");
    let mut ask = async |method: &str, path: &str| {
        connection
            .ask(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await
    };
    assert_eq!(ask("GET", "/304").await.header("etag"), Some("\"x\""));
    assert_eq!(ask("GET", "/204").await.status, 204);
    assert_eq!(ask("HEAD", "/x").await.header("content-length"), Some("12345"));
    let range = ask("GET", "/range").await;
    assert_eq!(
        (range.status, range.header("content-range"), range.text()),
        (206, Some("bytes 0-1/9"), "ab")
    );
    // A client of HTTP/1.0 knows no chunks.
    let old = client::ask(gateway.address, "GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!((old.header("transfer-encoding"), old.text()), (None, "hello world"));
    let keen = client::ask(
        gateway.address,
        "GET /chunked HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    )
    .await;
    assert_eq!((keen.header("connection"), keen.text()), (Some("close"), "hello world"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_answered_early_gets_its_answer() {
    let origin = Origin::hasty(|_| {
        vec![
            Step::Send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".to_vec()),
            Step::Close,
        ]
    })
    .await;
    let gateway = before(&origin, "", "").await;
    for _ in 0..20 {
        let mut request = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n".to_vec();
        request.resize(request.len() + 3_000_000, b'x');
        let answer = client::ask(gateway.address, request).await;
        assert_eq!((answer.status, answer.text()), (403, "no"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expectations_are_answered_by_the_upstream() {
    let origin =
        Origin::hasty(|_| raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    let gateway = before(&origin, "", "").await;
    let mut connection = gateway.connect().await;
    connection
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(connection.response(false).await.expect("interim").status, 100);
    connection.send("abc").await;
    assert_eq!(connection.response(false).await.expect("final").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_a_tunnel_once_the_upstream_agreed() {
    let origin = Origin::start(|request| {
        assert_eq!(request.header("upgrade"), Some("websocket"));
        [
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"),
            vec![Step::Echo],
        ]
        .concat()
    })
    .await;
    let gateway = before(&origin, "max_body = \"1KB\"", "").await;
    let mut connection = gateway.connect().await;
    // What is sent before the 101 waits for it.
    connection
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\nearly ")
        .await;
    let answer = connection.response(true).await.expect("an answer");
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    let mut echoed = Vec::new();
    connection.send("a".repeat(5000)).await; // no body limit in a tunnel
    while echoed.len() < 5006 {
        let part = connection.read_some().await;
        assert!(!part.is_empty(), "cut after {} bytes", echoed.len());
        echoed.extend(part);
    }
    assert!(echoed.starts_with(b"early aaa"));
    drop(connection);
    let line = gateway.logged(1).await;
    assert_eq!(line["status"], 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_answered_at_once_opens_its_tunnel_every_time() {
    // Answered before the request is read: the answer always waits when the gateway first looks.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let origin = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                stream.write_all(answer).await.expect("write");
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\nping") {
                    assert_ne!(stream.read_buf(&mut seen).await.expect("read"), 0);
                }
                stream.write_all(b"pong").await.expect("write");
            });
        }
    });
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{address}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n"
    ))
    .await;
    for _ in 0..200 {
        let mut connection = gateway.connect().await;
        connection
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(connection.response(true).await.expect("an answer").status, 101);
        connection.send("ping").await;
        assert_eq!(connection.read_some().await, b"pong");
    }
    origin.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_both_ways() {
    let origin = Origin::hasty(|_| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n".to_vec()),
            Step::Hang,
        ]
    })
    .await;
    let gateway = before(&origin, "", "").await;
    let mut connection = gateway.connect().await;
    connection.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"one\r\n") {
        seen.extend(connection.read_some().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_known_length_streams_too() {
    let origin = Origin::hasty(|_| {
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\none".to_vec()),
            Step::Hang,
        ]
    })
    .await;
    let gateway = before(&origin, "", "").await;
    let mut connection = gateway.connect().await;
    connection.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\none") {
        seen.extend(connection.read_some().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_connections_are_used_again() {
    let origin = Origin::fixed("hello").await;
    let gateway = before(&origin, "", "").await;
    // Some come before the connection of the last one is back among those that wait.
    let mut requests = 0;
    eventually("ten come on a connection that another one had", async || {
        assert_eq!(gateway.get("/").await.status, 200);
        requests += 1;
        requests >= origin.connections() + 10
    })
    .await;
}
