//! A Redis that fails, in every way there is: each limit does what it says, no answer is a 5xx, nobody waits longer than
//! the budget, and the store is in use again when it is back.

use std::time::Duration;

use deals247_gateway::limit::BanRule;

use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::port;
use crate::support::process::{Process, command};
use crate::support::redis::Redis;

/// What is waited for a store that says nothing.
const IMPATIENT: &str = "250ms";
/// Where its failures show at once, it may answer late on a busy machine.
const PATIENT: &str = "2s";

/// Three limits of ten a day, one for each way to go on.
async fn start(url: &str, more: &str) -> Running {
    start_within(PATIENT, url, more).await
}

async fn start_within(timeout: &str, url: &str, more: &str) -> Running {
    let mut text = format!("[redis]\nurl = \"{url}\"\ntimeout = \"{timeout}\"\n{more}\n");
    for word in ["local", "allow", "deny"] {
        text += &format!(
            "[rate_limit.{word}]\nrate = \"10/d\"\nexact = true\non_store_error = \"{word}\"\n[[route]]\nname = \"{word}\"\n\
             path = \"/{word}\"\nrate_limit = [\"{word}\"]\nrespond = {{ body = \"ok\" }}\n"
        );
    }
    gateway::start(&text).await
}

async fn decided(gateway: &Running, policy: &str, source: &str) -> f64 {
    gateway
        .metric(&format!(
            "gateway_limiter_decisions_total{{policy=\"{policy}\",source=\"{source}\"}}"
        ))
        .await
}

async fn is_degraded(gateway: &Running) -> bool {
    let degraded = gateway.metric("gateway_limiter_degraded").await == 1.0;
    let ready = crate::support::client::admin(gateway.admin, "/readyz").await;
    assert_eq!(ready.status, 200, "a store that fails takes no gateway out");
    if degraded == (ready.json()["redis"]["status"] == "ok") {
        return is_degraded_at_rest(gateway).await; // it has just changed
    }
    degraded
}

async fn is_degraded_at_rest(gateway: &Running) -> bool {
    gateway.metric("gateway_limiter_degraded").await == 1.0
}

