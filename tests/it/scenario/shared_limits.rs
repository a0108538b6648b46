//! `[redis]`: limits that several gateways share. The rates are so slow that nothing comes back while a test runs.

use crate::support::client::{self, Response};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};
use crate::support::redis::Redis;

/// Gateways that share this Redis; the route `/*` has these limits.
async fn gateways(redis: &Redis, count: usize, tables: &str, names: &str) -> Vec<Running> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(
            gateway::start(&format!(
                "trusted_proxies = [\"127.0.0.1\"]\n[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n{tables}\n[[route]]\nname = \"all\"\n\
                 path = \"/*\"\nrate_limit = [{names}]\nrespond = {{ body = \"ok\" }}\n",
                redis.url()
            ))
            .await,
        );
    }
    redis.knows_gateways(count).await;
    for gateway in &all {
        crate::support::eventually("each knows of the others", async || {
            gateway.metric("gateway_limiter_gateways").await == count as f64
        })
        .await;
    }
    all
}

async fn get(gateway: &Running, fields: &str) -> Response {
    client::get(gateway.address, "/x", fields).await
}

/// How many of `count` requests pass, one after the other, each at another gateway.
async fn passing(gateways: &[Running], fields: &str, count: usize) -> usize {
    let mut passed = 0;
    for index in 0..count {
        match get(&gateways[index % gateways.len()], fields).await.status {
            200 => passed += 1,
            429 => {}
            other => panic!("{other}"),
        }
    }
    passed
}

/// The same at once.
async fn passing_at_once(gateways: &[Running], count: usize) -> usize {
    let requests = (0..count).map(|index| get(&gateways[index % gateways.len()], ""));
    let answers = futures_util::future::join_all(requests).await;
    assert!(
        answers.iter().all(|answer| matches!(answer.status, 200 | 429)),
        "{answers:?}"
    );
    answers.iter().filter(|answer| answer.status == 200).count()
}

