//! Answers that are kept: for whom, for how long, and what is never given to somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::client::{self, Connection, Response};
use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Flag, Origin, Received, Step, raw, reply};

/// A gateway with one cache before an origin; `cache`: the lines of `[cache.c]`.
async fn before(origin: &Origin, cache: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nretry = {{ attempts = 1 }}\n\
         [cache.c]\n{cache}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n",
        origin.address
    ))
    .await
}

fn fresh(body: &str) -> Vec<Step> {
    reply(200, "Cache-Control: max-age=60\r\n", body)
}

async fn get(gateway: &Running, path: &str, fields: &str) -> Response {
    client::get(gateway.address, path, fields).await
}

fn status(response: &Response) -> &str {
    response.header("cache-status").unwrap_or_default()
}

fn age(response: &Response) -> Option<u64> {
    response.header("age").map(|age| age.parse().expect("seconds"))
}

#[tokio::test]
async fn the_second_request_is_answered_from_what_was_kept() {
    let origin = Origin::start(|_| fresh("hello")).await;
    let gateway = before(&origin, "").await;
    let first = get(&gateway, "/a", "").await;
    assert_eq!(gateway.logged(1).await["cache"], "miss");
    assert_eq!((first.text(), age(&first)), ("hello", None));
    assert!(
        status(&first).starts_with("gateway; fwd=uri-miss; ttl=") && status(&first).ends_with("; stored"),
        "{}",
        status(&first)
    );
    let second = get(&gateway, "/a", "").await;
    assert_eq!(second.text(), "hello");
    assert!(age(&second).is_some());
    assert!(status(&second).starts_with("gateway; hit; ttl="), "{}", status(&second));
    assert_eq!(origin.received().len(), 1);
    assert_eq!(gateway.logged(2).await["cache"], "hit");
    let hits = "gateway_cache_requests_total{cache=\"c\",verdict=\"hit\"}";
    assert_eq!(gateway.metric(hits).await, 1.0);
    assert_eq!(gateway.metric("gateway_cache_entries{cache=\"c\"}").await, 1.0);
}

#[tokio::test]
async fn a_thousand_requests_are_one_fetch() {
    let origin = Origin::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(500))];
        steps.extend(fresh("once"));
        steps
    })
    .await;
    let gateway = Arc::new(before(&origin, "").await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let gateway = Arc::clone(&gateway);
        tasks.spawn(async move { get(&gateway, "/", "").await });
    }
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.expect("a client");
        assert_eq!((answer.status, answer.text()), (200, "once"));
    }
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn who_waits_reads_while_it_arrives() {
    let origin = Origin::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhello";
        vec![Step::Send(head.into()), Step::Hang]
    })
    .await;
    let gateway = before(&origin, "").await;
    let (mut one, mut two) = (gateway.connect().await, gateway.connect().await);
    for connection in [&mut one, &mut two] {
        connection.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    }
    for connection in [&mut one, &mut two] {
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            seen.extend(connection.read_some().await);
        }
    }
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn what_is_not_kept_makes_nobody_wait() {
    let (answer, first) = (Flag::default(), AtomicBool::new(true));
    let told = answer.clone();
    let origin = Origin::start(move |_| {
        // What the first one is told is known before the others are answered.
        let wait = (!first.swap(false, SeqCst)).then(|| Step::Await(told.clone()));
        let own = reply(200, "Cache-Control: no-store\r\n", "yours");
        wait.into_iter().chain(own).collect()
    })
    .await;
    let gateway = Arc::new(before(&origin, "").await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let gateway = Arc::clone(&gateway);
        tasks.spawn(async move { get(&gateway, "/", "").await });
    }
    eventually("nobody waits for another", async || origin.received().len() == 40).await;
    answer.raise();
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.expect("a client").text(), "yours");
    }
    let later = get(&gateway, "/", "").await;
    assert_eq!(status(&later), "gateway; fwd=uri-miss; detail=no-store");
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_client_leaves() {
    let answer = Flag::default();
    let told = answer.clone();
    let origin = Origin::start(move |_| [vec![Step::Await(told.clone())], fresh("kept")].concat()).await;
    let gateway = before(&origin, "").await;
    let mut leaver = gateway.connect().await;
    leaver.send("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    eventually("the fetch has begun", async || origin.received().len() == 1).await;
    drop(leaver);
    assert_eq!(gateway.logged(1).await["status"], 499);
    answer.raise();
    assert_eq!(get(&gateway, "/", "").await.text(), "kept");
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_once_more_and_goes_on() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n";
        match count.fetch_add(1, SeqCst) {
            0 => vec![Step::Send(format!("{head}hello").into()), Step::Close],
            _ => raw(&format!("{head}helloworld")),
        }
    })
    .await;
    let gateway = before(&origin, "").await;
    let answer = get(&gateway, "/", "").await;
    assert_eq!((answer.text(), answer.truncated), ("helloworld", false));
    assert_eq!(get(&gateway, "/", "").await.text(), "helloworld");
    assert_eq!(origin.received().len(), 2);
}

