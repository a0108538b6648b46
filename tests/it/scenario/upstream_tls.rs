//! TLS to servers: who is believed, who is not, and that the operator learns why.

use crate::support::gateway::{self, Running};
use crate::support::process::{Process, command};
use crate::support::service::{Say, Service, Speaks};
use crate::support::tls::{Authority, Signed};
use crate::support::{client, eventually, log};

async fn before(name: &str, service: &Service, tls: &str) -> Running {
    gateway::start(&format!(
        "[upstream.{name}]\nservers = [\"localhost:{}\"]\ntls = {tls}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"{name}\"\n",
        service.address.port()
    ))
    .await
}

fn believing(authority: &Authority) -> String {
    format!("{{ ca = {:?} }}", authority.file())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_good_certificate_serves() {
    let authority = Authority::new();
    let acceptor = authority.sign("localhost").acceptor(&["http/1.1"]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("safe")).await;
    let gateway = before("good", &service, &believing(&authority)).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.text(), "safe");
    }
    // A fast client may come before the last connection is back.
    assert!(service.connections() < 20, "no connection was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_its_own_is_asked_for() {
    let authority = Authority::new();
    let acceptor = authority.sign("api.internal").acceptor(&["http/1.1"]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("named")).await;
    let tls = format!("{{ ca = {:?}, sni = \"api.internal\" }}", authority.file());
    assert_eq!(before("named", &service, &tls).await.get("/").await.text(), "named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_not_believed_cost_a_502_and_a_line_that_says_why() {
    log::keep();
    let (authority, other) = (Authority::new(), Authority::new());
    let table = [
        ("wrong-name", authority.sign("elsewhere.internal"), "not valid for"),
        ("expired", authority.sign_expired("localhost"), "expired"),
        ("self-signed", Signed::by_itself("localhost"), "UnknownIssuer"),
        ("other-authority", other.sign("localhost"), "UnknownIssuer"),
    ];
    for (name, signed, why) in table {
        for (speaks, protocol) in [(Speaks::Http1, "http1"), (Speaks::Http2, "h2")] {
            let acceptor = signed.acceptor(&["h2", "http/1.1"]);
            let service = Service::start(speaks, Some(acceptor), |_| Say::text("never")).await;
            let upstream = format!("{name}-{protocol}");
            let tls = format!("{}\nprotocol = \"{protocol}\"", believing(&authority));
            let gateway = before(&upstream, &service, &tls).await;
            let answer = client::get(gateway.address, "/", "Accept: application/json\r\n").await;
            assert_eq!(answer.status, 502, "{upstream}");
            assert_eq!(
                service.received(),
                0,
                "{upstream}: nothing was sent to whoever that was"
            );
            for inside in [why, "certificate", "TLS", "localhost"] {
                assert!(!answer.text().contains(inside), "{upstream}: {}", answer.text());
            }
            let lines = log::lines_with(&format!("upstream={upstream} "));
            assert!(lines.iter().any(|line| line.contains(why)), "{upstream}: {lines:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_want_the_gateways_certificate() {
    log::keep();
    let authority = Authority::new();
    let acceptor = authority.demanding(&authority.sign("localhost"), &["http/1.1"]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("welcome")).await;
    let bare = before("bare", &service, &believing(&authority)).await;
    assert_eq!(bare.get("/").await.status, 502);
    let lines = log::lines_with("upstream=bare ");
    assert!(
        lines.iter().any(|line| line.contains("CertificateRequired")),
        "{lines:?}"
    );
    let (cert, key) = authority.client();
    let tls = format!("{{ ca = {:?}, cert = {cert:?}, key = {key:?} }}", authority.file());
    assert_eq!(before("known", &service, &tls).await.get("/").await.text(), "welcome");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_can_be_switched_off() {
    let acceptor = Signed::by_itself("whoever").acceptor(&["http/1.1"]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("unverified")).await;
    let gateway = before("unverified", &service, "{ verify = false }").await;
    assert_eq!(gateway.get("/").await.text(), "unverified");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_authorities_serves_all_the_same() {
    let authority = Authority::new();
    let acceptor = authority.sign("localhost").acceptor(&["http/1.1"]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("served")).await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("gateway.toml");
    let mut text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = false\n".to_owned();
    let own = believing(&authority);
    for (name, tls) in [
        ("own", own.as_str()),
        ("none", "{ verify = false }"),
        ("system", "true"),
    ] {
        text += &format!(
            "[upstream.{name}]\nservers = [\"localhost:{}\"]\ntls = {tls}\n\
             [[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{name}\"\n",
            service.address.port()
        );
    }
    std::fs::write(&file, text).expect("file");
    for certificates in ["/dev/null", "/does/not/exist"] {
        let mut command = command();
        command.env("SSL_CERT_FILE", certificates).env_remove("SSL_CERT_DIR");
        let gateway = Process::run_as(command, &file).await;
        for (path, status) in [("/own", 200), ("/none", 200), ("/system", 502)] {
            let answer = client::get(gateway.address, path, "").await;
            assert_eq!(answer.status, status, "{certificates} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_not_shared_with_who_believes_another_authority() {
    for (speaks, protocol) in [(Speaks::Http1, "http1"), (Speaks::Http2, "h2")] {
        let (authority, other) = (Authority::new(), Authority::new());
        let acceptor = authority.sign("localhost").acceptor(&["h2", "http/1.1"]);
        let service = Service::start(speaks, Some(acceptor), |_| Say::text("mine")).await;
        let port = service.address.port();
        let upstream = |name: &str, authority: &Authority| {
            format!(
                "[upstream.{name}]\nservers = [\"localhost:{port}\"]\nprotocol = \"{protocol}\"\ntls = {}\n\
                 [[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{name}\"\n",
                believing(authority)
            )
        };
        let gateway = gateway::start(&(upstream("mine", &authority) + &upstream("theirs", &other))).await;
        for _ in 0..4 {
            assert_eq!(gateway.get("/mine").await.text(), "mine");
            assert_eq!(
                gateway.get("/theirs").await.status,
                502,
                "{protocol}: a pooled connection was taken"
            );
        }
        assert_eq!(service.received(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_over_http1_where_requests_go_over_http2() {
    let authority = Authority::new();
    let acceptor = authority.sign("localhost").acceptor(&["h2", "http/1.1"]);
    let service = Service::start(Speaks::Http2, Some(acceptor), |_| Say::text("plain")).await;
    let tls = format!("{}\nprotocol = \"h2\"", believing(&authority));
    let gateway = before("sockets", &service, &tls).await;
    assert_eq!(gateway.get("/").await.text(), "plain");
    let mut connection = gateway.connect().await;
    connection
        .send(
            "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let mut answer = Vec::new();
    eventually("the tunnel speaks", async || {
        answer.extend(connection.read_some().await);
        answer.ends_with(b"hello")
    })
    .await;
    assert!(
        answer.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(gateway.get("/").await.text(), "plain", "HTTP/2 again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_no_http2_is_told_of() {
    log::keep();
    let authority = Authority::new();
    let acceptor = authority.sign("localhost").acceptor(&[]);
    let service = Service::start(Speaks::Http1, Some(acceptor), |_| Say::text("never")).await;
    let tls = format!("{}\nprotocol = \"h2\"", believing(&authority));
    let gateway = before("old", &service, &tls).await;
    assert_eq!(gateway.get("/").await.status, 502);
    let lines = log::lines_with("upstream=old ");
    assert!(
        lines.iter().any(|line| line.contains("does not speak HTTP/2")),
        "{lines:?}"
    );
}
