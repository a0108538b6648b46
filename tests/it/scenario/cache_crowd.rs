//! Many at once: users who must never see one another's answers, and a crowd before one cold key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::client::Connection;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, reply};

async fn before(origin: &Origin, cache: &str) -> Running {
    gateway::start(&format!(
        "max_connections_per_client = 4000\n[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         [cache.c]\n{cache}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
        origin.address
    ))
    .await
}

/// Three kinds of people ask for the same pages, and now and then somebody changes one.
#[tokio::test]
async fn users_never_see_one_anothers_answers() {
    const CLIENTS: usize = 8;
    const EACH: usize = 500;
    let origin = Origin::start(|request| {
        let user = request.header("firebase-uid").unwrap_or("nobody").to_owned();
        // It forgets to say that its answers are personal: the worst that the gateway may meet.
        reply(200, "Content-Type: application/json\r\n", &format!("for {user}"))
    })
    .await;
    let bypass = "default_ttl = \"30s\"\nbypass = [\"header:firebase-uid\"]";
    let gateway = before(&origin, bypass).await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let mut connection = gateway.connect().await;
        clients.spawn(async move {
            for number in 0..EACH {
                let page = (number * 7 + client) % 5;
                let (name, field) = match (number + client) % 3 {
                    0 => ("nobody", ""),
                    1 => ("ann", "firebase-uid: ann\r\n"),
                    _ => ("ben", "firebase-uid: ben\r\n"),
                };
                let method = if number % 50 == 49 { "POST" } else { "GET" };
                let asked =
                    format!("{method} /api/{page} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n{field}\r\n");
                // Without a body there is no length.
                let asked = if method == "GET" {
                    asked.replace("Content-Length: 0\r\n", "")
                } else {
                    asked
                };
                let answer = connection.ask(&asked).await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (200, &*format!("for {name}")),
                    "{asked}"
                );
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("a client");
    }
    let hits = gateway
        .metric("gateway_cache_requests_total{cache=\"c\",verdict=\"hit\"}")
        .await;
    assert!(hits > 500.0, "nobody's pages were kept: {hits}");
}

/// 2,000 clients, one cold key, a server that dies in the middle of its first answer: two fetches, whole answers for all.
#[tokio::test]
async fn a_crowd_is_one_fetch_and_one_more_where_it_breaks() {
    const CROWD: usize = 2000;
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let body = "0123456789".repeat(4000);
    let whole = body.clone();
    let origin = Origin::start(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n",
            whole.len()
        );
        let first = counted.fetch_add(1, SeqCst) == 0;
        let half = Step::Send([head.as_bytes(), &whole.as_bytes()[..20_000]].concat());
        let rest = Step::Send(whole.as_bytes()[20_000..].to_vec());
        match first {
            true => vec![Step::Wait(Duration::from_millis(500)), half, Step::Reset],
            false => vec![half, rest],
        }
    })
    .await;
    let gateway = before(&origin, "").await;
    let mut clients = JoinSet::new();
    for _ in 0..CROWD {
        let address = gateway.address;
        clients.spawn(async move {
            let mut connection = Connection::open(address).await;
            connection.ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await
        });
    }
    while let Some(answer) = clients.join_next().await {
        let answer = answer.expect("a client");
        assert!(
            answer.status == 200 && !answer.truncated && answer.text() == body,
            "{}",
            answer.status
        );
    }
    assert_eq!(times.load(SeqCst), 2);
}
