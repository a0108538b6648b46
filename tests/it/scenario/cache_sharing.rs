//! Several gateways and a real Redis: what one purges, all purge, whatever happens to the Redis or the wire to it.

use std::net::SocketAddr;

use crate::support::client::{self, Response};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, raw, reply};
use crate::support::redis::Redis;
use crate::support::relay::Relay;

/// An origin whose answers are good for a long time, and confirmed when somebody asks.
async fn origin() -> Origin {
    Origin::start(|request| {
        if !request.headers("if-none-match").is_empty() {
            return raw("HTTP/1.1 304 Not Modified\r\n\r\n");
        }
        let fields = "Cache-Control: max-age=600\r\nETag: \"a\"\r\nSurrogate-Key: deals\r\n";
        reply(200, fields, "hello")
    })
    .await
}

async fn before(origin: &Origin, redis: SocketAddr, more: &str) -> Running {
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         [cache_redis]\nurl = \"redis://{redis}\"\n{more}\n[cache.c]\npurge = true\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
        origin.address
    ))
    .await;
    is_up_to_date(&gateway, true).await;
    gateway
}

async fn sharing(gateway: &Running) -> serde_json::Value {
    client::admin(gateway.admin, "/api/v1/cache").await.json()["sharing"].clone()
}

async fn is_up_to_date(gateway: &Running, wanted: bool) {
    eventually("it hears of purges, or does not", async || {
        sharing(gateway).await["up_to_date"] == wanted
    })
    .await;
}

async fn get(gateway: &Running, path: &str) -> Response {
    client::get(gateway.address, path, "").await
}

/// What the cache did, in its own words.
async fn did(gateway: &Running, path: &str) -> String {
    let response = get(gateway, path).await;
    assert_eq!(response.text(), "hello");
    let said = response.header("cache-status").unwrap_or_default().to_owned();
    match () {
        () if said.contains("; hit") => "hit".to_owned(),
        () if said.contains("fwd-status=304") => "confirmed".to_owned(),
        () if said.contains("fwd=uri-miss") => "miss".to_owned(),
        () => said,
    }
}

async fn becomes(gateway: &Running, path: &str, wanted: &str) {
    eventually("the purge arrives", async || did(gateway, path).await == wanted).await;
}

/// Both have it, and everything that was there is fresh.
async fn fill(gateways: &[&Running], paths: &[&str]) {
    for gateway in gateways {
        for path in paths {
            get(gateway, path).await;
            assert_eq!(did(gateway, path).await, "hit");
        }
    }
}

async fn order(gateway: &Running, body: &str) {
    let length = body.len();
    let request = format!(
        "POST /api/v1/cache/purge HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
        gateway.admin
    );
    assert_eq!(client::ask(gateway.admin, request).await.status, 200);
}

async fn send(gateway: &Running, method: &str, path: &str) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(client::ask(gateway.address, request).await.status, 200);
}

fn at(redis: &Redis) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], redis.port))
}

#[tokio::test]
async fn what_one_purges_all_purge() {
    let (origin, redis) = (origin().await, Redis::start().await);
    let (one, two) = (
        before(&origin, at(&redis), "").await,
        before(&origin, at(&redis), "").await,
    );
    let all = ["/api/a", "/b?x=1"];
    for (body, a, b) in [
        ("{\"url\":\"http://site.test/b?x=1\"}", "hit", "miss"),
        ("{\"url\":\"/b?x=1\"}", "hit", "miss"),
        ("{\"prefix\":\"/api/\"}", "miss", "hit"),
        ("{\"tag\":\"deals\"}", "miss", "miss"),
        ("{\"all\":true}", "miss", "miss"),
        ("{\"all\":true,\"soft\":true}", "confirmed", "confirmed"),
    ] {
        fill(&[&one, &two], &all).await;
        let before = sharing(&two).await["generation"].as_u64().expect("a number");
        order(&one, body).await;
        eventually("it is heard", async || {
            sharing(&two).await["generation"].as_u64() > Some(before)
        })
        .await;
        assert_eq!(
            (did(&two, all[0]).await.as_str(), did(&two, all[1]).await.as_str()),
            (a, b),
            "{body}"
        );
    }
    for (method, path) in [("PURGE", "/b?x=1"), ("POST", "/b?x=1")] {
        fill(&[&one, &two], &all).await;
        send(&one, method, path).await;
        becomes(&two, path, "miss").await;
        assert_eq!(did(&two, all[0]).await, "hit");
    }
    // Its own purges are no news to it: what it has fetched since is not taken out.
    get(&one, "/b?x=1").await;
    eventually("everything was told", async || sharing(&one).await["untold"] == 0).await;
    assert_eq!(did(&one, "/b?x=1").await, "hit");
}

