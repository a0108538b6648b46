//! `[auth.NAME]`: who is let in, what the application is told, what happens when nobody can be asked.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::{self, Response};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::jwt::{RSA_PEM, Signer};
use crate::support::origin::{Origin, Step, raw, reply};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs()
}

pub(super) fn claims(subject: &str) -> Value {
    json!({ "iss": "https://issuer.test", "aud": "deals", "sub": subject, "iat": now(), "exp": now() + 600 })
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Publishes a set of keys, which may be changed.
pub(super) struct Issuer {
    server: Origin,
    keys: Arc<Mutex<Option<Vec<Value>>>>,
}

impl Issuer {
    pub(super) async fn start(keys: Vec<Value>) -> Self {
        let keys = Arc::new(Mutex::new(Some(keys)));
        let shown = Arc::clone(&keys);
        let server = Origin::start(move |_| match &*shown.lock().expect("keys") {
            Some(keys) => reply(
                200,
                "Content-Type: application/json\r\n",
                &json!({ "keys": keys }).to_string(),
            ),
            None => vec![Step::Close],
        })
        .await;
        Self { server, keys }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/keys", self.server.address)
    }

    fn publish(&self, keys: Option<Vec<Value>>) {
        *self.keys.lock().expect("keys") = keys;
    }

    fn asked(&self) -> usize {
        self.server.received().len()
    }
}

/// A site like the contract's.
async fn site(issuer: &Issuer) -> (Running, Origin) {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/ws/") => [
            raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
            vec![Step::Echo],
        ]
        .concat(),
        _ => reply(200, "", "ok"),
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n\
         [auth.users]\njwt = {{ jwks_url = \"{}\", refresh = \"1s\", issuer = \"https://issuer.test\", audience = \"deals\" }}\n\
         forward = {{ \"firebase-uid\" = \"sub\", \"x-name\" = \"name\" }}\n\
         [auth.staff]\njwt = {{ secret = \"{SECRET}\" }}\nrequire = {{ role = \"admin\" }}\ncredentials = \"remove\"\n\
         [auth.cookie]\njwt = {{ secret = \"{SECRET}\", from = [\"cookie:session\", \"query:token\"] }}\noptional = true\n\
         forward = {{ \"firebase-uid\" = \"sub\" }}\n\
         [cors.api]\norigins = [\"https://deals247.online\"]\nheaders = [\"Authorization\"]\n\
         [rate_limit.each]\nrate = \"2/d\"\nkey = \"jwt:sub\"\n\
         [[route]]\nname = \"api\"\npath = \"/api/*\"\nupstream = \"app\"\nauth = \"users\"\ncors = \"api\"\n\
         [[route]]\nname = \"admin\"\npath = \"/api/admin/*\"\nupstream = \"app\"\nauth = \"staff\"\n\
         [[route]]\nname = \"either\"\npath = \"/api/either\"\nupstream = \"app\"\nauth = [\"staff\", \"users\"]\n\
         [[route]]\nname = \"verified\"\npath = \"/api/verified\"\nupstream = \"app\"\n\
         auth = {{ by = \"users\", require = {{ email_verified = \"true\" }} }}\n\
         [[route]]\nname = \"counted\"\npath = \"/api/counted\"\nupstream = \"app\"\nauth = \"users\"\nrate_limit = [\"each\"]\n\
         [[route]]\nname = \"live\"\npath = \"/ws/*\"\nupstream = \"app\"\nauth = \"users\"\n\
         [[route]]\nname = \"fixed\"\npath = \"/fixed\"\nrespond = {{ body = \"secret\" }}\nauth = \"users\"\n\
         [[route]]\nname = \"maybe\"\npath = \"/maybe\"\nupstream = \"app\"\nauth = \"cookie\"\n\
         [[route]]\nname = \"open\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address, issuer.url()
    ))
    .await;
    (gateway, origin)
}

