//! What the gateway's own way to HTTP/1.1 servers must not get wrong: answers that lie, uploads and answers that cross,
//! clients that leave. Run in both lanes, like every scenario.

use std::time::Duration;

use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Step, raw, reply};
use crate::support::{client, eventually};

async fn before(origin: &Origin, upstream: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"own\"\npath = \"/own\"\nrespond = {{ body = \"own\" }}\n",
        origin.address
    ))
    .await
}

async fn in_flight(gateway: &Running, origin: &Origin) -> f64 {
    let labels = format!("{{server=\"{}\",upstream=\"app\"}}", origin.address);
    gateway.metric(&format!("gateway_upstream_in_flight{labels}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_reaches_the_wrong_client() {
    // Each of them is followed by an answer that nobody has asked for.
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let origin = Origin::start(|request| {
        let first = match request.line() {
            line if line.contains("/extra") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            line if line.contains("/chunked") => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            }
            line if line.contains("/none") => "HTTP/1.1 204 No Content\r\n\r\n",
            line if line.contains("/unchanged") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
            line if line.starts_with("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            _ => return reply(200, "", "fine"),
        };
        raw(&[first, POISON].concat())
    })
    .await;
    let gateway = before(&origin, "").await;
    for request in [
        "GET /extra",
        "GET /chunked",
        "GET /none",
        "GET /unchanged",
        "HEAD /head",
    ] {
        let mut connection = gateway.connect().await;
        let answer = connection.ask(&format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(
            answer.status < 400 && !answer.text().contains("poison"),
            "{request}: {answer:?}"
        );
        for _ in 0..4 {
            let next = connection.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!((next.status, next.text()), (200, "fine"), "after {request}");
            assert_eq!(gateway.get("/").await.text(), "fine", "after {request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_answers_are_refused_or_cut() {
    let origin = Origin::start(|request| {
        let answer = match request.line() {
            line if line.contains("/lengths") => {
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nhello"
            }
            line if line.contains("/length") => "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
            line if line.contains("/folded") => "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
            line if line.contains("/upgrade") => {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
            }
            line if line.contains("/size") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        };
        [raw(answer), vec![Step::Close]].concat()
    })
    .await;
    let gateway = before(&origin, "outlier = false\nretry = { attempts = 1 }").await;
    for path in ["/lengths", "/length", "/folded", "/upgrade"] {
        if path == "/folded" && !gateway::fast_lane() {
            continue; // Pingora's parser unfolds it
        }
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.truncated), (502, false), "{path}");
    }
    for path in ["/size", "/short"] {
        let mut connection = gateway.connect().await;
        let answer = connection.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!((answer.status, answer.truncated), (200, true), "{path}");
        assert!(connection.is_closed().await, "{path}");
    }
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let origin = Origin::hasty(|_| reply(413, "", "too much")).await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    connection
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nbegin")
        .await;
    let answer = connection.response(false).await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (413, "too much"));
    if !gateway::fast_lane() {
        return; // Pingora goes on for as long as the client does
    }
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_size_pass_both_ways() {
    let origin = Origin::start(|request| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()).into_bytes();
        answer.extend_from_slice(&request.body);
        vec![Step::Send(answer)]
    })
    .await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    for size in [0, 1, 8191, 8192, 8193, 65_535, 65_537, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|index: usize| (index * 31 % 251) as u8).collect();
        connection
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"))
            .await;
        connection.send(&body).await;
        let answer = connection.response(false).await.expect("an answer");
        assert!(answer.status == 200 && answer.body == body, "{size} by length");
        connection
            .send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        for chunk in body.chunks(10_000) {
            connection
                .send([format!("{:x};x=y\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
                .await;
        }
        connection.send("0\r\nTrailer: x\r\n\r\n").await;
        let answer = connection.response(false).await.expect("an answer");
        assert!(answer.status == 200 && answer.body == body, "{size} in chunks");
    }
    assert!(origin.received().iter().all(|request| !request.head.contains("railer")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_the_work_for_it() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/half") => [
            raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
            vec![Step::Hang],
        ]
        .concat(),
        _ => vec![Step::Hang],
    })
    .await;
    let gateway = before(&origin, "").await;
    for (path, status) in [("/silent", 499), ("/half", 200)] {
        let lines = gateway.log().await.len();
        let mut connection = gateway.connect().await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        eventually("it is with the server", async || {
            in_flight(&gateway, &origin).await == 1.0
        })
        .await;
        if path == "/half" {
            assert!(!connection.read_some().await.is_empty());
        }
        drop(connection);
        eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
        assert_eq!(gateway.logged(lines + 1).await["status"], status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_ahead_is_answered_in_order() {
    let origin = Origin::start(|request| {
        let path = request.line().split(' ').nth(1).unwrap_or_default().to_owned();
        let wait = Step::Wait(Duration::from_millis(if path == "/1" { 50 } else { 0 }));
        [vec![wait], reply(200, "", &path)].concat()
    })
    .await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = match gateway::fast_lane() {
        true => "POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        false => "POST /own HTTP/1.1\r\nHost: a\r\n\r\n", // Pingora gives up a connection with an unread body
    };
    connection
        .send([&*get("/1"), &*get("/own"), post, &*get("/2"), &*get("/3")].concat())
        .await;
    for expected in ["/1", "own", "own", "/2", "/3"] {
        assert_eq!(connection.response(false).await.expect("an answer").text(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_pass_and_bodies_wait_for_their_invitation() {
    let origin = Origin::hasty(|request| match request.line() {
        line if line.contains("/hints") => {
            raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
        line if line.contains("/refused") => reply(417, "", "no"),
        _ => raw("HTTP/1.1 100 Continue\r\n\r\n"),
    })
    .await;
    let gateway = before(&origin, "").await;
    let mut connection = gateway.connect().await;
    let hints = connection.ask("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a>")));
    assert_eq!(connection.response(false).await.expect("the final answer").status, 200);
    let post = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.ask(&post("/asked")).await.status, 100);
    drop(connection);
    // Who is refused a body does not send it: what comes next could be taken for it.
    let refused = client::ask(gateway.address, post("/refused")).await;
    assert_eq!((refused.status, refused.header("connection")), (417, Some("close")));
}

/// So long that the kernel moves them, and that the buffers of no socket hold them.
fn long(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 24_000_000];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_pass_at_the_pace_of_their_client() {
    let origin = Origin::start(|request| {
        let body = long(7);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        match request.line() {
            line if line.contains("/long") => vec![Step::Send([head, body].concat())],
            line if line.contains("/half") => {
                vec![Step::Send([&head, &body[..12_000_000]].concat()), Step::Close]
            }
            line if line.contains("/poison") => vec![Step::Send(
                [
                    &b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"[..],
                    &body[..200_000],
                    b"HTTP/1.1 200 OK\r\n",
                ]
                .concat(),
            )],
            _ => reply(200, "", "fine"),
        }
    })
    .await;
    let gateway = before(&origin, "outlier = false").await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");

    // One takes nothing, another is served meanwhile, then the first takes everything.
    let mut patient = gateway.connect().await;
    patient.send(get("/long")).await;
    eventually("it is with the server", async || {
        in_flight(&gateway, &origin).await == 1.0
    })
    .await;
    let other = gateway.get("/long").await;
    assert!(other.body == long(7) && !other.truncated);
    let answer = patient.response(false).await.expect("an answer");
    assert!(
        answer.status == 200 && answer.body == long(7),
        "{} bytes",
        answer.body.len()
    );
    assert_eq!(patient.ask(&get("/")).await.text(), "fine", "the connection goes on");
    let line = gateway.logged(3).await;
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
    let long_lines = gateway.log().await.into_iter().filter(|line| line["path"] == "/long");
    for line in long_lines {
        let sent = line["bytes_out"].as_u64().unwrap_or_default();
        assert!((24_000_000..24_001_000).contains(&sent), "{line}");
    }
    assert_eq!(line["status"], 200);

    // The server breaks off, a client leaves: nothing of that comes to the next.
    let half = gateway.get("/half").await;
    assert!(
        half.truncated && half.body == long(7)[..12_000_000],
        "{} bytes",
        half.body.len()
    );
    let mut leaves = gateway.connect().await;
    leaves.send(get("/long")).await;
    assert!(!leaves.read_some().await.is_empty());
    drop(leaves);
    eventually("released", async || in_flight(&gateway, &origin).await == 0.0).await;
    for _ in 0..3 {
        let poisoned = gateway.get("/poison").await;
        assert!(poisoned.status == 200 && poisoned.body == long(7)[..200_000]);
        assert_eq!(gateway.get("/").await.text(), "fine");
        assert!(gateway.get("/long").await.body == long(7));
    }
}