#[tokio::test]
async fn another_body_is_not_glued_to_the_first_half() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n";
        match count.fetch_add(1, SeqCst) {
            0 => vec![Step::Send(format!("{head}hello").into()), Step::Close],
            _ => raw(&format!("{head}HELLOworld")),
        }
    })
    .await;
    let gateway = before(&origin, "").await;
    let answer = get(&gateway, "/", "").await;
    assert!(answer.truncated && answer.text() == "hello", "{answer:?}");
    assert_eq!(get(&gateway, "/", "").await.text(), "HELLOworld");
}

#[tokio::test]
async fn a_body_too_large_passes_whole() {
    let body: String = "0123456789abcdef".repeat(20_000);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let origin = Origin::start(move |_| raw(&chunked)).await;
    let gateway = before(&origin, "max_object = \"64KB\"\n").await;
    for _ in 0..2 {
        let answer = get(&gateway, "/", "").await;
        assert!(
            answer.text() == body && !answer.truncated,
            "{} bytes",
            answer.body.len()
        );
    }
    assert_eq!(origin.received().len(), 2);
    assert_eq!(gateway.metric("gateway_cache_entries{cache=\"c\"}").await, 0.0);
}

#[tokio::test]
async fn stale_meanwhile_and_stale_instead_of_a_failure() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&broken);
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        if fails.load(SeqCst) {
            return reply(503, "", "down");
        }
        let number = count.fetch_add(1, SeqCst);
        reply(
            200,
            "Cache-Control: max-age=60\r\nAge: 70\r\nETag: \"x\"\r\n",
            &number.to_string(),
        )
    })
    .await;
    let gateway = before(&origin, "stale_while_revalidate = \"30s\"\nstale_if_error = \"1h\"\n").await;
    assert_eq!(get(&gateway, "/", "").await.text(), "0");
    let stale = get(&gateway, "/", "").await;
    assert_eq!(stale.text(), "0");
    assert!(
        status(&stale).contains("; detail=stale-while-revalidate"),
        "{}",
        status(&stale)
    );
    eventually("a new one was fetched", async || origin.received().len() == 2).await;
    assert_eq!(origin.last().header("if-none-match"), Some("\"x\""));
    eventually("it took the place of the old one", async || {
        get(&gateway, "/", "").await.text() != "0"
    })
    .await;

    let saved = before(&origin, "stale_if_error = \"1h\"\n").await;
    let kept = get(&saved, "/", "").await;
    broken.store(true, SeqCst);
    let answer = get(&saved, "/", "").await;
    assert_eq!((answer.status, answer.text()), (200, kept.text()));
    assert!(
        status(&answer).contains("fwd-status=503") && status(&answer).contains("detail=stale-if-error"),
        "{}",
        status(&answer)
    );
    drop(origin);
    let answer = get(&saved, "/", "").await;
    assert_eq!((answer.status, answer.text()), (200, kept.text()));
    assert_eq!(get(&saved, "/other", "").await.status, 502);
}

