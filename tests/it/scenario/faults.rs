//! Upstreams that fail, each in its way.

use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, raw, reply};
use crate::support::port::Closed;
use crate::support::{client, eventually};

async fn before(servers: &[std::net::SocketAddr], upstream: &str) -> Running {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    gateway::start(&format!(
        "[upstream.app]\nservers = [{}]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        servers.join(", ")
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_has_its_status() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/hang") => vec![Step::Hang],
        line if line.contains("/reset") => vec![Step::Reset],
        line if line.contains("/close") => vec![Step::Close],
        line if line.contains("/garbage") => [raw("hello?\r\n\r\n"), vec![Step::Close]].concat(),
        _ => reply(200, "", "fine"),
    })
    .await;
    let (gateway, impatient) = (
        before(&[origin.address], "").await,
        before(&[origin.address], "first_byte_timeout = \"300ms\"").await,
    );
    for (gateway, path, status, word) in [
        (&impatient, "/hang", 504, "gateway_timeout"),
        (&gateway, "/reset", 502, "bad_gateway"),
        (&gateway, "/close", 502, "bad_gateway"),
        (&gateway, "/garbage", 502, "bad_gateway"),
    ] {
        let count = gateway.log().await.len();
        let answer = client::get(gateway.address, path, "Accept: application/json\r\n").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.json()["status"], status);
        let line = gateway.logged(count + 1).await;
        assert_eq!(
            (&line["status"], &line["refusal"]),
            (&status.into(), &word.into()),
            "{path}"
        );
        assert_eq!(line["upstream"], "app");
    }
    assert_eq!(gateway.get("/").await.text(), "fine");
    let closed = Closed::new();
    let refused = before(&[closed.address], "").await;
    assert_eq!(refused.get("/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_keeps_its_connection_when_the_upstream_fails() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/close") => vec![Step::Close],
        _ => reply(200, "", "fine"),
    })
    .await;
    let gateway = before(&[origin.address], "").await;
    let mut connection = gateway.connect().await;
    for _ in 0..3 {
        let failed = connection
            .ask("POST /close HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
            .await;
        assert_eq!((failed.status, failed.header("connection")), (502, Some("keep-alive")));
        assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "fine");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_watched_server_refuses_nobody_is_fit() {
    let check = "health_check = { path = \"/up\", interval = \"10min\", unhealthy_after = 100 }";
    let (one, two) = (Origin::fixed("one").await, Origin::fixed("two").await);
    let gateway = before(&[one.address, two.address], check).await;
    assert_eq!(gateway.get("/").await.status, 200);
    drop((one, two));
    crate::support::eventually("503 at once, no check needed", async || {
        gateway.get("/").await.status == 503
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_within_an_answer_is_bounded_too() {
    let origin = Origin::start(|_| {
        let mut steps = raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        steps.push(Step::Hang);
        steps
    })
    .await;
    let gateway = before(&[origin.address], "read_timeout = \"300ms\"").await;
    let answer = gateway.get("/").await;
    assert_eq!(
        (answer.status, answer.truncated),
        (200, true),
        "cut so that the client notices"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_answer_is_cut_so_that_the_client_notices() {
    let origin = Origin::start(|request| {
        let head = if request.line().contains("/length") {
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"
        } else {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        };
        [raw(head), vec![Step::Close]].concat()
    })
    .await;
    let gateway = before(&[origin.address], "").await;
    for path in ["/length", "/chunked"] {
        let mut connection = gateway.connect().await;
        let answer = connection.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(answer.truncated, "{path}");
        assert!(connection.is_closed().await, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_be_asked_elsewhere_is_asked_elsewhere() {
    let good = Origin::fixed("good").await;
    let closed = Closed::new();
    let gateway = before(&[closed.address, good.address], "").await;
    for method in ["GET", "POST"] {
        for _ in 0..10 {
            let answer = client::ask(
                gateway.address,
                format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
            )
            .await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, "good"),
                "nothing was sent: any method may try again"
            );
        }
    }
}

/// Several servers die at once: who meets two of them has had no answer yet, and the next one is asked all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_refuse_do_not_use_up_the_attempts() {
    let good = Origin::fixed("good").await;
    let closed = [Closed::new(), Closed::new(), Closed::new()];
    let [one, two, three] = [0, 1, 2].map(|index: usize| closed[index].address);
    let servers = [one, two, three, good.address];
    let gateway = before(&servers, "balance = \"round-robin\"\noutlier = false").await;
    for method in ["GET", "POST"] {
        for _ in 0..8 {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
            let answer = client::ask(gateway.address, request).await;
            assert_eq!((answer.status, answer.text()), (200, "good"));
        }
    }
    let once = before(
        &servers,
        "balance = \"round-robin\"\noutlier = false\nretry = { attempts = 1 }",
    )
    .await;
    let mut statuses = [0, 0];
    for _ in 0..8 {
        statuses[usize::from(once.get("/").await.status != 200)] += 1;
    }
    assert_eq!(statuses, [2, 6], "one attempt is one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_exchange_is_repeated_only_where_that_is_harmless() {
    let bad = Origin::start(|_| vec![Step::Close]).await;
    let good = Origin::fixed("good").await;
    // In turn, whatever happens: the default would soon ask the good one only.
    let gateway = before(
        &[bad.address, good.address],
        "balance = \"round-robin\"\noutlier = false",
    )
    .await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.text(), "good");
    }
    let seen_by_bad = bad.received().len();
    let (mut lost, mut served) = (0, 0);
    for _ in 0..10 {
        match client::ask(
            gateway.address,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        )
        .await
        .status
        {
            200 => served += 1,
            502 => lost += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((lost, served), (5, 5));
    let posts = bad.received().len() - seen_by_bad
        + good
            .received()
            .iter()
            .filter(|request| request.line().starts_with("POST"))
            .count();
    assert_eq!(posts, 10, "no POST was sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_take_servers_out_and_bring_them_back() {
    // Whoever is gone refuses at once; a busy machine may let the others take long.
    let check = "health_check = { path = \"/up\", interval = \"100ms\", timeout = \"10s\", unhealthy_after = 2, healthy_after = 1 }";
    let one = Origin::fixed("one").await;
    let two = Origin::fixed("two").await;
    let (first, second) = (one.address, two.address);
    let gateway = before(&[first, second], check).await;
    assert_eq!(gateway.get("/").await.status, 200);
    drop(one);
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.status, 200, "the other one takes over at once");
    }
    drop(two);
    eventually("nobody is fit", async || gateway.get("/").await.status == 503).await;
    eventually("no server is asked that is known to be gone", async || {
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
        gateway.log().await.last().is_some_and(|line| line["attempts"] == 0)
    })
    .await;
    let _back = Origin::start_again(second, |_| reply(200, "", "back")).await;
    eventually("served again", async || gateway.get("/").await.text() == "back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_resolve_costs_only_its_own_routes() {
    let gateway = gateway::start(
        "[upstream.lost]\nservers = [\"does-not-exist.invalid:80\"]\n\
         [[route]]\nname = \"lost\"\npath = \"/lost\"\nupstream = \"lost\"\n\
         [[route]]\nname = \"ok\"\npath = \"/ok\"\nrespond = { body = \"ok\" }\n",
    )
    .await;
    assert_eq!(gateway.get("/lost").await.status, 503);
    assert_eq!(gateway.get("/ok").await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_resolved() {
    let origin = Origin::fixed("by name").await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"localhost:{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address.port()
    ))
    .await;
    assert_eq!(gateway.get("/").await.text(), "by name");
}
