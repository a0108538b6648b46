//! Who is refused again and again is turned away from everything, for a while.

use super::limited;
use crate::support::client::{self, Connection, Response};
use crate::support::gateway::{self, Running};

async fn from(gateway: &Running, client: &str, path: &str) -> Response {
    client::get(gateway.address, path, &format!("X-Forwarded-For: {client}\r\n")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_too_often_is_banned_from_everything() {
    let limit = "[rate_limit.api]\nrate = \"1/d\"\nban = { after = 3, within = \"1h\", for = \"10min\" }";
    let gateway = limited(limit, "\"api\"").await;
    assert_eq!(from(&gateway, "192.0.2.1", "/x").await.status, 200);
    for _ in 0..3 {
        let refused = from(&gateway, "192.0.2.1", "/x").await;
        assert_eq!(
            (refused.status, refused.json()["reason"].clone()),
            (429, "rate_limited".into())
        );
    }
    for path in ["/x", "/free", "/nowhere"] {
        let banned = from(&gateway, "192.0.2.1", path).await;
        assert_eq!(banned.status, 429, "{path}");
        let problem = banned.json();
        assert_eq!(problem["reason"], "banned");
        assert_eq!(
            problem["type"],
            "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
        );
        let wait: u64 = banned
            .header("retry-after")
            .expect("retry-after")
            .parse()
            .expect("seconds");
        assert!((590..=600).contains(&wait), "{wait}");
        // A trusted proxy keeps its connection: others come on it.
        assert_ne!(banned.header("connection"), Some("close"));
    }
    assert_eq!(from(&gateway, "192.0.2.2", "/x").await.status, 200);
    gateway.logged(8).await; // counted when they are logged
    assert_eq!(gateway.metric("gateway_limit_bans_total{policy=\"api\"}").await, 1.0);
    assert_eq!(gateway.metric("gateway_refusals_total{reason=\"banned\"}").await, 3.0);
    let lines = gateway.log().await;
    let banned: Vec<_> = lines.iter().filter(|line| line["refusal"] == "banned").collect();
    assert_eq!(banned.len(), 3, "{lines:#?}");
    assert!(
        banned
            .iter()
            .all(|line| line["limit"] == "banned" && line["client"] == "192.0.2.1")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_of_ipv6_is_banned_whole_and_a_ban_ends() {
    let limit =
        "[rate_limit.api]\nrate = \"1/d\"\nipv6_prefix = 56\nban = { after = 1, within = \"1s\", for = \"300ms\" }";
    let gateway = limited(limit, "\"api\"").await;
    assert_eq!(from(&gateway, "2001:db8::1", "/x").await.status, 200);
    assert_eq!(
        from(&gateway, "2001:db8:0:1::1", "/x").await.json()["reason"],
        "rate_limited"
    );
    crate::support::eventually("the ban is over", async || {
        from(&gateway, "2001:db8:0:2::1", "/free").await.status == 200
    })
    .await;
    assert_eq!(from(&gateway, "2001:db8:0:100::1", "/free").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banned_peer_is_turned_away_before_it_asks() {
    let gateway = gateway::start(
        "[rate_limit.api]\nrate = \"1/d\"\nban = { after = 1, within = \"1h\", for = \"10min\" }\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nrate_limit = [\"api\"]\nrespond = {}\n",
    )
    .await;
    let mut connection = gateway.connect().await;
    let ask = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
    assert_eq!(connection.ask(ask).await.status, 200);
    assert_eq!(connection.ask(ask).await.status, 429);
    let banned = connection.ask(ask).await;
    assert_eq!((banned.status, banned.json()["reason"].clone()), (429, "banned".into()));
    assert_eq!(banned.header("connection"), Some("close"));
    assert!(connection.is_closed().await);
    // Nothing is asked, and yet there is an answer.
    let mut next = gateway.connect().await;
    let told = next.response(false).await.expect("an answer");
    assert_eq!((told.status, told.json()["reason"].clone()), (429, "banned".into()));
    assert!(told.header("retry-after").is_some());
    assert!(next.is_closed().await);
    // Operators come in, from wherever.
    assert_eq!(
        gateway
            .metric("gateway_connections_refused_total{reason=\"banned\"}")
            .await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_too_often_is_refused() {
    let gateway = gateway::start(
        "connection_rate_per_client = \"3/d\"\n[[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {}\n",
    )
    .await;
    let ask = "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = gateway.connect().await;
        assert_eq!(connection.ask(ask).await.status, 200);
        open.push(connection);
    }
    let mut refused = Connection::open(gateway.address).await;
    assert_eq!(refused.response(false).await.expect("an answer").status, 429);
    assert!(refused.is_closed().await);
    // What is open goes on.
    assert_eq!(open[0].ask(ask).await.status, 200);
    assert_eq!(
        gateway
            .metric("gateway_connections_refused_total{reason=\"rate_limit\"}")
            .await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_proxies_connect_as_often_as_they_like() {
    let gateway = gateway::start(
        "trusted_proxies = [\"127.0.0.1\"]\nconnection_rate_per_client = \"1/d\"\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nrespond = {}\n",
    )
    .await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
}