/// Asks until the gateway no longer asks the store; every answer is one that was promised.
async fn degrades(gateway: &Running) {
    let mut passed = 0;
    eventually("it is noticed", async || {
        let answer = gateway.get("/local").await.status;
        assert!(matches!(answer, 200 | 429), "{answer}");
        passed += usize::from(answer == 200);
        is_degraded(gateway).await
    })
    .await;
    // The store knows of one; what it knew last is where this process goes on, or it begins with a bucket of its own.
    assert!(passed <= 10, "{passed}");
    while gateway.get("/local").await.status == 200 {
        passed += 1;
        assert!(passed <= 20, "{passed}");
    }
    for _ in 0..15 {
        assert_eq!(gateway.get("/allow").await.status, 200);
        let refused = gateway.get("/deny").await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert!(decided(gateway, "local", "local").await >= 1.0);
    assert_eq!(decided(gateway, "allow", "allow").await, 15.0);
    assert_eq!(decided(gateway, "deny", "deny").await, 15.0);
}

/// Waits until the store decides again.
async fn recovers(gateway: &Running) {
    eventually("it is in use again", async || !is_degraded(gateway).await).await;
    let before = decided(gateway, "allow", "store").await;
    eventually("the store decides", async || {
        let answer = gateway.get("/allow").await;
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
        decided(gateway, "allow", "store").await > before
    })
    .await;
}

/// The store works, and has seen one request.
async fn works(gateway: &Running) {
    assert!(!is_degraded(gateway).await);
    assert_eq!(gateway.get("/local").await.status, 200);
    assert_eq!(decided(gateway, "local", "store").await, 1.0);
}

/// The same of a gateway that waits so briefly that a busy machine may take longer.
async fn works_in_time(gateway: &Running) {
    eventually("the store decides", async || {
        let answer = gateway.get("/local").await.status;
        assert!(matches!(answer, 200 | 429), "{answer}");
        !is_degraded(gateway).await && decided(gateway, "local", "store").await >= 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again() {
    let mut redis = Redis::start().await;
    let gateway = start(&redis.url(), "").await;
    works(&gateway).await;
    redis.kill().await;
    degrades(&gateway).await;
    redis.restart().await;
    recovers(&gateway).await;
    assert_eq!(redis.connections().await, 1, "one task connects, requests never do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed() {
    let redis = Redis::start().await;
    let gateway = start_within(IMPATIENT, &redis.url(), "").await;
    works_in_time(&gateway).await;
    redis.freeze();
    degrades(&gateway).await;
    // Only a few have waited before the breaker opened; everybody else was decided about at once.
    let waited = "gateway_limiter_store_errors_total{kind=\"timeout\"}";
    let timeouts = gateway.metric(waited).await;
    for _ in 0..50 {
        assert_eq!(gateway.get("/allow").await.status, 200);
    }
    let attempts = gateway.metric(waited).await - timeouts;
    assert!(timeouts <= 10.0 && attempts <= 10.0, "{timeouts} {attempts}");
    redis.thaw();
    recovers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused() {
    let redis = Redis::start().await;
    let gateway = start_within(IMPATIENT, &redis.url(), "").await;
    works_in_time(&gateway).await;
    redis.ask::<()>(&["CLIENT", "PAUSE", "8000", "ALL"]).await;
    degrades(&gateway).await;
    recovers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asleep() {
    let redis = Redis::start().await;
    let gateway = start_within(IMPATIENT, &redis.url(), "").await;
    works_in_time(&gateway).await;
    let sleep = redis.try_ask::<()>(&["DEBUG", "SLEEP", "8"]);
    let (..) = tokio::join!(sleep, degrades(&gateway));
    recovers(&gateway).await;
}

/// As long as a decision may wait, so long the connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_but_in_time() {
    let redis = Redis::start().await;
    let gateway = start_within("30s", &redis.url(), "").await;
    works(&gateway).await;
    redis.freeze();
    let thaw = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        redis.thaw();
    };
    let (answer, ()) = tokio::join!(gateway.get("/deny"), thaw);
    assert_eq!(answer.status, 200);
    assert_eq!(decided(&gateway, "deny", "store").await, 1.0);
    assert!(!is_degraded(&gateway).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_and_promoted() {
    let redis = Redis::start().await;
    let gateway = start(&redis.url(), "").await;
    works(&gateway).await;
    redis
        .ask::<()>(&["REPLICAOF", "127.0.0.1", &port::free().port().to_string()])
        .await;
    degrades(&gateway).await;
    redis.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    recovers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_memory() {
    let redis = Redis::start().await;
    let gateway = start(&redis.url(), "").await;
    works(&gateway).await;
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    degrades(&gateway).await;
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    recovers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_wrong_at_first() {
    let redis = Redis::start_with(":right@", &["--requirepass", "right"]).await;
    let gateway = start(&redis.url(), "password = \"other\"").await;
    let ready = crate::support::client::admin(gateway.admin, "/readyz").await.json();
    assert_eq!(ready["redis"]["status"], "degraded");
    let reason = ready["redis"]["reason"].as_str().expect("a reason").to_owned();
    assert!(
        reason.contains("password") && !reason.contains("other"),
        "what is wrong, and no secret: {reason}"
    );
    degrades(&gateway).await;
    redis.ask::<()>(&["CONFIG", "SET", "requirepass", "other"]).await;
    recovers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_no_more_rights_than_documented() {
    let redis = Redis::start().await;
    let rights = include_str!("../../../docs/shared-limits.md")
        .lines()
        .find(|line| line.starts_with("ACL SETUSER gateway "))
        .expect("the line in the documentation");
    let words: Vec<&str> = rights.split_whitespace().collect();
    redis.ask::<()>(&words).await;
    let gateway = start(&redis.url(), "username = \"gateway\"\npassword = \"secret\"").await;
    works(&gateway).await;
    // And for what gateways tell each other.
    let client = "192.0.2.1".parse().expect("an address");
    let rule = BanRule {
        after: 1,
        within: 1,
        duration: 600_000_000_000,
        ipv6_prefix: 64,
    };
    let registry = &gateway.gateway.live.registry;
    let ban = registry.bans().refused(client, &"a".into(), &rule, registry.clock());
    assert!(ban.is_some());
    eventually("the ban is told", async || {
        redis.ask::<usize>(&["ZCARD", "gw:{notices}said"]).await == 1
    })
    .await;
    // Without the right to write, it is told what is missing.
    redis.ask::<()>(&["ACL", "SETUSER", "gateway", "-hset"]).await;
    degrades(&gateway).await;
    redis.ask::<()>(&["ACL", "SETUSER", "gateway", "+hset"]).await;
    recovers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_forgets_is_no_failure() {
    let redis = Redis::start().await;
    let gateway = start(&redis.url(), "").await;
    works(&gateway).await;
    redis.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(gateway.get("/local").await.status, 200);
    redis.ask::<()>(&["FLUSHALL"]).await;
    let mut passed = 0;
    for _ in 0..15 {
        passed += usize::from(gateway.get("/local").await.status == 200);
    }
    assert_eq!(passed, 10, "it begins anew");
    assert_eq!(
        decided(&gateway, "local", "store").await,
        13.0,
        "four were refused from memory"
    );
    assert!(!is_degraded(&gateway).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_clock_set_back_locks_nobody_out() {
    let redis = Redis::start().await;
    let gateway = gateway::start(&format!(
        "[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n[rate_limit.a]\nrate = \"20/s\"\nburst = 1\nexact = true\n[[route]]\n\
         name = \"a\"\npath = \"/*\"\nrate_limit = [\"a\"]\nrespond = {{ body = \"ok\" }}\n",
        redis.url()
    ))
    .await;
    assert_eq!(gateway.get("/").await.status, 200);
    // As if it had been written an hour from now, with two units charged.
    let keys: Vec<String> = redis.ask(&["KEYS", "gw:{*"]).await;
    let now: (u64, u64) = redis.ask(&["TIME"]).await;
    let then = (now.0 + 3600) * 1_000_000;
    let (full, then) = ((then + 100_000).to_string(), then.to_string());
    redis.ask::<()>(&["HSET", &keys[0], "t", &full, "l", &then]).await;
    redis.ask::<()>(&["PERSIST", &keys[0]]).await;
    assert_eq!(gateway.get("/").await.status, 429);
    eventually("units come back", async || gateway.get("/").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gateway_takes_its_part_while_there_is_no_store() {
    let mut redis = Redis::start().await;
    let mut gateways = Vec::new();
    for _ in 0..4 {
        gateways.push(start(&redis.url(), "").await);
    }
    redis.knows_gateways(4).await;
    for gateway in &gateways {
        eventually("each knows of the others", async || {
            gateway.metric("gateway_limiter_gateways").await == 4.0
        })
        .await;
    }
    redis.kill().await;
    let mut passed = 0;
    for gateway in &gateways {
        eventually("it is noticed", async || is_degraded(gateway).await).await;
        for _ in 0..10 {
            passed += usize::from(gateway.get("/local").await.status == 200);
        }
    }
    assert_eq!(passed, 8, "a quarter of ten for each of four, without fractions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_before_is_not_given_again() {
    let mut redis = Redis::start().await;
    let gateway = start(&redis.url(), "").await;
    for _ in 0..9 {
        assert_eq!(gateway.get("/local").await.status, 200);
    }
    redis.kill().await;
    eventually("it is noticed", async || is_degraded(&gateway).await).await;
    let mut passed = 0;
    for _ in 0..10 {
        passed += usize::from(gateway.get("/local").await.status == 200);
    }
    assert_eq!(passed, 1);
}

#[tokio::test]
async fn a_process_starts_without_it_and_tells_once_each_way() {
    let directory = tempfile::tempdir().expect("directory");
    let mut redis = Redis::start().await;
    let file = directory.path().join("gateway.toml");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = false\n[access_log]\nenabled = false\n[redis]\nurl = \"{}\"\n\
         [rate_limit.a]\nrate = \"1000/s\"\n[[route]]\nname = \"a\"\npath = \"/*\"\nrate_limit = [\"a\"]\nrespond = {{ body = \"ok\" }}\n",
        redis.url()
    );
    std::fs::write(&file, text).expect("file");
    redis.kill().await;
    let process = Process::run_as(command(), &file).await;
    let ask = async || crate::support::client::get(process.address, "/", "").await.status;
    for _ in 0..20 {
        assert_eq!(ask().await, 200);
    }
    redis.restart().await;
    redis.knows_gateways(1).await;
    for _ in 0..20 {
        assert_eq!(ask().await, 200);
    }
    redis.kill().await;
    // Ten attempts to connect, all of which fail.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..20 {
        assert_eq!(ask().await, 200);
    }
    redis.restart().await;
    redis.knows_gateways(1).await;
    process.signal(rustix::process::Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let count = |words: &str| said.lines().filter(|line| line.contains(words)).count();
    // The first one came before it served.
    assert_eq!(count("Redis cannot be asked"), 1, "{said}");
    assert_eq!(count("Redis answers again"), 2, "{said}");
}
