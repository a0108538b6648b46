//! The admin listener: who may ask, what it shows, what it can be told.

use serde_json::Value;

use crate::support::client::{self, Connection};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, raw, reply};

const TOKEN: &str = "a-token-of-twenty-4-bytes";

async fn pool(servers: &[&Origin], upstream: &str, admin: &str) -> Running {
    let servers: Vec<String> = servers.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    gateway::start_with_admin(
        admin,
        &format!(
            "[upstream.app]\nservers = [{}]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
            servers.join(", ")
        ),
    )
    .await
}

/// Tells the gateway something; `fields` come on top of what makes it deliberate.
async fn order(gateway: &Running, path: &str, fields: &str, body: &str) -> client::Response {
    let (admin, length) = (gateway.admin, body.len());
    client::ask(
        admin,
        format!(
            "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{fields}\r\n{body}"
        ),
    )
    .await
}

async fn shown(gateway: &Running) -> Value {
    let answer = client::admin(gateway.admin, "/api/v1/upstreams/app").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_show_every_server_with_its_reason() {
    let well = Origin::fixed("well").await;
    let sick = Origin::start(|_| reply(500, "", "sick")).await;
    let gateway = pool(
        &[&well, &sick],
        "health_check = { path = \"/\" }\nretry = { attempts = 1 }",
        "",
    )
    .await;
    for _ in 0..5 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    gateway.logged(5).await; // they are over a moment after their answers
    let shown = shown(&gateway).await;
    assert_eq!(
        (&shown["healthy"], &shown["total"]),
        (&1.into(), &2.into()),
        "{shown:#}"
    );
    let [one, two] = shown["servers"].as_array().expect("servers").as_slice() else {
        panic!("{shown:#}");
    };
    assert_eq!(one["server"], well.address.to_string());
    assert_eq!((&one["state"], &one["healthy"]), (&"healthy".into(), &true.into()));
    assert_eq!((&one["picks"], &one["in_flight"]), (&5.into(), &0.into()));
    assert!(one["latency_ms"].as_f64().expect("answered") > 0.0);
    assert_eq!((&two["state"], &two["healthy"]), (&"unhealthy".into(), &false.into()));
    assert!(two["reason"].as_str().expect("why").contains("500"), "{two:#}");
    assert!(shown["retry_budget_left"].as_u64().expect("budget") >= 100);

    let all = client::admin(gateway.admin, "/upstreams").await;
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!(all.json()["upstreams"]["app"]["healthy"], 1);
    let people = client::get(gateway.admin, "/upstreams", "X: y\r\nAccept: text/plain\r\n").await;
    assert_eq!(people.status, 403, "under a name");
    let people = client::ask(
        gateway.admin,
        format!(
            "GET /upstreams HTTP/1.1\r\nHost: {}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
            gateway.admin
        ),
    )
    .await;
    assert_eq!(people.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(people.text().starts_with("app: 1 of 2 fit"), "{}", people.text());
    let unknown = client::admin(gateway.admin, "/api/v1/upstreams/ap").await;
    assert_eq!((unknown.status, &unknown.json()["upstreams"][0]), (404, &"app".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_server_finishes_and_takes_nothing_new() {
    let slow = Origin::start(|request| {
        if request.line().contains("slow") {
            return vec![
                Step::Wait(std::time::Duration::from_millis(300)),
                Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone".to_vec()),
            ];
        }
        raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
    })
    .await;
    let other = Origin::fixed("two").await;
    let gateway = pool(
        &[&slow, &other],
        "balance = \"round-robin\"\nsticky = { secret = \"0123456789abcdef0123456789abcdef\" }",
        "",
    )
    .await;
    // A client that belongs to the first server, and a request that it works on.
    let cookie = loop {
        let answer = gateway.get("/").await;
        if answer.text() == "one" {
            let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
            break cookie.split(';').next().expect("a pair").to_owned();
        }
    };
    let mut busy = Connection::open(gateway.address).await;
    busy.send(format!("GET /slow HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"))
        .await;
    crate::support::eventually("the request is in flight", async || {
        slow.received().iter().any(|request| request.line().contains("slow"))
    })
    .await;

    let path = format!("/api/v1/upstreams/app/servers/{}/", slow.address);
    let kept = order(&gateway, &format!("{path}drain"), "", "{\"sessions\": \"keep\"}").await;
    assert_eq!(kept.status, 200, "{}", kept.text());
    assert_eq!(kept.json()["servers"][0]["state"], "draining");
    let bound = client::get(gateway.address, "/", &format!("Cookie: {cookie}\r\n")).await;
    assert_eq!(bound.text(), "one", "sessions are kept where the operator says so");
    let drained = order(&gateway, &format!("{path}drain"), "", "").await;
    assert_eq!((drained.status, &drained.json()["draining"]), (200, &true.into()));
    let before = slow.received().len();
    for _ in 0..6 {
        assert_eq!(gateway.get("/").await.text(), "two");
    }
    let moved = client::get(gateway.address, "/", &format!("Cookie: {cookie}\r\n")).await;
    assert_eq!(moved.text(), "two");
    assert!(
        moved.header("set-cookie").is_some(),
        "it belongs to the other server now"
    );
    assert_eq!(slow.received().len(), before, "nothing new");
    assert_eq!(busy.response(false).await.expect("an answer").text(), "done");
    let shown = shown(&gateway).await;
    let [one, two] = [&shown["servers"][0], &shown["servers"][1]];
    assert_eq!((&one["state"], &one["draining"]), (&"draining".into(), &true.into()));
    assert_eq!((&two["state"], &shown["healthy"]), (&"unknown".into(), &1.into()));

    // The last one, too: it is the operator who says so, and he is told.
    let other_path = format!("/api/v1/upstreams/app/servers/{}/", other.address);
    let last = order(&gateway, &format!("{other_path}drain"), "", "{}").await;
    assert!(last.json()["warning"].is_string(), "{}", last.text());
    assert_eq!(gateway.get("/").await.status, 503);
    let back = order(&gateway, &format!("{path}undrain"), "", "").await;
    assert_eq!((back.status, &back.json()["draining"]), (200, &false.into()));
    assert_eq!(gateway.get("/").await.text(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_name_what_there_is() {
    let origin = Origin::fixed("ok").await;
    let gateway = pool(&[&origin], "", "").await;
    let known = origin.address.to_string();
    for (path, status) in [
        ("/api/v1/upstreams/app/servers/127.0.0.1:1/drain", 404),
        ("/api/v1/upstreams/none/servers/127.0.0.1:1/drain", 404),
        ("/api/v1/upstreams/app/servers//drain", 404),
        ("/api/v1/upstreams/app/servers/%zz/drain", 404),
        ("/api/v1/nothing", 404),
        ("/metrics", 405),
    ] {
        let answer = order(&gateway, path, "", "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
    }
    let answer = order(&gateway, "/api/v1/upstreams/app/servers/127.0.0.1:1/drain", "", "").await;
    assert_eq!(answer.json()["servers"][0], known);
    let drain = format!("/api/v1/upstreams/app/servers/{known}/drain");
    let read = client::admin(gateway.admin, &drain).await;
    assert_eq!((read.status, read.header("allow")), (405, Some("POST")));
    let wrong = order(&gateway, &drain, "", "{\"sessions\": 1}").await;
    assert_eq!(wrong.status, 400);
    let large = order(&gateway, &drain, "", &" ".repeat(70_000)).await;
    assert_eq!(large.status, 413);
    assert_eq!(gateway.get("/").await.text(), "ok", "nothing was drained");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_are_kept_out() {
    let origin = Origin::fixed("ok").await;
    let gateway = pool(&[&origin], "", "").await;
    let path = format!("/api/v1/upstreams/app/servers/{}/drain", origin.address);
    for fields in [
        "Origin: http://evil.test\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(order(&gateway, &path, fields, "").await.status, 403, "{fields}");
    }
    // What a form of another site's page can send.
    let form = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}",
        gateway.admin
    );
    assert_eq!(client::ask(gateway.admin, form).await.status, 403);
    let rebound =
        format!("POST {path} HTTP/1.1\r\nHost: evil.test\r\nX-Requested-With: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client::ask(gateway.admin, rebound).await.status, 403);
    assert_eq!(gateway.get("/").await.text(), "ok", "nothing was drained");
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", gateway.admin);
    assert_eq!(order(&gateway, &path, &own, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_guards_everything_but_the_probes() {
    let origin = Origin::fixed("ok").await;
    let gateway = pool(&[&origin], "", &format!("token = \"{TOKEN}\"")).await;
    let ask = async |path: &str, fields: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: gateway.internal:9900\r\n{fields}\r\n");
        client::ask(gateway.admin, request).await
    };
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/metrics", "/upstreams", "/api/v1/upstreams", "/nothing"] {
        for wrong in ["", "Authorization: Bearer x\r\n", "Authorization: Basic x\r\n"] {
            let answer = ask(path, wrong).await;
            assert_eq!(answer.status, 401, "{path} {wrong}");
            assert!(
                answer
                    .header("www-authenticate")
                    .expect("a challenge")
                    .starts_with("Bearer")
            );
        }
        assert_eq!(
            ask(path, &right).await.status,
            if path == "/nothing" { 404 } else { 200 }
        );
    }
    assert_eq!(ask("/livez", "").await.status, 200);
    let short = ask("/readyz", "").await;
    assert_eq!(
        (short.status, short.json()["upstreams"]["app"]["servers"].is_null()),
        (200, true)
    );
    let whole = ask("/readyz", &right).await;
    assert!(whole.json()["upstreams"]["app"]["servers"].is_array());
    let path = format!("/api/v1/upstreams/app/servers/{}/drain", origin.address);
    assert_eq!(order(&gateway, &path, "", "").await.status, 401);
    assert_eq!(order(&gateway, &path, &right, "").await.status, 200);
}
