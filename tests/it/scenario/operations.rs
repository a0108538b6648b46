//! What operators ask of a gateway that runs, by commands and by writing its file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;

use crate::support::client::{self, Connection};
use crate::support::eventually;
use crate::support::origin::{Origin, reply};
use crate::support::port::free;
use crate::support::process::{Process, command};

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
        let mut command = command();
        command.env("GATEWAY_RUN_DIR", self.directory.path().join("run"));
        Process::run_as(command, &self.file()).await
    }

    async fn gateway(&self, arguments: &[&str]) -> Output {
        command()
            .env("GATEWAY_RUN_DIR", self.directory.path().join("run"))
            .args(arguments)
            .arg("-c")
            .arg(self.file())
            .output()
            .await
            .expect("the binary")
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
