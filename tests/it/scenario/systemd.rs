//! What the service manager hears of the gateway, and the sockets that it hands over.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::client;
use crate::support::process::{Process, command};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn file(directory: &tempfile::TempDir, listen: &str) -> PathBuf {
    let path = directory.path().join("gateway.toml");
    let text = format!(
        "[server]\nlisten = [{listen}]\n[admin]\nlisten = false\n[access_log]\nenabled = false\n[[route]]\n\
         name = \"all\"\npath = \"/*\"\nrespond = {{ body = \"hello\" }}\n"
    );
    std::fs::write(&path, text).expect("file");
    path
}

/// What the gateway says, until it says this.
async fn heard(manager: &UnixDatagram, wanted: &str) -> String {
    loop {
        let mut buffer = [0; 1024];
        let read = timeout(PATIENCE, manager.recv(&mut buffer)).await;
        let read = read
            .unwrap_or_else(|_| panic!("{wanted} was never said"))
            .expect("a datagram");
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if text.lines().any(|line| line.starts_with(wanted)) {
            return text;
        }
    }
}

#[tokio::test]
async fn the_service_manager_hears_how_it_is() {
    let directory = tempfile::tempdir().expect("directory");
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("socket");
    let file = file(&directory, "\"127.0.0.1:0\"");
    let mut command = command();
    command
        .env("GATEWAY_RUN_DIR", directory.path().join("run"))
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "50000");
    let process = Process::run_as(command, &file).await;
    heard(&manager, "READY=1").await;
    heard(&manager, "WATCHDOG=1").await;
    process.signal(Signal::HUP);
    let reloading = heard(&manager, "RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    heard(&manager, "READY=1").await;
    process.signal(Signal::USR2);
    let replaced = heard(&manager, "MAINPID=").await;
    let main = replaced
        .lines()
        .find_map(|line| line.strip_prefix("MAINPID="))
        .expect("a process");
    let main = rustix::process::Pid::from_raw(main.parse().expect("a number")).expect("a process");
    assert_eq!(client::ask(process.address, GET).await.text(), "hello");
    rustix::process::kill_process(main, Signal::TERM).expect("signal");
    heard(&manager, "STOPPING=1").await;
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn sockets_of_the_service_manager_are_used() {
    let directory = tempfile::tempdir().expect("directory");
    let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    let file = file(&directory, &format!("\"{address}\""));
    // As systemd does: the socket is the descriptor 3 of a process that is named as theirs.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"",
        ])
        .arg(env!("CARGO_BIN_EXE_gateway"))
        .env("GATEWAY_RUN_DIR", directory.path().join("run"))
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone().expect("descriptor"))))
        .kill_on_drop(true);
    let process = Process::run_as(command, &file).await;
    assert_eq!(process.address, address, "it is bound by somebody else, and no error");
    assert_eq!(client::ask(address, GET).await.text(), "hello");
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    // The socket is still the manager's: who connects now waits for the next start.
    assert!(std::net::TcpStream::connect(address).is_ok());
}
