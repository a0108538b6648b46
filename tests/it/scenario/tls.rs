//! TLS with clients: which certificate they get, who may come in, and that files may change at any time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, HandshakeKind, ProtocolVersion};

use crate::support::client::{self, Connection};
use crate::support::gateway::{self, Running};
use crate::support::origin::Origin;
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

/// `[[certificate]]` with these files.
fn certificate((cert, key): &(impl AsRef<Path>, impl AsRef<Path>), more: &str) -> String {
    let (cert, key) = (cert.as_ref(), key.as_ref());
    format!("[[certificate]]\ncert = {cert:?}\nkey = {key:?}\n{more}\n")
}

/// A gateway that speaks TLS. `tls`: further lines of `[tls]`.
async fn before(origin: &Origin, tls: &str, certificates: &str) -> Running {
    gateway::start(&format!(
        "[tls]\nlisten = [\"127.0.0.1:0\"]\n{tls}\n{certificates}\n[upstream.app]\nservers = [\"{}\"]\n\
         [headers.site]\npreset = \"web\"\n[defaults]\nheaders = \"site\"\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await
}

async fn connect(gateway: &Running, config: &Arc<ClientConfig>, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(gateway.tls()).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    timeout(PATIENCE, TlsConnector::from(Arc::clone(config)).connect(name, tcp))
        .await
        .expect("a handshake in time")
}

/// One request over a connection of its own.
async fn ask(gateway: &Running, config: &Arc<ClientConfig>, name: &str, fields: &str) -> client::Response {
    let stream = connect(gateway, config, name).await.expect("a handshake");
    Connection::over(stream)
        .ask(&format!("GET /a?b=1 HTTP/1.1\r\nHost: {name}\r\n{fields}\r\n"))
        .await
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("certificates")[0].to_vec()
}

fn der(file: &Path) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_file(file)
        .expect("a certificate")
        .to_vec()
}

/// A client without a memory: a session that is taken up again shows the certificate with which it began.
fn forgetful(authority: &Authority) -> Arc<ClientConfig> {
    let mut config = authority.trusting(&["http/1.1"], None);
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_tls_is_told_to_the_application_and_the_log() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = before(&origin, "", &certificate(&site, "")).await;
    let config = Arc::new(authority.trusting(&["http/1.1"], None));
    let stream = connect(&gateway, &config, "site.test").await.expect("a handshake");
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let mut connection = Connection::over(stream);
    for _ in 0..3 {
        let answer = connection.ask("GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        assert_eq!((answer.status, answer.text()), (200, "hello"));
        assert!(answer.header("strict-transport-security").is_some());
    }
    let told = origin.received().pop().expect("a request");
    assert_eq!(told.header("x-forwarded-proto"), Some("https"));
    let line = gateway.logged(3).await;
    assert_eq!(line["tls"], "TLSv1.3");
    assert!(
        gateway.get("/a").await.header("strict-transport-security").is_none(),
        "HSTS in clear text"
    );
    assert!(gateway.logged(4).await["tls"].is_null());
    assert!(gateway.metric("gateway_tls_handshakes_total{result=\"full\"}").await >= 1.0);
    // What the gate refuses carries the same fields.
    let mut connection = Connection::over(connect(&gateway, &config, "site.test").await.expect("a handshake"));
    let refused = connection.ask("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(refused.status, 400);
    assert!(refused.header("strict-transport-security").is_some());
    assert_eq!(gateway.logged(5).await["tls"], "TLSv1.3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_chooses_the_certificate() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let first = authority.site("first", &["first.test"]);
    let wild = authority.site("wild", &["*.wild.test"]);
    let exact = authority.site("exact", &["a.wild.test"]);
    let other = authority.site("other", &["unused.test"]);
    let certificates = [
        certificate(&first, ""),
        certificate(&wild, ""),
        certificate(&exact, ""),
        certificate(&other, "names = [\"named.test\"]"),
    ];
    let gateway = before(&origin, "", &certificates.concat()).await;
    // Who it is for does not matter here: only which one is shown.
    let mut config = authority.trusting(&[], None);
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(crate::support::tls::Anything));
    let config = Arc::new(config);
    for (name, files) in [
        ("first.test", &first),
        ("A.Wild.Test", &exact),
        ("b.wild.test", &wild),
        ("b.c.wild.test", &first),
        ("nobody.test", &first),
        ("127.0.0.1", &first), // no name is sent
        ("unused.test", &first),
        ("named.test", &other),
    ] {
        let stream = connect(&gateway, &config, name).await.expect("a handshake");
        assert_eq!(shown(&stream), der(&files.0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_protocols_that_are_not_spoken_are_refused() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = before(&origin, "min_version = \"1.3\"", &certificate(&site, "")).await;
    let old = Arc::new(authority.trusting_version(&[&rustls::version::TLS12], &[], None));
    let error = connect(&gateway, &old, "site.test").await.expect_err("TLS 1.2");
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    let odd = Arc::new(authority.trusting(&["spdy/3"], None));
    let error = connect(&gateway, &odd, "site.test")
        .await
        .expect_err("an unknown protocol");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    eventually("both are counted", async || {
        gateway.metric("gateway_tls_handshakes_total{result=\"failed\"}").await == 2.0
    })
    .await;

    let gateway = before(&origin, "", &certificate(&site, "")).await;
    let stream = connect(&gateway, &old, "site.test").await.expect("TLS 1.2 by default");
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_taken_up_again_after_a_restart_with_the_same_key() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let key = site.0.with_file_name("tickets");
    std::fs::write(&key, "k".repeat(48)).expect("written");
    let tls = format!("ticket_key = {key:?}");
    let config = Arc::new(authority.trusting(&[], None));
    for (tls, resumed) in [(tls.as_str(), true), ("", false)] {
        let first = before(&origin, tls, &certificate(&site, "")).await;
        assert_eq!(ask(&first, &config, "site.test", "").await.status, 200);
        let again = connect(&first, &config, "site.test").await.expect("a handshake");
        assert_eq!(again.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        let second = before(&origin, tls, &certificate(&site, "")).await;
        assert_eq!(ask(&first, &config, "site.test", "").await.status, 200);
        let elsewhere = connect(&second, &config, "site.test").await.expect("a handshake");
        let kind = elsewhere.get_ref().1.handshake_kind();
        assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{tls}");
        assert!(first.metric("gateway_tls_handshakes_total{result=\"resumed\"}").await >= 1.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_files_come_into_force_and_bad_ones_do_not() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = before(&origin, "", &certificate(&site, "")).await;
    let config = forgetful(&authority);
    let held = connect(&gateway, &config, "site.test").await.expect("a handshake");
    let mut held = Connection::over(held);
    let success = format!("gateway_certificate_last_load_success{{certificate={:?}}}", site.0);

    authority.site("site", &["site.test"]);
    let renewed = der(&site.0);
    eventually("the new one is shown", async || {
        shown(&connect(&gateway, &config, "site.test").await.expect("a handshake")) == renewed
    })
    .await;
    let answer = held.ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!(answer.status, 200, "connections stay");

    let good_key = std::fs::read(&site.1).expect("key");
    std::fs::write(&site.1, "no key").expect("written");
    eventually("the log and the metric say so", async || {
        gateway.metric(&success).await == 0.0
    })
    .await;
    assert_eq!(
        shown(&connect(&gateway, &config, "site.test").await.expect("a handshake")),
        renewed
    );

    std::fs::write(&site.1, good_key).expect("written");
    eventually("good again", async || gateway.metric(&success).await == 1.0).await;
    let expiry = format!(
        "gateway_certificate_expiry_timestamp_seconds{{certificate={:?}}}",
        site.0
    );
    assert!(gateway.metric(&expiry).await > 1_700_000_000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_certificates_change() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = Arc::new(before(&origin, "", &certificate(&site, "")).await);
    let config = forgetful(&authority);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (gateway, config, stop) = (Arc::clone(&gateway), Arc::clone(&config), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen = std::collections::HashSet::new();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let stream = connect(&gateway, &config, "site.test")
                        .await
                        .expect("every handshake succeeds");
                    seen.insert(shown(&stream));
                    let answer = Connection::over(stream)
                        .ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")
                        .await;
                    assert_eq!(answer.status, 200);
                }
                seen.len()
            })
        })
        .collect();
    for _ in 0..100 {
        authority.site("site", &["site.test"]);
        gateway.look_at_certificates().await;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for client in clients {
        assert!(client.await.expect("no failure") > 1, "they saw several certificates");
    }
    assert_eq!(
        gateway.metric("gateway_tls_handshakes_total{result=\"failed\"}").await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_is_sent_to_https() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = before(
        &origin,
        "redirect_http = true\npublic_port = 443",
        &certificate(&site, ""),
    )
    .await;
    let location = |path: &str, fields: &str| {
        let request = format!("POST {path} HTTP/1.1\r\nHost: Site.test:8080\r\nContent-Length: 0\r\n{fields}\r\n");
        client::ask(gateway.address, request)
    };
    let answer = location("/a%20b/?x=%2F..", "").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some("https://site.test/a%20b/?x=%2F.."));
    assert!(answer.header("strict-transport-security").is_none());
    assert_eq!(origin.received().len(), 0);
    let forged = location("/", "X-Forwarded-Proto: https\r\n").await;
    assert_eq!(forged.status, 308, "a stranger's word");
    for path in ["/health", "/.well-known/acme-challenge/abc"] {
        assert_eq!(location(path, "").await.status, 200, "{path}");
    }
    let old = client::ask(gateway.address, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 400, "nobody knows where it wanted to");
    let config = Arc::new(authority.trusting(&[], None));
    assert_eq!(ask(&gateway, &config, "site.test", "").await.status, 200);

    let gateway = before(&origin, "redirect_http = true", &certificate(&site, "")).await;
    let answer = client::get(gateway.address, "/", "").await;
    assert_eq!(
        answer.header("location"),
        Some("https://site.test:0/"),
        "the port of the file"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_asks_its_clients_for_certificates() {
    let origin = Origin::fixed("hello").await;
    let (authority, staff, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let open = authority.site("open", &["open.test"]);
    let closed = authority.site("closed", &["closed.test"]);
    let either = authority.site("either", &["either.test"]);
    let ca = staff.file();
    let certificates = [
        certificate(&open, ""),
        certificate(&closed, &format!("client_ca = {ca:?}")),
        certificate(&either, &format!("client_ca = {ca:?}\nclient_auth = \"optional\"")),
    ];
    let headers = "client_headers = { \"X-Client\" = \"names\", \"X-Client-Id\" = \"fingerprint\" }";
    let gateway = before(&origin, headers, &certificates.concat()).await;
    let nobody = Arc::new(authority.trusting(&[], None));
    let ann = Arc::new(authority.trusting(&[], Some(&staff.sign("ann.staff.test"))));
    let eve = Arc::new(authority.trusting(&[], Some(&strangers.sign("eve.test"))));
    let forged = "X-Client: root\r\nX_Client: root\r\nX-Client-Id: 0\r\n";

    assert_eq!(ask(&gateway, &ann, "closed.test", forged).await.status, 200);
    let told = origin.received().pop().expect("a request");
    assert_eq!(told.header("x-client"), Some("ann.staff.test"));
    assert_eq!(told.header("x_client"), None);
    assert_eq!(told.header("x-client-id").map(str::len), Some(64));

    for config in [&nobody, &ann] {
        assert_eq!(ask(&gateway, config, "either.test", forged).await.status, 200);
    }
    assert_eq!(ask(&gateway, &nobody, "open.test", forged).await.status, 200);
    let told = origin.received().pop().expect("a request");
    assert_eq!((told.header("x-client"), told.header("x-client-id")), (None, None));
    let told = client::get(gateway.address, "/", forged).await;
    assert_eq!(told.status, 200);
    assert_eq!(origin.received().pop().expect("a request").header("x-client"), None);

    let before = origin.received().len();
    for (config, name) in [(&nobody, "closed.test"), (&eve, "closed.test"), (&eve, "either.test")] {
        // In TLS 1.3 a client believes to be done before the server has judged its certificate.
        let refused = match connect(&gateway, config, name).await {
            Err(_) => true,
            Ok(stream) => {
                let mut connection = Connection::over(stream);
                connection.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).await;
                connection.is_closed().await
            }
        };
        assert!(refused, "{name}");
    }
    // The name in the handshake must not open the door of another.
    let stream = connect(&gateway, &nobody, "open.test").await.expect("a handshake");
    let answer = Connection::over(stream)
        .ask("GET / HTTP/1.1\r\nHost: closed.test\r\n\r\n")
        .await;
    assert_eq!(answer.status, 421);
    assert_eq!(origin.received().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_have_bounds() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let config = Arc::new(authority.trusting(&[], None));
    let gateway = before(&origin, "handshake_timeout = \"200ms\"", &certificate(&site, "")).await;
    let mut silent = Connection::open(gateway.tls()).await;
    let mut half = Connection::open(gateway.tls()).await;
    half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(silent.is_closed().await && half.is_closed().await);
    eventually("both are counted", async || {
        gateway.metric("gateway_tls_handshakes_total{result=\"timeout\"}").await == 2.0
    })
    .await;
    eventually("who is quicker comes in", async || {
        connect(&gateway, &config, "site.test").await.is_ok()
    })
    .await;

    let gateway = before(&origin, "max_handshakes = 4", &certificate(&site, "")).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(Connection::open(gateway.tls()).await);
    }
    eventually("they are in their handshake", async || {
        gateway.metric("gateway_tls_handshakes_active").await == 2.0
    })
    .await;
    assert!(
        Connection::open(gateway.tls()).await.is_closed().await,
        "half of four is two"
    );
    drop(held);
    eventually("there is room again", async || {
        connect(&gateway, &config, "site.test").await.is_ok()
    })
    .await;

    let gateway = before(&origin, "handshake_rate = \"3/h\"", &certificate(&site, "")).await;
    let mut succeeded = 0;
    for _ in 0..6 {
        succeeded += usize::from(connect(&gateway, &config, "site.test").await.is_ok());
    }
    assert_eq!(succeeded, 3);
    assert_eq!(
        gateway.metric("gateway_tls_handshakes_total{result=\"refused\"}").await,
        3.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_both_ways_and_pieces_are_put_together() {
    let origin = Origin::start(|request| {
        let body = request.body.clone();
        crate::support::origin::reply(200, "", &String::from_utf8_lossy(&body))
    })
    .await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = before(&origin, "", &certificate(&site, "")).await;
    let config = Arc::new(authority.trusting(&[], None));
    let mut stream = connect(&gateway, &config, "site.test").await.expect("a handshake");
    let body = "0123456789abcdef".repeat(64 * 1024);
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: site.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for byte in head.as_bytes() {
        stream.write_all(std::slice::from_ref(byte)).await.expect("written");
        stream.flush().await.expect("flushed");
    }
    let mut connection = Connection::over(stream);
    connection.send(&body).await;
    let answer = timeout(Duration::from_secs(60), connection.response(false))
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert!(answer.body == body.as_bytes());
}

/// A client that offers nothing but X25519MLKEM768, by hand: what it sends is well-formed, and the answer is the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_exchanged_so_that_nobody_opens_them_later() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let site = authority.site("site", &["site.test"]);
    let gateway = before(&origin, "", &certificate(&site, "")).await;
    let with_length = |body: &[u8]| [&u16::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_length(body)].concat();
    // A key of zeros is a valid one, if a weak one; the point is the base point.
    let mut share = vec![0; 1184];
    share.push(9);
    share.extend([0; 31]);
    let group = 0x11ec_u16.to_be_bytes();
    let extensions = [
        extension(43, &[2, 3, 4]),
        extension(10, &with_length(&group)),
        extension(13, &with_length(&[4, 3, 8, 4])),
        extension(51, &with_length(&[&group[..], &with_length(&share)].concat())),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &with_length(&[0x13, 1]),
        &[1, 0],
        &with_length(&extensions),
    ]
    .concat();
    let message = [&[1, 0], &with_length(&body)[..]].concat();
    let mut stream = TcpStream::connect(gateway.tls()).await.expect("a listener");
    let record = [&[22, 3, 1][..], &with_length(&message)].concat();
    stream.write_all(&record).await.expect("written");
    let mut answer = vec![0; 5 + 4 + 2 + 32 + 1 + 2 + 1 + 2 + 1200];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
    timeout(PATIENCE, read).await.expect("in time").expect("an answer");
    assert_eq!((answer[0], answer[5]), (22, 2), "a ServerHello");
    let chosen = [&[0, 51][..], &1124_u16.to_be_bytes(), &group, &1120_u16.to_be_bytes()].concat();
    assert!(
        answer.windows(chosen.len()).any(|part| part == chosen),
        "X25519MLKEM768 with its share"
    );
}
