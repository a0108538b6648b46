//! `[rate_limit.NAME]` on the way of a request. The rates are so slow that nothing comes back while a test runs.

mod bandwidth;
mod bans;
mod costs;
mod keys;
mod operators;

use crate::support::client::{self, Response};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, reply};

/// A gateway whose route `/*` answers by itself and has these limits.
async fn limited(tables: &str, names: &str) -> Running {
    gateway::start(&format!(
        "trusted_proxies = [\"127.0.0.1\"]\n{tables}\n[headers.web]\npreset = \"web\"\n[defaults]\nheaders = \"web\"\n\
         [[route]]\nname = \"free\"\npath = \"/free\"\nrate_limit = []\nrespond = {{ body = \"free\" }}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nrate_limit = [{names}]\nrespond = {{ body = \"ok\" }}\n"
    ))
    .await
}

async fn get(gateway: &Running, fields: &str) -> Response {
    client::get(gateway.address, "/x", fields).await
}

/// How many of `count` requests pass, the first ones.
async fn passing(gateway: &Running, fields: &str, count: usize) -> usize {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(gateway, fields).await.status);
    }
    let passed = statuses.iter().take_while(|&&status| status == 200).count();
    assert!(statuses[passed..].iter().all(|&status| status == 429), "{statuses:?}");
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_when_to_come_back() {
    let gateway = limited("[rate_limit.auth]\nrate = \"5/min\"", "\"auth\"").await;
    for left in (0..5).rev() {
        let answer = get(&gateway, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"auth\";q=5;w=60"));
        let stand = answer.header("ratelimit").expect("ratelimit").to_owned();
        assert!(stand.starts_with(&format!("\"auth\";r={left};t=")), "{stand}");
    }
    let answer = get(&gateway, "").await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer
        .header("retry-after")
        .expect("retry-after")
        .parse()
        .expect("seconds");
    assert!((1..=12).contains(&wait), "{wait}");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"auth\";q=5;w=60"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-frame-options"), Some("SAMEORIGIN"));
    let problem = answer.json();
    assert_eq!(
        problem["type"],
        "https://iana.org/assignments/http-problem-types#quota-exceeded"
    );
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"], serde_json::json!(["auth"]));

    // A line is written after its answer, so two may change places.
    gateway.logged(6).await;
    let lines = gateway.log().await;
    let (refused, passed): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["status"] == 429);
    assert!(passed.iter().all(|line| line["limit"].is_null()), "{lines:#?}");
    assert_eq!((refused.len(), &refused[0]["limit"]), (1, &"denied:auth".into()));
    assert_eq!(refused[0]["refusal"], "rate_limited");
    for (verdict, count) in [("allowed", 5.0), ("denied", 1.0), ("delayed", 0.0), ("reported", 0.0)] {
        let name = format!("gateway_limit_decisions_total{{policy=\"auth\",verdict=\"{verdict}\"}}");
        assert_eq!(gateway.metric(&name).await, count, "{verdict}");
    }
    let free = gateway.get("/free").await;
    assert_eq!((free.status, free.header("ratelimit")), (200, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_comes_on_top_of_the_first() {
    // The contract's `10/s` with `burst = 40`, a thousand times slower.
    let gateway = limited("[rate_limit.api]\nrate = \"36/h\"\nburst = 40", "\"api\"").await;
    assert_eq!(passing(&gateway, "", 43).await, 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_has_a_bucket_of_its_own() {
    let gateway = limited("[rate_limit.one]\nrate = \"1/d\"\nallow = [\"10.0.0.0/8\"]", "\"one\"").await;
    for (client, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("198.51.100.9, 192.0.2.2", 429),
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1:ffff::2", 429),
        ("2001:db8:0:2::1", 200),
        ("10.1.2.3", 200),
        ("10.1.2.3", 200),
    ] {
        let answer = get(&gateway, &format!("X-Forwarded-For: {client}\r\n")).await;
        assert_eq!(answer.status, status, "{client}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_key_is_counted_as_the_file_says() {
    for (key, missing, without) in [
        ("header:X-Key", "client-ip", [200, 429]),
        ("header:X-Key", "skip", [200, 200]),
        ("header:X-Key", "deny", [429, 429]),
        // No token is ever verified.
        ("jwt:sub", "client-ip", [200, 429]),
        ("jwt:sub", "skip", [200, 200]),
        ("jwt:sub", "deny", [429, 429]),
    ] {
        let gateway = limited(
            &format!("[rate_limit.key]\nrate = \"1/d\"\nkey = \"{key}\"\nmissing = \"{missing}\""),
            "\"key\"",
        )
        .await;
        for status in without {
            let answer = get(&gateway, "").await;
            assert_eq!(answer.status, status, "{key} {missing}");
            if missing == "deny" {
                assert_eq!(answer.header("retry-after"), None, "no wait helps");
            }
        }
        if key == "header:X-Key" {
            for (value, status) in [("a", 200), ("a", 429), ("b", 200)] {
                let answer = get(&gateway, &format!("X-Key: {value}\r\n")).await;
                assert_eq!(answer.status, status, "{missing} {value}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_is_charged_unless_all_pass() {
    let gateway = limited(
        "[rate_limit.wide]\nrate = \"4/d\"\n[rate_limit.narrow]\nrate = \"1/d\"\nkey = [\"client-ip\", \"header:X-Key\"]",
        "\"wide\", \"narrow\"",
    )
    .await;
    assert_eq!(passing(&gateway, "X-Key: a\r\n", 6).await, 1);
    for key in ["b", "c", "d"] {
        assert_eq!(get(&gateway, &format!("X-Key: {key}\r\n")).await.status, 200, "{key}");
    }
    let answer = get(&gateway, "X-Key: e\r\n").await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["violated-policies"], serde_json::json!(["wide"]));
    gateway.logged(10).await;
    let lines = gateway.log().await;
    let named = |word| lines.iter().filter(|line| line["limit"] == word).count();
    assert_eq!((named("denied:wide"), named("denied:narrow")), (1, 5));
    for (policy, verdict, count) in [
        ("wide", "allowed", 4.0),
        ("wide", "denied", 1.0),
        ("narrow", "allowed", 4.0),
        ("narrow", "denied", 5.0),
    ] {
        let name = format!("gateway_limit_decisions_total{{policy=\"{policy}\",verdict=\"{verdict}\"}}");
        assert_eq!(gateway.metric(&name).await, count, "{policy} {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_reports_refuses_nobody() {
    let gateway = limited("[rate_limit.trial]\nrate = \"2/d\"\nmode = \"report\"", "\"trial\"").await;
    for _ in 0..5 {
        let answer = get(&gateway, "").await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
    gateway.logged(5).await;
    let lines = gateway.log().await;
    let told = lines.iter().filter(|line| line["limit"] == "report:trial").count();
    let silent = lines.iter().filter(|line| line["limit"].is_null()).count();
    assert_eq!((told, silent), (3, 2), "{lines:#?}");
    for (verdict, count) in [("allowed", 2.0), ("denied", 0.0), ("reported", 3.0)] {
        let name = format!("gateway_limit_decisions_total{{policy=\"trial\",verdict=\"{verdict}\"}}");
        assert_eq!(gateway.metric(&name).await, count, "{verdict}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_failures_count_where_the_file_says_so() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/wrong") => reply(401, "", "no"),
        _ => reply(200, "", "yes"),
    })
    .await;
    let gateway = gateway::start(&format!(
        "[rate_limit.login]\nrate = \"2/d\"\ncount = \"failures\"\n[upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"login\"\npath = \"/*\"\nrate_limit = [\"login\"]\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    for (path, status) in [
        ("/right", 200),
        ("/right", 200),
        ("/right", 200),
        ("/wrong", 401),
        ("/right", 200),
        ("/right", 200),
        ("/wrong", 401),
        ("/right", 429),
        ("/wrong", 429),
    ] {
        assert_eq!(gateway.get(path).await.status, status, "{path}");
    }
    assert_eq!(origin.received().len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxied_answers_tell_where_the_client_stands() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/own") => reply(200, "X-RateLimit-Limit: 9\r\nX-RateLimit-Remaining: 8\r\n", "ok"),
        _ => reply(200, "", "ok"),
    })
    .await;
    let gateway = gateway::start(&format!(
        "[rate_limit.old]\nrate = \"3/d\"\nheaders = \"express-legacy\"\n[rate_limit.new]\nrate = \"9/d\"\n\
         [upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"app\"\npath = \"/*\"\nrate_limit = [\"old\", \"new\"]\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    let answer = gateway.get("/x").await;
    assert_eq!(answer.header("x-ratelimit-limit"), Some("3"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("2"));
    assert!(answer.header("x-ratelimit-reset").is_some());
    assert!(
        answer
            .header("ratelimit")
            .expect("ratelimit")
            .starts_with("\"new\";r=8")
    );
    assert_eq!(answer.header("ratelimit-limit"), None);
    let own = gateway.get("/own").await;
    assert_eq!(
        own.header("x-ratelimit-limit"),
        Some("9"),
        "the application's family stays whole"
    );
    assert_eq!(own.header("x-ratelimit-remaining"), Some("8"));
    assert_eq!(own.header("x-ratelimit-reset"), None);
    assert_eq!(gateway.get("/x").await.status, 200);
    let refused = gateway.get("/x").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_route_is_limited_and_what_is_refused_anyway_is_free() {
    let gateway = gateway::start(
        "[rate_limit.route]\nrate = \"1/d\"\nkey = \"route\"\n[defaults]\nrate_limit = [\"route\"]\n\
         [[route]]\nname = \"fixed\"\npath = \"/fixed\"\nmax_body = \"1KB\"\nrespond = { body = \"ok\" }\n\
         [[route]]\nname = \"moved\"\npath = \"/moved\"\nredirect = { to = \"/fixed\" }\n\
         [[route]]\nname = \"metrics\"\npath = \"/metrics\"\nserve = \"metrics\"\n\
         [[route]]\nname = \"health\"\npath = \"/health/*\"\nserve = \"health\"\n",
    )
    .await;
    let large = "POST /fixed HTTP/1.1\r\nHost: site.test\r\nContent-Length: 9999\r\n\r\n";
    assert_eq!(client::ask(gateway.address, large).await.status, 413);
    for path in ["/fixed", "/moved", "/metrics"] {
        assert_ne!(gateway.get(path).await.status, 429, "{path}");
        assert_eq!(gateway.get(path).await.status, 429, "{path}");
    }
    for _ in 0..3 {
        assert_eq!(gateway.get("/health/live").await.status, 200, "health is never limited");
    }
    assert_eq!(gateway.get("/none").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_its_turn_may_leave() {
    let gateway = limited(
        "[rate_limit.slow]\nrate = \"1/min\"\nburst = 9\ndelay = 0\nmax_delay = \"10min\"",
        "\"slow\"",
    )
    .await;
    assert_eq!(get(&gateway, "").await.status, 200);
    let mut connection = gateway.connect().await;
    connection.send("GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    let delayed = "gateway_limit_decisions_total{policy=\"slow\",verdict=\"delayed\"}";
    crate::support::eventually("it waits", async || gateway.metric(delayed).await == 1.0).await;
    drop(connection);
    gateway.logged(2).await;
    let lines = gateway.log().await;
    let line = lines.iter().find(|line| line["limit"] == "delayed").expect("a line");
    assert_eq!(line["status"], 499);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_makes_room_for_more_or_fewer_clients_keeps_what_was_counted() {
    let text = |more: &str| {
        format!(
            "[rate_limit.api]\nrate = \"3/d\"\n{more}\n[[route]]\nname = \"all\"\npath = \"/*\"\n\
             rate_limit = [\"api\"]\nrespond = {}\n",
            "{}"
        )
    };
    let gateway = gateway::start(&text("")).await;
    for (left, more) in [
        (2, "capacity = 10_000_000"),
        (1, "capacity = 1000"),
        (0, "[rate_limit.another]\nrate = \"1/s\"\ncapacity = 2_000_000"),
    ] {
        let told = get(&gateway, "").await;
        let stand = told.header("ratelimit").expect("ratelimit").to_owned();
        assert!(stand.starts_with(&format!("\"api\";r={left};")), "{stand}");
        gateway.reload(&text(more)).await.expect("a good file");
    }
    assert_eq!(get(&gateway, "").await.status, 429);
}
