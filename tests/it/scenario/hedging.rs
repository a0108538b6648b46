//! A second server is asked while the first one is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::support::client;
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Flag, Origin, Step, raw, reply};
use crate::support::port;

/// In turn, so that every second request meets the first server.
async fn before(servers: &[&Origin], hedge: &str) -> Running {
    let servers: Vec<String> = servers.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    gateway::start(&format!(
        "[upstream.app]\nservers = [{}]\nbalance = \"round-robin\"\nfirst_byte_timeout = \"5s\"\n{hedge}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        servers.join(", ")
    ))
    .await
}

async fn hedges(gateway: &Running, won: bool) -> f64 {
    gateway
        .metric(&format!(
            "gateway_upstream_hedges_total{{upstream=\"app\",won=\"{won}\"}}"
        ))
        .await
}

async fn in_flight(gateway: &Running, origin: &Origin) -> f64 {
    let labels = format!("{{server=\"{}\",upstream=\"app\"}}", origin.address);
    gateway.metric(&format!("gateway_upstream_in_flight{labels}")).await
}

/// Answers, or says nothing while it is held.
async fn holding(held: &Arc<AtomicBool>, body: &'static str) -> Origin {
    let held = Arc::clone(held);
    Origin::start(move |_| {
        if held.load(SeqCst) {
            vec![Step::Hang]
        } else {
            reply(200, "", body)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_costs_only_the_time_until_the_other_is_asked() {
    let held = Arc::new(AtomicBool::new(true));
    let stalling = holding(&held, "late").await;
    let good = Origin::fixed("good").await;
    let gateway = before(&[&stalling, &good], "hedge = { after = \"30ms\", budget = \"100%\" }").await;
    let mut asked = 0;
    for method in ["GET", "HEAD", "OPTIONS"] {
        let before = hedges(&gateway, true).await;
        // Mostly it is the first one of every second request.
        eventually("the stalling one is met first, twice", async || {
            let answer = client::ask(gateway.address, format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            assert_eq!(
                (answer.status, answer.header("content-length")),
                (200, Some("4")),
                "{method}"
            );
            asked += 1;
            hedges(&gateway, true).await >= before + 2.0
        })
        .await;
    }
    eventually("the loser is given up", async || {
        in_flight(&gateway, &stalling).await == 0.0
    })
    .await;
    assert!(
        good.received()
            .iter()
            .any(|request| request.header("x-gateway-attempt") == Some("2"))
    );
    let line = gateway.logged(asked).await;
    assert_eq!(line["status"], 200);
    assert_eq!(line["server"], good.address.to_string());
    // With a body nothing is asked twice.
    held.store(false, SeqCst);
    for _ in 0..2 {
        let post = client::ask(
            gateway.address,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        )
        .await;
        assert_eq!(post.status, 200);
    }
    let posts = |origin: &Origin| {
        origin
            .received()
            .iter()
            .filter(|request| request.line().starts_with("POST"))
            .count()
    };
    assert_eq!(posts(&good) + posts(&stalling), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_bounds_what_is_asked_twice() {
    let held = Arc::new(AtomicBool::new(true));
    let stalling = holding(&held, "late").await;
    let good = Origin::fixed("good").await;
    let hedge = "hedge = { after = \"10ms\", budget = \"10%\" }\noutlier = false\nretry = { attempts = 1 }";
    let gateway = before(&[&stalling, &good], &format!("{hedge}\nread_timeout = \"200ms\"")).await;
    // The first of them earn the budget for the others; each that finds none waits for the first server only.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let address = gateway.address;
        asking.spawn(async move { client::get(address, "/", "").await.status });
    }
    eventually("half of them wait", async || {
        in_flight(&gateway, &stalling).await >= 16.0
    })
    .await;
    let asked_twice = hedges(&gateway, true).await;
    assert!(asked_twice <= 4.0, "{asked_twice} of 40");
    asking.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_that_fails_changes_nothing() {
    let asked = Flag::default();
    let other = asked.clone();
    let late = Origin::start(move |_| [vec![Step::Await(other.clone())], reply(200, "", "late")].concat()).await;
    let bad = Origin::start(move |_| vec![Step::Raise(asked.clone()), Step::Close]).await;
    let gateway = before(
        &[&late, &bad],
        "hedge = { after = \"20ms\", budget = \"100%\" }\noutlier = false",
    )
    .await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.text()), (200, "late"));
    assert_eq!((hedges(&gateway, false).await, bad.received().len()), (1.0, 1));
}

/// Of several servers that die at once, the second to be asked may be one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_second_one_fails_a_third_one_is_asked() {
    let stalling = holding(&Arc::new(AtomicBool::new(true)), "late").await;
    let broken = Origin::start(|_| vec![Step::Close]).await;
    let gone = port::Closed::new();
    let good = Origin::fixed("good").await;
    let servers: Vec<String> = [stalling.address, broken.address, gone.address, good.address]
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [{}]\nbalance = \"round-robin\"\nfirst_byte_timeout = \"20s\"\noutlier = false\n\
         hedge = {{ after = \"20ms\", budget = \"100%\" }}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        servers.join(", ")
    ))
    .await;
    for _ in 0..16 {
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, "good"));
    }
    assert!(!stalling.received().is_empty() && !broken.received().is_empty());
    assert!(hedges(&gateway, false).await >= 1.0 && hedges(&gateway, true).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_begun_is_never_replaced() {
    let slow_body = Origin::start(|_| {
        let mut steps = raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        steps.push(Step::Wait(std::time::Duration::from_millis(2500)));
        steps.extend(raw("3\r\ntwo\r\n0\r\n\r\n"));
        steps
    })
    .await;
    let other = Origin::fixed("other").await;
    // Its head is there in that time, also on a busy machine; its body is not.
    let gateway = before(&[&slow_body, &other], "hedge = { after = \"2s\", budget = \"100%\" }").await;
    assert_eq!(gateway.get("/").await.text(), "onetwo");
    assert_eq!(other.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_upstreams_own_measure() {
    let held = Arc::new(AtomicBool::new(false));
    let stalling = holding(&held, "good").await;
    let good = Origin::fixed("good").await;
    let gateway = before(&[&stalling, &good], "hedge = { after = \"p95\", budget = \"100%\" }").await;
    let mut connection = gateway.connect().await;
    for _ in 0..120 {
        assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "good");
    }
    held.store(true, SeqCst);
    let before = hedges(&gateway, true).await;
    eventually("the stalling one is met first, twice", async || {
        assert_eq!(gateway.get("/").await.text(), "good");
        hedges(&gateway, true).await >= before + 2.0
    })
    .await;
}
