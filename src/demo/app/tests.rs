//! The API over real sockets: fields, statuses, sizes, as they were observed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::demo::data::{ADMIN, USER};
use crate::demo::wire::{Answer, ask, listener, parse, raw};

async fn replica() -> Server {
    spawn("a", listener().await, Options::default()).unwrap()
}

async fn get(server: &Server, target: &str) -> Answer {
    ask(server.address(), &format!("GET {target}"), &[], b"").await
}

async fn send(server: &Server, line: &str, json: &str) -> Answer {
    ask(
        server.address(),
        line,
        &["Content-Type: application/json"],
        json.as_bytes(),
    )
    .await
}

fn uid(uid: &str) -> String {
    format!("firebase-uid: {uid}")
}

/// What is wrong with a size: it should be within a twentieth of the observed one, or the same where that is short.
fn deviation(target: &str, answer: &Answer, observed: usize) -> Option<String> {
    let (length, tolerance) = (answer.body.len(), if observed < 100 { 0 } else { observed / 20 });
    (length.abs_diff(observed) > tolerance).then(|| format!("{target}: {length} instead of {observed}"))
}

#[tokio::test]
async fn sizes_are_those_observed() {
    let server = replica().await;
    let mut wrong = Vec::new();
    for (target, size) in [
        ("/api/health", 51),
        ("/api/deals/7", 800),
        ("/api/deals/999", 26),
        ("/api/deals", 9_911),
        ("/api/deals?limit=100", 82_237),
        ("/api/deals?limit=500", 406_058),
        ("/api/categories", 2_775),
        ("/api/categories/2", 152),
        ("/api/stores", 1_300),
        ("/api/stores/2", 107),
        ("/api/subscriptions/plans", 579),
        ("/api/newsletter/count", 2),
        ("/api/reviews/deal/7", 1_500),
        ("/api/shortener", 6_500),
        ("/s/absent", 97),
        ("/s/d001", 79),
    ] {
        let answer = get(&server, target).await;
        wrong.extend(deviation(target, &answer, size));
        assert_eq!(
            answer.header("content-length"),
            Some(&*answer.body.len().to_string()),
            "{target}"
        );
    }
    for (target, size) in [
        ("/api/favorites", 19_063),
        ("/api/favorites/1/check", 20),
        ("/api/users", 12_000),
        (&*format!("/api/users/profile/{USER}"), 200),
        ("/api/notifications", 5_500),
        ("/api/notifications/unread-count", 12),
        ("/api/subscriptions/status", 151),
        ("/api/bulk/deals/export", 255_812),
        ("/api/bulk/deals/export?format=csv", 178_000),
        ("/api/analytics/summary", 12_000),
        ("/api/analytics/users/engagement", 19_560),
    ] {
        let answer = ask(server.address(), &format!("GET {target}"), &[&uid(ADMIN)], b"").await;
        assert_eq!(answer.status, 200, "{target}");
        wrong.extend(deviation(target, &answer, size));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_fields_are_these_and_no_others() {
    let server = replica().await;
    let base = [
        "access-control-allow-origin",
        "connection",
        "content-length",
        "date",
        "x-powered-by",
    ];
    let expect = |more: &[&'static str]| {
        let mut names = [&base[..], more].concat();
        names.sort_unstable();
        names
    };
    let address = server.address();
    for (line, fields, status, more) in [
        ("GET /api/deals", &[][..], 200, &["content-type", "etag"][..]),
        ("HEAD /api/deals", &[], 200, &["content-type", "etag"]),
        ("GET /api/deals/0", &[], 404, &["content-type", "etag"]),
        ("GET /api/favorites", &[], 401, &["content-type", "etag"]),
        ("GET /api/deals?limit=x", &[], 500, &["content-type", "etag"]),
        ("GET /s/d001", &[], 302, &["content-type", "location", "vary"]),
        (
            "GET /nowhere",
            &[],
            404,
            &["content-security-policy", "content-type", "x-content-type-options"],
        ),
        ("OPTIONS /nowhere", &[], 204, &["access-control-allow-methods", "vary"]),
        (
            "OPTIONS /api/deals",
            &["Access-Control-Request-Headers: firebase-uid,content-type"],
            204,
            &["access-control-allow-methods", "access-control-allow-headers", "vary"],
        ),
    ] {
        let answer = ask(address, line, fields, b"").await;
        assert_eq!(answer.status, status, "{line}");
        let mut names = expect(more);
        if status == 204 {
            // hyper leaves out a length that RFC 9110 §8.6 forbids on a 204.
            names.retain(|name| *name != "content-length");
        }
        assert_eq!(answer.names(), names, "{line}");
        assert_eq!(answer.header("x-powered-by"), Some("Express"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let preflight = ask(address, "OPTIONS /x", &["Access-Control-Request-Headers: a, b"], b"").await;
    assert_eq!(preflight.header("access-control-allow-headers"), Some("a, b"));
}

#[tokio::test]
async fn entity_tags_revalidate() {
    let server = replica().await;
    let whole = get(&server, "/api/stores").await;
    let tag = whole.header("etag").unwrap();
    assert!(
        tag.starts_with(&format!("W/\"{:x}-", whole.body.len())) && tag.len() == 35,
        "{tag}"
    );
    let known = format!("If-None-Match: \"other\", {tag}");
    for line in ["GET /api/stores", "HEAD /api/stores"] {
        let answer = ask(server.address(), line, &[&known], b"").await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{line}");
        assert_eq!(answer.header("etag"), Some(tag));
        assert_eq!(
            (answer.header("content-type"), answer.header("content-length")),
            (None, None)
        );
    }
    let reload = ask(
        server.address(),
        "GET /api/stores",
        &[&known, "Cache-Control: no-cache"],
        b"",
    )
    .await;
    assert_eq!(reload.status, 200);
    let other = ask(server.address(), "GET /api/stores", &["If-None-Match: W/\"x\""], b"").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn paths_are_taken_as_they_are() {
    let server = replica().await;
    for (target, status) in [
        ("/api/health", 200),
        ("/API/Health/", 200),
        ("//api/health", 404),
        ("/x/../api/health", 404),
        ("/%61pi/health", 404),
        ("/api/health/x", 404),
        ("/api", 404),
        ("/api/deals/%zz", 500),
        ("/s/%ff", 500),
        ("/api/deals/seven", 404),
        ("/api/deals?sortBy=ending_soon", 500),
        ("/api/deals?limit=-1", 500),
        ("/api/sponsored/deals", 500),
    ] {
        assert_eq!(get(&server, target).await.status, status, "{target}");
    }
    let page = get(&server, "/nowhere/\"b\"").await;
    assert!(
        (130..165).contains(&page.body.len()) && page.text().contains("Cannot GET /nowhere/&quot;b&quot;"),
        "{}",
        page.text()
    );
    assert_eq!(ask(server.address(), "PATCH /api/deals/1", &[], b"").await.status, 404);
}

#[tokio::test]
async fn identity_is_whatever_is_said_in_this_order() {
    let server = replica().await;
    let address = server.address();
    let ask = async |target: &str, fields: Vec<String>| {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = ask(address, &format!("GET {target}"), &fields, b"").await;
        (answer.status, answer.text().to_owned())
    };
    let target = "/api/users";
    assert_eq!(
        ask(target, vec![]).await,
        (401, r#"{"error":"Authentication required"}"#.to_owned())
    );
    assert_eq!(ask(target, vec!["Authorization: Bearer x".to_owned()]).await.0, 401);
    assert_eq!(
        ask(target, vec![uid("nobody")]).await,
        (401, r#"{"error":"User not found"}"#.to_owned())
    );
    assert_eq!(
        ask(target, vec![uid(USER)]).await,
        (403, r#"{"error":"Admin access required"}"#.to_owned())
    );
    assert_eq!(ask(target, vec![uid(ADMIN)]).await.0, 200);
    assert_eq!(ask("/api/users?firebase_uid=nobody", vec![uid(ADMIN)]).await.0, 401);
    assert_eq!(
        ask("/api/users?firebase_uid=fbAdmin000000000000000000001", vec![uid(USER)])
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_body_outranks_the_header() {
    let server = replica().await;
    let body = format!(r#"{{"dealId":499,"firebase_uid":"{USER}"}}"#);
    let fields = ["Content-Type: application/json", &uid("nobody")];
    let answer = ask(server.address(), "POST /api/favorites", &fields, body.as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let again = ask(server.address(), "POST /api/favorites", &fields, body.as_bytes()).await;
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn bodies_it_does_not_like_are_its_own_fault() {
    let server = replica().await;
    let broken = r#"{"error":"Something went wrong!"}"#;
    for (what, media_type, body) in [
        ("malformed", "application/json", b"{".to_vec()),
        ("neither object nor array", "application/json", b"1".to_vec()),
        (
            "too large",
            "application/json",
            [&b"{\"a\":\""[..], &vec![b'x'; 300_000], b"\"}"].concat(),
        ),
        ("not parsed", "multipart/form-data; boundary=x", b"--x--".to_vec()),
    ] {
        let field = format!("Content-Type: {media_type}");
        let answer = ask(server.address(), "POST /api/deals", &[&field], &body).await;
        assert_eq!((answer.status, answer.text()), (500, broken), "{what}");
    }
    let form = ask(
        server.address(),
        "POST /api/contact",
        &["Content-Type: application/x-www-form-urlencoded"],
        b"name=a&email=b%40example.org&message=c+d",
    )
    .await;
    assert_eq!(form.status, 200);
    let incomplete = send(&server, "POST /api/contact", "{}").await;
    assert_eq!(
        (incomplete.status, &incomplete.json()["success"]),
        (400, &serde_json::Value::Bool(false))
    );
}

#[tokio::test]
async fn writes_have_their_answers() {
    let server = replica().await;
    for (line, body, status, length) in [
        ("POST /api/deals", r#"{"title":"x","store":"y"}"#, 201, 48),
        ("PUT /api/deals/501", r#"{"title":"z"}"#, 200, 39),
        ("POST /api/deals/501/view", r#"{"userId":1}"#, 200, 32),
        ("POST /api/deals/501/view", "{}", 400, 31),
        ("POST /api/engagement/deal/501/click", "{}", 200, 41),
    ] {
        let answer = send(&server, line, body).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, length),
            "{line}: {}",
            answer.text()
        );
    }
    let admin = uid(ADMIN);
    let delete = ask(server.address(), "DELETE /api/deals/501", &[&admin], b"").await;
    assert_eq!((delete.status, delete.body.len()), (200, 39));
    assert_eq!(get(&server, "/api/deals/501").await.status, 404);
    let restore = ask(server.address(), "POST /api/deals/501/restore", &[&admin], b"").await;
    assert_eq!((restore.status, restore.body.len()), (200, 40));
    assert_eq!(get(&server, "/api/deals/501").await.json()["total_clicks"], 1);
}

#[tokio::test]
async fn short_links_count_and_redirect() {
    let server = replica().await;
    let clicks = |list: &Answer| list.json()["data"][0]["clicks"].as_u64().unwrap();
    let before = clicks(&get(&server, "/api/shortener").await);
    let text = get(&server, "/s/d001").await;
    let location = text.header("location").unwrap();
    assert_eq!(text.text(), format!("Found. Redirecting to {location}"));
    let html = ask(
        server.address(),
        "GET /api/shortener/d001",
        &["Accept: text/html,*/*;q=0.8"],
        b"",
    )
    .await;
    assert_eq!(html.text(), format!("<p>Found. Redirecting to {location}</p>"));
    assert_eq!(ask(server.address(), "HEAD /s/d001", &[], b"").await.status, 302);
    assert_eq!(clicks(&get(&server, "/s").await), before + 3);

    let made = send(
        &server,
        "POST /api/shortener",
        r#"{"longUrl":"https://example.org/x","customCode":"mine"}"#,
    )
    .await;
    assert_eq!(made.json()["shortUrl"], "http://localhost:5000/s/mine");
    assert_eq!(
        get(&server, "/s/mine").await.header("location"),
        Some("https://example.org/x")
    );
    assert_eq!(
        send(&server, "POST /s", r#"{"longUrl":"https://a","customCode":"mine"}"#)
            .await
            .status,
        409
    );
    assert_eq!(send(&server, "POST /s", r#"{"longUrl":"ftp://a"}"#).await.status, 400);
    assert_eq!(ask(server.address(), "DELETE /s/31", &[], b"").await.status, 200);
    assert_eq!(get(&server, "/s/mine").await.status, 404);
}

#[tokio::test]
async fn replicas_share_a_database() {
    let options = Options::default();
    let one = spawn("one", listener().await, options.clone()).unwrap();
    let two = spawn("two", listener().await, options).unwrap();
    assert_eq!(
        send(&one, "POST /api/deals", r#"{"title":"x","store":"y"}"#)
            .await
            .status,
        201
    );
    assert_eq!(get(&two, "/api/deals/501").await.status, 200);
    assert_eq!(get(&two, "/__echo").await.json()["replica"], "two");
    assert_eq!((one.stats().requests(), two.stats().requests()), (1, 2));
    assert_eq!(two.stats().connections(), 2);
}

#[tokio::test]
async fn csv_is_an_attachment() {
    let server = replica().await;
    let answer = ask(
        server.address(),
        "GET /api/bulk/deals/export?format=csv",
        &[&uid(ADMIN)],
        b"",
    )
    .await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(
        answer
            .header("content-disposition")
            .unwrap()
            .starts_with("attachment; filename=\"deals_export_20")
    );
    assert_eq!(answer.text().lines().count(), 501);
}

#[tokio::test]
async fn echoes_the_request() {
    let server = replica().await;
    let answer = ask(
        server.address(),
        "POST /__echo?a=%2F..",
        &["X-A: 1", "X-A: 2"],
        b"12345",
    )
    .await;
    let seen = answer.json();
    assert_eq!(
        (&seen["method"], &seen["target"], &seen["body_bytes"]),
        (&"POST".into(), &"/__echo?a=%2F..".into(), &5.into())
    );
    let lines = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line.as_str());
    assert_eq!(
        lines.filter(|line| line.starts_with("x-a")).collect::<Vec<_>>(),
        ["x-a: 1", "x-a: 2"]
    );
    assert_eq!(get(&server, "/__echo?status=503").await.status, 503);
    assert_eq!(get(&server, "/__echo?status=101&delay=1").await.status, 200);
}

#[tokio::test]
async fn node_has_its_rules() {
    let server = replica().await;
    let status = async |bytes: Vec<u8>| parse(&raw(server.address(), &bytes).await).status;
    assert_eq!(status(b"GET /api/health HTTP/1.1\r\n\r\n".to_vec()).await, 400);
    assert_eq!(status(b"GET /api/health HTTP/1.1\r\nHost:\r\n\r\n".to_vec()).await, 400);
    assert_eq!(status(b"GET /api/health HTTP/1.0\r\n\r\n".to_vec()).await, 200);
    let large = |length: usize| {
        format!(
            "GET /api/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n",
            "x".repeat(length)
        )
    };
    assert_eq!(status(large(15_000).into_bytes()).await, 200);
    assert_eq!(status(large(17_000).into_bytes()).await, 431);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_five_seconds() {
    let server = replica().await;
    let begin = tokio::time::Instant::now();
    let answer = parse(&raw(server.address(), b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n").await);
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    assert_eq!(answer.header("keep-alive"), Some("timeout=5"));
    assert!(begin.elapsed().as_secs_f64() > 4.9, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_stopped_server_is_gone() {
    let server = replica().await;
    let address = server.address();
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(open.read(&mut [0; 1024]).await.unwrap() > 0);
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(matches!(open.read(&mut [0; 1024]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_replica_goes_away_and_comes_back() {
    let server = replica().await;
    let answer = ask(server.address(), "POST /__stop?seconds=1", &[], b"").await;
    assert_eq!((answer.status, answer.text()), (202, "gone for 1 s\n"));
    let becomes = async |up: bool| {
        while TcpStream::connect(server.address()).await.is_ok() != up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), becomes(false))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(20), becomes(true))
        .await
        .unwrap();
    assert_eq!(get(&server, "/api/health").await.status, 200);
}

async fn upgrade(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /ws/echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let answer = parse(&head);
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    stream
}

#[tokio::test]
async fn a_websocket_echoes_until_the_server_stops() {
    let server = replica().await;
    let mut stream = upgrade(server.address()).await;
    stream
        .write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
        .await
        .unwrap();
    let mut frame = [0; 7];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x81\x05Hello");
    server.stop().await;
    assert!(matches!(stream.read(&mut frame).await, Ok(0) | Err(_)));

    let server = replica().await;
    let plain = get(&server, "/ws/echo").await;
    assert_eq!((plain.status, plain.header("sec-websocket-version")), (426, Some("13")));
}

#[tokio::test]
async fn with_latency_it_still_answers() {
    let options = Options {
        latency: true,
        ..Options::default()
    };
    let server = spawn("slow", listener().await, options).unwrap();
    assert_eq!(get(&server, "/api/deals").await.status, 200);
}
