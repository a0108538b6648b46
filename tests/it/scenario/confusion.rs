//! The gateway and Express must mean the same path, or the gateway must be the stricter one: nothing that it takes for
//! something else reaches what it was told to keep closed.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::client;
use crate::support::gateway;

/// The application, and the port on which it listens.
async fn express() -> (Child, u16) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = std::process::Command::new(root.join(".ci/need"))
        .arg("express")
        .status();
    assert!(installed.expect(".ci/need").success(), "`.ci/need express` installs it");
    // Beside the packages, for that is where node looks for them.
    let script = root.join("target/tools/express/app.mjs");
    std::fs::copy(root.join("tests/it/scenario/confusion/app.mjs"), &script).expect("a copy");
    let mut child = Command::new("node")
        .arg(&script)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node");
    let mut lines = BufReader::new(child.stdout.take().expect("output")).lines();
    let port = lines.next_line().await.expect("output").expect("a port");
    (child, port.parse().expect("a port"))
}

/// Ways to say `/admin/x` that somebody might read so.
const CLOSED: [&str; 55] = [
    "/admin",
    "/admin/",
    "/admin/x",
    "/admin?x",
    "/admin/?x=/public",
    "//admin/x",
    "///admin//x",
    "/./admin/x",
    "/././admin",
    "/.//admin/x",
    "/public/../admin/x",
    "/public/./../admin/x",
    "/public/x/../../admin/x",
    "/public//../admin/x",
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/.%2e/admin/x",
    "/public/%2e./admin/x",
    "/public/..;/admin/x",
    "/public/..;a=b/admin/x",
    "/;/admin/x",
    "/;a=b/admin/x",
    "/admin;/x",
    "/admin;a=b/x",
    "/admin;a=b",
    "/%61dmin/x",
    "/%61%64%6d%69%6e/x",
    "/%41dmin/x",
    "/a%64min/x",
    "/admi%6E/x",
    "/ADMIN/../admin/x",
    "/admin/../admin/x",
    "/admin/./x",
    "/admin//x",
    "/admin/%2e/x",
    "/public/%2e%2e%2fadmin/x",
    "/public/..%2fadmin/x",
    "/public/..%5cadmin/x",
    "/public/..\\admin/x",
    "/\\admin/x",
    "\\admin/x",
    "/admin\\x",
    "/admin%5cx",
    "/admin%2fx",
    "/admin%2Fx",
    "/%2fadmin/x",
    "/%2Fadmin/x",
    "/admin%00/x",
    "/admin%09/x",
    "/admin%20/x",
    "/%252e%252e/admin/x",
    "/public/%252e%252e/admin/x",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/%e0%80%ae%e0%80%ae/admin/x",
    "http://site.test/admin/x",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_closed_stays_closed_before_express() {
    let (_app, port) = express().await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"127.0.0.1:{port}\"]\n\
         [[route]]\nname = \"admin\"\npath = \"/admin/*\"\nupstream = \"app\"\nallow = [\"192.0.2.0/24\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n"
    ))
    .await;
    let ask = async |target: &str| {
        client::ask(
            gateway.address,
            format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n"),
        )
        .await
    };
    let mut wrong = Vec::new();
    for target in CLOSED {
        let answer = ask(target).await;
        if answer.text().starts_with("ADMIN") || !matches!(answer.status, 200 | 400 | 403) {
            wrong.push(format!("{target}: {} {}", answer.status, answer.text()));
        }
    }
    assert!(
        wrong.is_empty(),
        "Express served what was closed:\n  {}",
        wrong.join("\n  ")
    );
    // And it is not closed for being closed to everything.
    for (target, text) in [
        ("/public/x", "public /public/x"),
        ("/", "open /"),
        ("/administrators", "open /administrators"),
        ("/adm/in", "open /adm/in"),
        ("/public/admin/x", "public /public/admin/x"),
    ] {
        assert_eq!(ask(target).await.text(), text);
    }
}
