//! Answers on disk: there after a restart, however the gateway ended, and never another one than was written.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use deals247_gateway::demo::{self, USER};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::client::{self, Connection, Response};
use crate::support::eventually;
use crate::support::gateway::{self, Running, fast_lane};
use crate::support::origin::{Origin, Received, Step, reply};
use crate::support::process::{Process, command};
use crate::support::redis::Redis;

const WRITTEN: &str = "gateway_cache_tier_events_total{cache=\"c\",event=\"written\",tier=\"disk\"}";
const GIVEN: &str = "gateway_cache_tier_events_total{cache=\"c\",event=\"given\",tier=\"disk\"}";
const KEPT: &str = "gateway_cache_tier_entries{cache=\"c\",tier=\"disk\"}";

fn site(origin: &Origin, disk: &Path, cache: &str) -> String {
    format!(
        "[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         [cache.c]\ndisk = {{ path = \"{}\", size = \"64MB\" }}\n{cache}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
        origin.address,
        disk.display()
    )
}

async fn start(origin: &Origin, disk: &Path, cache: &str) -> Running {
    // The threads of a gateway of this process that had it may be about to end.
    eventually("the directory is free", async || {
        let lock = fs::File::open(disk.join("lock"));
        lock.map_or(true, |lock| lock.try_lock().is_ok() && lock.unlock().is_ok())
    })
    .await;
    gateway::start(&site(origin, disk, cache)).await
}

async fn get(gateway: &Running, path: &str, fields: &str) -> Response {
    client::get(gateway.address, path, fields).await
}

fn status(response: &Response) -> &str {
    response.header("cache-status").unwrap_or_default()
}

/// The same bytes for the same path, in every process.
fn body_of(path: &str) -> String {
    let seed = path
        .bytes()
        .fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let length = 100 + (seed % 97) * (seed % 89) * 20;
    (0..length)
        .map(|at| char::from(b'a' + ((seed.wrapping_add(at).wrapping_mul(0x9e37_79b9) >> 7) % 26) as u8))
        .collect()
}

fn path_of(received: &Received) -> &str {
    received.line().split(' ').nth(1).unwrap_or_default()
}

fn truthful(received: &Received) -> Vec<Step> {
    reply(
        200,
        "Cache-Control: max-age=600\r\nCache-Tag: all\r\n",
        &body_of(path_of(received)),
    )
}

#[tokio::test]
async fn an_answer_outlives_the_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = "0123456789abcdef".repeat(200_000);
    let sent = large.clone();
    let origin = Origin::start(move |received| match path_of(received) {
        "/large" => reply(200, "Cache-Control: max-age=600\r\nETag: \"l\"\r\n", &sent),
        "/de" => reply(200, "Cache-Control: max-age=600\r\nVary: X-Who\r\n", "hello"),
        _ => truthful(received),
    })
    .await;
    let gateway = start(&origin, folder.path(), "").await;
    for (path, fields) in [("/small", ""), ("/large", ""), ("/de", "X-Who: me\r\n")] {
        get(&gateway, path, fields).await;
    }
    eventually("they are written", async || gateway.metric(WRITTEN).await >= 3.0).await;
    gateway.drain(None).await;
    let asked = origin.received().len();

    let gateway = start(&origin, folder.path(), "").await;
    let told = explain(&gateway, "/small").await;
    assert!(
        told["verdict"]
            .as_str()
            .is_some_and(|told| told.starts_with("hit") && told.ends_with("from disk")),
        "{told}"
    );
    assert_eq!(told["answers"][0]["tier"], "disk", "{told}");
    let small = get(&gateway, "/small", "").await;
    assert!(status(&small).starts_with("gateway; hit; ttl="), "{}", status(&small));
    assert_eq!(small.text(), body_of("/small"));
    assert_eq!(
        explain(&gateway, "/small").await["answers"][0]["tier"],
        "memory",
        "it was taken into memory"
    );
    let mut connection = gateway.connect().await;
    connection.send("HEAD /large HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let head = connection.response(true).await.expect("an answer");
    assert_eq!(head.header("content-length"), Some("3200000"));
    let part = get(&gateway, "/large", "Range: bytes=100000-299999\r\n").await;
    assert_eq!((part.status, part.text()), (206, &large[100_000..300_000]));
    let whole = get(&gateway, "/large", "").await;
    assert!(whole.text() == large, "all of it");
    let known = get(&gateway, "/large", "If-None-Match: \"l\"\r\n").await;
    assert_eq!(known.status, 304);
    assert_eq!(get(&gateway, "/de", "X-Who: me\r\n").await.text(), "hello");
    assert_eq!(origin.received().len(), asked, "everything came from disk");
    let other = get(&gateway, "/de", "X-Who: you\r\n").await;
    assert!(status(&other).starts_with("gateway; fwd="), "{}", status(&other));
    let only = get(&gateway, "/never", "Cache-Control: only-if-cached\r\n").await;
    assert_eq!(only.status, 504);
    assert!(gateway.metric(GIVEN).await >= 5.0);
    assert!(gateway.metric(KEPT).await >= 3.0);
}