#[tokio::test]
async fn a_stale_answer_is_confirmed_and_updated() {
    let origin = Origin::start(|request| match request.header("if-none-match") {
        Some("\"v1\"") => {
            raw("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\nX-New: 1\r\n\r\n")
        }
        _ => reply(
            200,
            "ETag: \"v1\"\r\nCache-Control: max-age=60\r\nAge: 60\r\nX-Old: 1\r\n",
            "body",
        ),
    })
    .await;
    let gateway = before(&origin, "").await;
    get(&gateway, "/", "").await;
    let confirmed = get(&gateway, "/", "").await;
    assert_eq!((confirmed.status, confirmed.text()), (200, "body"));
    assert_eq!(
        (confirmed.header("x-new"), confirmed.header("x-old")),
        (Some("1"), Some("1"))
    );
    assert!(
        status(&confirmed).contains("fwd=stale; fwd-status=304"),
        "{}",
        status(&confirmed)
    );
    gateway.logged(2).await;
    assert!(status(&get(&gateway, "/", "").await).contains("; hit"));
    assert_eq!(origin.received().len(), 2);
    assert_eq!(gateway.logged(3).await["cache"], "hit");
}

#[tokio::test]
async fn parts_heads_and_conditions_are_answered_from_what_is_kept() {
    let origin = Origin::start(|_| {
        reply(
            200,
            "Cache-Control: max-age=60\r\nETag: \"v\"\r\nContent-Type: text/plain\r\n",
            "0123456789",
        )
    })
    .await;
    let gateway = before(&origin, "").await;
    // The first request asks for a part: all of it is fetched, a part is given.
    let part = get(&gateway, "/", "Range: bytes=2-4\r\n").await;
    assert_eq!(
        (part.status, part.text(), part.header("content-range")),
        (206, "234", Some("bytes 2-4/10"))
    );
    assert_eq!(origin.last().header("range"), None);
    let part = get(&gateway, "/", "Range: bytes=-3\r\n").await;
    assert_eq!((part.status, part.text()), (206, "789"));
    let none = get(&gateway, "/", "Range: bytes=10-\r\n").await;
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */10")));
    let other = get(&gateway, "/", "Range: bytes=0-1\r\nIf-Range: \"w\"\r\n").await;
    assert_eq!((other.status, other.text()), (200, "0123456789"));
    let known = get(&gateway, "/", "If-None-Match: \"u\", W/\"v\"\r\n").await;
    assert_eq!(
        (known.status, known.header("etag"), known.header("content-length")),
        (304, Some("\"v\""), None)
    );
    let head = gateway
        .connect()
        .await
        .ask("HEAD / HTTP/1.1\r\nHost: site.test\r\n\r\n")
        .await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(origin.received().len(), 1);
    let only = get(&gateway, "/other", "Cache-Control: only-if-cached\r\n").await;
    assert_eq!(only.status, 504);
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test]
async fn encodings_are_told_apart_even_where_vary_does_not_say_so() {
    let origin = Origin::start(|request| match request.header("accept-encoding") {
        Some(codings) if codings.contains("gzip") => {
            reply(200, "Cache-Control: max-age=60\r\nContent-Encoding: gzip\r\n", "GZIP")
        }
        _ => fresh("plain"),
    })
    .await;
    let gateway = before(&origin, "").await;
    for _ in 0..2 {
        assert_eq!(
            get(&gateway, "/", "Accept-Encoding: gzip, deflate, br\r\n")
                .await
                .text(),
            "GZIP"
        );
        assert_eq!(get(&gateway, "/", "").await.text(), "plain");
        assert_eq!(
            get(&gateway, "/", "Accept-Encoding: gzip;q=0\r\n").await.text(),
            "plain"
        );
    }
    assert_eq!(origin.received().len(), 2);
}

