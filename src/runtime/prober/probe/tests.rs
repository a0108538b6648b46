//! Tests of the module above: each against a server on a socket.

use std::ops::RangeInclusive;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::balance::{Member, Pool, Settings};

const SECOND: Duration = Duration::from_secs(1);

/// A check by its keys, beside the upstream's.
fn probe(check: &str, upstream: &str) -> Probe {
    let upstream = Upstream::of(&format!(
        "servers = [\"127.0.0.1:9\"]\nhealth_check = {{ {check} }}\n{upstream}"
    ));
    let mut check = upstream.health_check.clone().unwrap();
    check.timeout = 20 * SECOND;
    Probe::new(&upstream, &check, None)
}

/// As [`probe`], with these statuses and this text in the body.
fn judging(status: RangeInclusive<u16>, body: Option<&str>) -> Probe {
    let mut probe = probe("path = \"/api/health?deep=1\"", "");
    match &mut probe.asks {
        Probing::Http(http) => {
            http.status = vec![status];
            http.body = body.map(Into::into);
        }
        _ => unreachable!(),
    }
    probe
}

fn endpoint(server: &str, address: std::net::SocketAddr) -> Arc<Endpoint> {
    let pool = Pool::new("api".into(), Settings::default());
    let change = pool.update(vec![Member::new(server, address, 1)]);
    Arc::clone(&change.joined[0])
}

async fn listen() -> (TcpListener, Arc<Endpoint>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint("app:5000", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// Asks a server that answers with these pieces, each in a packet of its own, and closes.
async fn ask(probe: &Probe, answer: Vec<Vec<u8>>) -> (Result<(), String>, String) {
    let (listener, endpoint) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        for piece in answer {
            if stream.write_all(&piece).await.is_err() {
                break; // the prober has seen enough
            }
            tokio::task::yield_now().await;
        }
        String::from_utf8(request).unwrap()
    });
    let result = probe.ask(&endpoint).await.map_err(|failure| failure.to_string());
    (result, server.await.unwrap())
}

#[tokio::test]
async fn verdicts() {
    let any = judging(200..=399, None);
    let exact = judging(204..=204, None);
    let failing = judging(500..=500, None);
    let text = judging(200..=299, Some("\"ok\""));
    let broken = "no valid answer: ";
    let table: [(&Probe, &[&str], &str); 18] = [
        (&any, &["HTTP/1.1 200 OK\r\n\r\n"], ""),
        (&any, &["HTTP/1.1 204\r\n\r\n"], ""),
        (&any, &["HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n"], ""),
        (&any, &["HTT", "P/1.1 20", "0 OK\r\nA: b\r\n", "\r\nbody"], ""),
        (
            &any,
            &["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
            "",
        ),
        (
            &any,
            &["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n"],
            "status 503",
        ),
        (&any, &["HTTP/1.1 101 Upgrade\r\n\r\n"], "status 101"),
        (&any, &["HTTP/1.1 404 Not Found\r\n\r\n"], "status 404"),
        (&exact, &["HTTP/1.1 204 No Content\r\n\r\n"], ""),
        (&exact, &["HTTP/1.1 200 OK\r\n\r\n"], "status 200"),
        (&failing, &["HTTP/1.1 500 On purpose\r\n\r\n"], ""),
        (&any, &["SSH-2.0-OpenSSH_9.2\r\n"], broken),
        (&any, &["HTTP/1.1 2000 OK\r\n\r\n"], broken),
        (&any, &["HTTP/1.1 200 OK\r\nA: b\r\n"], broken),
        (
            &text,
            &[
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"a\"",
                ":\"ok\"",
                "}\r\n",
            ],
            "",
        ),
        (
            &text,
            &[
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n.\"o\r\n",
                "2\r\nk\"\r\n0\r\n\r\n",
            ],
            "",
        ),
        (
            &text,
            &["HTTP/1.1 200 OK\r\n\r\nnot ok"],
            "the body does not contain what it must",
        ),
        (&text, &["HTTP/1.1 500 OK\r\n\r\n\"ok\""], "status 500"),
    ];
    for (probe, answer, verdict) in table {
        let pieces = answer.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        let (result, _) = ask(probe, pieces).await;
        let said = result.err().unwrap_or_default();
        let as_expected = if verdict == broken {
            said.starts_with(broken)
        } else {
            said == verdict
        };
        assert!(as_expected, "{answer:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_too_large() {
    let probe = judging(200..=399, None);
    let line = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(1 << 20));
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000));
    for answer in [line, fields] {
        let (result, _) = ask(&probe, vec![answer.into_bytes()]).await;
        let said = result.unwrap_err();
        assert!(said.contains("too large"), "{said}");
    }
}