async fn explain(gateway: &Running, path: &str) -> serde_json::Value {
    let body = format!("{{\"url\":\"http://{}{path}\"}}", "site.test");
    let request = format!(
        "POST /api/v1/cache/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client::ask(gateway.admin, request).await.json()
}

#[tokio::test]
async fn what_became_stale_is_confirmed_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin::start(|received| match received.header("if-none-match") {
        Some(_) => reply(304, "Cache-Control: max-age=600\r\nETag: \"e\"\r\n", ""),
        None => reply(200, "Cache-Control: max-age=0\r\nETag: \"e\"\r\n", "body"),
    })
    .await;
    let gateway = start(&origin, folder.path(), "").await;
    get(&gateway, "/a", "").await;
    eventually("it is on disk", async || gateway.metric(WRITTEN).await >= 1.0).await;
    gateway.drain(None).await;
    let gateway = start(&origin, folder.path(), "").await;
    let confirmed = get(&gateway, "/a", "").await;
    assert!(
        status(&confirmed).starts_with("gateway; fwd=stale; fwd-status=304"),
        "{}",
        status(&confirmed)
    );
    assert_eq!(confirmed.text(), "body");
    assert!(
        status(&get(&gateway, "/a", "").await).starts_with("gateway; hit"),
        "fresh again"
    );
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("gateway.toml");
    fs::write(&path, text).expect("a file");
    path
}

fn whole(origin: &Origin, disk: &Path) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nfast_lane = {}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [access_log]\nenabled = false\n{}",
        fast_lane(),
        site(origin, disk, "")
    )
}

async fn sample(admin: std::net::SocketAddr, name: &str) -> f64 {
    let page = client::admin(admin, "/metrics").await;
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or(0.0)
}

/// Fills the cache, kills the gateway while it does, asks again: whatever it has is right, and it has something.
async fn killed_again_and_again(rounds: u32, paths: u32) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    let origin = Origin::start(truthful).await;
    let file = file(folder.path(), &whole(&origin, &disk));
    let (mut warm, mut asked) = (0, 0);
    for round in 0..rounds {
        let gateway = Process::run(&file).await;
        let (address, admin) = (gateway.address, gateway.admin.expect("on"));
        // What was there before, first: from disk, or not at all.
        let known = (round * paths / 2).saturating_sub(paths)..round * paths / 2;
        for number in known {
            let path = format!("/{number}");
            let answer = client::get(address, &path, "").await;
            assert!(
                answer.text() == body_of(&path),
                "round {round}: {path} is not what the application said"
            );
            warm += u64::from(status(&answer).starts_with("gateway; hit"));
            asked += 1;
        }
        // Then new ones from many sides, until it is killed in the middle.
        let mut clients = JoinSet::new();
        let wrong = Arc::new(AtomicU32::new(0));
        for side in 0..4 {
            let wrong = Arc::clone(&wrong);
            clients.spawn(async move {
                for number in (round * paths / 2 + side..(round + 2) * paths / 2).step_by(4) {
                    let Ok(stream) = tokio::net::TcpStream::connect(address).await else {
                        return;
                    };
                    let path = format!("/{number}");
                    let mut connection = Connection::over(stream);
                    connection
                        .send(format!(
                            "GET {path} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"
                        ))
                        .await;
                    if let Some(answer) = connection.response(false).await.filter(|answer| !answer.truncated) {
                        wrong.fetch_add(u32::from(answer.text() != body_of(&path)), SeqCst);
                    }
                }
            });
        }
        // Not by the clock: after some were written, others are being.
        let some = f64::from(paths / 4 + round % 5);
        eventually("some are written", async || sample(admin, WRITTEN).await >= some).await;
        clients.abort_all();
        gateway.signal(Signal::KILL);
        drop(gateway.ended().await);
        while clients.join_next().await.is_some() {}
        assert_eq!(wrong.load(SeqCst), 0, "round {round}: not what the application said");
    }
    (warm, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_while_writing_gives_nothing_wrong_afterwards() {
    let (warm, asked) = killed_again_and_again(4, 120).await;
    assert!(warm > 0, "none of {asked} was there");
}

/// `cargo test --release --test it killed_a_hundred_times -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn killed_a_hundred_times() {
    let (warm, asked) = killed_again_and_again(100, 400).await;
    println!("{warm} of {asked} answers were there after the kill, all of them right");
    assert!(warm > 0);
}

