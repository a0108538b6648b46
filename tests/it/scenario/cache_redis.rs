//! Answers that gateways share in a real Redis: what one has fetched the others give, what one purges nobody brings back,
//! and what the Redis holds or does never costs more than a fetch.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;

use crate::support::client::{self, Response};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Received, Step, raw, reply};
use crate::support::redis::Redis;
use crate::support::relay::Relay;

/// Fields and body of every answer of the origin: the body tells which URL it is of, and is not only text.
const FIELDS: &str = "Cache-Control: max-age=600\r\nETag: \"a\"\r\nSurrogate-Key: all\r\n";

fn body_of(path: &str) -> String {
    format!("\0\r\n{path}\u{1f980}{}", "x".repeat(1000))
}

fn path_of(received: &Received) -> &str {
    received.line().split(' ').nth(1).unwrap_or_default()
}

fn truthful(received: &Received) -> Vec<Step> {
    if !received.headers("if-none-match").is_empty() {
        return raw("HTTP/1.1 304 Not Modified\r\n\r\n");
    }
    reply(200, FIELDS, &body_of(path_of(received)))
}

fn at(redis: &Redis) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], redis.port))
}

/// A busy machine must not make a lookup too slow: where that is not what is tested, it may take long.
const PATIENT: &str = "timeout = \"10s\"";

fn site(origin: &Origin, redis: impl Display, budget: &str, cache: &str) -> String {
    format!(
        "[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         [cache_redis]\nurl = \"redis://{redis}\"\n{budget}\n[cache.c]\npurge = true\n{cache}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
        origin.address
    )
}

async fn start(origin: &Origin, redis: impl Display) -> Running {
    let gateway = gateway::start(&site(origin, redis, PATIENT, "redis = {}")).await;
    shares(&gateway, true).await;
    gateway
}

async fn sharing(gateway: &Running) -> serde_json::Value {
    client::admin(gateway.admin, "/api/v1/cache").await.json()["sharing"].clone()
}

async fn shares(gateway: &Running, wanted: bool) {
    eventually("it shares answers, or does not", async || {
        let sharing = sharing(gateway).await;
        sharing["answers"] == wanted && (!wanted || sharing["up_to_date"] == true)
    })
    .await;
}

async fn event(gateway: &Running, event: &str) -> f64 {
    let name = format!("gateway_cache_tier_events_total{{cache=\"c\",event=\"{event}\",tier=\"redis\"}}");
    gateway.metric(&name).await
}

async fn get(gateway: &Running, path: &str, fields: &str) -> Response {
    let response = client::get(gateway.address, path, fields).await;
    assert_eq!(response.text(), body_of(path), "nobody gets another one's answer");
    response
}

/// What the cache did, in its own words.
async fn did(gateway: &Running, path: &str) -> String {
    let response = get(gateway, path, "").await;
    let said = response.header("cache-status").unwrap_or_default().to_owned();
    match () {
        () if said.ends_with("; detail=redis") => "from redis".to_owned(),
        () if said.contains("; hit") => "hit".to_owned(),
        () if said.contains("fwd-status=304") => "confirmed".to_owned(),
        () if said.contains("fwd=uri-miss") => "miss".to_owned(),
        () => said,
    }
}

/// Has an answer fetched; returns when it is in the Redis.
async fn fill(gateway: &Running, path: &str) {
    let before = event(gateway, "written").await;
    assert_eq!(did(gateway, path).await, "miss", "{path}");
    eventually("it is written", async || event(gateway, "written").await > before).await;
}

async fn order(gateway: &Running, body: &str) -> serde_json::Value {
    let length = body.len();
    let request = format!(
        "POST /api/v1/cache/purge HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
        gateway.admin
    );
    client::ask(gateway.admin, request).await.json()
}

async fn keys(redis: &Redis) -> BTreeSet<String> {
    redis.ask(&["KEYS", "gwcache:answer:*"]).await
}

/// Has an answer fetched; what it is in the Redis.
async fn written(gateway: &Running, redis: &Redis, path: &str) -> (String, Vec<u8>) {
    let before = keys(redis).await;
    fill(gateway, path).await;
    let new = keys(redis).await;
    let key = new.difference(&before).next().expect("a new key").clone();
    let value = redis.ask(&["GET", &key]).await;
    (key, value)
}

