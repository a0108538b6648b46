//! HTTP/2 and sockets in the file system behind the gateway, HTTP/1.1 before it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use bytes::Bytes;

use crate::support::client;
use crate::support::gateway::{self, Running};
use crate::support::service::{Say, Service, Speaks};
use crate::support::tls::Authority;

const TEXT: &str = "a text that compresses, a text that compresses, a text that compresses, again and again; ";

async fn before(service: &Service, keys: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"localhost:{}\"]\nprotocol = \"h2\"\n{keys}\n[defaults]\ncompress = true\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        service.address.port()
    ))
    .await
}

fn echo(request: &http::Request<Bytes>) -> Say {
    Say {
        fields: vec![
            ("x-method", request.method().to_string()),
            ("x-scheme", request.uri().scheme_str().unwrap_or_default().to_owned()),
            (
                "x-authority",
                request.uri().authority().map(ToString::to_string).unwrap_or_default(),
            ),
            (
                "x-path",
                request
                    .uri()
                    .path_and_query()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ),
        ],
        body: vec![request.body().clone()],
        ..Say::default()
    }
}

async fn serves(service: &Service, keys: &str, scheme: &str) {
    let gateway = before(service, keys).await;
    for round in 0..5 {
        let answer = client::ask(
            gateway.address,
            "POST /a%20b?c=d HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!((answer.status, answer.text()), (200, "hello"), "{scheme} {round}");
        assert_eq!(answer.header("x-method"), Some("POST"));
        assert_eq!(answer.header("x-scheme"), Some(scheme));
        assert_eq!(answer.header("x-authority"), Some("shop.example"));
        assert_eq!(answer.header("x-path"), Some("/a%20b?c=d"));
    }
    assert!(service.last_field("x-forwarded-for").is_some());
    for hop in ["connection", "transfer-encoding", "host", "te"] {
        assert_eq!(service.last_field(hop), None, "{hop}");
    }
    assert_eq!(service.connections(), 1, "one connection for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_in_clear_text_serves() {
    let service = Service::start(Speaks::Http2, None, echo).await;
    serves(&service, "", "http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_over_tls_serves() {
    let authority = Authority::new();
    let acceptor = authority.sign("localhost").acceptor(&["h2"]);
    let service = Service::start(Speaks::Http2, Some(acceptor), echo).await;
    serves(&service, &format!("tls = {{ ca = {:?} }}", authority.file()), "https").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_share_a_connection_at_the_same_time() {
    let service = Service::start(Speaks::Http2, None, |_| Say::text("x".repeat(100_000))).await;
    let gateway = before(&service, "").await;
    assert_eq!(gateway.get("/").await.status, 200);
    let all = futures_util::future::join_all((0..50).map(|_| gateway.get("/"))).await;
    assert!(
        all.iter()
            .all(|answer| answer.status == 200 && answer.body.len() == 100_000)
    );
    assert!(service.connections() < 50, "{} connections", service.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_end_at_the_gateway_and_the_encoder_is_finished() {
    let service = Service::start(Speaks::Http2, None, |_| Say {
        fields: vec![
            ("content-type", "text/plain".to_owned()),
            ("trailer", "x-sum".to_owned()),
        ],
        body: vec![Bytes::from(TEXT.repeat(20)); 3],
        trailers: vec![("x-sum", "1"), ("x-other", "2")],
        ..Say::default()
    })
    .await;
    let gateway = before(&service, "").await;
    let expected = TEXT.repeat(60);
    let mut connection = gateway.connect().await;
    for coding in ["", "Accept-Encoding: gzip\r\n"] {
        let answer = connection
            .ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{coding}\r\n"))
            .await;
        assert_eq!((answer.status, answer.truncated), (200, false));
        for name in ["trailer", "x-sum", "x-other"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
        let mut text = String::new();
        if coding.is_empty() {
            text = answer.text().to_owned();
        } else {
            assert_eq!(answer.header("content-encoding"), Some("gzip"));
            flate2::read::GzDecoder::new(&answer.body[..])
                .read_to_string(&mut text)
                .expect("a whole stream");
        }
        assert_eq!(text, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_to_be_asked_for_its_body_is_asked() {
    let service = Service::start(Speaks::Http2, None, echo).await;
    let gateway = before(&service, "").await;
    let mut connection = gateway.connect().await;
    connection
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let interim = connection.response(true).await.expect("an interim answer");
    assert_eq!(interim.status, 100);
    connection.send("hello").await;
    let answer = connection.response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(service.last_field("expect"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_did_not_begin_with_is_sent_again_whatever_the_method() {
    let first = AtomicBool::new(true);
    let service = Service::start(Speaks::Http2, None, move |request| Say {
        refuses: request.headers().contains_key("x-always") || first.swap(false, SeqCst),
        ..Say::text("second")
    })
    .await;
    let gateway = before(&service, "").await;
    let answer = client::ask(
        gateway.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    )
    .await;
    assert_eq!((answer.status, answer.text()), (200, "second"));
    assert_eq!(service.received(), 2);
    let answer = client::get(gateway.address, "/", "X-Always: yes\r\n").await;
    assert_eq!(answer.status, 502);
    assert_eq!(service.received(), 4, "once more, not for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_in_the_file_system_serves() {
    let directory = tempfile::tempdir().expect("directory");
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let path = directory.path().join(format!("{speaks:?}.sock"));
        let service = Service::start_unix(&path, speaks, |_| Say::text("local"));
        let protocol = if speaks == Speaks::Http1 { "http1" } else { "h2" };
        let gateway = gateway::start(&format!(
            "[upstream.app]\nservers = [\"unix:{}\"]\nprotocol = \"{protocol}\"\n\
             health_check = {{ path = \"/up\", interval = \"100ms\", timeout = \"10s\" }}\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
            path.display()
        ))
        .await;
        for _ in 0..5 {
            assert_eq!(gateway.get("/").await.text(), "local");
        }
        let answer = client::ask(gateway.address, "GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(answer.text(), "local", "no Host, no matter");
        drop(service);
        std::fs::remove_file(&path).expect("removed");
        crate::support::eventually("the server is out", async || gateway.get("/").await.status == 503).await;
    }
}
