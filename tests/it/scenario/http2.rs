//! HTTP/2 with clients: the same rules as ever, and bounds on what a client can make the gateway do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::frames::{
    CONTINUATION, DATA, ENHANCE_YOUR_CALM, Frame, GET, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, PROTOCOL, RESET,
    SETTINGS, WINDOW, frame,
};
use crate::support::gateway::Running;
use crate::support::http2::{ask, before, client, connect, get};
use crate::support::origin::{Origin, Step, reply};
use crate::support::service::{Say, Service, Speaks};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pass_as_ever() {
    let origin = Origin::start(|request| {
        reply(
            200,
            "X-Origin: yes\r\nKeep-Alive: timeout=5\r\n",
            &String::from_utf8_lossy(&request.body),
        )
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut client = client(&gateway, &authority).await;
    let request = Request::post("https://site.test/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .expect("a request");
    let answer = ask(&mut client, request, Some("hello".into()))
        .await
        .expect("an answer");
    assert_eq!(
        (answer.head.status().as_u16(), answer.body.as_slice()),
        (200, b"hello".as_slice())
    );
    assert_eq!(answer.head.headers()["x-origin"], "yes");
    assert!(!answer.head.headers().contains_key("keep-alive") && answer.head.headers().contains_key("x-request-id"));
    let told = origin.last();
    assert!(told.line().starts_with("POST /a?b=c HTTP/1.1"), "{}", told.head);
    assert_eq!(
        (told.header("host"), told.header("cookie")),
        (Some("site.test"), Some("a=1; b=2"))
    );
    assert_eq!(told.header("x-forwarded-proto"), Some("https"));
    let line = gateway.logged(1).await;
    assert_eq!(
        (&line["version"], &line["tls"], &line["status"]),
        (&"HTTP/2.0".into(), &"TLSv1.3".into(), &200.into())
    );
    assert_eq!(line["bytes_in"], 5);

    let large = Bytes::from(vec![b'x'; 3_000_000]);
    let request = Request::put("https://site.test/large")
        .header("content-length", 5)
        .body(())
        .expect("a request");
    let error = ask(&mut client, request, Some(large.clone())).await;
    assert!(
        error.is_err() || error.is_ok_and(|answer| answer.head.status() == 400),
        "a body longer than it says"
    );
    let mut head = get("/head");
    *head.method_mut() = http::Method::HEAD;
    let answer = ask(&mut client, head, None).await.expect("an answer");
    assert_eq!((answer.head.status().as_u16(), answer.body.len()), (200, 0));
    let mut all = tokio::task::JoinSet::new();
    for index in 0..50 {
        let mut client = client.clone();
        all.spawn(async move {
            let request = Request::post(format!("https://site.test/{index}"))
                .body(())
                .expect("a request");
            let body = Bytes::from(index.to_string().repeat(1000));
            let answer = ask(&mut client, request, Some(body.clone())).await.expect("an answer");
            assert!(answer.body == body);
        });
    }
    while let Some(one) = all.join_next().await {
        one.expect("answered as asked");
    }
}

/// As over HTTP/1.1: an upload that the server takes nothing of ends by the limit for writes, and what comes next on the
/// connection is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_reads_ends_in_504() {
    let deaf = Origin::hasty(|request| match request.line() {
        "GET /next HTTP/1.1" => reply(200, "", "next"),
        _ => vec![Step::Hang],
    })
    .await;
    for limit in ["write_timeout = \"400ms\"", "first_byte_timeout = \"400ms\""] {
        let authority = Authority::new();
        let gateway = before(&authority, "", deaf.address, limit).await;
        let mut client = client(&gateway, &authority).await;
        let upload = Request::post("https://site.test/upload").body(()).expect("a request");
        let body = Bytes::from(vec![b'x'; 16 << 20]);
        let answer = ask(&mut client, upload, Some(body)).await.expect("an answer");
        assert_eq!(answer.head.status(), 504, "{limit}");
        assert_eq!(answer.head.headers()["content-type"], "application/problem+json");
        let next = ask(&mut client, get("/next"), None).await.expect("an answer");
        assert_eq!((next.head.status().as_u16(), next.body.as_slice()), (200, &b"next"[..]));
        gateway.logged(2).await;
        // A line is written after its answer: either may be the first.
        let mut log: Vec<_> = (gateway.log().await.iter())
            .map(|line| (line["path"].to_string(), line["status"].clone()))
            .collect();
        log.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            log,
            [("\"/next\"".into(), 200.into()), ("\"/upload\"".into(), 504.into())]
        );
    }
    let received = deaf.received();
    let uploads = received.iter().filter(|request| request.line().starts_with("POST "));
    assert_eq!(uploads.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ambiguous_is_refused_and_logged() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let gateway = before(&authority, "max_body = \"1KB\"", origin.address, "").await;
    let mut client = client(&gateway, &authority).await;
    let mut count = 0;
    for (request, body, status) in [
        (
            Request::get("https://site.test/").header("host", "other.test"),
            None,
            400,
        ),
        (Request::get("https://site.test/%zz"), None, 400),
        (Request::get("https://site.test/a%00"), None, 400),
        (Request::get("https://site.test/../a"), None, 400),
        (Request::trace("https://site.test/"), None, 405),
        (Request::post("https://site.test/").header("expect", "tea"), None, 417),
        (
            Request::post("https://site.test/").header("content-length", 2000),
            Some(2000),
            413,
        ),
        (Request::post("https://site.test/"), Some(5000), 413),
    ] {
        let request = request.body(()).expect("a request");
        let shown = format!("{request:?}");
        let answer = ask(&mut client, request, body.map(|length| Bytes::from(vec![b'x'; length]))).await;
        let answer = answer.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(answer.head.status(), status, "{shown}");
        assert_eq!(
            answer.head.headers()["content-type"],
            "application/problem+json",
            "{shown}"
        );
        count += 1;
        let line = gateway.logged(count).await;
        assert_eq!(
            (&line["status"], &line["version"]),
            (&status.into(), &"HTTP/2.0".into()),
            "{shown}"
        );
        assert_eq!(
            line["request_id"],
            answer.head.headers()["x-request-id"].to_str().expect("id")
        );
    }
    assert_eq!(
        origin
            .received()
            .iter()
            .filter(|request| request.body.len() > 1024)
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_passes_with_its_trailers() {
    let service = Service::start(Speaks::Http2, None, |_| Say {
        fields: vec![("content-type", "application/grpc".into())],
        body: vec!["\0\0\0\0\x01a".into()],
        trailers: vec![("grpc-status", "0"), ("grpc-message", "fine")],
        ..Say::default()
    })
    .await;
    let authority = Authority::new();
    let gateway = before(&authority, "", service.address, "protocol = \"h2\"").await;
    let mut client = client(&gateway, &authority).await;
    let call = Request::post("https://site.test/shop.Cart/Add")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let answer = ask(&mut client, call, Some("\0\0\0\0\x01b".into()))
        .await
        .expect("an answer");
    assert_eq!(
        (answer.head.status().as_u16(), answer.body.as_slice()),
        (200, b"\0\0\0\0\x01a".as_slice())
    );
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"fine".parse().unwrap())
    );
    assert_eq!(service.last_field("te").as_deref(), Some("trailers"));
}

/// Sends bytes made by `next` until the other side ends the connection; returns the code of its GOAWAY.
async fn flood(gateway: &Running, authority: &Authority, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let (mut reader, mut writer) = tokio::io::split(connect(gateway, authority).await);
    let read = tokio::spawn(async move {
        let mut all = Vec::new();
        let _ = reader.read_to_end(&mut all).await;
        all
    });
    let _ = writer.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
    let mut turn = 0;
    while !read.is_finished() && turn < 200_000 {
        if writer.write_all(&next(turn)).await.is_err() || writer.flush().await.is_err() {
            break;
        }
        turn += 1;
    }
    let mut all = timeout(PATIENCE, read).await.expect("ended in time").expect("read");
    let frames = std::iter::from_fn(|| Frame::take(&mut all));
    frames
        .filter(|frame| frame.kind == GOAWAY)
        .last()
        .map(|frame| frame.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_ended_and_others_are_served() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut other = client(&gateway, &authority).await;
    let id = |turn: u32| turn * 2 + 1;
    type Next = Box<dyn FnMut(u32) -> Vec<u8> + Send>;
    let floods: [(&str, Next); 9] = [
        (
            "rapid reset",
            Box::new(move |turn| {
                [
                    frame(HEADERS, 5, id(turn), GET),
                    frame(RESET, 0, id(turn), &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
        (
            "window of nothing",
            Box::new(move |turn| [frame(HEADERS, 4, id(turn), GET), frame(WINDOW, 0, id(turn), &[0; 4])].concat()),
        ),
        (
            "window beyond all",
            Box::new(move |turn| {
                [
                    frame(HEADERS, 4, id(turn), GET),
                    frame(WINDOW, 0, id(turn), &[0x7f, 255, 255, 255]),
                ]
                .concat()
            }),
        ),
        (
            "depends on itself",
            Box::new(move |turn| {
                [
                    frame(HEADERS, 4, id(turn), GET),
                    frame(PRIORITY, 0, id(turn), &[&id(turn).to_be_bytes()[..], &[1]].concat()),
                ]
                .concat()
            }),
        ),
        ("ping", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        (
            "empty data",
            Box::new(move |turn| {
                if turn == 0 {
                    frame(HEADERS, 4, 1, GET)
                } else {
                    frame(DATA, 0, 1, &[])
                }
            }),
        ),
        (
            "continuation",
            Box::new(move |turn| {
                if turn == 0 {
                    frame(HEADERS, 1, 1, GET)
                } else {
                    frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b'])
                }
            }),
        ),
        (
            "empty continuation",
            Box::new(move |turn| {
                if turn == 0 {
                    frame(HEADERS, 1, 1, GET)
                } else {
                    frame(CONTINUATION, 0, 1, &[])
                }
            }),
        ),
    ];
    for (name, next) in floods {
        let before = origin.received().len();
        let code = flood(&gateway, &authority, next).await;
        assert!(matches!(code, Some(PROTOCOL | ENHANCE_YOUR_CALM)), "{name}: {code:?}");
        let reached = origin.received().len() - before;
        assert!(reached <= 250, "{name}: {reached} requests reached the application");
        let answer = ask(&mut other, get("/other"), None).await.expect("others are served");
        assert_eq!(answer.head.status(), 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_ends_is_cut() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let gateway = before(
        &authority,
        "header_timeout = \"300ms\"\nkeepalive_timeout = \"300ms\"",
        origin.address,
        "",
    )
    .await;
    for (name, bytes) in [
        ("no preface", Vec::new()),
        ("half a preface", PREFACE[..10].to_vec()),
        (
            "half a frame",
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 5, 1, GET)[..12]].concat(),
        ),
        (
            "half a field block",
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 1, 1, GET)].concat(),
        ),
        ("nothing to do", [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
    ] {
        let mut stream = connect(&gateway, &authority).await;
        stream.write_all(&bytes).await.expect("written");
        stream.flush().await.expect("flushed");
        let mut all = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_hold_a_bounded_number_of_answers() {
    let large: &'static str = Box::leak("x".repeat(1_000_000).into_boxed_str());
    let origin = Origin::start(move |_| reply(200, "", large)).await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let refused = Arc::new(AtomicUsize::new(0));
    let mut held = Vec::new();
    for _ in 0..2 {
        let (mut greedy, connection) = h2::client::Builder::new()
            .initial_window_size(0)
            .handshake::<_, Bytes>(connect(&gateway, &authority).await)
            .await
            .expect("a handshake");
        tokio::spawn(connection);
        for _ in 0..60 {
            greedy = greedy.ready().await.expect("ready");
            let (response, _) = greedy.send_request(get("/large"), true).expect("sent");
            let refused = Arc::clone(&refused);
            held.push(tokio::spawn(async move {
                let Ok(response) = response.await else {
                    refused.fetch_add(1, SeqCst);
                    return;
                };
                if let Some(Err(_)) = response.into_body().data().await {
                    refused.fetch_add(1, SeqCst);
                }
            }));
        }
    }
    eventually("most are given up", async || refused.load(SeqCst) >= 120 - 48).await;
    let mut other = client(&gateway, &authority).await;
    let answer = ask(&mut other, get("/large"), None).await.expect("others are served");
    assert_eq!(answer.body.len(), large.len());
    held.iter().for_each(tokio::task::JoinHandle::abort);
}
