//! Retries, sticky sessions, hashing, queues: what users notice of a sick or busy replica.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::client;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, raw, reply};

async fn before(servers: &[&Origin], upstream: &str, route: &str) -> Running {
    let servers: Vec<String> = servers.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    gateway::start(&format!(
        "[upstream.app]\nservers = [{}]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n{route}\n",
        servers.join(", ")
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_are_tried_again_elsewhere_where_the_file_says_so() {
    let sick = Origin::start(|_| reply(503, "", "sick")).await;
    let well = Origin::fixed("well").await;
    let gateway = before(
        &[&sick, &well],
        "balance = \"round-robin\"\noutlier = false\nretry = { attempts = 2, on = [\"503\"] }",
        "",
    )
    .await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.text(), "well");
    }
    let again: Vec<_> = well
        .received()
        .into_iter()
        .filter(|request| !request.headers("x-gateway-attempt").is_empty())
        .collect();
    assert!(!again.is_empty(), "a server is told that it is not the first");
    assert!(
        again
            .iter()
            .all(|request| request.header("x-gateway-attempt") == Some("2"))
    );
    let posted = sick.received().len();
    for _ in 0..10 {
        client::ask(
            gateway.address,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        )
        .await;
    }
    assert_eq!(sick.received().len(), posted + 5, "a POST is not sent again");
    // Nobody else to ask: the answer as it came.
    let alone = before(&[&sick], "retry = { attempts = 3, on = [\"503\"] }", "").await;
    assert_eq!(alone.get("/").await.text(), "sick");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_when_to_come_back_is_believed() {
    let busy = Origin::start(|_| reply(503, "Retry-After: 7\r\n", "busy")).await;
    let gateway = before(&[&busy], "retry = { attempts = 3, on = [\"503\"] }", "").await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(busy.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_tried_elsewhere_in_its_time() {
    let hung = Origin::start(|_| vec![Step::Hang]).await;
    let well = Origin::fixed("well").await;
    let gateway = before(
        &[&hung, &well],
        "balance = \"round-robin\"\noutlier = false\nretry = { attempts = 2, on = [\"timeout\"], per_try_timeout = \"1s\" }",
        "",
    )
    .await;
    let mut connection = gateway.connect().await;
    for _ in 0..4 {
        assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "well");
    }
    assert!(!hung.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_are_bounded_by_their_budget() {
    let sick = Origin::start(|_| reply(503, "", "sick")).await;
    let gateway = before(
        &[&sick],
        "outlier = false\nretry = { attempts = 5, on = [\"503\"], budget = \"10%\", min_per_second = 1 }",
        "",
    )
    .await;
    let mut connection = gateway.connect().await;
    for _ in 0..300 {
        assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 503);
    }
    let sent = sick.received().len();
    assert!(
        sent < 300 + 30 + 60,
        "{sent} requests for 300, and a budget of a tenth and one a second"
    );
    assert!(sent > 300, "some are");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_failing_server_attracts_next_to_nothing() {
    let failing = Origin::start(|_| reply(500, "", "")).await;
    let well = Origin::start(|_| [vec![Step::Wait(Duration::from_millis(2))], reply(200, "", "")].concat()).await;
    let gateway = before(&[&failing, &well], "", "").await;
    let mut connection = gateway.connect().await;
    for _ in 0..300 {
        connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    assert!(failing.received().len() < 15, "{} of 300", failing.received().len());
}

/// An error may be the request's fault: among good answers it says nothing about the server, in a row it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_among_good_answers_is_not_held_against_the_server() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/bug") => reply(500, "", ""),
        line if line.contains("/later") => reply(429, "Retry-After: 60\r\n", ""),
        _ => reply(200, "", ""),
    })
    .await;
    let gateway = before(&[&origin], "outlier = false", "").await;
    let labels = format!("{{server=\"{}\",upstream=\"app\"}}", origin.address);
    let latency = async || {
        gateway
            .metric(&format!("gateway_upstream_server_latency_seconds{labels}"))
            .await
    };
    for _ in 0..10 {
        for (path, status) in [("/", 200), ("/later", 429), ("/", 200), ("/bug", 500)] {
            assert_eq!(gateway.get(path).await.status, status);
        }
    }
    assert!(latency().await < 2.0, "{}", latency().await);
    for _ in 0..10 {
        assert_eq!(gateway.get("/bug").await.status, 500);
    }
    assert!(latency().await > 2.0, "{}", latency().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_the_cookie_stays_with_its_server() {
    let (one, two) = (Origin::fixed("one").await, Origin::fixed("two").await);
    let gateway = before(
        &[&one, &two],
        "balance = \"round-robin\"\nsticky = { cookie = \"srv\", secret = \"0123456789abcdef0123456789abcdef\" }",
        "",
    )
    .await;
    let first = gateway.get("/").await;
    let cookie = first.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.starts_with("srv=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    assert!(!cookie.contains("Secure"), "not over clear text: {cookie}");
    let pair = cookie.split(';').next().expect("pair").to_owned();
    for _ in 0..10 {
        let answer = client::get(gateway.address, "/", &format!("Cookie: a=b; {pair}\r\n")).await;
        assert_eq!((answer.text(), answer.header("set-cookie")), (first.text(), None));
    }
    // What was not signed here binds nobody.
    let forged = client::get(gateway.address, "/", &format!("Cookie: {pair}x\r\n")).await;
    assert!(forged.header("set-cookie").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_goes_to_the_same_server() {
    let (one, two) = (Origin::fixed("one").await, Origin::fixed("two").await);
    let gateway = before(
        &[&one, &two],
        "balance = \"consistent-hash\"\nhash = \"header:X-Shop\"",
        "",
    )
    .await;
    let mut everybody = BTreeSet::new();
    for shop in 0..30 {
        let fields = format!("X-Shop: {shop}\r\n");
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            seen.insert(client::get(gateway.address, "/", &fields).await.text().to_owned());
        }
        assert_eq!(seen.len(), 1, "shop {shop}");
        everybody.extend(seen);
    }
    assert_eq!(everybody.len(), 2, "keys are spread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_takes_so_many_at_once_and_the_next_wait_briefly() {
    let slow = Origin::start(|_| [vec![Step::Wait(Duration::from_secs(2))], reply(200, "", "ok")].concat()).await;
    let gateway = before(&[&slow], "", "concurrency = { limit = 1, queue = 1, wait = \"20s\" }").await;
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let address = gateway.address;
        asks.spawn(async move { client::get(address, "/", "").await });
    }
    let (mut served, mut refused) = (0, 0);
    while let Some(answer) = asks.join_next().await {
        let answer = answer.expect("an answer");
        match answer.status {
            200 => served += 1,
            503 => {
                let seconds = answer.header("retry-after").expect("when to come back");
                assert!(["1", "2", "3"].contains(&seconds), "{seconds}");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(served >= 2, "one at once, and one that waited: {served}");
    assert!(refused >= 1, "who finds no room to wait is told so at once: {refused}");
    assert_eq!(
        slow.received().len(),
        served,
        "what is refused does not reach the application"
    );
    assert_eq!(gateway.get("/").await.text(), "ok", "places come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_makes_requests_wait_for_it() {
    let slow = Origin::start(|_| {
        [
            vec![Step::Wait(Duration::from_millis(100))],
            raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ]
        .concat()
    })
    .await;
    let text = format!(
        "[upstream.app]\nservers = [{{ address = \"{}\", max_requests = 1 }}]\nqueue = {{ size = 2, timeout = \"20s\" }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        slow.address
    );
    let gateway = gateway::start(&text).await;
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let address = gateway.address;
        asks.spawn(async move { client::get(address, "/", "").await.status });
    }
    while let Some(status) = asks.join_next().await {
        assert_eq!(status.expect("an answer"), 200);
    }
}

/// Far more than the server takes: what matters most is served all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_the_important_routes_are_refused_last() {
    let slow = Origin::start(|_| [vec![Step::Wait(Duration::from_millis(20))], reply(200, "", "ok")].concat()).await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [{{ address = \"{}\", max_requests = 4 }}]\n\
         queue = {{ size = 8, timeout = \"10s\" }}\n\
         [[route]]\nname = \"login\"\npath = \"/login\"\nupstream = \"app\"\npriority = \"high\"\n\
         [[route]]\nname = \"crawl\"\npath = \"/crawl\"\nupstream = \"app\"\npriority = \"low\"\n",
        slow.address
    ))
    .await;
    let address = gateway.address;
    let mut crawlers = tokio::task::JoinSet::new();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for _ in 0..40 {
        let done = std::sync::Arc::clone(&done);
        crawlers.spawn(async move {
            let (mut served, mut refused) = (0, 0);
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                match client::get(address, "/crawl", "").await.status {
                    200 => served += 1,
                    503 => refused += 1,
                    other => panic!("{other}"),
                }
            }
            (served, refused)
        });
    }
    crate::support::eventually("some are refused", async || {
        gateway
            .metric("gateway_upstream_shed_total{priority=\"low\",upstream=\"app\"}")
            .await
            > 20.0
    })
    .await;
    for _ in 0..60 {
        assert_eq!(client::get(address, "/login", "").await.status, 200);
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let (mut served, mut refused) = (0, 0);
    while let Some(crawler) = crawlers.join_next().await {
        let (one, two) = crawler.expect("a crawler");
        served += one;
        refused += two;
    }
    assert!(served > 0 && refused > served, "{served} served, {refused} refused");
    let shed = gateway
        .metric("gateway_upstream_shed_total{priority=\"high\",upstream=\"app\"}")
        .await;
    assert_eq!(shed, 0.0);
}
