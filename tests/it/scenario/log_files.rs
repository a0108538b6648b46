//! The gateway's own log in files: `config/logs.toml`, as a process.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::origin::Origin;
use crate::support::process::{Process, command};

const GET: &str = "GET /a-deal HTTP/1.1\r\nHost: a\r\n\r\n";
const NAMES: [&str; 3] = ["all.log", "error.log", "http.log"];

/// The example, with an application that answers; `more` follows it.
fn example(origin: &Origin, more: &str) -> String {
    let text = include_str!("../../../config/logs.toml").replace("127.0.0.1:3000", &origin.address.to_string());
    format!("{text}\n[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = false\n{more}")
}

fn lines(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_default()
}

/// Makes news, a fault and a request, and waits until each stands where it belongs, and only there.
async fn happens(process: &Process, file: &Path, logs: &Path, origin: &Origin) {
    let had = |name: &str, what: &str| lines(logs, name).matches(what).count();
    fs::write(file, example(origin, "bod = 1")).expect("file");
    process.signal(Signal::HUP);
    for name in ["all.log", "error.log"] {
        eventually(name, async || had(name, "configuration not reloaded") == 1).await;
    }
    fs::write(file, example(origin, "")).expect("file");
    process.signal(Signal::HUP);
    eventually("news", async || had("all.log", "configuration reloaded") == 1).await;
    assert_eq!(had("error.log", "configuration reloaded"), 0);
    assert_eq!(Connection::open(process.address).await.ask(GET).await.status, 200);
    eventually("the request", async || had("http.log", "GET /a-deal HTTP/1.1") == 1).await;
    assert_eq!(had("all.log", "/a-deal") + had("http.log", "configuration"), 0);
}

#[tokio::test]
async fn each_line_stands_in_its_file_and_files_are_opened_anew() {
    let origin = Origin::fixed("ok").await;
    let directory = tempfile::tempdir().expect("directory");
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).expect("directory");
    let file = directory.path().join("gateway.toml");
    fs::write(&file, example(&origin, "")).expect("file");
    let mut command = command();
    command.env("LOG_DIR", &logs);
    let process = Process::run_as(command, &file).await;
    happens(&process, &file, &logs, &origin).await;

    let before = NAMES.map(|name| {
        fs::rename(logs.join(name), logs.join(format!("{name}.1"))).expect("moved");
        lines(&logs, &format!("{name}.1"))
    });
    process.signal(Signal::USR1);
    eventually("all are there again", async || {
        NAMES.iter().all(|name| logs.join(name).exists())
    })
    .await;
    happens(&process, &file, &logs, &origin).await;
    for (name, before) in NAMES.iter().zip(before) {
        assert_eq!(lines(&logs, &format!("{name}.1")), before, "nothing more goes there");
    }
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        !said.contains("configuration"),
        "standard error has the start only: {said}"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_stops_the_start() {
    let origin = Origin::fixed("ok").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("gateway.toml");
    fs::write(&file, example(&origin, "")).expect("file");
    let mut command = command();
    command
        .env("LOG_DIR", directory.path().join("nowhere"))
        .args(["run", "-c"])
        .arg(&file);
    let output = command.output().await.expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("cannot write the log") && said.contains("all.log"),
        "{said}"
    );
}