#[tokio::test]
async fn a_change_is_not_undone_by_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    let version = Arc::new(AtomicU32::new(1));
    let current = Arc::clone(&version);
    let origin = Origin::start(move |received| {
        if received.line().starts_with("POST") {
            current.fetch_add(1, SeqCst);
        }
        let body = format!("version {}", current.load(SeqCst));
        reply(200, "Cache-Control: max-age=600\r\nCache-Tag: v\r\n", &body)
    })
    .await;
    let file = file(folder.path(), &whole(&origin, &disk));
    let mut expected = 1;
    for how in ["POST", "tag", "prefix", "all"] {
        let gateway = Process::run(&file).await;
        let (address, admin) = (gateway.address, gateway.admin.expect("on"));
        let path = format!("/thing-{how}");
        assert_eq!(
            client::get(address, &path, "").await.text(),
            format!("version {expected}")
        );
        eventually("it is on disk", async || sample(admin, WRITTEN).await >= 1.0).await;
        let request = match how {
            "POST" => format!("POST {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n"),
            other => {
                version.fetch_add(1, SeqCst);
                let order = match other {
                    "tag" => "{\"tag\":\"v\"}",
                    "prefix" => "{\"prefix\":\"/thing\"}",
                    _ => "{\"all\":true}",
                };
                format!(
                    "POST /api/v1/cache/purge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{order}",
                    order.len()
                )
            }
        };
        expected += 1;
        let whom = if how == "POST" { address } else { admin };
        let told = Connection::open(whom).await.ask(&request).await;
        assert_eq!(told.status, 200, "{}", told.text());
        if how != "POST" {
            assert_eq!(told.json()["lasting"], true, "{}", told.text());
        }
        // At once: what was told is written down.
        gateway.signal(Signal::KILL);
        drop(gateway.ended().await);
        let gateway = Process::run(&file).await;
        let after = client::get(gateway.address, &path, "").await;
        assert_eq!(after.text(), format!("version {expected}"), "{how}: {}", status(&after));
        gateway.signal(Signal::KILL);
        drop(gateway.ended().await);
    }
}

#[tokio::test]
async fn a_directory_has_one_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    let origin = Origin::fixed("ok").await;
    let file = file(folder.path(), &whole(&origin, &disk));
    let first = Process::run(&file).await;
    let second = command()
        .args(["run", "-c"])
        .arg(&file)
        .output()
        .await
        .expect("the binary");
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains("cache `c` cannot keep answers in") && said.contains("another gateway uses it (process"),
        "{said}"
    );
    assert_eq!(
        client::get(first.address, "/", "").await.text(),
        "ok",
        "the first one serves"
    );
    first.signal(Signal::KILL);
    drop(first.ended().await);
    let next = Process::run(&file).await;
    assert_eq!(client::get(next.address, "/", "").await.text(), "ok");
}

