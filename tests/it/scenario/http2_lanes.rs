//! Clients of HTTP/2 before servers of HTTP/1.1: answers that lie or break off, uploads, clients that leave or are slow. Run
//! in both lanes, like every scenario.

use std::time::Duration;

use bytes::Bytes;
use deals247_gateway::gateway::Drained;
use h2::Reason;
use h2::client::SendRequest;
use http::{Method, Request};

use crate::support::gateway::{self, Running};
use crate::support::http2::{ask, before, client, connect, get};
use crate::support::origin::{Origin, Step, raw, reply};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

async fn in_flight(gateway: &Running, origin: &Origin) -> f64 {
    let labels = format!("{{server=\"{}\",upstream=\"app\"}}", origin.address);
    gateway.metric(&format!("gateway_upstream_in_flight{labels}")).await
}

fn put(path: &str) -> http::request::Builder {
    Request::put(format!("https://site.test{path}"))
}

fn pattern(size: usize) -> Bytes {
    (0..size).map(|index| (index * 31 % 251) as u8).collect()
}

/// What only our own reader of answers refuses tells which lane a request took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_take_the_fast_lane_where_it_stands() {
    let origin = Origin::start(|_| raw("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n")).await;
    let authority = Authority::new();
    for (server, fast) in [("", true), ("fast_lane = false", false)] {
        let gateway = before(&authority, server, origin.address, "retry = { attempts = 1 }").await;
        let mut client = client(&gateway, &authority).await;
        let expected = if fast && gateway::fast_lane() { 502 } else { 200 };
        for (request, body) in [
            (get("/"), None),
            (put("/").body(()).expect("a request"), Some("hello".into())),
        ] {
            let answer = ask(&mut client, request, body).await.expect("an answer");
            assert_eq!(answer.head.status(), expected, "{server}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_end_with_their_head() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/none") => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        line if line.contains("/unchanged") => raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        line if line.contains("/empty") => reply(200, "", ""),
        line if line.starts_with("HEAD") => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        line if line.contains("/hints") => raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"),
        _ => reply(200, "", "hello"),
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut client = client(&gateway, &authority).await;
    for (method, path, status) in [
        (Method::GET, "/none", 204),
        (Method::GET, "/unchanged", 304),
        (Method::GET, "/empty", 200),
        (Method::HEAD, "/head", 200),
        (Method::GET, "/hints", 200),
        (Method::GET, "/whole", 200),
    ] {
        let mut request = get(path);
        *request.method_mut() = method;
        client = client.ready().await.expect("ready");
        let (answer, _) = client.send_request(request, true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        let fields = answer.headers();
        assert!(
            fields.contains_key("date") && fields.contains_key("x-request-id"),
            "{path}"
        );
        assert!(
            !fields.contains_key("keep-alive") && !fields.contains_key("x-hop"),
            "{path}"
        );
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            bytes.extend_from_slice(&data.expect("a part"));
        }
        assert_eq!(bytes, if path == "/whole" { &b"hello"[..] } else { b"" }, "{path}");
    }
    let line = gateway.logged(6).await;
    assert_eq!((&line["version"], &line["status"]), (&"HTTP/2.0".into(), &200.into()));
}

/// The end of a stream says that the answer is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_break_off_are_reset_and_never_ended() {
    let origin = Origin::start(|request| {
        let answer = match request.line() {
            line if line.contains("/size") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
            line if line.contains("/chunks") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            line if line.contains("/short") => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
            line if line.contains("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            _ => return reply(200, "", "fine"),
        };
        [raw(answer), vec![Step::Close]].concat()
    })
    .await;
    let authority = Authority::new();
    let gateway = before(
        &authority,
        "",
        origin.address,
        "outlier = false\nretry = { attempts = 1 }",
    )
    .await;
    let mut client = client(&gateway, &authority).await;
    for (index, path) in ["/size", "/chunks", "/short", "/head"].into_iter().enumerate() {
        let error = ask(&mut client, get(path), None).await.err().expect("cut");
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}: {error}");
        assert_eq!(gateway.logged(2 * index + 1).await["status"], 200, "{path}");
        let next = ask(&mut client, get("/"), None).await.expect("the connection goes on");
        assert_eq!(next.body, b"fine", "after {path}");
    }
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_taken_back_ends_the_work_for_it() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/half") => [
            raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
            vec![Step::Hang],
        ]
        .concat(),
        line if line.contains("/silent") => vec![Step::Hang],
        _ => reply(200, "", "fine"),
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut client = client(&gateway, &authority).await;
    for (index, (path, status)) in [("/silent", 499), ("/half", 200)].into_iter().enumerate() {
        client = client.ready().await.expect("ready");
        let (answer, mut stream) = client.send_request(get(path), true).expect("sent");
        eventually("it is with the server", async || {
            in_flight(&gateway, &origin).await == 1.0
        })
        .await;
        if path == "/half" {
            let mut body = answer.await.expect("a head").into_body();
            assert_eq!(body.data().await.expect("a part").expect("a part"), "hello");
        }
        stream.send_reset(Reason::CANCEL);
        eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
        assert_eq!(gateway.logged(2 * index + 1).await["status"], status, "{path}");
        // Its answer would come on the server's connection.
        let next = ask(&mut client, get("/next"), None).await.expect("an answer");
        assert_eq!(next.body, b"fine");
        assert!(
            origin.connections() > index + 1,
            "{path}: the connection was used again"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_size_pass_both_ways() {
    let origin = Origin::start(|request| {
        let framing = match request.line().contains("/chunks") {
            true => "Transfer-Encoding: chunked\r\n".to_owned(),
            false => format!("Content-Length: {}\r\n", request.body.len()),
        };
        let mut answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n").into_bytes();
        if request.line().contains("/chunks") {
            for chunk in request.body.chunks(700) {
                answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                answer.extend_from_slice(chunk);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
        } else {
            answer.extend_from_slice(&request.body);
        }
        vec![Step::Send(answer)]
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut client = client(&gateway, &authority).await;
    let mut asked = 0;
    for size in [0, 1, 699, 8191, 8193, 16_384, 65_537, 3_000_000] {
        let body = pattern(size);
        for (path, sized) in [
            ("/plain", true),
            ("/plain", false),
            ("/chunks", true),
            ("/chunks", false),
        ] {
            let request = match sized {
                true => put(path).header("content-length", size),
                false => put(path),
            };
            let request = request.body(()).expect("a request");
            let answer = ask(&mut client, request, Some(body.clone())).await.expect("an answer");
            assert_eq!(answer.head.status(), 200, "{path} {size} {sized}");
            assert!(answer.body == body, "{path} {size} {sized}");
            asked += 1;
            let received = origin.received();
            assert_eq!(received.len(), asked, "no more than was asked: {:?}", received.last());
        }
    }
    let line = gateway.logged(asked).await;
    assert_eq!(line["bytes_in"], 3_000_000);
    assert!(
        line["bytes_out"].as_u64().is_some_and(|bytes| bytes > 3_000_000),
        "{line}"
    );
    assert!(origin.received().iter().all(|request| request.header("te").is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_lies_still_ends_in_408_and_an_early_answer_passes_it() {
    let origin = Origin::hasty(|request| match request.line() {
        line if line.contains("/early") => reply(413, "", "too much"),
        _ => vec![Step::Hang],
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "body_timeout = \"300ms\"", origin.address, "").await;
    let mut client = client(&gateway, &authority).await;
    for (path, status) in [("/still", 408), ("/early", 413)] {
        client = client.ready().await.expect("ready");
        let request = put(path).body(()).expect("a request");
        let (answer, mut stream) = client.send_request(request, false).expect("sent");
        stream.send_data("begin".into(), false).expect("sent");
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("in time");
        assert_eq!(answer.expect("an answer").status(), status, "{path}");
    }
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_get_everything_and_who_takes_nothing_is_reset() {
    let large: &'static [u8] = Box::leak(pattern(400_000).to_vec().into_boxed_slice());
    let origin = Origin::start(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", large.len());
        vec![Step::Send([head.as_bytes(), large].concat())]
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "write_timeout = \"2s\"", origin.address, "").await;
    let (mut slow, connection) = h2::client::Builder::new()
        .initial_window_size(5000)
        .handshake::<_, Bytes>(connect(&gateway, &authority).await)
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    slow = slow.ready().await.expect("ready");
    let (answer, _) = slow.send_request(get("/slow"), true).expect("sent");
    let mut body = answer.await.expect("a head").into_body();
    let mut taken = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("a part");
        taken.extend_from_slice(&data);
        if taken.len() % 20_000 < data.len() {
            tokio::time::sleep(Duration::from_millis(120)).await; // in all longer than a write may take
        }
        body.flow_control().release_capacity(data.len()).expect("released");
    }
    assert!(taken == large, "{} bytes", taken.len());
    slow = slow.ready().await.expect("ready");
    let (answer, _) = slow.send_request(get("/never"), true).expect("sent");
    let mut body = answer.await.expect("a head").into_body();
    let reset = async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {} // and no word that it was taken
                Some(Err(error)) => return error.reason(),
                None => return None,
            }
        }
    };
    let reason = tokio::time::timeout(PATIENCE, reset).await.expect("in time");
    assert_eq!(reason, Some(Reason::ENHANCE_YOUR_CALM));
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_answers() {
    let origin = Origin::start(|request| {
        let body = match request.line().contains("/large") {
            true => "x".repeat(300_000),
            false => "hello".to_owned(),
        };
        reply(200, "Cache-Control: max-age=60\r\nETag: \"1\"\r\n", &body)
    })
    .await;
    let authority = Authority::new();
    let (cert, key) = authority.site("site", &["site.test"]);
    let gateway = gateway::start(&format!(
        "[tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = {cert:?}\nkey = {key:?}\n\
         [upstream.app]\nservers = [\"{}\"]\n[cache.c]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"c\"\n\
         [[route]]\nname = \"own\"\npath = \"/own\"\nrespond = {{ body = \"own\" }}\n\
         [[route]]\nname = \"moved\"\npath = \"/old\"\nredirect = {{ to = \"/new\" }}\n",
        origin.address
    ))
    .await;
    let mut client = client(&gateway, &authority).await;
    for (path, length) in [("/small", 5), ("/large", 300_000)] {
        for verdict in ["fwd=uri-miss", "hit"] {
            let answer = ask(&mut client, get(path), None).await.expect("an answer");
            let told = answer.head.headers()["cache-status"].to_str().expect("text");
            assert!(told.contains(verdict), "{path}: {told}");
            assert_eq!(answer.body.len(), length, "{path}");
        }
        let mut head = get(path);
        *head.method_mut() = Method::HEAD;
        let answer = ask(&mut client, head, None).await.expect("an answer");
        assert_eq!(answer.body.len(), 0, "{path}");
        assert_eq!(answer.head.headers()["content-length"], length.to_string(), "{path}");
        let mut unchanged = get(path);
        let tag = "\"1\"".parse().expect("a value");
        unchanged.headers_mut().insert("if-none-match", tag);
        let answer = ask(&mut client, unchanged, None).await.expect("an answer");
        assert_eq!(answer.head.status(), 304, "{path}");
    }
    assert_eq!(origin.received().len(), 2);
    let own = ask(&mut client, get("/own"), None).await.expect("an answer");
    assert_eq!((own.head.status().as_u16(), own.body.as_slice()), (200, &b"own"[..]));
    let moved = ask(&mut client, get("/old"), None).await.expect("an answer");
    assert_eq!(moved.head.status().as_u16() / 100, 3);
    assert!(moved.head.headers().contains_key("location"));
}

/// A client, and its connection.
async fn pair(
    gateway: &Running,
    authority: &Authority,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let (client, connection) = h2::client::handshake(connect(gateway, authority).await)
        .await
        .expect("a handshake");
    (client, tokio::spawn(connection))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_after_its_last_request() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let gateway = before(&authority, "keepalive_requests = 3", origin.address, "").await;
    let (mut client, connection) = pair(&gateway, &authority).await;
    for _ in 0..3 {
        assert_eq!(
            ask(&mut client, get("/"), None).await.expect("an answer").body,
            b"hello"
        );
    }
    let ended = tokio::time::timeout(PATIENCE, connection).await.expect("in time");
    ended.expect("a connection").expect("a good end");
    assert!(ask(&mut client, get("/"), None).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_answered_while_the_gateway_stops() {
    let origin = Origin::start(|_| {
        let wait = Step::Wait(Duration::from_millis(400));
        [vec![wait], reply(200, "", "late")].concat()
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let (mut client, connection) = pair(&gateway, &authority).await;
    let asking = tokio::spawn(async move { ask(&mut client, get("/"), None).await });
    eventually("it is with the server", async || {
        in_flight(&gateway, &origin).await == 1.0
    })
    .await;
    let drained = gateway.drain(Some(PATIENCE)).await;
    assert_eq!(drained, Drained::Empty);
    let answer = asking.await.expect("asked").expect("an answer");
    assert_eq!(answer.body, b"late");
    let ended = tokio::time::timeout(PATIENCE, connection).await.expect("in time");
    ended.expect("a connection").expect("a good end");
}
