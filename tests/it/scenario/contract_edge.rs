//! The other contract file, unchanged but for addresses, files and the URL of the keys: TLS and identity together.

use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::auth::{Issuer, bearer, claims};
use crate::support::client::{self, Connection, Response};
use crate::support::gateway::{self, Running};
use crate::support::jwt::Signer;
use crate::support::origin::Origin;
use crate::support::tls::Authority;

const NAME: &str = "deals247.online";
const KEYS: &str = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";

async fn ask(gateway: &Running, config: &Arc<ClientConfig>, path: &str, fields: &str) -> Response {
    let tcp = TcpStream::connect(gateway.tls()).await.expect("connect");
    let name = ServerName::try_from(NAME).expect("a name");
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
    Connection::over(stream.expect("a handshake"))
        .ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {NAME}\r\nfirebase_uid: evil\r\n{fields}\r\n"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_claims_anothers_uid() {
    let origin = Origin::fixed("ok").await;
    let signer = Signer::rsa();
    let issuer = Issuer::start(vec![signer.jwk("k1")]).await;
    let authority = Authority::new();
    let (cert, key) = authority.site("site", &[NAME]);
    let directory = tempfile::tempdir().expect("directory");
    let partners = directory.path().join("partners.toml");
    std::fs::write(&partners, "").expect("file");
    let replaced = [
        // A key of the whole file's reloads, which is not there yet.
        ("watch = true", String::new()),
        ("\"0.0.0.0:80\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"0.0.0.0:443\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"127.0.0.1:9900\"", "\"127.0.0.1:0\"".to_owned()),
        ("\"127.0.0.1:5000\"", format!("\"{}\"", origin.address)),
        ("\"tls/fullchain.pem\"", format!("{cert:?}")),
        ("\"tls/privkey.pem\"", format!("{key:?}")),
        ("\"keys/partners.toml\"", format!("{partners:?}")),
        (KEYS, issuer.url()),
    ];
    let mut text = include_str!("../config/edge.toml").to_owned();
    for (from, to) in &replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let gateway = gateway::start_whole(&text).await;
    let trusting = Arc::new(authority.trusting(&["http/1.1"], None));

    let mut who = claims("u1");
    who["iss"] = json!("https://securetoken.google.com/deals247");
    who["aud"] = json!("deals247");
    let user = bearer(&signer.token(Some("k1"), &who));
    assert_eq!(
        ask(&gateway, &trusting, "/api/deals", "Firebase-Uid: evil\r\n")
            .await
            .status,
        401
    );
    assert_eq!(
        ask(
            &gateway,
            &trusting,
            "/api/deals",
            &format!("{user}Firebase-Uid: evil\r\n")
        )
        .await
        .status,
        200
    );
    let sent = origin.last();
    assert_eq!(sent.header("firebase-uid"), Some("u1"));
    assert_eq!(sent.header("firebase_uid"), None);
    assert_eq!(sent.header("x-forwarded-proto"), Some("https"));

    let secret = Signer::secret(b"0123456789abcdef0123456789abcdef");
    let mut staff = claims("s1");
    assert_eq!(ask(&gateway, &trusting, "/api/admin/x", &user).await.status, 401);
    assert_eq!(
        ask(
            &gateway,
            &trusting,
            "/api/admin/x",
            &bearer(&secret.token(None, &staff))
        )
        .await
        .status,
        403
    );
    staff["role"] = json!("admin");
    assert_eq!(
        ask(
            &gateway,
            &trusting,
            "/api/admin/x",
            &bearer(&secret.token(None, &staff))
        )
        .await
        .status,
        200
    );
    assert_eq!(origin.last().header("firebase-uid"), None);

    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(ask(&gateway, &trusting, "/ws/x", upgrade).await.status, 401);
    let clear = client::get(gateway.address, "/api/deals", &user).await;
    assert_eq!(clear.status, 308, "sent to https before anything else");
}
