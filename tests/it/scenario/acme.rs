//! Certificates that are obtained, from an authority that validates for real (Pebble).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use deals247_gateway::acme::Seal;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::client::{self, Connection};
use crate::support::gateway::{self, Running};
use crate::support::origin::Origin;
use crate::support::pebble::Pebble;
use crate::support::port::listens;
use crate::support::redis::Redis;
use crate::support::{PATIENCE, eventually};

/// A gateway where Pebble looks for answers. `acme`: further lines of the table.
async fn at(pebble: &Pebble, origin: &Origin, storage: &Path, acme: &str, more: &str) -> Running {
    on(
        [pebble.clear.to_string(), pebble.tls.to_string()],
        pebble,
        origin,
        storage,
        acme,
        more,
    )
    .await
}

async fn on(
    [clear, tls]: [String; 2],
    pebble: &Pebble,
    origin: &Origin,
    storage: &Path,
    acme: &str,
    more: &str,
) -> Running {
    gateway::start(&format!(
        "listen = [\"{clear}\"]\n[tls]\nlisten = [\"{tls}\"]\nredirect_http = true\n\
         [acme]\nstorage = {storage:?}\n{}\n{acme}\n{more}\n[upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        pebble.directory(),
        origin.address
    ))
    .await
}

/// Stops a gateway that was where Pebble looks for answers; returns when another one can be there.
async fn leave(gateway: Running, pebble: &Pebble) {
    gateway.drain(None).await;
    for place in [pebble.clear, pebble.tls] {
        listens(place.port(), 0).await;
    }
}

/// A client that believes Pebble's certificates.
async fn believing(pebble: &Pebble) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pebble.root().await).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The status of a request over TLS; `None`: the certificate is not believed.
async fn status(gateway: &Running, config: &Arc<ClientConfig>, name: &str) -> Option<u16> {
    let tcp = TcpStream::connect(gateway.tls()).await.expect("a listener");
    let server = name.to_owned().try_into().expect("a name");
    let stream = tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::clone(config)).connect(server, tcp)).await;
    let stream = stream.expect("a handshake in time").ok()?;
    let answer = Connection::over(stream)
        .ask(&format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"))
        .await;
    Some(answer.status)
}

