//! What operators ask of a gateway that runs, by commands and by writing its file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;

use crate::support::client::{self, Connection};
use crate::support::eventually;
use crate::support::origin::{Origin, reply};
use crate::support::port::free;
use crate::support::process::{Process, command_in};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway of its own directory: file, run directory, history.
struct Site {
    directory: tempfile::TempDir,
    admin: SocketAddr,
}

impl Site {
    async fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("directory"),
            admin: free(),
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    fn text(&self, server: &str, rest: &str) -> String {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n[admin]\nlisten = \"{}\"\n[access_log]\nenabled = false\n{rest}",
            self.admin
        )
    }

    /// Writes the file as editors do: a new one takes its place.
    fn write(&self, server: &str, rest: &str) {
        let new = self.directory.path().join(".gateway.toml.swp");
        std::fs::write(&new, self.text(server, rest)).expect("file");
        std::fs::rename(&new, self.file()).expect("rename");
    }

    async fn run(&self) -> Process {
        Process::run_in(self.directory.path()).await
    }

    async fn gateway(&self, arguments: &[&str]) -> Output {
        command_in(self.directory.path(), arguments).await
    }
}

fn body(text: &str) -> String {
    format!("[[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {{ body = \"{text}\" }}\n")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn answer(process: &Process) -> String {
    let mut connection = Connection::open(process.address).await;
    connection.ask(GET).await.text().to_owned()
}

async fn stop(process: Process) -> String {
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

#[tokio::test]
async fn a_reload_is_planned_made_and_taken_back_by_commands() {
    let site = Site::new().await;
    site.write("state_dir = \"state\"", &body("one"));
    let process = site.run().await;
    site.write("state_dir = \"state\"\nmax_body = \"1MB\"", &body("two"));

    let plan = site.gateway(&["reload", "--plan"]).await;
    assert_eq!(plan.status.code(), Some(0), "{}", out(&plan));
    let told = out(&plan);
    assert!(
        told.contains("~ [server]\n    max_body = \"1MB\"  (was \"100MB\")"),
        "{told}"
    );
    assert!(told.contains("~ route all\n"), "{told}");
    assert_eq!(answer(&process).await, "one", "only planned");

    let plan = site.gateway(&["reload", "--plan", "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    assert_eq!(json["changes"][0]["keys"][0]["key"], "max_body");

    let reload = site.gateway(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", out(&reload));
    assert_eq!(answer(&process).await, "two");

    site.write("state_dir = \"state\"", "[[route]]\nname = \"all\"\npth = \"/*\"\n");
    let bad = site.gateway(&["reload"]).await;
    assert_eq!(bad.status.code(), Some(1), "{}", out(&bad));
    let told = out(&bad);
    assert!(
        told.contains("unknown key `pth`") && told.contains("^^^") && told.contains("as before"),
        "{told}"
    );
    let ready = client::admin(site.admin, "/readyz").await.json();
    assert!(
        ready["refused_reload"]["why"]
            .as_str()
            .expect("why")
            .contains("unknown key `pth`")
    );
    let nginx = site.gateway(&["-s", "reload"]).await;
    assert_eq!(nginx.status.code(), Some(1), "{}", out(&nginx));
    assert_eq!(answer(&process).await, "two");

    let back = site.gateway(&["rollback"]).await;
    assert_eq!(back.status.code(), Some(0), "{}", out(&back));
    assert_eq!(answer(&process).await, "one");
    assert!(client::admin(site.admin, "/readyz").await.json()["refused_reload"].is_null());
    let history = out(&site.gateway(&["history"]).await);
    assert_eq!(
        history.matches("\n1  ").count() + history.matches("\n2  ").count(),
        2,
        "{history}"
    );
    assert!(
        history.contains("(in force)") && history.contains("from 127.0.0.1") && history.contains("start"),
        "{history}"
    );
    let forward = site.gateway(&["rollback", "2"]).await;
    assert_eq!(forward.status.code(), Some(0), "{}", out(&forward));
    assert_eq!(answer(&process).await, "two");
    let nothing = site.gateway(&["rollback", "99"]).await;
    assert_eq!(nothing.status.code(), Some(2), "{}", out(&nothing));
    let nothing = site.gateway(&["confirm"]).await;
    assert_eq!(nothing.status.code(), Some(2), "{}", out(&nothing));

    let stopped = site.gateway(&["-s", "stop"]).await;
    assert_eq!(stopped.status.code(), Some(0), "{}", out(&stopped));
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let nobody = site.gateway(&["-s", "quit"]).await;
    assert_eq!(nobody.status.code(), Some(3), "{}", out(&nobody));

    // The history outlives the process.
    site.write("state_dir = \"state\"", &body("three"));
    let process = site.run().await;
    let history = out(&site.gateway(&["history"]).await);
    assert!(history.contains("\n2  "), "{history}");
    stop(process).await;
}

#[tokio::test]
async fn a_written_file_is_applied_and_half_of_one_is_not() {
    let site = Site::new().await;
    site.write("watch = true", &body("one"));
    let process = site.run().await;
    for text in ["two", "three"] {
        site.write("watch = true", &body(text));
        eventually("the new file", async || answer(&process).await == text).await;
    }
    // Saved in place, in two halves of which the first means nothing.
    let whole = site.text("watch = true", &body("four"));
    std::fs::write(site.file(), &whole[..whole.len() - 20]).expect("half");
    let why = async || client::admin(site.admin, "/readyz").await.json()["refused_reload"]["why"].clone();
    eventually("half is refused", async || why().await.is_string()).await;
    assert_eq!(answer(&process).await, "three");
    std::fs::write(site.file(), &whole).expect("whole");
    eventually("the whole file", async || answer(&process).await == "four").await;
    // Taken away it changes nothing; back it is read.
    std::fs::remove_file(site.file()).expect("remove");
    site.write("watch = false", &body("five"));
    eventually("the file is back", async || answer(&process).await == "five").await;
    assert!(why().await.is_null());
    let said = stop(process).await;
    assert!(said.contains("the file was written"), "{said}");
}

/// Puts a certificate into the file's directory, named as its authority.
fn authority(path: &Path) {
    let key = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a certificate");
    std::fs::write(path, key.cert.pem()).expect("file");
}

#[tokio::test]
async fn a_certificate_that_is_written_is_read_and_a_bad_one_changes_nothing() {
    let site = Site::new().await;
    let ca = site.directory.path().join("ca.pem");
    authority(&ca);
    let rest = "[upstream.app]\nservers = [\"127.0.0.1:1\"]\ntls = { ca = \"ca.pem\", sni = \"a.test\" }\n\
                [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"app\"\n";
    site.write("watch = true", &format!("{rest}{}", body("one")));
    let process = site.run().await;
    let ready = async || client::admin(site.admin, "/readyz").await.json();
    assert_eq!(ready().await["generation"], 1);
    authority(&ca);
    eventually("the new authority", async || ready().await["generation"] == 2).await;
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("file");
    eventually("a bad one is refused", async || {
        ready().await["refused_reload"].is_object()
    })
    .await;
    assert_eq!(ready().await["generation"], 2);
    authority(&ca);
    eventually("the next good one", async || ready().await["generation"] == 3).await;
    assert_eq!(answer(&process).await, "one");
    stop(process).await;
}

#[tokio::test]
async fn what_nobody_confirms_goes_back() {
    let site = Site::new().await;
    site.write("", &body("one"));
    let process = site.run().await;

    site.write("", &body("two"));
    let reload = site.gateway(&["reload", "--confirm", "1h"]).await;
    assert!(out(&reload).contains("gateway confirm"), "{}", out(&reload));
    let confirmed = site.gateway(&["confirm"]).await;
    assert_eq!(confirmed.status.code(), Some(0), "{}", out(&confirmed));

    site.write("confirm = \"400ms\"", &body("three"));
    let reload = site.gateway(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", out(&reload));
    eventually("it goes back", async || {
        answer(&process).await == "two" && out(&site.gateway(&["history"]).await).contains("nobody confirmed it")
    })
    .await;
    assert_eq!(answer(&process).await, "two");
    stop(process).await;
}

#[tokio::test]
async fn what_makes_failures_double_goes_back() {
    let site = Site::new().await;
    let (good, bad) = (
        Origin::fixed("good").await,
        Origin::start(|_| reply(500, "", "bad")).await,
    );
    let to = |origin: &Origin| {
        format!(
            "[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
            origin.address
        )
    };
    site.write("confirm = \"1h\"", &to(&good));
    let process = site.run().await;
    for _ in 0..20 {
        assert_eq!(answer(&process).await, "good");
    }
    site.write("confirm = \"1h\"", &to(&bad));
    let reload = site.gateway(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", out(&reload));
    eventually("it goes back", async || answer(&process).await == "good").await;
    let said = stop(process).await;
    assert!(said.contains("failures have doubled"), "{said}");
}

/// Writes a certificate and its key; those of a TLS listener.
fn certificate(site: &Site) {
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a certificate");
    let place = |name: &str| site.directory.path().join(name);
    std::fs::write(place("cert.pem"), made.cert.pem()).expect("file");
    std::fs::write(place("key.pem"), made.signing_key.serialize_pem()).expect("file");
}

#[tokio::test]
async fn whatever_is_wrong_the_next_good_file_is_taken() {
    let site = Site::new().await;
    certificate(&site);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = taken.local_addr().expect("address");
    std::fs::write(
        site.directory.path().join("bad.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
    )
    .expect("file");
    site.write("", &body("one"));
    let process = site.run().await;
    let tls = |cert: &str| {
        format!("[tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = \"{cert}\"\nkey = \"key.pem\"\n")
    };
    let whole = |rest: &str| site.text("", &format!("{rest}{}", body("bad")));
    let half = whole("");
    let cases = [
        ("a bad certificate", whole(&tls("bad.pem")), "bad.pem"),
        ("a missing file", whole(&tls("nowhere.pem")), "nowhere.pem"),
        (
            "a taken port",
            whole("").replace("[\"127.0.0.1:0\"]", &format!("[\"127.0.0.1:0\", \"{taken}\"]")),
            "in use",
        ),
        ("half a file", half[..half.len() - 12].to_owned(), "error"),
        (
            "no secret",
            whole("[upstream.app]\nservers = [\"127.0.0.1:1\"]\nsticky = { secret = { file = \"gone\" } }\n"),
            "gone",
        ),
    ];
    for (round, (what, text, why)) in cases.into_iter().enumerate() {
        std::fs::write(site.file(), text).expect("file");
        let reload = site.gateway(&["reload"]).await;
        assert_ne!(reload.status.code(), Some(0), "{what}: {}", out(&reload));
        assert!(out(&reload).contains(why), "{what}: {}", out(&reload));
        let ready = client::admin(site.admin, "/readyz").await;
        assert_eq!(ready.status, 200, "{what}");
        assert!(ready.json()["refused_reload"]["why"].is_string(), "{what}");
        // The next good one, with TLS, which the bad ones had spoiled.
        let good = format!("round {round}");
        site.write("", &format!("{}{}", tls("cert.pem"), body(&good)));
        let reload = site.gateway(&["reload"]).await;
        assert_eq!(reload.status.code(), Some(0), "after {what}: {}", out(&reload));
        assert_eq!(answer(&process).await, good);
        assert!(
            client::admin(site.admin, "/readyz").await.json()["refused_reload"].is_null(),
            "{what}"
        );
    }
    // A name that nobody knows is no reason to refuse: its route answers 503, the others as ever.
    let nobody = "[upstream.app]\nservers = [\"nobody.invalid:80\"]\n[[route]]\nname = \"app\"\npath = \"/app\"\n\
                  upstream = \"app\"\n";
    site.write("", &format!("{nobody}{}", body("rest")));
    let reload = site.gateway(&["reload"]).await;
    assert_eq!(reload.status.code(), Some(0), "{}", out(&reload));
    assert_eq!(answer(&process).await, "rest");
    let app = client::ask(
        process.address,
        "GET /app HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(app.status, 503);
    stop(process).await;
}

#[tokio::test]
async fn a_secret_in_a_file_is_watched_and_the_level_of_the_log_follows() {
    let site = Site::new().await;
    let secret = site.directory.path().join("secret");
    std::fs::write(&secret, "a".repeat(32)).expect("file");
    let upstream = "[upstream.app]\nservers = [\"127.0.0.1:1\"]\nsticky = { secret = { file = \"secret\" } }\n\
                    [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"app\"\n";
    let rest = format!("{upstream}{}", body("one"));
    site.write("watch = true", &format!("{rest}[log]\nlevel = \"error\"\n"));
    let process = site.run().await;
    let generation = async || client::admin(site.admin, "/readyz").await.json()["generation"].clone();
    assert_eq!(generation().await, 1);
    std::fs::write(&secret, "b".repeat(32)).expect("file");
    eventually("the new secret", async || generation().await == 2).await;
    site.write("watch = true", &format!("{rest}[log]\nlevel = \"info\"\n"));
    eventually("the new level", async || generation().await == 3).await;
    let said = stop(process).await;
    assert!(said.contains("generation=3"), "{said}");
    assert!(
        !said.contains("generation=2"),
        "at `error` the first was not told: {said}"
    );
}

#[tokio::test]
async fn operators_see_what_runs_and_every_change_is_noted() {
    let site = Site::new().await;
    let server = "# the operators' own";
    let admin = "audit_log = { path = \"audit.log\", rotate = { size = \"1MB\" } }\ntoken = \"0123456789abcdef-operators\"\n[access_log]";
    let write = |text: &str| {
        let text = site.text(server, &body(text)).replacen("[access_log]", admin, 1);
        std::fs::write(site.file(), text).expect("file");
    };
    write("one");
    let process = site.run().await;
    let ask = async |method: &str, path: &str, more: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client::ask(site.admin, request).await
    };
    let token = "Authorization: Bearer 0123456789abcdef-operators\r\n";
    let get = async |path: &str| ask("GET", path, token, "").await.json();

    let status = get("/api/v1/status").await;
    assert_eq!(status["generation"], 1);
    assert_eq!(status["listen"][0], "127.0.0.1:0");
    assert_eq!(status["log_level"], "info");
    let config = get("/api/v1/config").await;
    let toml = config["toml"].as_str().expect("text");
    assert!(toml.contains("max_body = \"100MB\"  # default"), "{toml}");
    assert!(!toml.contains("0123456789abcdef"), "secrets are masked: {toml}");
    assert_eq!(get("/api/v1/certificates").await["certificates"], serde_json::json!([]));
    let described = get("/api/v1/openapi.json").await;
    assert_eq!(described["openapi"], "3.1.0");

    assert_eq!(
        ask("PUT", "/api/v1/log", token, "{\"level\": \"loud\"}").await.status,
        400
    );
    let level = ask("PUT", "/api/v1/log", token, "{\"level\": \"debug\"}").await;
    assert_eq!(level.json()["by"], "the operator", "{}", level.text());
    assert_eq!(get("/api/v1/status").await["log_level"], "debug");
    let level = ask("PUT", "/api/v1/log", token, "{\"level\": null}").await;
    assert_eq!(
        (level.json()["level"].as_str(), level.json()["by"].as_str()),
        (Some("info"), Some("the file"))
    );

    assert_eq!(ask("POST", "/api/v1/reload", "", "").await.status, 401);
    write("two");
    assert_eq!(ask("POST", "/api/v1/reload", token, "").await.status, 200);
    std::fs::write(site.file(), "[server").expect("file");
    process.signal(Signal::HUP);
    let audit = site.directory.path().join("audit.log");
    let deeds = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&audit).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    eventually("the signal is noted", async || {
        deeds().last().is_some_and(|deed| deed["who"] == "SIGHUP")
    })
    .await;
    let told: Vec<(String, bool)> = deeds()
        .iter()
        .map(|deed| {
            (
                deed["what"].as_str().expect("text").to_owned(),
                deed["done"].as_bool().expect("flag"),
            )
        })
        .collect();
    let expected = [
        ("PUT /api/v1/log", false),
        ("PUT /api/v1/log", true),
        ("PUT /api/v1/log", true),
        ("POST /api/v1/reload", false),
        ("put a configuration into force", true),
        ("POST /api/v1/reload", true),
        ("put a configuration into force", false),
    ];
    assert_eq!(told, expected.map(|(what, done)| (what.to_owned(), done)));
    let changed = &deeds()[4];
    assert!(
        changed["detail"].as_str().expect("text").contains("~ route all"),
        "{changed}"
    );
    assert_eq!(changed["who"], "the admin listener with its token, from 127.0.0.1");
    assert_eq!(deeds()[3]["who"], "the admin listener, from 127.0.0.1");
    stop(process).await;
}