/// The rules of the published configuration, with two users and a stranger.
#[tokio::test]
async fn whoever_has_a_name_gets_an_answer_of_their_own() {
    let origin = Origin::start(|request| {
        let user = request.header("firebase-uid").unwrap_or("nobody").to_owned();
        reply(200, "", &format!("{user} {}", request.line()))
    })
    .await;
    let gateway = before(
        &origin,
        "default_ttl = \"30s\"\nbypass = [\"header:firebase-uid\", \"query:firebase_uid\", \"header:authorization\", \"cookie:*\"]\n",
    )
    .await;
    for _ in 0..2 {
        for user in ["ann", "bob"] {
            let own = get(&gateway, "/api", &format!("firebase-uid: {user}\r\n")).await;
            assert!(own.text().starts_with(user), "{}", own.text());
            assert_eq!(status(&own), "gateway; fwd=bypass; detail=policy");
        }
        assert!(get(&gateway, "/api", "").await.text().starts_with("nobody"));
    }
    let before = origin.received().len();
    assert_eq!(before, 5, "the stranger's second answer was kept");
    for (path, fields) in [
        ("/api?firebase_uid=ann", ""),
        ("/api?firebase%5Fuid=ann", ""),
        ("/api?firebase_uid[]=ann", ""),
        ("/api", "Cookie: s=1\r\n"),
        ("/api", "Authorization: Bearer x\r\n"),
    ] {
        get(&gateway, path, fields).await;
        get(&gateway, path, fields).await;
    }
    assert_eq!(origin.received().len(), before + 10);
}

#[tokio::test]
async fn without_a_rule_names_are_safe_too() {
    let origin = Origin::start(|request| {
        let user = request
            .header("cookie")
            .or(request.header("authorization"))
            .unwrap_or("nobody")
            .to_owned();
        reply(200, "", &user)
    })
    .await;
    let gateway = before(&origin, "default_ttl = \"30s\"\n").await;
    for fields in ["", "Cookie: ann\r\n", "Cookie: bob\r\n", "Authorization: carl\r\n", ""] {
        let expected = fields.trim().split_once(": ").map_or("nobody", |(_, user)| user);
        assert_eq!(get(&gateway, "/", fields).await.text(), expected);
    }
}

#[tokio::test]
async fn cookies_are_never_given_to_others() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        let number = count.fetch_add(1, SeqCst);
        reply(
            200,
            &format!("Cache-Control: max-age=60\r\nSet-Cookie: s={number}\r\n"),
            "x",
        )
    })
    .await;
    let gateway = before(&origin, "").await;
    assert_eq!(get(&gateway, "/", "").await.header("set-cookie"), Some("s=0"));
    assert_eq!(get(&gateway, "/", "").await.header("set-cookie"), Some("s=1"));
    let strips = before(&origin, "strip_cookies = true\n").await;
    for _ in 0..2 {
        assert_eq!(get(&strips, "/", "").await.header("set-cookie"), None);
    }
    assert_eq!(origin.received().len(), 3);
}

#[tokio::test]
async fn what_is_not_in_the_key_changes_nothing_for_others() {
    let origin = Origin::start(|request: &Received| {
        let said = [
            "x-forwarded-host",
            "x-original-url",
            "x-http-method-override",
            "x-forwarded-scheme",
        ]
        .map(|name| request.headers(name).join("|"));
        reply(
            200,
            "Cache-Control: max-age=60\r\n",
            &format!("{} {said:?} {}", request.line(), request.body.len()),
        )
    })
    .await;
    let gateway = before(&origin, "key = { ignore = [\"utm_*\"] }\n").await;
    let evil = "X-Forwarded-Host: evil.test\r\nX-Original-URL: /admin\r\nX-HTTP-Method-Override: POST\r\nX-Forwarded-Scheme: nothttps\r\n";
    let first = get(&gateway, "/a?utm_source=evil&b=1", evil).await;
    assert!(
        !first.text().contains("evil") && !first.text().contains("admin") && !first.text().contains("POST"),
        "{}",
        first.text()
    );
    let second = get(&gateway, "/a?b=1", "").await;
    assert_eq!(second.text(), first.text());
    assert_eq!(origin.received().len(), 1);
    // Another port of the host is another site.
    let other = client::ask(gateway.address, "GET /a?b=1 HTTP/1.1\r\nHost: site.test:1337\r\n\r\n").await;
    assert!(status(&other).contains("uri-miss"), "{}", status(&other));
    // A body, or another spelling of the path, passes.
    let fat = client::ask(
        gateway.address,
        "GET /a?b=1 HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\n\r\nabc",
    )
    .await;
    assert!(fat.text().ends_with(" 3"), "{}", fat.text());
    assert_eq!(status(&fat), "gateway; fwd=bypass; detail=request-body");
    let spelled = get(&gateway, "/%61?b=1", "").await;
    assert_eq!(status(&spelled), "gateway; fwd=bypass; detail=path-spelling");
    assert_eq!(get(&gateway, "/a?b=1", "").await.text(), first.text());
}

