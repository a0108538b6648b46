//! Operators come over a socket in the file system: it is theirs alone, in nobody's way, and always that of the gateway
//! that serves.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use deals247_gateway::gateway::Gateway;
use deals247_gateway::runtime::Registry;
use rustix::process::Signal;
use tokio::net::UnixStream;

use crate::support::client::{Connection, Response};
use crate::support::origin::Origin;
use crate::support::process::{Process, command};
use crate::support::{eventually, gateway};

fn file(listen: &str, keys: &str, server: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nshutdown_timeout = \"2s\"\n[admin]\nlisten = \"{listen}\"\n{keys}\n\
         [access_log]\nenabled = false\n[upstream.app]\nservers = [\"{server}\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n"
    )
}

fn at(path: &Path) -> String {
    format!("unix:{}", path.display())
}

async fn ask(path: &Path, request: &str) -> Response {
    let stream = UnixStream::connect(path).await.expect("connect");
    Connection::over(stream).ask(request).await
}

/// What is asked under a name, as `curl --unix-socket` does.
async fn get(path: &Path, page: &str) -> Response {
    ask(path, &format!("GET {page} HTTP/1.1\r\nHost: gateway.test\r\n\r\n")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_answered_as_on_loopback() {
    let directory = tempfile::tempdir().expect("directory");
    let (first, second) = (directory.path().join("admin.sock"), directory.path().join("other.sock"));
    let origin = Origin::fixed("hello").await;
    let server = origin.address.to_string();
    let parse = |listen: &str, keys: &str| gateway::parse(&file(listen, keys, &server), directory.path());
    let running = Gateway::start(parse(&at(&first), ""), Registry::new())
        .await
        .expect("a gateway");
    let mode = first.metadata().expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(running.admin_address(), None);
    assert_eq!(get(&first, "/readyz").await.status, 200);
    assert!(get(&first, "/metrics").await.text().contains("gateway_build_info"));
    // No page of a browser can open it: what guards the other kind of listener against pages does not apply.
    let drain = "POST /api/v1/upstreams/app/servers/none/drain HTTP/1.1\r\nHost: gateway.test\r\nOrigin: https://evil.test\r\n\
                 Content-Length: 0\r\n\r\n";
    assert_eq!(
        ask(&first, drain).await.status,
        404,
        "there is no such server; it was not refused"
    );

    // A token is asked for here, too, where there is one.
    let token = "token = \"0123456789abcdef\"";
    running.reload(parse(&at(&first), token)).await.expect("reloaded");
    assert_eq!(get(&first, "/metrics").await.status, 401);
    let bearing = "GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n";
    assert_eq!(ask(&first, bearing).await.status, 200);

    // A reload moves it, to an address and back, too; nothing stays behind.
    running.reload(parse(&at(&second), "")).await.expect("reloaded");
    assert_eq!(get(&second, "/readyz").await.status, 200);
    assert!(!first.exists());
    running.reload(parse("127.0.0.1:0", "")).await.expect("reloaded");
    assert!(running.admin_address().is_some() && !second.exists());
    running.reload(parse(&at(&first), "")).await.expect("reloaded");
    assert_eq!(get(&first, "/readyz").await.status, 200);
    running.drain(None).await;
    assert_eq!(std::fs::read_dir(directory.path()).expect("directory").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_behind_is_replaced_and_what_is_anothers_is_not() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("admin.sock");
    let start = |path: &Path| {
        let config = gateway::parse(&file(&at(path), "", "127.0.0.1:9"), directory.path());
        async { Gateway::start(config, Registry::new()).await }
    };
    // A socket whose process was killed.
    drop(UnixListener::bind(&path).expect("bind"));
    eventually("nobody listens", async || UnixStream::connect(&path).await.is_err()).await;
    let running = start(&path).await.expect("a gateway");
    assert_eq!(get(&path, "/livez").await.status, 200);
    let error = start(&path).await.map(drop).expect_err("taken").to_string();
    assert!(error.contains("another process answers there"), "{error}");
    assert_eq!(get(&path, "/livez").await.status, 200, "the first one stays");
    running.drain(None).await;

    std::fs::write(&path, "precious").expect("file");
    let error = start(&path).await.map(drop).expect_err("a file").to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("file"), "precious");
    let nowhere = directory.path().join("missing/admin.sock");
    let error = start(&nowhere).await.map(drop).expect_err("no directory").to_string();
    assert!(error.contains("its directory is not there"), "{error}");
}

/// A gateway as a process, with its file, socket and run directory.
struct Site {
    directory: tempfile::TempDir,
    origin: Origin,
}

impl Site {
    async fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().expect("directory"),
            origin: Origin::fixed("hello").await,
        };
        std::fs::write(
            site.file(),
            file(&at(&site.socket()), "", &site.origin.address.to_string()),
        )
        .expect("file");
        site
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = command();
        command.env("GATEWAY_RUN_DIR", self.directory.path().join("run"));
        command
    }

    async fn run(&self) -> Process {
        Process::run_as(self.command(), &self.file()).await
    }

    async fn say(&self, words: &[&str]) -> Output {
        let output = self
            .command()
            .args(words)
            .arg("-c")
            .arg(self.file())
            .output()
            .await
            .expect("the binary");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {told}");
        output
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_find_it_and_an_upgrade_leaves_it_to_the_new_process() {
    let site = Site::new().await;
    let process = site.run().await;
    let words: [&[&str]; 5] = [
        &["health"],
        &["reload"],
        &["upstreams"],
        &["history"],
        &["limits", "bans"],
    ];
    for words in words {
        site.say(words).await;
    }
    let listen = at(&site.socket());
    let output = site
        .command()
        .args(["health", "--admin", &listen])
        .output()
        .await
        .expect("the binary");
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let output = site.say(&["upgrade", "--json"]).await;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let heir = told["pid"].as_u64().expect("a process");
    eventually("the new process answers", async || {
        let status: serde_json::Value = get(&site.socket(), "/api/v1/status").await.json();
        status["pid"].as_u64() == Some(heir)
    })
    .await;
    site.say(&["reload"]).await;
    site.say(&["-s", "stop"]).await;
    // The new process has the standard error of the old one: that ends with both.
    let (status, said) = process.ended().await;
    assert!(status.success(), "{said}");
    eventually("nothing stays behind", async || !site.socket().exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_killed_is_in_nobodys_way() {
    let site = Site::new().await;
    let process = site.run().await;
    process.signal(Signal::KILL);
    process.ended().await;
    assert!(site.socket().exists());
    // Those of gateways that were killed before they accepted, a while ago and just now; and what only looks like one.
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", site.socket().display()));
    let [old, new, other, open] = ["999991", "999992", "old", "999994"].map(beside);
    for path in [&old, &new, &other] {
        drop(UnixListener::bind(path).expect("bind"));
    }
    let _open = UnixListener::bind(&open).expect("bind");
    for path in [&old, &other, &open] {
        let touched = std::process::Command::new("touch")
            .args(["-d", "1 hour ago"])
            .arg(path)
            .status();
        assert!(touched.expect("touch").success());
    }
    let process = site.run().await;
    assert!(!old.exists());
    assert!(new.exists() && other.exists() && open.exists());
    site.say(&["health"]).await;
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert!(status.success(), "{said}");
    assert!(!site.socket().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_fails_leaves_it_where_it_is() {
    let site = Site::new().await;
    let process = site.run().await;
    // The new process reads a file that it cannot serve: the address is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let text = std::fs::read_to_string(site.file()).expect("file");
    std::fs::write(site.file(), text.replace("127.0.0.1:0", &address)).expect("file");
    let output = site
        .command()
        .args(["upgrade", "-c"])
        .arg(site.file())
        .output()
        .await
        .expect("the binary");
    assert_ne!(output.status.code(), Some(0));
    assert_eq!(get(&site.socket(), "/readyz").await.status, 200);
    site.say(&["health"]).await;
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert!(status.success(), "{said}");
    assert!(!site.socket().exists());
}