#[tokio::test]
async fn only_the_beginning_of_a_body_is_looked_at() {
    let probe = judging(200..=200, Some("ok"));
    for (before, found) in [(BODY_MAX - 2, true), (BODY_MAX, false)] {
        let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}ok", "x".repeat(before));
        let (result, _) = ask(&probe, vec![answer.into_bytes()]).await;
        assert_eq!(result.is_ok(), found, "{before}");
    }
}

#[tokio::test]
async fn the_request_and_whose_host_it_names() {
    let answer = || vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()];
    let of_upstream = "host = \"deals247.online\"";
    let table = [
        (probe("path = \"/up?deep=1\"", ""), "app:5000"),
        (probe("path = \"/up?deep=1\"", of_upstream), "deals247.online"),
        (
            probe("path = \"/up?deep=1\", host = \"probe.internal\"", of_upstream),
            "probe.internal",
        ),
    ];
    for (probe, host) in table {
        let (result, request) = ask(&probe, answer()).await;
        assert_eq!(result, Ok(()));
        let mut lines: Vec<&str> = request.trim_end().lines().collect();
        assert_eq!(lines.remove(0), "GET /up?deep=1 HTTP/1.1");
        lines.sort_unstable();
        let host = format!("host: {host}");
        assert_eq!(
            lines,
            [
                "accept: */*",
                "connection: close",
                &host,
                "user-agent: deals247-gateway"
            ]
        );
    }
}

#[tokio::test]
async fn another_method() {
    let mut probe = judging(200..=200, None);
    if let Probing::Http(http) = &mut probe.asks {
        http.method = Method::HEAD;
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec();
    let (result, request) = ask(&probe, vec![answer]).await;
    assert_eq!(result, Ok(()));
    assert!(request.starts_with("HEAD /api/health?deep=1 "), "{request}");
}

#[tokio::test]
async fn another_port() {
    let (listener, _) = listen().await;
    let elsewhere = endpoint("app:9", "127.0.0.1:9".parse().unwrap());
    let upstream = Upstream::of("servers = [\"127.0.0.1:9\"]\nhealth_check = {}");
    let mut check = upstream.health_check.clone().unwrap();
    check.probing = Probing::Tcp;
    check.port = Some(listener.local_addr().unwrap().port());
    let probe = Probe::new(&upstream, &check, None);
    assert!(probe.ask(&elsewhere).await.is_ok());
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let (listener, endpoint) = listen().await;
    let mut probe = judging(200..=200, None);
    probe.asks = Probing::Tcp;
    assert!(probe.ask(&endpoint).await.is_ok());
    drop(listener);
    let failure = probe.ask(&endpoint).await.unwrap_err();
    assert_eq!(failure.to_string(), "cannot connect: connection refused");
}

#[tokio::test]
async fn a_socket_in_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = format!("{UNIX}{}", path.display());
    let endpoint = endpoint(&server, "[100::1]:0".parse().unwrap());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    assert!(judging(200..=200, None).ask(&endpoint).await.is_ok());
    let request = answering.await.unwrap();
    assert!(request.contains("host: localhost\r\n"), "{request}");
}

#[tokio::test]
async fn a_server_that_never_answers_fails_by_timeout() {
    let (_listener, endpoint) = listen().await;
    let mut hasty = judging(200..=200, None);
    hasty.timeout = Duration::from_millis(30);
    let failure = hasty.ask(&endpoint).await.unwrap_err();
    assert_eq!(failure.to_string(), "no answer within 30ms");
}

#[test]
fn a_starved_gateway_blames_no_server() {
    let table = [
        (23, true),
        (24, true),
        (12, true),
        (111, false),
        (99, false),
        (113, false),
    ];
    for (code, starved) in table {
        let failure = Failure::of_connect(io::Error::from_raw_os_error(code));
        assert_eq!(matches!(failure, Failure::Starved(_)), starved, "{failure}");
    }
}