#[tokio::test]
async fn a_page_under_the_name_of_a_file_is_not_kept() {
    let origin = Origin::start(|_| {
        reply(
            200,
            "Cache-Control: max-age=60\r\nContent-Type: text/html\r\n",
            "account",
        )
    })
    .await;
    let gateway = before(&origin, "").await;
    get(&gateway, "/account/x.css", "").await;
    let again = get(&gateway, "/account/x.css", "").await;
    assert_eq!(status(&again), "gateway; fwd=uri-miss; detail=not-what-the-path-says");
    assert_eq!(origin.received().len(), 2);
}

#[tokio::test]
async fn a_change_forgets_what_it_changed_through_another_route() {
    let origin = Origin::start(|request| match request.line() {
        line if line.starts_with("POST /api/fail") => reply(500, "", "no"),
        line if line.starts_with("POST") => reply(
            201,
            "Location: /api/deals/7\r\nCache-Group-Invalidation: \"stores\"\r\n",
            "made",
        ),
        line if line.contains("/stores") => {
            reply(200, "Cache-Control: max-age=60\r\nCache-Groups: \"stores\"\r\n", "s")
        }
        _ => fresh("old"),
    })
    .await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n[cache.c]\n\
         [[route]]\nname = \"reads\"\npath = \"/api/*\"\nmethods = [\"GET\"]\nupstream = \"app\"\ncache = \"c\"\n\
         [[route]]\nname = \"writes\"\npath = \"/api/*\"\nupstream = \"app\"\n",
        origin.address
    ))
    .await;
    let paths = [
        "/api/deals",
        "/api/deals/7",
        "/api/deals/8",
        "/api/stores/1",
        "/api/fail",
    ];
    for path in paths {
        get(&gateway, path, "").await;
    }
    for path in ["/api/deals", "/api/fail"] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 2\r\n\r\n{{}}");
        client::ask(gateway.address, request).await;
    }
    let mut forgotten = Vec::new();
    for path in paths {
        forgotten.push(!status(&get(&gateway, path, "").await).contains("; hit"));
    }
    assert_eq!(forgotten, [true, true, false, true, false]);
}

#[tokio::test]
async fn purge_takes_one_url_out() {
    let origin = Origin::start(|_| fresh("x")).await;
    let gateway = before(&origin, "purge = true\n").await;
    get(&gateway, "/a", "").await;
    get(&gateway, "/b", "").await;
    let purge = "PURGE /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    assert_eq!(client::ask(gateway.address, purge).await.json()["purged"], 1);
    assert_eq!(client::ask(gateway.address, purge).await.json()["purged"], 0);
    assert!(status(&get(&gateway, "/a", "").await).contains("uri-miss"));
    assert!(status(&get(&gateway, "/b", "").await).contains("hit"));
    let closed = before(&origin, "").await;
    client::ask(closed.address, purge).await;
    assert!(
        origin.last().line().starts_with("PURGE"),
        "without the key it is the application's"
    );
}

