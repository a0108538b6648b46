//! Operators come over TLS: with a certificate, with the token, or with both; nobody else does.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use deals247_gateway::gateway::Gateway;
use deals247_gateway::runtime::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

use crate::support::client::{Connection, Response};
use crate::support::port::free;
use crate::support::process::{Process, command};
use crate::support::tls::{Authority, Signed};
use crate::support::{PATIENCE, eventually, gateway};

const TOKEN: &str = "a-token-of-twenty-4-bytes";
/// Whose certificates the site's own is.
const NAME: &str = "gateway.test";

/// The gateway's certificate, who signs those of operators, and a gateway's directory.
struct Site {
    own: Authority,
    staff: Authority,
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            own: Authority::new(),
            staff: Authority::new(),
            directory: tempfile::tempdir().expect("directory"),
        };
        site.own.site("admin", &[NAME, "127.0.0.1"]);
        site
    }

    fn cert(&self) -> PathBuf {
        self.own.file().with_file_name("admin.pem")
    }

    /// `tls = { … }` with what follows the certificate; `{ca}` stands for the authority of the staff.
    fn tls(&self, more: &str) -> String {
        let (cert, key) = (self.cert(), self.cert().with_extension("key"));
        let more = more.replace("{ca}", &format!("{:?}", self.staff.file()));
        format!("tls = {{ cert = {cert:?}, key = {key:?}{more} }}")
    }

    fn file(&self, listen: &str, admin: &str) -> String {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nshutdown_timeout = \"2s\"\n[admin]\nlisten = \"{listen}\"\n{admin}\n\
             audit_log = \"audit.log\"\n[access_log]\nenabled = false\n[[route]]\nname = \"all\"\npath = \"/*\"\n\
             respond = {{ body = \"ok\" }}\n"
        )
    }

    async fn start(&self, admin: &str) -> Gateway {
        let config = gateway::parse(&self.file("127.0.0.1:0", admin), self.directory.path());
        Gateway::start(config, Registry::new()).await.expect("a gateway")
    }

    /// A client that believes the gateway's authority.
    fn client(&self, identity: Option<&Signed>) -> Arc<ClientConfig> {
        Arc::new(self.own.trusting(&["h2", "http/1.1"], identity))
    }

    fn deeds(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

async fn shake(admin: SocketAddr, client: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(admin).await?;
    let name = NAME.try_into().expect("a name");
    let shaken = TlsConnector::from(Arc::clone(client)).connect(name, tcp);
    timeout(PATIENCE, shaken).await.expect("a handshake in time")
}

/// What is answered, if anything is: whether a client's certificate will do is known after its side of the handshake.
async fn ask(admin: SocketAddr, client: &Arc<ClientConfig>, request: &str) -> Option<Response> {
    let mut connection = Connection::over(shake(admin, client).await.ok()?);
    connection.send(request).await;
    connection.response(false).await
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n{fields}\r\n")
}

fn bearing(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_certificate_of_the_right_authority_comes_in() {
    let site = Site::new();
    let running = site.start(&site.tls(", client_ca = {ca}")).await;
    let admin = running.admin_address().expect("on");
    let page = get("/metrics", "");
    let strangers = [
        ("none", None),
        ("of another authority", Some(site.own.sign("ann"))),
        ("that has expired", Some(site.staff.sign_expired("ann"))),
        ("of its own", Some(Signed::by_itself("ann"))),
    ];
    for (whose, identity) in strangers {
        for page in [&page, &get("/livez", "")] {
            let answer = ask(admin, &site.client(identity.as_ref()), page).await;
            assert!(answer.is_none(), "{whose}: {answer:?}");
        }
    }
    let ann = site.client(Some(&site.staff.sign("ann")));
    let answer = ask(admin, &ann, &page).await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("gateway_tls_handshakes_total"));

    // Who speaks clear text is not answered.
    let mut clear = Connection::open(admin).await;
    clear.send(&page).await;
    assert!(!clear.read_some().await.starts_with(b"HTTP"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_asked_for_beside_the_certificate_or_instead() {
    let site = Site::new();
    let (nobody, ann) = (site.client(None), site.client(Some(&site.staff.sign("ann"))));
    let token = format!("token = \"{TOKEN}\"\n");
    let (right, wrong) = (bearing(TOKEN), bearing("another-token-of-the-kind"));
    let ask = async |running: &Gateway, client: &Arc<ClientConfig>, path: &str, fields: &str| {
        let admin = running.admin_address().expect("on");
        let answer = self::ask(admin, client, &get(path, fields)).await;
        answer.map(|answer| answer.status)
    };

    // TLS alone: the token as ever.
    let running = site.start(&(token.clone() + &site.tls(""))).await;
    assert_eq!(ask(&running, &nobody, "/metrics", &right).await, Some(200));
    assert_eq!(ask(&running, &nobody, "/metrics", &wrong).await, Some(401));
    assert_eq!(
        ask(&running, &ann, "/metrics", "").await,
        Some(401),
        "nobody asked for it"
    );
    assert_eq!(ask(&running, &nobody, "/livez", "").await, Some(200));

    // Every connection must have a certificate: then the token as well.
    let running = site.start(&(token.clone() + &site.tls(", client_ca = {ca}"))).await;
    assert_eq!(ask(&running, &ann, "/metrics", &right).await, Some(200));
    assert_eq!(ask(&running, &ann, "/metrics", "").await, Some(401));
    assert_eq!(ask(&running, &nobody, "/metrics", &right).await, None);

    // Either will do, and probes need neither.
    let optional = site.tls(", client_ca = {ca}, client_auth = \"optional\"");
    let running = site.start(&(token + &optional)).await;
    assert_eq!(ask(&running, &ann, "/metrics", "").await, Some(200));
    assert_eq!(ask(&running, &nobody, "/metrics", &right).await, Some(200));
    assert_eq!(ask(&running, &nobody, "/metrics", "").await, Some(401));
    assert_eq!(ask(&running, &nobody, "/readyz", "").await, Some(200));
    let stranger = site.client(Some(&site.own.sign("ann")));
    assert_eq!(
        ask(&running, &stranger, "/livez", "").await,
        None,
        "a bad one is worse than none"
    );

    // Without a token only a certificate helps.
    let running = site.start(&optional).await;
    assert_eq!(ask(&running, &ann, "/metrics", "").await, Some(200));
    assert_eq!(ask(&running, &nobody, "/metrics", &right).await, Some(403));
    assert_eq!(ask(&running, &nobody, "/livez", "").await, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changed_something_is_noted_by_the_subject() {
    let site = Site::new();
    let optional = site.tls(", client_ca = {ca}, client_auth = \"optional\"");
    let running = site.start(&format!("token = \"{TOKEN}\"\n{optional}")).await;
    let admin = running.admin_address().expect("on");
    let ann = site.client(Some(&site.staff.sign_for("Ann")));
    let purge = |fields: &str| {
        format!(
            "POST /api/v1/cache/purge HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n{fields}\
             Content-Length: 13\r\n\r\n{{\"all\": true}}"
        )
    };
    for (client, fields, status) in [
        (&ann, String::new(), 200),
        (&ann, bearing(TOKEN), 200),
        (&site.client(None), bearing(TOKEN), 200),
        (&site.client(None), String::new(), 401),
        (&ann, "Sec-Fetch-Site: cross-site\r\n".to_owned(), 403),
    ] {
        let answer = ask(admin, client, &purge(&fields)).await.expect("an answer");
        assert_eq!(answer.status, status, "{fields}");
    }
    let who: Vec<String> = (site.deeds().iter())
        .map(|deed| deed["who"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(
        who,
        [
            "the admin listener as CN=Ann, from 127.0.0.1",
            "the admin listener as CN=Ann with its token, from 127.0.0.1",
            "the admin listener with its token, from 127.0.0.1",
            "the admin listener, from 127.0.0.1",
            "the admin listener as CN=Ann, from 127.0.0.1",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_terms_change_while_it_runs() {
    let site = Site::new();
    let place = free();
    let parse = |admin: &str| gateway::parse(&site.file(&place.to_string(), admin), site.directory.path());
    let running = Gateway::start(parse(""), Registry::new()).await.expect("a gateway");
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {place}\r\n\r\n");
    let mut clear = Connection::open(place).await;
    assert_eq!(clear.ask(&page).await.status, 200);

    // From clear text to TLS at the same address; who is connected is answered once more.
    let optional = site.tls(", client_ca = {ca}, client_auth = \"optional\"");
    running.reload(parse(&site.tls(""))).await.expect("reloaded");
    let last = clear.ask(&page).await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    let mut nobody = Connection::over(shake(place, &site.client(None)).await.expect("a handshake"));
    assert_eq!(nobody.ask(&page).await.status, 200);

    // A connection from before certificates were asked for has shown none, and is closed, so that the next one can.
    running.reload(parse(&optional)).await.expect("reloaded");
    let ann = site.client(Some(&site.staff.sign("ann")));
    let refused = nobody.ask(&page).await;
    assert_eq!((refused.status, refused.header("connection")), (403, Some("close")));
    let mut pooled = Connection::over(shake(place, &ann).await.expect("a handshake"));
    assert_eq!(pooled.ask(&page).await.status, 200);

    // A renewed certificate is shown without a reload.
    let shown = |stream: &TlsStream<TcpStream>| {
        let (_, session) = stream.get_ref();
        session.peer_certificates().expect("certificates")[0].to_vec()
    };
    let before = shown(&shake(place, &site.client(None)).await.expect("a handshake"));
    site.own.site("admin", &[NAME, "127.0.0.1"]);
    eventually("the new one is shown", async || {
        shown(&shake(place, &site.client(None)).await.expect("a handshake")) != before
    })
    .await;
    assert_eq!(pooled.ask(&page).await.status, 200, "connections stay");
    let listed = ask(place, &ann, &get("/api/v1/certificates", ""))
        .await
        .expect("an answer");
    let listed = &listed.json()["certificates"][0];
    assert_eq!(listed["certificate"], site.cert().to_str().expect("text"));
    assert_eq!(listed["asks_clients"], true);

    // Another authority: who came under the old one is not believed any more.
    let other = Authority::new();
    std::fs::copy(other.file(), site.staff.file()).expect("written");
    running.reload(parse(&optional)).await.expect("reloaded");
    assert_eq!(pooled.ask(&page).await.status, 403);
    assert!(ask(place, &ann, &page).await.is_none());
    let bea = site.client(Some(&other.sign("bea")));
    assert_eq!(ask(place, &bea, &page).await.expect("an answer").status, 200);

    // And back.
    running.reload(parse("")).await.expect("reloaded");
    assert_eq!(Connection::open(place).await.ask(&page).await.status, 200);
}

/// Runs a command of the binary on this file.
async fn gateway(site: &Site, file: &Path, arguments: &[&str]) -> Output {
    command()
        .env("GATEWAY_RUN_DIR", site.directory.path().join("run"))
        .args(arguments)
        .arg("-c")
        .arg(file)
        .output()
        .await
        .expect("the binary")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_speak_tls_and_upgrades_hand_the_listener_on() {
    let site = Site::new();
    let place = free();
    let file = site.directory.path().join("gateway.toml");
    let write = |admin: &str| std::fs::write(&file, site.file(&place.to_string(), admin)).expect("file");
    write(&site.tls(""));
    let mut start = command();
    start.env("GATEWAY_RUN_DIR", site.directory.path().join("run"));
    let process = Process::run_as(start, &file).await;
    assert_eq!(process.admin, Some(place));
    let run = async |code: i32, arguments: &[&str]| {
        let output = gateway(&site, &file, arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", told(&output));
        told(&output)
    };
    run(0, &["health"]).await;
    run(0, &["reload"]).await;
    // The certificate is known by the process that serves, whatever has become of the file.
    std::fs::write(&file, "[server").expect("file");
    let said = run(1, &["reload"]).await;
    assert!(said.contains("as before"), "{said}");

    // Certificates, and who asks from elsewhere.
    write(&site.tls(", client_ca = {ca}"));
    run(0, &["reload"]).await;
    let said = run(3, &["health"]).await;
    assert!(
        said.contains("CertificateRequired") && said.contains("--admin-cert"),
        "{said}"
    );
    let (cert, key) = site.staff.client();
    let own = ["--admin-cert", path(&cert), "--admin-key", path(&key)];
    run(0, &[&["health"][..], &own].concat()).await;
    let (admin, known) = (place.to_string(), site.cert());
    let there = ["--admin", &admin, "--admin-tls", path(&known)];
    run(0, &[&["upstreams"][..], &there, &own].concat()).await;
    let known = site.own.file();
    let there = ["--admin", &admin, "--admin-tls", path(&known)];
    let said = run(3, &[&["upstreams"][..], &there, &own].concat()).await;
    assert!(said.contains("another certificate"), "{said}");
    run(3, &["upstreams", "--admin", &admin]).await;
    run(2, &[&["health"][..], &own[..2]].concat()).await;

    // nginx's spelling asks the same listener; what is a signal asks nobody.
    let said = run(3, &["-s", "reload"]).await;
    assert!(said.contains("--admin-cert"), "{said}");
    run(0, &[&["-s", "reload"][..], &own].concat()).await;
    run(2, &[&["-s", "stop"][..], &own].concat()).await;
    run(2, &[&own[..], &["check"]].concat()).await;

    run(0, &[&["-s", "upgrade"][..], &own].concat()).await;
    assert_eq!(process.replaced().await.code(), Some(0));
    run(0, &[&["health"][..], &own].concat()).await;
    run(0, &["-s", "stop"]).await;
    eventually("it has ended", async || TcpStream::connect(place).await.is_err()).await;
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}