#[tokio::test]
async fn what_one_has_fetched_others_give() {
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let (one, two) = (start(&origin, at(&redis)).await, start(&origin, at(&redis)).await);
    fill(&one, "/a").await;
    assert_eq!(did(&two, "/a").await, "from redis");
    assert_eq!(did(&two, "/a").await, "hit", "it was taken into memory");

    // One that has been started since, and one that takes the place of another.
    one.drain(None).await;
    let three = start(&origin, at(&redis)).await;
    let question = "{\"url\":\"http://site.test/a\"}";
    let request = format!(
        "POST /api/v1/cache/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{question}",
        question.len()
    );
    let told = client::ask(three.admin, request).await.json();
    let verdict = told["verdict"].as_str().unwrap_or_default();
    assert!(verdict.starts_with("hit") && verdict.ends_with("from redis"), "{told}");
    let part = client::get(three.address, "/a", "Range: bytes=3-4\r\n").await;
    assert_eq!((part.status, part.text()), (206, "/a"));
    let known = client::get(three.address, "/a", "If-None-Match: \"a\"\r\n").await;
    assert_eq!(known.status, 304);
    assert_eq!(origin.received().len(), 1, "it was asked once");
    assert!(event(&two, "given").await >= 1.0);
    assert_eq!(event(&three, "failed").await, 0.0);
}

#[tokio::test]
async fn each_request_gets_the_answer_that_is_for_it() {
    let origin = Origin::start(|received| {
        let who = received.header("x-who").unwrap_or("nobody");
        reply(200, "Cache-Control: max-age=600\r\nVary: X-Who\r\n", who)
    })
    .await;
    let redis = Redis::start().await;
    let (one, two) = (start(&origin, at(&redis)).await, start(&origin, at(&redis)).await);
    let ask = async |gateway: &Running, who: &str| {
        let response = client::get(gateway.address, "/a", &format!("X-Who: {who}\r\n")).await;
        assert_eq!(response.text(), who);
        response.header("cache-status").unwrap_or_default().to_owned()
    };
    for who in ["me", "you"] {
        ask(&one, who).await;
    }
    eventually("both are written", async || event(&one, "written").await == 2.0).await;
    for who in ["me", "you"] {
        let said = ask(&two, who).await;
        assert!(said.contains("; hit") && said.contains("detail=redis"), "{said}");
    }
    assert_eq!(origin.received().len(), 2);
    let said = ask(&two, "them").await;
    assert!(said.contains("fwd=vary-miss"), "{said}");
}

