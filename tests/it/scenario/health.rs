//! Health endpoints and draining.

use deals247_gateway::gateway::Drained;

use crate::support::client::{self, Connection};
use crate::support::origin::{Flag, Origin, Step, raw};
use crate::support::{PATIENCE, gateway, port};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_tells_how_it_is() {
    let origin = Origin::fixed("ok").await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nhealth_check = {{ path = \"/\" }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"health\"\npath = \"/api/health/*\"\nserve = \"health\"\n",
        origin.address
    ))
    .await;
    let live = client::admin(gateway.admin, "/livez").await;
    assert_eq!((live.status, &live.json()["status"]), (200, &"ok".into()));
    // A name of somebody's is no way in: that is how a page of another site would ask (DNS rebinding).
    assert_eq!(client::get(gateway.admin, "/readyz", "").await.status, 403);
    let ready = client::ask(gateway.admin, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["upstreams"]["app"]["healthy"], 1);
    assert_eq!(client::admin(gateway.admin, "/nothing").await.status, 404);
    for path in [
        "/api/health",
        "/api/health/live",
        "/api/health/ready",
        "/api/health/detailed",
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    assert_eq!(gateway.get("/api/health/other").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let answer = Flag::default();
    let told = answer.clone();
    let origin = Origin::start(move |_| {
        let mut steps = vec![Step::Await(told.clone())];
        steps.extend(raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"));
        steps
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    let address = gateway.address;
    let mut idle = Connection::open(address).await;
    let mut busy = Connection::open(address).await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    crate::support::eventually("the request is in flight", async || !origin.received().is_empty()).await;
    let drain = tokio::spawn(gateway.drain(Some(PATIENCE)));
    assert!(idle.is_closed().await, "what is idle is closed at once");
    answer.raise();
    let answer = busy.response(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.text(), answer.header("connection")),
        (200, "done", Some("close"))
    );
    assert_eq!(drain.await.expect("drained"), Drained::Empty);
    port::listens(address.port(), 0).await;
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nobody listens any more"
    );
}