#[tokio::test]
async fn damage_on_disk_is_never_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin::start(truthful).await;
    let gateway = start(&origin, folder.path(), "").await;
    for number in 0..60 {
        get(&gateway, &format!("/{number}"), "").await;
    }
    eventually("they are written", async || gateway.metric(WRITTEN).await >= 60.0).await;
    gateway.drain(None).await;
    let mut files = 0;
    for part in fs::read_dir(folder.path().join("entries")).expect("a folder").flatten() {
        for entry in fs::read_dir(part.path()).expect("a folder").flatten() {
            files += 1;
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(entry.path())
                .expect("a file");
            let length = file.metadata().expect("a file").len();
            // Another place in each; some are cut, some are left.
            let at = length * (files * 37 % 100) / 100;
            match files % 4 {
                0 => {}
                1 => file.set_len(at).expect("is cut"),
                _ => {
                    let mut byte = [0];
                    file.read_exact_at(&mut byte, at).expect("is read");
                    file.write_all_at(&[byte[0] ^ 0x20], at).expect("is written");
                }
            }
        }
    }
    let gateway = start(&origin, folder.path(), "").await;
    let mut hits = 0;
    for number in 0..60 {
        let path = format!("/{number}");
        let answer = get(&gateway, &path, "").await;
        assert!(answer.status == 200 && answer.text() == body_of(&path), "{path}");
        hits += u32::from(status(&answer).starts_with("gateway; hit"));
    }
    assert!((1..30).contains(&hits), "{hits}");
    let damaged = "gateway_cache_tier_events_total{cache=\"c\",event=\"damaged\",tier=\"disk\"}";
    assert!(gateway.metric(damaged).await >= 30.0);
}

#[tokio::test]
async fn a_reload_keeps_the_disk_and_another_can_take_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let origin = Origin::start(truthful).await;
    let gateway = start(&origin, &one, "").await;
    get(&gateway, "/a", "").await;
    eventually("it is on disk", async || gateway.metric(KEPT).await >= 1.0).await;
    gateway
        .reload(&site(&origin, &one, "default_ttl = \"5s\""))
        .await
        .expect("is taken");
    assert_eq!(gateway.metric(KEPT).await, 1.0);
    gateway.reload(&site(&origin, &two, "")).await.expect("is taken");
    assert_eq!(gateway.metric(KEPT).await, 0.0);
    fs::write(folder.path().join("file"), "").expect("a file");
    let refused = gateway.reload(&site(&origin, &folder.path().join("file"), "")).await;
    assert!(
        refused
            .expect_err("no directory")
            .to_string()
            .contains("cache `c` cannot keep answers")
    );
    assert_eq!(get(&gateway, "/a", "").await.text(), body_of("/a"));
    let none = site(&origin, &two, "").replace("disk =", "# disk =");
    gateway.reload(&none).await.expect("is taken");
    assert_eq!(get(&gateway, "/b", "").await.text(), body_of("/b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_given_anothers_answer_and_every_click_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let app = demo::app::spawn("one", listener, demo::app::Options::default()).expect("a replica");
    let gateway = gateway::start(&format!(
        "[upstream.api]\nservers = [\"{}\"]\n\
         [cache.c]\ndefault_ttl = \"30s\"\nstale_while_revalidate = \"60s\"\n\
         bypass = [\"header:firebase-uid\", \"query:firebase_uid\", \"header:authorization\", \"cookie:*\"]\n\
         disk = {{ path = \"{}\", size = \"64MB\" }}\n\
         [[route]]\nname = \"api\"\npath = [\"/api/*\", \"/s/*\"]\nupstream = \"api\"\ncache = \"c\"\n",
        app.address(),
        folder.path().display()
    ))
    .await;
    let address = gateway.address;
    // What each of them is told by the application itself.
    let uids: [&str; 2] = [USER, demo::ADMIN];
    let mut own: HashMap<(usize, &str), Vec<u8>> = HashMap::new();
    let personal = ["/api/favorites", "/api/notifications", "/api/subscriptions/status"];
    for (user, uid) in uids.iter().enumerate() {
        for path in personal {
            let answer = client::get(app.address(), path, &format!("firebase-uid: {uid}\r\n")).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            own.insert((user, path), answer.body);
        }
    }
    assert_ne!(own[&(0, personal[0])], own[&(1, personal[0])], "they differ");
    let own = Arc::new(own);
    let before = clicks(app.address()).await;
    let mut clients = JoinSet::new();
    for side in 0..8usize {
        let own = Arc::clone(&own);
        clients.spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut clicks = 0u64;
            for turn in 0..150usize {
                let user = (side + turn) % 2;
                let uid = uids[user];
                let path = personal[turn % 3];
                let request = match turn % 5 {
                    0 => format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nfirebase-uid: {uid}\r\n\r\n"),
                    1 => format!("GET {path}?firebase_uid={uid} HTTP/1.1\r\nHost: site.test\r\n\r\n"),
                    2 => format!(
                        "GET /api/deals?limit={} HTTP/1.1\r\nHost: site.test\r\n\r\n",
                        turn % 7 + 1
                    ),
                    3 => "GET /s/d001 HTTP/1.1\r\nHost: site.test\r\n\r\n".to_owned(),
                    _ => format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n"),
                };
                let answer = connection.ask(&request).await;
                match turn % 5 {
                    0 => assert!(answer.body == own[&(user, path)], "{path}: somebody else's"),
                    1 => assert!(
                        answer.status != 200 || answer.body == own[&(user, path)],
                        "{path}: somebody else's"
                    ),
                    2 => assert_eq!(answer.status, 200),
                    3 => {
                        assert_eq!(answer.status / 100, 3, "{}", answer.text());
                        clicks += 1;
                    }
                    _ => assert!(answer.status >= 400, "{path}: nobody is given somebody's"),
                }
            }
            clicks
        });
    }
    let mut followed = 0;
    while let Some(done) = clients.join_next().await {
        followed += done.expect("a client");
    }
    assert_eq!(clicks(app.address()).await, before + followed);
    assert_eq!(followed, 8 * 30);
}