#[tokio::test]
async fn what_one_purges_nobody_brings_back() {
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let (one, two) = (start(&origin, at(&redis)).await, start(&origin, at(&redis)).await);
    let mut kept = Vec::new();
    let mut later = Vec::new();
    // Of each kind: what is purged is asked of a gateway that is there, and of one that is started afterwards.
    for (number, (purge, wanted)) in [
        ("{\"url\":\"http://site.test/0/a\"}", "miss"),
        ("{\"url\":\"/1/a\"}", "miss"),
        ("{\"prefix\":\"/2/\"}", "miss"),
        ("{\"prefix\":\"http://site.test/3/\"}", "miss"),
        ("{\"url\":\"/4/a\",\"soft\":true}", "confirmed"),
        ("{\"prefix\":\"/5/\",\"soft\":true}", "confirmed"),
        ("PURGE", "miss"),
        ("POST", "miss"),
        ("{\"tag\":\"all\"}", "miss"),
        ("{\"all\":true}", "miss"),
        ("{\"all\":true,\"soft\":true}", "confirmed"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/a");
        let (key, value) = written(&one, &redis, &path).await;
        fill(&one, &format!("/other/{number}")).await;
        if purge.starts_with('{') {
            assert_eq!(order(&one, purge).await["lasting"], true, "it is in the sequence");
        } else {
            let head = format!("{purge} {path} HTTP/1.1\r\nHost: site.test\r\n");
            let request = format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
            assert_eq!(client::ask(one.address, request).await.status, 200);
            eventually("it is told", async || sharing(&one).await["untold"] == 0).await;
        }
        assert_eq!(did(&two, &path).await, wanted, "{purge}");
        if number < 8 {
            assert_eq!(did(&two, &format!("/other/{number}")).await, "from redis", "{purge}");
        }
        kept.push((key, value));
        later.push(path);
    }
    eventually("all is written", async || event(&two, "written").await >= 11.0).await;
    // Somebody writes what was asked for before the purges.
    for (key, value) in &kept {
        redis.put(key, value).await;
    }
    let three = start(&origin, at(&redis)).await;
    for path in &later {
        let said = did(&three, path).await;
        assert!(["miss", "confirmed"].contains(&said.as_str()), "{path}: {said}");
    }
}

#[tokio::test]
async fn who_was_away_brings_nothing_back() {
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let wire = Relay::to(at(&redis)).await;
    let (one, two) = (start(&origin, at(&redis)).await, start(&origin, wire.address).await);
    let (key, value) = written(&one, &redis, "/a").await;
    fill(&one, "/b").await;
    wire.cut();
    shares(&two, false).await;
    assert_eq!(did(&two, "/c").await, "miss", "without, it caches for itself");
    assert_eq!(order(&one, "{\"prefix\":\"/a\"}").await["lasting"], true);
    assert_eq!(
        order(&two, "{\"prefix\":\"/b\"}").await["lasting"],
        false,
        "it is not told yet"
    );
    redis.put(&key, &value).await;
    wire.mend();
    shares(&two, true).await;
    assert_eq!(did(&two, "/a").await, "miss");
    eventually("its own is told", async || sharing(&two).await["untold"] == 0).await;
    assert_eq!(did(&two, "/b").await, "miss");
    let three = start(&origin, at(&redis)).await;
    fill(&three, "/d").await;
    assert_eq!(did(&two, "/d").await, "from redis");
}

#[tokio::test]
async fn a_redis_that_forgets_or_goes_back_has_nothing() {
    let (origin, mut redis) = (Origin::start(truthful).await, Redis::start().await);
    let (one, two) = (start(&origin, at(&redis)).await, start(&origin, at(&redis)).await);
    let (key, value) = written(&one, &redis, "/a").await;
    let _: String = redis.ask(&["FLUSHALL"]).await;
    redis.put(&key, &value).await;
    assert_eq!(did(&two, "/a").await, "miss", "nobody knows what was purged since");
    shares(&one, true).await;
    shares(&two, true).await;

    // It comes back with what it had some time ago.
    order(&one, "{\"tag\":\"one\"}").await;
    eventually("it follows the new sequence", async || {
        sharing(&one).await["generation"] == 1
    })
    .await;
    let (key, value) = written(&one, &redis, "/b").await;
    let epoch: String = redis.ask(&["HGET", "gwcache:purges:state", "epoch"]).await;
    order(&one, "{\"prefix\":\"/b\"}").await;
    let _: u64 = redis.ask(&["XDEL", "gwcache:purges", "2-0"]).await;
    let _: u64 = redis.ask(&["HSET", "gwcache:purges:state", "generation", "1"]).await;
    redis.put(&key, &value).await;
    eventually("it is noticed", async || {
        redis.ask::<String>(&["HGET", "gwcache:purges:state", "epoch"]).await != epoch
    })
    .await;
    let three = start(&origin, at(&redis)).await;
    assert_eq!(did(&three, "/b").await, "miss");

    redis.kill().await;
    shares(&two, false).await;
    assert_eq!(did(&two, "/c").await, "miss", "without, it caches for itself");
    redis.restart().await;
    for gateway in [&one, &two] {
        shares(gateway, true).await;
    }
    fill(&two, "/d").await;
    assert_eq!(did(&one, "/d").await, "from redis");
}

#[tokio::test]
async fn what_is_none_of_ours_is_a_miss() {
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let (one, two) = (start(&origin, at(&redis)).await, start(&origin, at(&redis)).await);
    let (_, other) = written(&one, &redis, "/other").await;
    let kinds = [
        "garbage",
        "cut",
        "changed",
        "another one's",
        "a list",
        "too large",
        "longer",
    ];
    for (number, spoil) in (1u32..).zip(kinds) {
        let path = format!("/{number}");
        let (key, mut value) = written(&one, &redis, &path).await;
        match spoil {
            "garbage" => redis.put(&key, b"\xff\0 nothing of ours").await,
            "cut" => redis.put(&key, &value[..value.len() - 1]).await,
            "changed" => {
                let middle = value.len() / 2;
                value[middle] ^= 1;
                redis.put(&key, &value).await;
            }
            "another one's" => redis.put(&key, &other).await,
            "longer" => {
                value.push(0);
                redis.put(&key, &value).await;
            }
            "a list" => {
                let _: u64 = redis.ask(&["DEL", &key]).await;
                let _: u64 = redis.ask(&["LPUSH", &key, "x"]).await;
            }
            _ => {
                let _: u64 = redis.ask(&["SETRANGE", &key, "1000000", "x"]).await;
            }
        }
        assert_eq!(did(&two, &path).await, "miss", "{spoil}");
        assert_eq!(event(&two, "damaged").await, f64::from(number), "{spoil}");
        shares(&two, true).await;
    }
    // What takes its place is good.
    let three = start(&origin, at(&redis)).await;
    eventually("all are written", async || event(&two, "written").await == 7.0).await;
    for number in 1..=7 {
        assert_eq!(did(&three, &format!("/{number}")).await, "from redis");
    }
    assert_eq!(event(&two, "failed").await, 0.0);
}

#[tokio::test]
async fn what_is_somebodys_own_or_too_large_is_not_there() {
    let origin = Origin::start(|received| {
        let fields = match path_of(received) {
            "/private" => "Cache-Control: private, max-age=600\r\n",
            "/no-store" => "Cache-Control: no-store\r\n",
            "/cookie" => "Cache-Control: max-age=600\r\nSet-Cookie: s=1\r\n",
            "/asked" => "Cache-Control: no-cache\r\nETag: \"a\"\r\n",
            "/large" => return reply(200, "Cache-Control: max-age=600\r\n", &"x".repeat(3000)),
            _ => FIELDS,
        };
        reply(200, fields, &body_of(path_of(received)))
    })
    .await;
    let redis = Redis::start().await;
    let cache = "bypass = [\"header:firebase-uid\"]\nredis = { max_object = \"2KB\" }\n";
    let gateway = gateway::start(&site(&origin, at(&redis), PATIENT, cache)).await;
    shares(&gateway, true).await;
    for path in ["/private", "/no-store", "/cookie", "/asked"] {
        get(&gateway, path, "").await;
    }
    get(&gateway, "/mine", "Firebase-Uid: me\r\n").await;
    get(&gateway, "/mine-too", "Authorization: Bearer x\r\n").await;
    assert_eq!(client::get(gateway.address, "/large", "").await.body.len(), 3000);
    // What is written is written in order.
    fill(&gateway, "/a").await;
    assert_eq!(keys(&redis).await.len(), 1);
    assert!(event(&gateway, "skipped").await >= 1.0);
    let key = keys(&redis).await.pop_first().expect("a key");
    let left: i64 = redis.ask(&["TTL", &key]).await;
    assert!((1..=600).contains(&left), "{left}");
}

/// A Redis that hangs is asked once, and then not until it answers again.
#[tokio::test]
async fn a_redis_that_hangs_costs_one_wait() {
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let one = start(&origin, at(&redis)).await;
    let two = gateway::start(&site(&origin, at(&redis), "timeout = \"300ms\"", "redis = {}")).await;
    shares(&two, true).await;
    fill(&one, "/a").await;
    redis.freeze();
    assert_eq!(did(&two, "/a").await, "miss");
    shares(&two, false).await;
    let failed = event(&two, "failed").await;
    for number in 0..20 {
        assert_eq!(did(&two, &format!("/{number}")).await, "miss");
    }
    assert_eq!(event(&two, "failed").await, failed, "it is not asked");
    redis.thaw();
    shares(&two, true).await;
    let mut number = 0;
    eventually("it is asked again", async || {
        number += 1;
        let path = format!("/after/{number}");
        fill(&one, &path).await;
        did(&two, &path).await == "from redis"
    })
    .await;
}

/// The rights that docs/cache.md names are enough.
#[tokio::test]
async fn a_user_needs_few_rights() {
    const RIGHTS: &str = "~gwcache:* +eval +hmget +hset +hincrby +xadd +xrange +xread +del +getrange +set";
    let guide = include_str!("../../../docs/cache.md").replace("`, and where answers are shared\n`", " ");
    assert!(guide.contains(RIGHTS));
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let mut user = vec!["ACL", "SETUSER", "cache", "on", ">secret"];
    user.extend(RIGHTS.split(' '));
    let _: String = redis.ask(&user).await;
    let place = format!("cache:secret@{}", at(&redis));
    let (one, two) = (start(&origin, &place).await, start(&origin, &place).await);
    fill(&one, "/a").await;
    assert_eq!(did(&two, "/a").await, "from redis");
    fill(&one, "/b").await;
    assert_eq!(order(&one, "{\"url\":\"/b\"}").await["lasting"], true);
    assert_eq!(did(&two, "/b").await, "miss");
    for gateway in [&one, &two] {
        assert_eq!(event(gateway, "failed").await, 0.0);
    }
}

/// A reload begins to share: what was purged before is known nevertheless.
#[tokio::test]
async fn a_reload_begins_to_share_and_ends_it() {
    let (origin, redis) = (Origin::start(truthful).await, Redis::start().await);
    let one = start(&origin, at(&redis)).await;
    let two = gateway::start(&site(&origin, at(&redis), PATIENT, "")).await;
    eventually("it hears of purges", async || sharing(&two).await["up_to_date"] == true).await;
    assert!(sharing(&two).await["answers"].is_null());
    let (key, value) = written(&one, &redis, "/a").await;
    fill(&one, "/b").await;
    order(&one, "{\"url\":\"/a\"}").await;
    redis.put(&key, &value).await;
    assert_eq!(did(&two, "/b").await, "miss", "it has its own alone");
    two.reload(&site(&origin, at(&redis), PATIENT, "redis = {}"))
        .await
        .expect("a good file");
    shares(&two, true).await;
    assert_eq!(did(&two, "/a").await, "miss");
    fill(&one, "/c").await;
    assert_eq!(did(&two, "/c").await, "from redis");
    two.reload(&site(&origin, at(&redis), PATIENT, ""))
        .await
        .expect("a good file");
    fill(&one, "/d").await;
    assert_eq!(did(&two, "/d").await, "miss");
}
