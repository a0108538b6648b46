//! Another process takes the place of the one that serves: nothing is refused, nothing is cut, and what cannot serve
//! changes nothing.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::client::{self, Connection};
use crate::support::eventually;
use crate::support::origin::{Origin, Step, raw, reply};
use crate::support::port::free;
use crate::support::process::{Process, command, has_ended};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A gateway that can be replaced: its own binary, file, run directory and admin listener.
struct Site {
    directory: tempfile::TempDir,
    origin: Origin,
    admin: SocketAddr,
}

impl Site {
    async fn new() -> Self {
        let origin = Origin::start(|request| {
            if request.line().contains("/ws") {
                let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                              Sec-WebSocket-Accept: x\r\n\r\n";
                [raw(agreed), vec![Step::Echo]].concat()
            } else {
                reply(200, "", "hello")
            }
        });
        let site = Self {
            directory: tempfile::tempdir().expect("directory"),
            origin: origin.await,
            admin: free(),
        };
        let binary = env!("CARGO_BIN_EXE_gateway");
        std::fs::hard_link(binary, site.binary())
            .or_else(|_| std::fs::copy(binary, site.binary()).map(drop))
            .expect("the binary");
        site.write("");
        site
    }

    fn binary(&self) -> PathBuf {
        self.directory.path().join("gateway")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    fn write(&self, more: &str) {
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nshutdown_timeout = \"2s\"\n[admin]\nlisten = \"{}\"\n[access_log]\n\
             enabled = false\n[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\n\
             upstream = \"app\"\n{more}",
            self.admin, self.origin.address
        );
        std::fs::write(self.file(), text).expect("file");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.binary());
        command
            .env("GATEWAY_RUN_DIR", self.directory.path().join("run"))
            .env_remove("GATEWAY_LOG")
            .kill_on_drop(true);
        command
    }

    async fn run(&self) -> Process {
        Process::run_as(self.command(), &self.file()).await
    }

    /// A command of the binary under test, whatever has become of the copy.
    async fn gateway(&self, order: &str) -> Output {
        command()
            .env("GATEWAY_RUN_DIR", self.directory.path().join("run"))
            .args([order, "--json", "-c"])
            .arg(self.file())
            .output()
            .await
            .expect("the binary")
    }

    /// Upgrades; who serves now.
    async fn upgrade(&self) -> Heir {
        let output = self.gateway("upgrade").await;
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{told}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let pid = told["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
            .expect("a process");
        Heir(Pid::from_raw(pid).expect("a process"))
    }

    /// Puts something else in the place of the binary.
    fn replace_binary(&self, script: &str) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, script).expect("script");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::fs::rename(new, self.binary()).expect("rename");
    }
}

/// A process that has taken over: nobody's child here.
struct Heir(Pid);

impl Heir {
    fn signal(&self, signal: Signal) {
        kill_process(self.0, signal).expect("signal");
    }

