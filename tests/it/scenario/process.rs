//! The binary: commands, exit codes, signals.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::client::{self, Connection};
use crate::support::origin::{Flag, Origin, Step, raw};
use crate::support::port::free;
use crate::support::process::{Process, command};

fn file(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).expect("file");
    path
}

fn site(origin: &Origin, server: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n{server}\n[admin]\nlisten = false\n[access_log]\nenabled = false\n\
         [upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    )
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn ran(arguments: &[&str]) -> Output {
    command().args(arguments).output().await.expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn operators_ask_a_gateway_that_runs() {
    const TOKEN: &str = "a-token-of-twenty-4-bytes";
    let origin = Origin::fixed("ok").await;
    let directory = tempfile::tempdir().expect("directory");
    let guarded = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"");
    let file = file(
        &directory,
        &site(&origin, "").replace("[admin]\nlisten = false", &guarded),
    );
    let gateway = Process::run(&file).await;
    let admin = gateway.admin.expect("on").to_string();
    let server = origin.address.to_string();
    let ask = async |arguments: &[&str]| {
        let mut command = command();
        command
            .args(arguments)
            .args(["--admin", &admin])
            .env("GATEWAY_ADMIN_TOKEN", TOKEN);
        command.output().await.expect("the binary")
    };
    let shown = ask(&["upstreams"]).await;
    assert!(text(&shown.stdout).starts_with("app: 1 of 1 fit"), "{shown:?}");
    let health = ask(&["health"]).await;
    assert_eq!(health.status.code(), Some(0), "{health:?}");
    assert_eq!(text(&health.stdout), "ok; app 1 of 1\n");
    let health = ran(&["health", "--admin", &admin]).await;
    assert_eq!(health.status.code(), Some(0), "it takes no token: {health:?}");
    let health = ask(&["health", "--live"]).await;
    assert_eq!(text(&health.stdout), "ok\n");
    let drained = ask(&["drain", "app", &server]).await;
    assert_eq!(drained.status.code(), Some(0), "{drained:?}");
    assert!(text(&drained.stdout).contains("draining, 0 in flight"), "{drained:?}");
    assert!(text(&drained.stderr).contains("no other server"), "{drained:?}");
    let shown = ask(&["upstreams", "app", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["servers"][0]["draining"], true);
    assert_eq!(ask(&["undrain", "app", &server]).await.status.code(), Some(0));
    let unknown = ask(&["drain", "app", "127.0.0.1:1"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        text(&unknown.stderr).contains(&server),
        "it says which there are: {unknown:?}"
    );
    let nobody = ran(&["health", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
    let nobody = ran(&["upstreams", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
    let stranger = ran(&["upstreams", "--admin", &admin]).await;
    assert_eq!(stranger.status.code(), Some(3), "without the token: {stranger:?}");
}

/// Answers after this long.
async fn slow_origin(wait: Duration) -> Origin {
    Origin::start(move |_| {
        [
            vec![Step::Wait(wait)],
            raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"),
        ]
        .concat()
    })
    .await
}

#[tokio::test]
async fn exit_codes_tell_what_was_wrong() {
    let directory = tempfile::tempdir().expect("directory");
    let good = file(
        &directory,
        "[[route]]\nname = \"a\"\npath = \"/\"\nrespond = { body = \"a\" }\n",
    );
    let good = good.to_str().expect("path");
    let checked = ran(&["check", "-c", good]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(text(&checked.stderr).contains("is good"));
    for nginx in ["-t", "-T"] {
        assert_eq!(ran(&[nginx, "-c", good]).await.status.code(), Some(0));
    }
    let printed = ran(&["check", "--print", "-c", good]).await;
    assert!(
        text(&printed.stdout).contains("keepalive_timeout = \"75s\""),
        "{}",
        text(&printed.stdout)
    );

    let bad = directory.path().join("bad.toml");
    std::fs::write(
        &bad,
        "[[route]]\nname = \"a\"\npth = \"/\"\nrespond = { body = \"a\" }\n",
    )
    .expect("file");
    let bad = bad.to_str().expect("path");
    for arguments in [["run", "-c", bad], ["check", "-c", bad], ["-t", "-c", bad]] {
        let refused = ran(&arguments).await;
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(
            said.contains("bad.toml:3:1") && said.contains("did you mean `path`"),
            "{said}"
        );
    }
    let json = ran(&["check", "--format", "json", "-c", bad]).await;
    assert_eq!(json.status.code(), Some(1));
    let diagnostics: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert!(diagnostics.to_string().contains("pth"));

    assert_eq!(ran(&["check", "-c", "no-such-file.toml"]).await.status.code(), Some(1));
    assert_eq!(ran(&["frobnicate"]).await.status.code(), Some(2));
    assert_eq!(ran(&[]).await.status.code(), Some(2));
    assert_eq!(ran(&["proxy", "--to", "not an address"]).await.status.code(), Some(2));
    assert_eq!(ran(&["--version"]).await.status.code(), Some(0));
    let schema = ran(&["schema"]).await;
    assert!(
        serde_json::from_slice::<serde_json::Value>(&schema.stdout).expect("JSON")["properties"]["server"].is_object()
    );
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_cure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let refused = ran(&["proxy", "--to", "127.0.0.1:1", "--listen", &address]).await;
    assert_eq!(refused.status.code(), Some(3));
    let said = text(&refused.stderr);
    assert!(
        said.contains(&format!("cannot listen on {address}")) && said.contains("in use") && said.contains("help:"),
        "{said}"
    );
}

#[tokio::test]
async fn sigterm_lets_requests_finish_and_leaves_at_once_when_there_are_none() {
    let directory = tempfile::tempdir().expect("directory");
    let origin = slow_origin(Duration::from_millis(700)).await;
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let process = Process::run(&file(&directory, &site(&origin, ""))).await;
        let seen = origin.received().len();
        let mut busy = Connection::open(process.address).await;
        busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        crate::support::eventually("in flight", async || origin.received().len() > seen).await;
        let address = process.address;
        process.signal(signal);
        assert_eq!(
            busy.response(false).await.expect("an answer").text(),
            "done",
            "{signal:?}"
        );
        let (status, said) = process.ended().await;
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn the_deadline_and_a_second_signal_end_what_does_not_finish() {
    let directory = tempfile::tempdir().expect("directory");
    let origin = slow_origin(Duration::from_secs(600)).await;
    for second in [false, true] {
        let timeout = if second { "600s" } else { "300ms" };
        let process = Process::run(&file(
            &directory,
            &site(&origin, &format!("shutdown_timeout = \"{timeout}\"")),
        ))
        .await;
        let seen = origin.received().len();
        let mut busy = Connection::open(process.address).await;
        busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        crate::support::eventually("in flight", async || origin.received().len() > seen).await;
        process.signal(Signal::TERM);
        if second {
            let address = process.address;
            crate::support::eventually("it stops listening", async || {
                tokio::net::TcpStream::connect(address).await.is_err()
            })
            .await;
            process.signal(Signal::TERM);
        }
        let (status, said) = process.ended().await;
        assert_eq!(status.code(), Some(4), "{said}");
        assert!(busy.is_closed().await);
    }
}

#[tokio::test]
async fn hangup_applies_a_changed_file_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let admin = free();
    let text = |body: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"{admin}\"\n[access_log]\nenabled = false\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {{ {body} }}\n"
        )
    };
    let path = file(&directory, &text("body = \"one\""));
    let process = Process::run(&path).await;
    let mut connection = Connection::open(process.address).await;
    assert_eq!(connection.ask(GET).await.text(), "one");

    file(&directory, &text("body = \"two\""));
    process.signal(Signal::HUP);
    crate::support::eventually("the new file", async || connection.ask(GET).await.text() == "two").await;

    file(&directory, &text("bod = \"three\", secret = \"hunter2\""));
    process.signal(Signal::HUP);
    let ready = async || client::admin(admin, "/readyz").await;
    crate::support::eventually("it says so", async || {
        ready().await.json()["refused_reload"].is_object()
    })
    .await;
    let answer = ready().await;
    let why = answer.json()["refused_reload"]["why"].as_str().expect("why").to_owned();
    assert!(
        why.contains("unknown key `bod`") && why.contains("gateway.toml:10:13") && why.contains("did you mean `body`"),
        "{why}"
    );
    assert!(!why.contains("hunter2"), "no line of the file: {why}");
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &2.into()));
    let metrics = client::admin(admin, "/metrics").await;
    assert!(metrics.text().contains("gateway_config_last_reload_success 0\n"));
    assert_eq!(connection.ask(GET).await.text(), "two");

    file(&directory, &text("body = \"four\""));
    for _ in 0..200 {
        process.signal(Signal::HUP);
    }
    crate::support::eventually("the good file", async || connection.ask(GET).await.text() == "four").await;
    assert!(ready().await.json()["refused_reload"].is_null());
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("configuration not reloaded") && said.contains("unknown key `bod`"),
        "{said}"
    );
    let reloads = said.matches("configuration reloaded").count();
    assert!(
        (2..150).contains(&reloads),
        "a storm of signals is few reloads: {reloads}"
    );
}

#[tokio::test]
async fn a_stop_is_announced_then_connections_are_told_then_it_is_over() {
    let directory = tempfile::tempdir().expect("directory");
    let admin = free();
    let answer = Flag::default();
    let told = answer.clone();
    let origin = Origin::start(move |_| {
        let done = raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        [vec![Step::Await(told.clone())], done].concat()
    })
    .await;
    let text = site(&origin, "pre_stop = \"3s\"").replace("listen = false", &format!("listen = \"{admin}\""));
    let process = Process::run(&file(&directory, &text)).await;
    let ready = async || client::admin(admin, "/readyz").await.status;
    assert_eq!(ready().await, 200);
    let mut pooled = Connection::open(process.address).await;
    process.signal(Signal::TERM);
    crate::support::eventually("it says that it stops", async || ready().await == 503).await;
    // It is served as before meanwhile: new connections are taken.
    let mut busy = Connection::open(process.address).await;
    busy.send(GET).await;
    crate::support::eventually("in flight", async || origin.received().len() == 1).await;
    crate::support::eventually("it accepts no more", async || {
        tokio::net::TcpStream::connect(process.address).await.is_err()
    })
    .await;
    // A pooled connection that had its request on the way is answered, and told that this was the last.
    pooled.send(GET).await;
    crate::support::eventually("both in flight", async || origin.received().len() == 2).await;
    assert_eq!(ready().await, 503, "the admin listener answers to the end");
    answer.raise();
    for connection in [&mut busy, &mut pooled] {
        let answer = connection.response(false).await.expect("an answer");
        assert_eq!((answer.text(), answer.header("connection")), ("done", Some("close")));
    }
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test]
async fn the_log_says_which_lane_a_request_takes_and_why() {
    let directory = tempfile::tempdir().expect("directory");
    let origin = Origin::fixed("ok").await;
    let text = format!(
        "{}[log]\nlevel = \"debug\"\n\
         [[route]]\nname = \"pages\"\npath = \"/pages/*\"\nfiles = {{ root = \"{}\" }}\n\
         [upstream.h2]\nservers = [\"127.0.0.1:1\"]\nprotocol = \"h2\"\n\
         [[route]]\nname = \"grpc\"\npath = \"/grpc\"\nupstream = \"h2\"\n",
        site(&origin, ""),
        directory.path().display()
    );
    let gateway = Process::run(&file(&directory, &text)).await;
    for (path, status) in [("/", 200), ("/pages/none", 404), ("/grpc", 502)] {
        assert_eq!(client::get(gateway.address, path, "").await.status, status, "{path}");
    }
    gateway.signal(Signal::TERM);
    let (_, said) = gateway.ended().await;
    let lanes: Vec<&str> = said.lines().filter(|line| line.contains("Pingora's lane")).collect();
    assert_eq!(lanes.len(), 2, "{said}");
    assert!(
        lanes[0].contains("a file answers") && lanes[0].contains("pages"),
        "{said}"
    );
    assert!(
        lanes[1].contains("the servers speak HTTP/2") && lanes[1].contains("grpc"),
        "{said}"
    );
}

#[tokio::test]
async fn without_descriptors_long_answers_pass_and_connections_wait_for_one() {
    const LONG: usize = 5_000_000;
    let directory = tempfile::tempdir().expect("directory");
    let origin = Origin::start(|_| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").into_bytes();
        answer.extend((0..LONG).map(|at| (at % 251) as u8));
        vec![Step::Send(answer)]
    })
    .await;
    let process = Process::run(&file(&directory, &site(&origin, ""))).await;
    process.leave_descriptors(2); // for a client and a server, not for a pipe
    let whole = |body: &[u8]| body.len() == LONG && body.iter().enumerate().all(|(at, &byte)| byte == (at % 251) as u8);
    let mut first = Connection::open(process.address).await;
    let mut second = None;
    for _ in 0..2 {
        let answer = first.ask(GET).await;
        assert!(
            answer.status == 200 && whole(&answer.body),
            "{} bytes",
            answer.body.len()
        );
        // Nobody can take it now; it is in the listener's queue.
        let mut waits = Connection::open(process.address).await;
        waits.send(GET).await;
        second.get_or_insert(waits);
    }
    drop(first);
    let answer = second.expect("opened").response(false).await.expect("an answer");
    assert!(
        answer.status == 200 && whole(&answer.body),
        "{} bytes",
        answer.body.len()
    );
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("a connection was not accepted"), "{said}");
}