/// The sum of a metric.
async fn in_all(gateways: &[Running], name: &str) -> f64 {
    let mut sum = 0.0;
    for gateway in gateways {
        sum += gateway.metric(name).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_are_five_on_all_gateways_together() {
    let redis = Redis::start().await;
    let gateways = gateways(&redis, 3, "[rate_limit.auth]\nrate = \"5/d\"\nexact = true", "\"auth\"").await;
    let answer = get(&gateways[0], "").await;
    assert_eq!(answer.header("ratelimit-policy"), Some("\"auth\";q=5;w=86400"));
    assert!(
        answer
            .header("ratelimit")
            .expect("ratelimit")
            .starts_with("\"auth\";r=4;")
    );
    assert_eq!(passing_at_once(&gateways, 60).await, 4);
    let refused = get(&gateways[1], "").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused
        .header("retry-after")
        .expect("retry-after")
        .parse()
        .expect("seconds");
    assert!((17_200..=17_280).contains(&wait), "{wait}");
    // Another client has a bucket of its own.
    assert_eq!(passing(&gateways, "X-Forwarded-For: 192.0.2.1\r\n", 20).await, 5);
    // Who was refused is refused without asking again.
    let calls = redis.script_calls().await;
    let remembered = "gateway_limiter_decisions_total{policy=\"auth\",source=\"memory\"}";
    let before = gateways[1].metric(remembered).await;
    assert_eq!(passing(&gateways[1..2], "", 20).await, 0);
    assert_eq!(gateways[1].metric(remembered).await, before + 20.0);
    // One heartbeat of each gateway may come in between, now and then.
    assert!(redis.script_calls().await - calls < 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_is_charged_unless_all_pass() {
    let redis = Redis::start().await;
    let gateways = gateways(
        &redis,
        2,
        "[rate_limit.wide]\nrate = \"4/d\"\n[rate_limit.narrow]\nrate = \"1/d\"\nkey = [\"client-ip\", \"header:X-Key\"]",
        "\"wide\", \"narrow\"",
    )
    .await;
    assert_eq!(passing(&gateways, "X-Key: a\r\n", 6).await, 1);
    for key in ["b", "c", "d"] {
        assert_eq!(
            get(&gateways[0], &format!("X-Key: {key}\r\n")).await.status,
            200,
            "{key}"
        );
    }
    let answer = get(&gateways[1], "X-Key: e\r\n").await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["violated-policies"], serde_json::json!(["wide"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_limit_is_leased_and_a_burst_passes_whole() {
    let redis = Redis::start().await;
    let gateways = gateways(&redis, 1, "[rate_limit.api]\nrate = \"10/s\"\nburst = 499", "\"api\"").await;
    redis.ask::<()>(&["CONFIG", "RESETSTAT"]).await;
    let began = tokio::time::Instant::now();
    let passed = passing(&gateways, "", 700).await;
    // Ten come back each second; whoever is refused is refused for half a lease.
    let most = 500 + (began.elapsed().as_secs_f64() * 10.0) as usize + 20;
    assert!((500..=most).contains(&passed), "{passed} of {most}");
    let calls = redis.script_calls().await;
    // Its heartbeats, and what is asked anew when a refusal has been remembered for long enough, go on with the time.
    let most = 120 + (began.elapsed().as_secs_f64() * 30.0) as u64;
    assert!(calls < most.min(700), "{calls} calls for 700 requests, {most} at most");
    let leased = "gateway_limiter_decisions_total{policy=\"api\",source=\"lease\"}";
    assert!(gateways[0].metric(leased).await > 350.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_leased_and_did_not_spend_comes_back() {
    let redis = Redis::start().await;
    let gateways = gateways(&redis, 2, "[rate_limit.api]\nrate = \"1/s\"\nburst = 99", "\"api\"").await;
    let began = tokio::time::Instant::now();
    // One gateway has asked for more and more, and is left with some of it.
    assert!(passing(&gateways[..1], "", 40).await == 40);
    crate::support::eventually("it has given back the rest", async || {
        gateways[0].metric("gateway_limiter_leases").await == 0.0 && {
            let keys: Vec<String> = redis.ask(&["KEYS", "gw:{*"]).await;
            redis.ask::<u64>(&["HGET", &keys[0], "o"]).await == 0
        }
    })
    .await;
    let passed = passing(&gateways[1..], "", 100).await;
    // One comes back each second.
    let most = 60 + began.elapsed().as_secs() as usize + 1;
    assert!((60..=most).contains(&passed), "{passed} of {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_failures_count_where_the_file_says_so() {
    let redis = Redis::start().await;
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/wrong") => reply(401, "", "no"),
        _ => reply(200, "", "yes"),
    })
    .await;
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(
            gateway::start(&format!(
                "[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n[rate_limit.login]\nrate = \"3/d\"\ncount = \"failures\"\n[upstream.app]\n\
                 servers = [\"{}\"]\n[[route]]\nname = \"login\"\npath = \"/*\"\nrate_limit = [\"login\"]\nupstream = \"app\"\n",
                redis.url(),
                origin.address
            ))
            .await,
        );
    }
    for gateway in &gateways {
        assert_eq!(gateway.metric("gateway_limiter_degraded").await, 0.0);
    }
    let settled = async || {
        let keys: Vec<String> = redis.ask(&["KEYS", "gw:{*"]).await;
        redis.ask::<u64>(&["HGET", &keys[0], "o"]).await == 0
    };
    for (index, (path, status)) in [
        ("/right", 200),
        ("/right", 200),
        ("/wrong", 401),
        ("/right", 200),
        ("/wrong", 401),
        ("/right", 200),
        ("/right", 200),
        ("/wrong", 401),
        ("/right", 429),
        ("/wrong", 429),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(gateways[index % 2].get(path).await.status, status, "{index} {path}");
        crate::support::eventually("the outcome is told", settled).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_once_gain_nothing() {
    let redis = Redis::start().await;
    let origin = Origin::start(|_| reply(401, "", "no")).await;
    let gateway = gateway::start(&format!(
        "[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n[rate_limit.login]\nrate = \"3/d\"\ncount = \"failures\"\n[upstream.app]\n\
         servers = [\"{}\"]\n[[route]]\nname = \"login\"\npath = \"/*\"\nrate_limit = [\"login\"]\nupstream = \"app\"\n",
        redis.url(),
        origin.address
    ))
    .await;
    let guesses = (0..40).map(|_| gateway.get("/guess"));
    let answers = futures_util::future::join_all(guesses).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 3);
    assert_eq!(origin.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_and_reporting_work_across_gateways() {
    let redis = Redis::start().await;
    let gateways = gateways(
        &redis,
        2,
        "[rate_limit.slow]\nrate = \"20/s\"\nburst = 6\ndelay = 0\n[rate_limit.trial]\nrate = \"3/d\"\nmode = \"report\"",
        "\"slow\", \"trial\"",
    )
    .await;
    let began = tokio::time::Instant::now();
    assert_eq!(passing_at_once(&gateways, 7).await, 7);
    // The seventh waited for the six before it.
    assert!(began.elapsed().as_millis() >= 300, "{:?}", began.elapsed());
    let reported = "gateway_limit_decisions_total{policy=\"trial\",verdict=\"reported\"}";
    assert_eq!(in_all(&gateways, reported).await, 4.0);
}

/// So slow that nothing comes back meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_but_the_first_wait_at_whichever_gateway() {
    let redis = Redis::start().await;
    let limit = "[rate_limit.slow]\nrate = \"1/min\"\nburst = 6\ndelay = 0\nmax_delay = \"10min\"";
    let gateways = gateways(&redis, 2, limit, "\"slow\"").await;
    let mut waiting = Vec::new();
    for index in 0..7 {
        let mut connection = gateways[index % 2].connect().await;
        connection.send("GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
        waiting.push(connection);
    }
    let delayed = "gateway_limit_decisions_total{policy=\"slow\",verdict=\"delayed\"}";
    crate::support::eventually("six wait", async || in_all(&gateways, delayed).await == 6.0).await;
    let passed = "gateway_limit_decisions_total{policy=\"slow\",verdict=\"allowed\"}";
    assert_eq!(in_all(&gateways, passed).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_tell_nobody_who_was_counted_and_go_away() {
    let redis = Redis::start().await;
    let gateways = gateways(
        &redis,
        1,
        "[rate_limit.key]\nrate = \"2/min\"\nburst = 3\nexact = true\nkey = [\"client-ip\", \"header:X-Key\"]",
        "\"key\"",
    )
    .await;
    let long = "secret".repeat(200);
    assert_eq!(get(&gateways[0], &format!("X-Key: {long}\r\n")).await.status, 200);
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    let bucket = keys.iter().find(|key| key.starts_with("gw:{")).expect("a bucket");
    assert_eq!((keys.len(), bucket.len()), (2, 45), "{keys:?}");
    let left: u64 = redis.ask(&["PTTL", bucket]).await;
    // Half a minute until it is full again, and a second more.
    assert!((20_000..=31_000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_prefix_is_another_site() {
    let redis = Redis::start().await;
    let mut passed = 0;
    for prefix in ["a:", "b:", "a:"] {
        let gateway = gateway::start(&format!(
            "[redis]\nurl = \"{}/0\"\nprefix = \"{prefix}\"\ntimeout = \"2s\"\n[rate_limit.one]\nrate = \"2/d\"\n[[route]]\n\
             name = \"all\"\npath = \"/*\"\nrate_limit = [\"one\"]\nrespond = {{ body = \"ok\" }}\n",
            redis.url()
        ))
        .await;
        for _ in 0..3 {
            passed += usize::from(gateway.get("/").await.status == 200);
        }
    }
    assert_eq!(passed, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_application_says_it_has_cost_is_charged_on_every_gateway() {
    let redis = Redis::start().await;
    let origin = Origin::start(|_| reply(200, "X-Cost: 7\r\n", "ok")).await;
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(
            gateway::start(&format!(
                "[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n[rate_limit.api]\nrate = \"10/d\"\ncost_header = \"X-Cost\"\n[upstream.app]\n\
                 servers = [\"{}\"]\n[[route]]\nname = \"app\"\npath = \"/*\"\nrate_limit = [\"api\"]\nupstream = \"app\"\n",
                redis.url(),
                origin.address
            ))
            .await,
        );
    }
    let answer = gateways[0].get("/").await;
    assert!(
        answer
            .header("ratelimit")
            .expect("ratelimit")
            .starts_with("\"api\";r=3;"),
        "{answer:?}"
    );
    // The other gateway asks, once it has been told.
    crate::support::eventually("seven are charged", async || {
        let keys: Vec<String> = redis.ask(&["KEYS", "gw:{*"]).await;
        redis.ask::<u64>(&["PTTL", &keys[0]]).await > 6 * 8_640_000
    })
    .await;
    let answer = gateways[1].get("/").await;
    assert!(
        answer
            .header("ratelimit")
            .expect("ratelimit")
            .starts_with("\"api\";r=0;"),
        "{answer:?}"
    );
    crate::support::eventually("nothing is left", async || gateways[1].get("/").await.status == 429).await;
    let answer = gateways[0].get("/").await;
    assert_eq!(answer.status, 429);
    assert!(origin.received().len() >= 2);
}
