//! Health checks in every protocol, against servers that speak it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use bytes::Bytes;

use crate::support::gateway::{self, Running};
use crate::support::service::{Say, Service, Speaks};
use crate::support::tls::Authority;
use crate::support::{eventually, log};

/// Every server here answers its probes, so the time-out only says how long a busy machine may take.
const OFTEN: &str = "interval = \"100ms\", unhealthy_interval = \"100ms\", timeout = \"10s\", \
                     unhealthy_after = 2, healthy_after = 1";

async fn before(name: &str, service: &Service, keys: &str) -> Running {
    gateway::start(&format!(
        "[upstream.{name}]\nservers = [\"localhost:{}\"]\n{keys}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"{name}\"\n",
        service.address.port()
    ))
    .await
}

/// The health service of gRPC, which says what it is told.
fn health(serving: &Arc<AtomicBool>) -> impl Fn(&http::Request<Bytes>) -> Say + Send + Sync + 'static {
    let serving = Arc::clone(serving);
    move |request| {
        if request.uri().path() != "/grpc.health.v1.Health/Check" {
            return Say::text("a call");
        }
        let asked = request.body();
        assert_eq!(&asked[..], b"\0\0\0\0\x06\x0a\x04shop");
        let status = if serving.load(SeqCst) { 1 } else { 2 };
        Say {
            fields: vec![("content-type", "application/grpc".to_owned())],
            body: vec![Bytes::from(vec![0, 0, 0, 0, 2, 8, status])],
            trailers: vec![("grpc-status", "0")],
            ..Say::default()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_in_clear_text_and_over_tls() {
    log::keep();
    let authority = Authority::new();
    for (name, tls) in [("grpc-clear", false), ("grpc-tls", true)] {
        let serving = Arc::new(AtomicBool::new(true));
        let acceptor = tls.then(|| authority.sign("localhost").acceptor(&["h2"]));
        let service = Service::start(Speaks::Http2, acceptor, health(&serving)).await;
        let with_tls = if tls {
            format!("tls = {{ ca = {:?} }}\n", authority.file())
        } else {
            String::new()
        };
        let keys = format!(
            "protocol = \"h2\"\n{with_tls}health_check = {{ protocol = \"grpc\", service = \"shop\", {OFTEN} }}"
        );
        let gateway = before(name, &service, &keys).await;
        assert_eq!(gateway.get("/").await.text(), "a call");
        serving.store(false, SeqCst);
        eventually("the server is out", async || gateway.get("/").await.status == 503).await;
        let lines = log::lines_with(&format!("upstream={name} "));
        assert!(lines.iter().any(|line| line.contains("NOT_SERVING")), "{lines:?}");
        serving.store(true, SeqCst);
        eventually("the server is back", async || gateway.get("/").await.status == 200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_over_what_requests_go_over() {
    let authority = Authority::new();
    for (speaks, protocol) in [(Speaks::Http1, "http1"), (Speaks::Http2, "h2")] {
        for tls in [false, true] {
            let well = Arc::new(AtomicBool::new(true));
            let answers = Arc::clone(&well);
            let acceptor = tls.then(|| authority.sign("localhost").acceptor(&["h2", "http/1.1"]));
            let service = Service::start(speaks, acceptor, move |request| match request.uri().path() {
                "/up" if answers.load(SeqCst) => Say::text("{\"state\":\"ready\"}"),
                "/up" => Say::text("{\"state\":\"starting\"}"),
                _ => Say::text("fine"),
            })
            .await;
            let with_tls = if tls {
                format!("tls = {{ ca = {:?} }}\n", authority.file())
            } else {
                String::new()
            };
            let keys = format!(
                "protocol = \"{protocol}\"\n{with_tls}health_check = {{ path = \"/up\", body = \"ready\", {OFTEN} }}"
            );
            let gateway = before("web", &service, &keys).await;
            assert_eq!(gateway.get("/").await.text(), "fine", "{protocol} {tls}");
            well.store(false, SeqCst);
            eventually("the server is out", async || gateway.get("/").await.status == 503).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_with_the_handshake_where_there_is_tls() {
    log::keep();
    let (authority, other) = (Authority::new(), Authority::new());
    let acceptor = authority.sign("localhost").acceptor(&["http/1.1"]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("fine")).await;
    let keys = |ca: &Authority| {
        format!(
            "tls = {{ ca = {:?} }}\nhealth_check = {{ protocol = \"tcp\", {OFTEN} }}",
            ca.file()
        )
    };
    let gateway = before("tcp-good", &service, &keys(&authority)).await;
    assert_eq!(gateway.get("/").await.text(), "fine");
    let gateway = before("tcp-bad", &service, &keys(&other)).await;
    assert_eq!(gateway.get("/").await.status, 503, "known before the first request");
    let lines = log::lines_with("upstream=tcp-bad ");
    assert!(lines.iter().any(|line| line.contains("UnknownIssuer")), "{lines:?}");
}