    async fn is_gone(&self) {
        eventually("the process has ended", async || has_ended(self.0)).await;
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if test_kill_process(self.0).is_ok() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_is_refused_and_nothing_is_cut() {
    let site = Site::new().await;
    let process = site.run().await;
    let address = process.address;
    let mut tunnel = Connection::open(address).await;
    assert_eq!(tunnel.ask(UPGRADE).await.status, 101);
    let mut idle = Connection::open(address).await;
    assert_eq!(idle.ask(GET).await.text(), "hello");

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await;
                while !stop.load(SeqCst) {
                    let answer = connection.ask(GET).await;
                    assert_eq!((answer.status, answer.text()), (200, "hello"));
                    asked.fetch_add(1, SeqCst);
                    if answer.header("connection") == Some("close") {
                        connection = Connection::open(address).await;
                    }
                }
            })
        })
        .collect();

    let mut heirs: Vec<Heir> = Vec::new();
    for round in 0..4 {
        let before = asked.load(SeqCst);
        eventually("requests go on", async || asked.load(SeqCst) > before + 20).await;
        let heir = site.upgrade().await;
        if let Some(replaced) = heirs.last() {
            assert_ne!(replaced.0, heir.0);
            replaced.is_gone().await;
        }
        heirs.push(heir);
        tunnel.send(format!("round {round}")).await;
        assert_eq!(tunnel.read_some().await, format!("round {round}").into_bytes());
    }
    stop.store(true, SeqCst);
    for client in clients {
        client.await.expect("no request failed");
    }
    let last = idle.ask(GET).await;
    assert_eq!(
        (last.text(), last.header("connection")),
        ("hello", Some("close")),
        "answered, and told"
    );
    drop(tunnel);
    let latest = heirs.pop().expect("one that serves");
    latest.signal(Signal::TERM);
    latest.is_gone().await;
    let (status, said) = process.ended().await;
    assert_eq!(
        status.code(),
        Some(0),
        "the first one ended by itself, when its tunnel had: {said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_serve_changes_nothing_and_says_why() {
    let site = Site::new().await;
    let process = site.run().await;
    let refused = async |why: &str| {
        let output = site.gateway("upgrade").await;
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{told}");
        assert!(told.contains(why), "{why} is not in: {told}");
        assert_eq!(client::ask(process.address, GET).await.text(), "hello");
    };
    site.write("pth = \"/x\"\n");
    refused("unknown key `pth`").await;
    site.write("");
    site.replace_binary("#!/bin/sh\nexit 7\n");
    refused("exit status: 7").await;
    site.replace_binary("#!/nowhere/interpreter\n");
    refused("cannot be started").await;
    site.replace_binary("#!/bin/sh\nexec 0<&-\nexec sleep 600\n");
    refused("ended before it served").await;
    site.replace_binary("#!/bin/sh\nkill -9 $$\n");
    refused("signal: 9").await;

    // What hangs is ended, and so is a second attempt meanwhile refused or waits: either way this one serves.
    site.replace_binary("#!/bin/sh\nexec sleep 600\n");
    refused("did not serve within").await;

    std::fs::remove_file(site.binary()).expect("removed");
    std::fs::copy(env!("CARGO_BIN_EXE_gateway"), site.binary()).expect("the binary");
    let heir = site.upgrade().await;
    assert_eq!(client::ask(process.address, GET).await.text(), "hello");
    heir.signal(Signal::TERM);
    heir.is_gone().await;
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_stops_no_start() {
    let site = Site::new().await;
    let process = site.run().await;
    let address = process.address;
    // The new one is killed once it serves; the old one has left, and its tunnel goes on.
    let mut tunnel = Connection::open(address).await;
    assert_eq!(tunnel.ask(UPGRADE).await.status, 101);
    let heir = site.upgrade().await;
    heir.signal(Signal::KILL);
    heir.is_gone().await;
    tunnel.send("still").await;
    assert_eq!(tunnel.read_some().await, b"still");
    // Another start under the same file, run directory and admin address.
    let second = site.run().await;
    assert_eq!(client::ask(second.address, GET).await.text(), "hello");
    // The old one is killed while the next upgrade is under way: whatever comes of that, one serves.
    let upgrade = tokio::spawn({
        let mut command = command();
        command
            .env("GATEWAY_RUN_DIR", site.directory.path().join("run"))
            .args(["upgrade", "-c"])
            .arg(site.file());
        async move { command.output().await }
    });
    second.signal(Signal::KILL);
    let _ = upgrade.await.expect("joined").expect("the binary");
    drop(second);
    eventually("nobody has the admin address, or somebody who serves", async || {
        match TcpStream::connect(site.admin).await {
            Err(_) => true,
            // Who is about to end closes the connection instead.
            Ok(stream) => {
                let mut connection = Connection::over(stream);
                connection.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                connection
                    .response(false)
                    .await
                    .is_some_and(|answer| answer.status == 200)
            }
        }
    })
    .await;
    // Whoever serves is found by its file; with nobody there, there is nothing in the way of a start.
    if TcpStream::connect(site.admin).await.is_ok() {
        let stopped = site.signal_stop().await;
        assert!(stopped, "it is found by its file");
    }
    eventually("it has ended", async || TcpStream::connect(site.admin).await.is_err()).await;
    let third = site.run().await;
    assert_eq!(client::ask(third.address, GET).await.text(), "hello");
    let mode = std::fs::metadata(site.directory.path().join("run"))
        .expect("run directory")
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

impl Site {
    async fn signal_stop(&self) -> bool {
        let output = command()
            .env("GATEWAY_RUN_DIR", self.directory.path().join("run"))
            .args(["-s", "stop", "-c"])
            .arg(self.file())
            .output()
            .await
            .expect("the binary");
        output.status.code() == Some(0)
    }
}