/// How often a short link was followed, as the application counts.
async fn clicks(app: std::net::SocketAddr) -> u64 {
    let links = client::get(app, "/api/shortener", "").await.json();
    let link = links["data"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|link| link["short_code"] == "d001");
    link.and_then(|link| link["clicks"].as_u64()).expect("a count")
}

/// What is on disk stays good over a restart where it is known what other gateways have purged meanwhile.
#[tokio::test]
async fn a_restart_knows_what_others_have_purged() {
    let (folder, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let shared = format!("[cache_redis]\nurl = \"{}\"", redis.url());
    let follows = async |gateway: &Running| {
        eventually("it follows", async || {
            let told = client::admin(gateway.admin, "/api/v1/cache").await.json();
            told["sharing"]["up_to_date"] == true && told["sharing"]["untold"] == 0
        })
        .await;
    };
    let two = start(&origin, other.path(), &shared).await;
    let purge = async |body: &str| {
        let length = body.len();
        let head = "POST /api/v1/cache/purge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        assert_eq!(client::ask(two.admin, request).await.status, 200);
        follows(&two).await;
    };
    let one = start(&origin, folder.path(), &shared).await;
    follows(&one).await;
    for path in ["/a", "/b", "/c"] {
        get(&one, path, "").await;
    }
    eventually("they are written", async || one.metric(WRITTEN).await >= 3.0).await;
    purge("{\"tag\":\"other\"}").await;
    let epoch: String = redis.ask(&["HGET", "gwcache:purges:state", "epoch"]).await;
    eventually("it is written down", async || {
        let journal = fs::read(folder.path().join("purges")).expect("a journal");
        journal.windows(epoch.len()).any(|bytes| bytes == epoch.as_bytes())
    })
    .await;
    let says = async |gateway: &Running, path: &str, wanted: &str| {
        let response = get(gateway, path, "").await;
        assert_eq!(response.text(), body_of(path));
        assert!(status(&response).contains(wanted), "{path}: {}", status(&response));
    };

    one.drain(None).await;
    let one = start(&origin, folder.path(), &shared).await;
    follows(&one).await;
    says(&one, "/a", "; hit; ttl=").await;

    one.drain(None).await;
    purge("{\"url\":\"/b\"}").await;
    let one = start(&origin, folder.path(), &shared).await;
    follows(&one).await;
    says(&one, "/b", "fwd=uri-miss").await;
    says(&one, "/c", "; hit; ttl=").await;

    // The sequence is lost: now nobody knows.
    one.drain(None).await;
    let _: String = redis.ask(&["FLUSHALL"]).await;
    purge("{\"tag\":\"other\"}").await;
    let one = start(&origin, folder.path(), &shared).await;
    follows(&one).await;
    says(&one, "/a", "fwd=stale").await;
}