async fn get(gateway: &Running, path: &str, fields: &str) -> Response {
    client::get(gateway.address, path, fields).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_is_told_who_asks_and_nobody_else_tells_it() {
    let signer = Signer::rsa();
    let issuer = Issuer::start(vec![signer.jwk("k1")]).await;
    let (gateway, origin) = site(&issuer).await;
    let spoofed =
        "Firebase-Uid: admin\r\nfirebase-uid: admin\r\nfirebase_uid: admin\r\nfirebase.uid: admin\r\nX_Name: Ann\r\n";

    let mut who = claims("u1");
    who["name"] = json!("Zoë\r\nX-Evil: 1");
    let token = bearer(&signer.token(Some("k1"), &who));
    let answer = get(&gateway, "/api/deals?firebase_uid=kept", &format!("{token}{spoofed}")).await;
    assert_eq!(answer.status, 200);
    let sent = origin.last();
    assert_eq!(sent.header("firebase-uid"), Some("u1"));
    assert_eq!(sent.header("x-name"), Some("Zo%C3%AB%0D%0AX-Evil: 1"));
    for name in ["firebase_uid", "firebase.uid", "x_name", "x-evil"] {
        assert_eq!(sent.header(name), None, "{name}: {}", sent.head);
    }
    assert!(
        sent.header("authorization").is_some(),
        "kept unless the file says otherwise"
    );
    assert!(
        sent.line().contains("?firebase_uid=kept"),
        "a parameter is the application's"
    );

    // Where nobody is known nobody is anybody: on routes without `auth`, and where it is optional.
    for path in ["/", "/maybe"] {
        assert_eq!(get(&gateway, path, spoofed).await.status, 200, "{path}");
        let sent = origin.last();
        for name in ["firebase-uid", "firebase_uid", "firebase.uid", "x_name", "x-name"] {
            assert_eq!(sent.headers(name), [""; 0], "{path} {name}");
        }
    }
    let secret = Signer::secret(SECRET.as_bytes());
    let cookie = format!(
        "Cookie: a=1; session={}\r\n{spoofed}",
        secret.token(None, &claims("u2"))
    );
    assert_eq!(get(&gateway, "/maybe", &cookie).await.status, 200);
    assert_eq!(origin.last().header("firebase-uid"), Some("u2"));
    assert_eq!(
        get(&gateway, "/maybe", "Cookie: session=nonsense\r\n").await.status,
        401,
        "bad is not none"
    );

    let mut staff = claims("s1");
    staff["role"] = json!(["user", "admin"]);
    let staff = bearer(&secret.token(None, &staff));
    assert_eq!(get(&gateway, "/api/admin/x", &staff).await.status, 200);
    assert_eq!(
        origin.last().header("authorization"),
        None,
        "taken out, as the file says"
    );
    assert_eq!(origin.last().header("firebase-uid"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_what_is_missing() {
    let signer = Signer::rsa();
    let issuer = Issuer::start(vec![signer.jwk("k1")]).await;
    let (gateway, origin) = site(&issuer).await;
    let secret = Signer::secret(SECRET.as_bytes());
    let good = signer.token(Some("k1"), &claims("u1"));
    let mut expired = claims("u1");
    expired["exp"] = json!(now() - 100);
    let expired = signer.token(Some("k1"), &expired);
    let invalid = |why: &str| format!("Bearer realm=\"users\", error=\"invalid_token\", error_description=\"{why}\"");
    for (path, fields, status, challenge) in [
        ("/api/x", String::new(), 401, Some("Bearer realm=\"users\"".to_owned())),
        (
            "/api/x",
            "Authorization: Basic YTpi\r\n".to_owned(),
            401,
            Some("Bearer realm=\"users\"".to_owned()),
        ),
        ("/api/x", bearer(&expired), 401, Some(invalid("the token is expired"))),
        (
            "/api/x",
            bearer(&secret.token(Some("k1"), &claims("u1"))),
            401,
            Some(invalid("the algorithm of the token is not accepted")),
        ),
        ("/api/x", bearer("a.b.c"), 401, Some(invalid("the token is malformed"))),
        (
            "/api/x",
            format!("{}{}", bearer(&good), bearer(&good)),
            401,
            Some(invalid("the token cannot be read")),
        ),
        ("/fixed", String::new(), 401, Some("Bearer realm=\"users\"".to_owned())),
        ("/ws/x", String::new(), 401, Some("Bearer realm=\"users\"".to_owned())),
        (
            "/api/admin/x",
            bearer(&secret.token(None, &claims("u1"))),
            403,
            Some("Bearer realm=\"staff\", error=\"insufficient_scope\"".to_owned()),
        ),
        (
            "/api/verified",
            bearer(&good),
            403,
            Some("Bearer realm=\"users\", error=\"insufficient_scope\"".to_owned()),
        ),
        ("/api/either", bearer(&good), 200, None),
    ] {
        let before = origin.received().len();
        let answer = get(&gateway, path, &fields).await;
        assert_eq!(answer.status, status, "{path} {fields}");
        assert_eq!(
            answer.header("www-authenticate"),
            challenge.as_deref(),
            "{path} {fields}"
        );
        assert_eq!(origin.received().len() - before, usize::from(status == 200), "{path}");
        if status != 200 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.json()["status"], status);
        }
    }
    // Two ways, two challenges.
    let answer = get(&gateway, "/api/either", "").await;
    let challenges = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    assert_eq!((answer.status, challenges.count()), (401, 2));
    // A page of another site can read why; its preflight needs no token.
    let answer = get(&gateway, "/api/x", "Origin: https://deals247.online\r\n").await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (401, Some("https://deals247.online"))
    );
    let preflight = "OPTIONS /api/x HTTP/1.1\r\nHost: site.test\r\nOrigin: https://deals247.online\r\n\
                     Access-Control-Request-Method: PUT\r\n\r\n";
    assert_eq!(client::ask(gateway.address, preflight).await.status, 204);
    // gRPC hears it in its own words, an upgrade before it is one.
    let grpc = "POST /api/x HTTP/1.1\r\nHost: site.test\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n";
    let answer = client::ask(gateway.address, grpc).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(get(&gateway, "/ws/x", upgrade).await.status, 401);
    assert_eq!(
        get(&gateway, "/ws/x", &format!("{}{upgrade}", bearer(&good)))
            .await
            .status,
        101
    );
    assert_eq!(origin.last().header("firebase-uid"), Some("u1"));

    // Nothing of a token is in the log, wherever it stood.
    let query = secret.token(None, &claims("u3"));
    assert_eq!(
        get(&gateway, &format!("/maybe?token={query}&a=b"), "").await.status,
        200
    );
    eventually("the log is written", async || {
        gateway.log().await.iter().any(|line| line["path"] == "/maybe")
    })
    .await;
    let log = format!("{:?}", gateway.log().await);
    for token in [&good, &expired, &query] {
        let signature = token.rsplit('.').next().expect("a signature");
        assert!(!log.contains(signature), "{log}");
    }
    assert!(
        log.contains("\"unauthenticated\"") && log.contains("\"not_permitted\""),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_and_survive_an_outage() {
    let (old, new) = (Signer::rsa(), Signer::p256());
    let issuer = Issuer::start(vec![old.jwk("k1")]).await;
    let (gateway, _origin) = site(&issuer).await;
    let by = |signer: &Signer, key: &str| bearer(&signer.token(Some(key), &claims("u1")));
    assert_eq!(get(&gateway, "/api/x", &by(&old, "k1")).await.status, 200);
    assert_eq!(get(&gateway, "/api/x", &by(&new, "k2")).await.status, 401);

    issuer.publish(Some(vec![old.jwk("k1"), new.jwk("k2")]));
    eventually("the new key is known", async || {
        get(&gateway, "/api/x", &by(&new, "k2")).await.status == 200
    })
    .await;
    assert_eq!(get(&gateway, "/api/x", &by(&old, "k1")).await.status, 200);

    // Gone, and then nonsense: what is known stays good.
    for broken in [None, Some(vec![]), Some(vec![json!("nonsense")])] {
        issuer.publish(broken);
        let asked = issuer.asked();
        eventually("it was asked again", async || issuer.asked() > asked + 1).await;
        assert_eq!(get(&gateway, "/api/x", &by(&new, "k2")).await.status, 200);
    }
    // A key that is withdrawn is good no longer.
    issuer.publish(Some(vec![new.jwk("k2")]));
    eventually("the old key is forgotten", async || {
        get(&gateway, "/api/x", &by(&old, "k1")).await.status == 401
    })
    .await;

    // Names that somebody invents make no more requests than one a second.
    let (asked, begin) = (issuer.asked(), std::time::Instant::now());
    for index in 0..200 {
        let invented = new.token(Some(&format!("x{index}")), &claims("u1"));
        assert_eq!(get(&gateway, "/api/x", &bearer(&invented)).await.status, 401);
    }
    let most = usize::try_from(begin.elapsed().as_secs()).expect("seconds") * 2 + 3;
    assert!(issuer.asked() - asked <= most, "{} of {most}", issuer.asked() - asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_nobody_is_let_in_until_they_are_there() {
    let signer = Signer::ed25519();
    let issuer = Issuer::start(vec![signer.jwk("k1")]).await;
    issuer.publish(None);
    let (gateway, origin) = site(&issuer).await;
    let token = bearer(&signer.token(Some("k1"), &claims("u1")));
    let answer = get(&gateway, "/api/x", &token).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some() && answer.header("www-authenticate").is_none());
    // Who sends nothing is told so, and other routes work.
    assert_eq!(get(&gateway, "/api/x", "").await.status, 401);
    assert_eq!(get(&gateway, "/", "").await.status, 200);
    assert_eq!(origin.received().len(), 1);
    issuer.publish(Some(vec![signer.jwk("k1")]));
    eventually("the keys are there", async || {
        get(&gateway, "/api/x", &token).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_count_by_verified_claims() {
    let signer = Signer::rsa();
    let issuer = Issuer::start(vec![signer.jwk("k1")]).await;
    let (gateway, _origin) = site(&issuer).await;
    for (subject, status) in [("u1", 200), ("u1", 200), ("u1", 429), ("u2", 200), ("u1", 429)] {
        let token = bearer(&signer.token(Some("k1"), &claims(subject)));
        assert_eq!(get(&gateway, "/api/counted", &token).await.status, status, "{subject}");
    }
    // Who is refused anyway costs nobody anything.
    let forged = bearer(&Signer::secret(b"x").token(Some("k1"), &claims("u2")));
    for _ in 0..5 {
        assert_eq!(get(&gateway, "/api/counted", &forged).await.status, 401);
    }
    let token = bearer(&signer.token(Some("k1"), &claims("u2")));
    assert_eq!(get(&gateway, "/api/counted", &token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partners_have_keys_and_files_change() {
    let origin = Origin::fixed("ok").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("partners.toml");
    let hash = deals247_gateway::auth::ApiKeys::hash;
    std::fs::write(
        &file,
        format!("[acme]\nsha256 = \"{}\"\nrole = \"reader\"\n", hash("key-a")),
    )
    .expect("file");
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n\
         [auth.partners]\napi_keys = {{ header = \"x-api-key\", file = {file:?}, max_failures = false }}\n\
         forward = {{ \"x-partner\" = \"sub\", \"x-role\" = \"role\" }}\ncredentials = \"remove\"\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\nauth = \"partners\"\n",
        origin.address
    ))
    .await;
    let ask = async |key: &str| get(&gateway, "/", &format!("X-Api-Key: {key}\r\nX-Partner: evil\r\n")).await;
    assert_eq!(ask("key-a").await.status, 200);
    let sent = origin.last();
    assert_eq!(sent.header("x-partner"), Some("acme"));
    assert_eq!(sent.header("x-role"), Some("reader"));
    assert_eq!(sent.header("x-api-key"), None);
    let refused = ask("key-b").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some("ApiKey realm=\"partners\""));
    assert_eq!(get(&gateway, "/", "").await.status, 401);

    std::fs::write(&file, format!("[other]\nsha256 = \"{}\"\n", hash("key-b"))).expect("file");
    eventually("the new key is good", async || ask("key-b").await.status == 200).await;
    assert_eq!(ask("key-a").await.status, 401);
    // A faulty file changes nothing.
    std::fs::write(&file, "[other").expect("file");
    std::fs::write(
        directory.path().join("partners.tmp"),
        format!("[third]\nsha256 = \"{}\"\n", hash("key-c")),
    )
    .expect("file");
    assert_eq!(ask("key-b").await.status, 200);
    std::fs::rename(directory.path().join("partners.tmp"), &file).expect("renamed");
    eventually("the third key is good", async || ask("key-c").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_keys_is_turned_away() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("partners.toml");
    let hash = deals247_gateway::auth::ApiKeys::hash("key-a");
    std::fs::write(&file, format!("[acme]\nsha256 = \"{hash}\"\n")).expect("file");
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n\
         [auth.partners]\napi_keys = {{ file = {file:?}, max_failures = \"2/h\" }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {{ body = \"inside\" }}\nauth = \"partners\"\n"
    ))
    .await;
    let ask = async |from: &str, key: &str| {
        let fields = format!("X-Forwarded-For: {from}\r\nX-Api-Key: {key}\r\n");
        get(&gateway, "/", &fields).await
    };
    for (key, status) in [
        ("key-a", 200),
        ("1", 401),
        ("key-a", 200),
        ("2", 401),
        ("3", 429),
        ("key-a", 429),
    ] {
        let answer = ask("192.0.2.1", key).await;
        assert_eq!(answer.status, status, "{key}");
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    assert_eq!(ask("192.0.2.2", "key-a").await.status, 200);
    // Counted when they are logged, which is after their answers.
    gateway.logged(7).await;
    let refused = gateway
        .metric("gateway_refusals_total{reason=\"too_many_failures\"}")
        .await;
    assert_eq!(refused, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_key_may_stand_in_a_file() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("key.pem");
    std::fs::write(&file, RSA_PEM).expect("file");
    let gateway = gateway::start(&format!(
        "[auth.pss]\njwt = {{ public_key = {file:?}, algorithms = [\"PS256\"] }}\n[auth.any]\njwt = {{ public_key = {file:?} }}\n\
         [[route]]\nname = \"pss\"\npath = \"/pss\"\nauth = \"pss\"\nrespond = {{ body = \"ok\" }}\n\
         [[route]]\nname = \"any\"\npath = \"/any\"\nauth = \"any\"\nrespond = {{ body = \"ok\" }}\n"
    ))
    .await;
    for (path, signer, status) in [
        ("/pss", Signer::pss(), 200),
        ("/pss", Signer::rsa(), 401),
        ("/any", Signer::pss(), 200),
        ("/any", Signer::rsa(), 200),
        ("/any", Signer::secret(RSA_PEM.as_bytes()), 401),
    ] {
        let token = bearer(&signer.token(None, &claims("u1")));
        assert_eq!(get(&gateway, path, &token).await.status, status, "{path}");
    }
}
