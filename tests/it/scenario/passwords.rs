//! Names and passwords: checked beside the threads that serve, in a bounded number, and remembered for a while.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::support::client;
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::Origin;

// As cheap as they can be, both of "secret".
const BCRYPT: &str = "$2y$04$b/h30aruktzRGKvOmf4KyeXw147OyCS6Xc/y6z68AhCW2sN9UIM/O";
const ARGON2: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$+RsCrdHrAKGEJIDLM0Esow";

/// The line that `gateway hash password` prints.
fn hashed(name: &str, password: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["hash", "password", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command");
    let mut input = child.stdin.take().expect("input");
    writeln!(input, "{password}").expect("written");
    drop(input);
    let output = child.wait_with_output().expect("output");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

struct Site {
    gateway: Running,
    origin: Origin,
    directory: TempDir,
}

/// `basic`: further keys of `basic`; `more`: further lines of the table, and tables.
async fn site(users: &str, basic: &str, more: &str) -> Site {
    let origin = Origin::fixed("inside").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("users");
    std::fs::write(&file, users).expect("written");
    let gateway = gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[upstream.app]\nservers = [\"{}\"]\n\
         [auth.staff]\nbasic = {{ file = {file:?}{basic} }}\n{more}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\nauth = \"staff\"\n",
        origin.address
    ))
    .await;
    Site {
        gateway,
        origin,
        directory,
    }
}

async fn ask(gateway: &Running, user: &str, password: &str) -> client::Response {
    ask_from(gateway, "192.0.2.1", user, password).await
}

async fn ask_from(gateway: &Running, from: &str, user: &str, password: &str) -> client::Response {
    let pair = STANDARD.encode(format!("{user}:{password}"));
    let fields = format!("X-Forwarded-For: {from}\r\nAuthorization: Basic {pair}\r\n");
    client::get(gateway.address, "/", &fields).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_knows_the_password_may_in() {
    let users = format!(
        "# staff\nann:{BCRYPT}\nbob:{ARGON2}\n{}",
        hashed("eve", "correct horse")
    );
    let site = site(
        &users,
        "",
        "forward = { \"x-user\" = \"sub\" }\ncredentials = \"remove\"",
    )
    .await;
    for (user, password, status) in [
        ("ann", "secret", 200),
        ("bob", "secret", 200),
        ("eve", "correct horse", 200),
        ("eve", "correct horses", 401),
        ("ann", "", 401),
        ("ann", "Secret", 401),
        ("nobody", "secret", 401),
    ] {
        // The second time the memory answers: it must not know better.
        for _ in 0..2 {
            assert_eq!(
                ask(&site.gateway, user, password).await.status,
                status,
                "{user} {password}"
            );
        }
        if status == 200 {
            let told = site.origin.last();
            assert_eq!(told.header("x-user"), Some(user));
            assert_eq!(told.header("authorization"), None);
        }
    }
    let asked = client::get(site.gateway.address, "/", "").await;
    assert_eq!(asked.status, 401);
    assert_eq!(
        asked.header("www-authenticate"),
        Some("Basic realm=\"staff\", charset=\"UTF-8\"")
    );
    for garbage in ["Basic", "Basic !", "Basic YW5u", "Basic YW5uOnNlY3JldA== x"] {
        let refused = client::get(site.gateway.address, "/", &format!("Authorization: {garbage}\r\n")).await;
        assert_eq!(refused.status, 401, "{garbage}");
    }
    let log = site.gateway.log().await;
    assert!(log.iter().all(|line| !line.to_string().contains("secret")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_taken_out_is_out_although_remembered() {
    let site = site(&format!("ann:{BCRYPT}\nbob:{ARGON2}\n"), "", "").await;
    assert_eq!(ask(&site.gateway, "ann", "secret").await.status, 200);
    assert_eq!(ask(&site.gateway, "bob", "secret").await.status, 200);
    std::fs::write(site.directory.path().join("users"), hashed("bob", "another")).expect("written");
    eventually("ann is out", async || {
        ask(&site.gateway, "ann", "secret").await.status == 401
    })
    .await;
    assert_eq!(
        ask(&site.gateway, "bob", "secret").await.status,
        401,
        "the old password"
    );
    assert_eq!(ask(&site.gateway, "bob", "another").await.status, 200);
}

/// More than can be checked at a time: each is answered, the right ones with 200, and what is too much with 503 and a time
/// to come back; everybody else is served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_guesses_does_not_stop_the_site() {
    let users: String = (0..4).map(|number| hashed(&format!("user{number}"), "right")).collect();
    let site = site(
        &users,
        ", max_failures = false",
        "[[route]]\nname = \"open\"\npath = \"/open\"\nrespond = { status = 200, body = \"open\" }\n",
    )
    .await;
    assert_eq!(ask(&site.gateway, "user0", "right").await.status, 200);
    let site = Arc::new(site);
    let guesses: Vec<_> = (0..150)
        .map(|number| {
            let site = Arc::clone(&site);
            tokio::spawn(async move { ask(&site.gateway, "user1", &format!("guess {number}")).await })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(client::get(site.gateway.address, "/open", "").await.status, 200);
        assert_eq!(
            ask(&site.gateway, "user0", "right").await.status,
            200,
            "it is remembered"
        );
    }
    let mut refused = 0;
    for guess in guesses {
        let answer = guess.await.expect("a guess");
        match answer.status {
            401 => {}
            503 => {
                assert!(answer.header("retry-after").is_some());
                refused += 1;
            }
            status => panic!("{status}"),
        }
    }
    assert!(refused > 0, "no bound was met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_wrong_too_often_is_not_checked_any_more() {
    let users = format!("ann:{BCRYPT}\nbob:{ARGON2}\n");
    let site = site(&users, ", max_failures = \"3/h\"", "").await;
    let gateway = &site.gateway;
    // Being right costs nothing.
    for _ in 0..10 {
        assert_eq!(ask_from(gateway, "2001:db8::1", "ann", "secret").await.status, 200);
    }
    for guess in ["1", "2", "3"] {
        assert_eq!(ask_from(gateway, "2001:db8::2", "bob", guess).await.status, 401);
    }
    // Not from any address of that network, not for anybody, not with the right password.
    for (user, password) in [("bob", "4"), ("eve", "secret"), ("bob", "secret")] {
        let refused = ask_from(gateway, "2001:db8::3", user, password).await;
        assert_eq!(refused.status, 429, "{user} {password}");
        let wait: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(refused.header("www-authenticate"), None);
    }
    // But who was let in from there still is, and others are asked as ever.
    assert_eq!(ask_from(gateway, "2001:db8::9", "ann", "secret").await.status, 200);
    assert_eq!(ask_from(gateway, "2001:db8:0:1::1", "bob", "secret").await.status, 200);
    assert_eq!(
        ask_from(gateway, "2001:db8:0:1::1", "bob", "wrong").await.status,
        401,
        "what is remembered of one client is no help to another"
    );
    eventually("the log says why", async || {
        let log = gateway.log().await;
        log.iter().filter(|line| line["refusal"] == "too_many_failures").count() == 3
    })
    .await;
}