#[tokio::test]
async fn who_was_away_catches_up() {
    let (origin, redis) = (origin().await, Redis::start().await);
    let wire = Relay::to(at(&redis)).await;
    let (one, two) = (
        before(&origin, at(&redis), "").await,
        before(&origin, wire.address, "").await,
    );
    fill(&[&two], &["/a", "/b"]).await;
    wire.cut();
    is_up_to_date(&two, false).await;
    order(&one, "{\"prefix\":\"/a\"}").await;
    // What it purges meanwhile is told when it can be.
    fill(&[&one], &["/c"]).await;
    order(&two, "{\"prefix\":\"/c\"}").await;
    assert_eq!(did(&two, "/a").await, "hit", "it cannot know");
    wire.mend();
    is_up_to_date(&two, true).await;
    assert_eq!(did(&two, "/a").await, "miss");
    assert_eq!(did(&two, "/b").await, "hit", "what was not purged is not doubted");
    becomes(&one, "/c", "miss").await;
}

#[tokio::test]
async fn who_was_away_for_too_long_asks_about_everything() {
    let (origin, redis) = (origin().await, Redis::start().await);
    let wire = Relay::to(at(&redis)).await;
    let (one, two) = (
        before(&origin, at(&redis), "").await,
        before(&origin, wire.address, "").await,
    );
    fill(&[&two], &["/a", "/b"]).await;
    wire.cut();
    is_up_to_date(&two, false).await;
    order(&one, "{\"prefix\":\"/a\"}").await;
    eventually("it is told", async || {
        redis.ask::<u64>(&["XLEN", "gwcache:purges"]).await == 1
    })
    .await;
    let _: u64 = redis.ask(&["XTRIM", "gwcache:purges", "MAXLEN", "0"]).await;
    wire.mend();
    is_up_to_date(&two, true).await;
    for path in ["/a", "/b"] {
        assert_eq!(did(&two, path).await, "confirmed", "nobody knows what was purged");
        assert_eq!(did(&two, path).await, "hit");
    }
}

#[tokio::test]
async fn a_redis_that_forgets_is_noticed() {
    let (origin, mut redis) = (origin().await, Redis::start().await);
    let (one, two) = (
        before(&origin, at(&redis), "").await,
        before(&origin, at(&redis), "").await,
    );
    let (path, all) = ("/a", ["/a"]);
    fill(&[&one, &two], &all).await;
    order(&one, "{\"tag\":\"other\"}").await;
    eventually("it is heard", async || sharing(&two).await["generation"] == 1).await;
    let _: String = redis.ask(&["FLUSHALL"]).await;
    becomes(&two, path, "confirmed").await;
    becomes(&one, path, "confirmed").await;
    fill(&[&one, &two], &all).await;
    order(&one, "{\"url\":\"/a\"}").await;
    becomes(&two, path, "miss").await;

    fill(&[&one, &two], &all).await;
    redis.kill().await;
    is_up_to_date(&two, false).await;
    assert_eq!(did(&two, path).await, "hit", "without the Redis, each has its own");
    order(&one, "{\"url\":\"/a\"}").await;
    assert_eq!(did(&one, path).await, "miss");
    redis.restart().await;
    is_up_to_date(&two, true).await;
    eventually("it was told when it could be", async || {
        sharing(&two).await["generation"] == 1
    })
    .await;
    // It heard the purge, or came when that had been told: then it knows only that it has missed something.
    assert!(["miss", "confirmed"].contains(&did(&two, path).await.as_str()));
}

/// A gateway that is started while there is no Redis serves, and shares as soon as there is one.
#[tokio::test]
async fn a_redis_that_comes_later() {
    let (origin, mut redis) = (origin().await, Redis::start().await);
    redis.kill().await;
    let start = async || {
        gateway::start(&format!(
            "[upstream.app]\nservers = [\"{}\"]\n[cache_redis]\nurl = \"{}\"\n[cache.c]\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
            origin.address,
            redis.url()
        ))
        .await
    };
    let (one, two) = (start().await, start().await);
    fill(&[&one, &two], &["/a"]).await;
    order(&one, "{\"url\":\"/a\"}").await;
    assert_eq!(did(&two, "/a").await, "hit");
    redis.restart().await;
    // Whether it reads the purge, or comes to know that there may have been some.
    eventually("the purge arrives", async || did(&two, "/a").await != "hit").await;
}
