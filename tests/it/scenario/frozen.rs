//! Servers that are processes, and what becomes of processes: they are stopped, killed, or answer nothing but 503.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};
use crate::support::process::Process;
use crate::support::{client, eventually};

/// A server in a process of its own.
struct Replica {
    process: Process,
    _directory: tempfile::TempDir,
}

impl Replica {
    async fn start(body: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("gateway.toml");
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = false\n[access_log]\nenabled = false\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {{ status = 200, body = \"{body}\" }}\n"
        );
        std::fs::write(&file, text).expect("file");
        Self {
            process: Process::run(&file).await,
            _directory: directory,
        }
    }

    fn address(&self) -> String {
        self.process.address.to_string()
    }
}

async fn before(servers: &[String], upstream: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = {servers:?}\n{upstream}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n"
    ))
    .await
}

async fn until_both_answer(gateway: &Running) {
    let mut seen = BTreeSet::new();
    eventually("both answer", async || {
        seen.insert(gateway.get("/").await.text().to_owned());
        seen.len() == 2
    })
    .await;
}

/// Its connections stay open, and the kernel goes on to accept what comes: only its silence tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_the_time_until_another_one_is_asked() {
    let (frozen, well) = (Replica::start("frozen").await, Replica::start("well").await);
    // Who waits for the frozen one waits longer than any test does.
    let gateway = before(
        &[frozen.address(), well.address()],
        "balance = \"round-robin\"\noutlier = false\nfirst_byte_timeout = \"5min\"\n\
         hedge = { after = \"50ms\", budget = \"100%\" }",
    )
    .await;
    until_both_answer(&gateway).await;
    frozen.process.freeze().await;
    let won = "gateway_upstream_hedges_total{upstream=\"app\",won=\"true\"}";
    let before = gateway.metric(won).await;
    // Mostly it is the first one of every second request.
    eventually("the frozen one is met first, four times", async || {
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, "well"));
        gateway.metric(won).await >= before + 4.0
    })
    .await;
    frozen.process.signal(Signal::CONT);
    until_both_answer(&gateway).await;
}

/// As it is by default, but for the time limits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_a_frozen_a_killed_and_a_failing_server() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 60;
    let (frozen, killed, well) = (
        Replica::start("ok").await,
        Replica::start("ok").await,
        Replica::start("ok").await,
    );
    let fails = Arc::new(AtomicBool::new(false));
    let failing = {
        let fails = Arc::clone(&fails);
        Origin::start(move |_| match fails.load(SeqCst) {
            true => reply(503, "", "sick"),
            false => reply(200, "", "ok"),
        })
        .await
    };
    let servers = [
        frozen.address(),
        killed.address(),
        failing.address.to_string(),
        well.address(),
    ];
    let gateway = before(
        &servers,
        "connect_timeout = \"3s\"\nfirst_byte_timeout = \"3s\"\n\
         retry = { attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"502\", \"503\", \"504\"] }",
    )
    .await;
    let served = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (address, served) = (gateway.address, Arc::clone(&served));
        clients.spawn(async move {
            let mut connection = client::Connection::open(address).await;
            for _ in 0..REQUESTS {
                let answer = connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                assert_eq!((answer.status, answer.text()), (200, "ok"));
                served.fetch_add(1, SeqCst);
            }
        });
    }
    eventually("a part is served", async || {
        served.load(SeqCst) > CLIENTS * REQUESTS / 8
    })
    .await;
    frozen.process.freeze().await;
    killed.process.signal(Signal::KILL);
    fails.store(true, SeqCst);
    while let Some(client) = clients.join_next().await {
        client.expect("every answer is good");
    }
}