#[tokio::test]
async fn operators_purge_and_ask_why() {
    let origin = Origin::start(|_| reply(200, "Cache-Control: max-age=60\r\nSurrogate-Key: a b\r\n", "x")).await;
    let gateway = before(&origin, "").await;
    let order = async |path: &str, body: &str| {
        let request = format!(
            "POST /api/v1/cache/{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            gateway.admin,
            body.len()
        );
        client::ask(gateway.admin, request).await
    };
    for (body, purged) in [
        ("{\"url\":\"http://site.test/a/1\"}", 1),
        ("{\"prefix\":\"/a/\"}", 2),
        ("{\"tag\":\"b\"}", 3),
        ("{\"tag\":\"c\"}", 0),
        ("{\"all\":true,\"cache\":\"c\"}", 3),
    ] {
        for path in ["/a/1", "/a/2", "/b"] {
            get(&gateway, path, "").await;
        }
        assert_eq!(order("purge", body).await.json()["purged"], purged, "{body}");
    }
    get(&gateway, "/a/1", "").await;
    let why = async || order("explain", "{\"url\":\"http://site.test/a/1\"}").await.json();
    assert!(
        why().await["verdict"].as_str().expect("text").starts_with("hit: fresh"),
        "{}",
        why().await
    );
    assert_eq!(why().await["answers"][0]["tags"], serde_json::json!(["a", "b"]));
    order("purge", "{\"all\":true,\"soft\":true}").await;
    assert_eq!(why().await["verdict"], "asked about: it is too old");
    for bad in [
        "",
        "[]",
        "{}",
        "{\"url\":1}",
        "{\"url\":\"/\",\"tag\":\"x\"}",
        "{\"all\":false}",
        "{\"all\":true,\"sft\":true}",
    ] {
        assert_eq!(order("purge", bad).await.status, 400, "{bad}");
    }
    assert_eq!(order("purge", "{\"all\":true,\"cache\":\"x\"}").await.status, 404);
}

#[tokio::test]
async fn the_previous_builds_files_outlive_the_build() {
    let deployed = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&deployed);
    let origin = Origin::start(move |request| match gone.load(SeqCst) {
        false => reply(200, "Content-Type: text/javascript\r\n", "old"),
        true if request.line().contains("fallback") => reply(200, "Content-Type: text/html\r\n", "<!doctype html>"),
        true => reply(404, "Content-Type: text/html\r\n", "gone"),
    })
    .await;
    let gateway = before(
        &origin,
        "ttl = \"1ms\"\nkeep = \"7d\"\nbrowser = \"public, max-age=31536000, immutable\"\n",
    )
    .await;
    let immutable = Some("public, max-age=31536000, immutable");
    for path in ["/app-1a2b3c4d.js", "/fallback-1a2b3c4d.js"] {
        assert_eq!(get(&gateway, path, "").await.header("cache-control"), immutable);
    }
    deployed.store(true, SeqCst);
    tokio::time::sleep(Duration::from_millis(2)).await; // beyond their time
    for path in ["/app-1a2b3c4d.js", "/fallback-1a2b3c4d.js"] {
        let kept = get(&gateway, path, "").await;
        assert_eq!((kept.status, kept.text()), (200, "old"), "{path}");
        assert!(status(&kept).contains("detail=kept"), "{}", status(&kept));
    }
    // What there never was is gone, and nobody is told to keep that for a year.
    let gone = get(&gateway, "/new-1a2b3c4d.js", "").await;
    assert_eq!((gone.status, gone.header("cache-control")), (404, None));
    let page = get(&gateway, "/fallback-99999999.js", "").await;
    assert_eq!(page.status, 404, "a page is no script");
}

#[tokio::test]
async fn interim_answers_pass() {
    let origin = Origin::start(|_| {
        raw("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx")
    })
    .await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    let hints = connection.ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!(
        (hints.status, hints.header("link")),
        (103, Some("</a.css>; rel=preload"))
    );
    let last = connection.response(false).await.expect("the final answer");
    assert_eq!((last.status, last.text()), (200, "x"));
    let hit = connection.ask("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!((hit.status, hit.header("link")), (200, None));
}

#[tokio::test]
async fn memory_stays_within_its_size() {
    let origin = Origin::start(|request| fresh(&format!("{:x>1000}", request.line()))).await;
    let gateway = before(&origin, "size = \"256KB\"\nmax_object = \"16KB\"\n").await;
    for number in 0..600 {
        let path = format!("/{number}");
        let mut connection = Connection::open(gateway.address).await;
        connection
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n"))
            .await;
        connection
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n"))
            .await;
    }
    let bytes = gateway.metric("gateway_cache_bytes{cache=\"c\"}").await;
    assert!(bytes > 100_000.0 && bytes <= 262_144.0, "{bytes}");
    assert!(gateway.metric("gateway_cache_evictions{cache=\"c\"}").await > 100.0);
}