async fn is_believed(gateway: &Running, config: &Arc<ClientConfig>, name: &str) {
    eventually("the certificate is in force", async || {
        status(gateway, config, name).await == Some(200)
    })
    .await;
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_obtained_by_either_challenge_and_kept() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let origin = Origin::fixed("hello").await;
        let pebble = Pebble::start(&["a.test", "b.test"]).await;
        let storage = directory();
        let acme =
            format!("domains = [\"a.test\", \"b.test\"]\nchallenges = [\"{challenge}\"]\nemail = \"ops@a.test\"");
        let gateway = at(&pebble, &origin, storage.path(), &acme, "").await;
        let config = believing(&pebble).await;
        is_believed(&gateway, &config, "a.test").await;
        assert_eq!(status(&gateway, &config, "b.test").await, Some(200));
        assert_eq!(
            gateway.metric("gateway_acme_orders_total{result=\"issued\"}").await,
            1.0
        );
        let answered = gateway
            .metric(&format!("gateway_acme_challenges_total{{challenge=\"{challenge}\"}}"))
            .await;
        assert!(answered >= 2.0, "{challenge}: {answered}");
        let label = "{certificate=\"acme\"}";
        assert_eq!(
            gateway
                .metric(&format!("gateway_certificate_last_load_success{label}"))
                .await,
            1.0
        );
        let expires = gateway
            .metric(&format!("gateway_certificate_expiry_timestamp_seconds{label}"))
            .await;
        let due = gateway.metric("gateway_acme_due_timestamp_seconds").await;
        assert!(due < expires, "renewed before it ends");

        let folder = pebble.folder(storage.path());
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        let before = std::fs::read(folder.join("certificate.pem")).expect("kept");
        for file in ["certificate.pem", "account.json"] {
            assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
        }

        // Whoever starts again shows it from the first handshake on, and orders nothing.
        leave(gateway, &pebble).await;
        let gateway = at(&pebble, &origin, storage.path(), &acme, "").await;
        assert_eq!(status(&gateway, &config, "a.test").await, Some(200));
        assert_eq!(
            gateway.metric("gateway_acme_orders_total{result=\"issued\"}").await,
            0.0
        );
        assert_eq!(std::fs::read(folder.join("certificate.pem")).expect("kept"), before);
        leave(gateway, &pebble).await;

        // Another name needs another certificate at once; the account is the same.
        let account = std::fs::read(folder.join("account.json")).expect("kept");
        pebble.names.addresses("c.test", 1, &["127.0.0.1"]);
        let acme = acme.replace("b.test", "c.test");
        let gateway = at(&pebble, &origin, storage.path(), &acme, "").await;
        is_believed(&gateway, &config, "c.test").await;
        assert_eq!(std::fs::read(folder.join("account.json")).expect("kept"), account);
        leave(gateway, &pebble).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_there_is_one_a_stand_in_is_shown_and_failures_are_told() {
    let origin = Origin::fixed("hello").await;
    let pebble = Pebble::start(&[]).await; // knows no name
    let storage = directory();
    let gateway = at(&pebble, &origin, storage.path(), "domains = [\"a.test\"]", "").await;
    let believing = believing(&pebble).await;
    let mut careless = (*believing).clone();
    careless
        .dangerous()
        .set_certificate_verifier(Arc::new(crate::support::tls::Anything));
    let careless = Arc::new(careless);
    assert_eq!(status(&gateway, &believing, "a.test").await, None);
    assert_eq!(
        status(&gateway, &careless, "a.test").await,
        Some(200),
        "it works behind the warning"
    );
    assert_eq!(
        gateway
            .metric("gateway_certificate_last_load_success{certificate=\"acme\"}")
            .await,
        0.0
    );
    eventually("the order fails", async || {
        gateway.metric("gateway_acme_orders_total{result=\"failed\"}").await == 1.0
    })
    .await;
    // What nobody asked for, or asked for another host, is not there.
    for (host, path, expected) in [
        ("a.test", "/.well-known/acme-challenge/unknown", 404),
        ("a.test", "/.well-known/acme-challenge/a/b", 200), // the application's, where it serves such
        ("other.test", "/.well-known/acme-challenge/unknown", 200),
        ("a.test", "/", 308),
    ] {
        let answer = client::ask(gateway.address, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, expected, "{host}{path}");
    }
    // A handshake of an authority that has ordered nothing finds nothing.
    let mut asking = (*careless).clone();
    asking.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert_eq!(status(&gateway, &Arc::new(asking), "a.test").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_gateways_share_one_certificate() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let origin = Origin::fixed("hello").await;
        let pebble = Pebble::start(&["a.test"]).await;
        let redis = Redis::start().await;
        let acme = format!(
            "domains = [\"a.test\"]\nchallenges = [\"{challenge}\"]\nsecret = \"{}\"",
            "0123456789abcdef".repeat(2)
        );
        let shared = format!("[redis]\nurl = \"{}\"", redis.url());
        // Pebble asks the first one, whoever orders.
        let storages = [directory(), directory(), directory()];
        let elsewhere = || ["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()];
        let asked = at(&pebble, &origin, storages[0].path(), &acme, &shared).await;
        let second = on(elsewhere(), &pebble, &origin, storages[1].path(), &acme, &shared).await;
        let third = on(elsewhere(), &pebble, &origin, storages[2].path(), &acme, &shared).await;
        let config = believing(&pebble).await;
        for gateway in [&asked, &second, &third] {
            is_believed(gateway, &config, "a.test").await;
        }
        // Counted after it is in force; whoever had begun a second order would be seen in the files below.
        eventually("one of them has ordered", async || {
            let mut issued = 0.0;
            for gateway in [&asked, &second, &third] {
                issued += gateway.metric("gateway_acme_orders_total{result=\"issued\"}").await;
            }
            assert!(issued <= 1.0, "one of them orders");
            issued == 1.0
        })
        .await;
        let files: Vec<_> = storages
            .iter()
            .map(|storage| std::fs::read(pebble.folder(storage.path()).join("certificate.pem")).expect("kept"))
            .collect();
        assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "all have the same");
        // Who reads the store reads no key.
        let keys: Vec<String> = redis.ask(&["KEYS", "*acme*"]).await;
        assert!(!keys.is_empty());
        for key in keys {
            // The lock may just be let go.
            let value: Option<Vec<u8>> = redis.ask(&["GET", &key]).await;
            let value = value.unwrap_or_default();
            let plain = [b"PRIVATE".as_slice(), b"CERTIFICATE", b"key_pkcs8"];
            assert!(
                plain
                    .iter()
                    .all(|word| !value.windows(word.len()).any(|part| part == *word)),
                "{key}"
            );
        }
    }
}

/// What another gateway has put into the store is answered by this one, over both ways; what a stranger has put there is
/// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_gateway_answers_for_the_one_that_orders() {
    let origin = Origin::fixed("hello").await;
    let pebble = Pebble::start(&[]).await;
    let redis = Redis::start().await;
    let secret = "0123456789abcdef".repeat(2);
    let acme = format!("domains = [\"a.test\"]\nsecret = \"{secret}\"");
    let shared = format!("[redis]\nurl = \"{}\"", redis.url());
    let storage = directory();
    let gateway = at(&pebble, &origin, storage.path(), &acme, &shared).await;
    eventually("its own order has failed", async || {
        gateway.metric("gateway_acme_orders_total{result=\"failed\"}").await == 1.0
    })
    .await;
    let locks: Vec<String> = redis.ask(&["KEYS", "*lock"]).await;
    let prefix = locks[0].strip_suffix("lock").expect("the lock's key");
    let put = async |place: &str, by: &str, answer: &str| {
        let key = format!("{prefix}{place}");
        let sealed = Seal::of(by)
            .expect("a seal")
            .seal(&key, answer.as_bytes())
            .expect("sealed");
        redis.put(&key, &sealed).await;
    };
    put("http-01:ours", &secret, "ours.thumb").await;
    put(
        "http-01:strange",
        "another secret that nobody has told us",
        "strange.thumb",
    )
    .await;
    put("tls-alpn-01:a.test", &secret, "ours.thumb").await;
    for (token, expected) in [
        ("ours", (200, "ours.thumb")),
        ("strange", (404, "")),
        ("absent", (404, "")),
    ] {
        let path = format!("/.well-known/acme-challenge/{token}");
        let answer = client::ask(gateway.address, format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        assert_eq!(answer.status, expected.0, "{token}");
        assert!(
            answer.text().contains(expected.1) && !answer.text().contains("strange.thumb"),
            "{token}"
        );
    }
    let mut asking = (*believing(&pebble).await).clone();
    asking
        .dangerous()
        .set_certificate_verifier(Arc::new(crate::support::tls::Anything));
    asking.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let tcp = TcpStream::connect(gateway.tls()).await.expect("a listener");
    let name = "a.test".to_owned().try_into().expect("a name");
    let stream = TlsConnector::from(Arc::new(asking))
        .connect(name, tcp)
        .await
        .expect("a handshake");
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(b"acme-tls/1".as_slice()));
    let shown = session.peer_certificates().expect("a certificate")[0].to_vec();
    let digest = ring_digest(b"ours.thumb");
    assert!(shown.windows(32).any(|part| part == digest), "RFC 8737 §3");
}

fn ring_digest(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}
