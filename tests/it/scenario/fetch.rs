//! The gateway's own exchange with servers, asked for without a client: what the cache fetches with.

use std::sync::Arc;
use std::time::Duration;

use deals247_gateway::answer::Reason;
use deals247_gateway::client::{Client, Scheme};
use deals247_gateway::proxy::{self, Caller, Failure, Fetched};
use deals247_gateway::route;
use http::request;

use crate::support::eventually;
use crate::support::gateway::{self, Running};
use crate::support::origin::{Flag, Origin, Step, raw, reply};
use crate::support::service::{Say, Service, Speaks};
use crate::support::tls::Authority;

async fn before(servers: &[String], upstream: &str) -> Running {
    let servers: Vec<String> = servers.iter().map(|server| format!("{server:?}")).collect();
    gateway::start(&format!(
        "[upstream.app]\nservers = [{}]\n{upstream}\n[[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        servers.join(", ")
    ))
    .await
}

async fn before_one(origin: &Origin, upstream: &str) -> Running {
    before(&[origin.address.to_string()], upstream).await
}

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in [("host", "site.test")].iter().chain(fields) {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

async fn fetch(gateway: &Running, request: &request::Parts) -> Result<Fetched, Failure> {
    let live = gateway.live();
    let snapshot = live.pin();
    let route = snapshot
        .route(&route::Request {
            method: &request.method,
            host: "site.test",
            path: request.uri.path(),
            query: None,
            headers: &request.headers,
        })
        .cloned()
        .expect("a route");
    let ip = "192.0.2.7".parse().expect("address");
    let caller = Caller {
        client: Client {
            ip,
            scheme: Scheme::Http,
            peer_trusted: false,
        },
        peer: ip,
        local_port: 80,
        host: "site.test".into(),
        identity: None,
        interim: None,
        further: http::HeaderMap::new(),
    };
    proxy::fetch(&live, snapshot, route, caller, request).await
}

async fn get(gateway: &Running, target: &str) -> Result<Fetched, Failure> {
    fetch(gateway, &request("GET", target, &[])).await
}

async fn read(fetched: &mut Fetched) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(part) = fetched.next().await? {
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// The body, or the reason for which there is none.
async fn whole(gateway: &Running, target: &str) -> Result<String, Reason> {
    let mut fetched = get(gateway, target).await.map_err(|failure| failure.reason)?;
    let body = read(&mut fetched).await.map_err(|failure| failure.reason)?;
    Ok(String::from_utf8(body).expect("text"))
}

async fn in_flight(gateway: &Running, server: &str) -> f64 {
    let labels = format!("{{server=\"{server}\",upstream=\"app\"}}");
    gateway.metric(&format!("gateway_upstream_in_flight{labels}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_framing_arrive_whole() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/length") => reply(200, "X-Kept: yes\r\nConnection: X-Secret\r\nX-Secret: 1\r\n", "hello"),
        line if line.contains("/chunked") => {
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: v\r\n\r\n")
        }
        line if line.contains("/close") => [raw("HTTP/1.1 200 OK\r\n\r\nhello"), vec![Step::Close]].concat(),
        line if line.contains("/old") => [raw("HTTP/1.0 200 OK\r\n\r\nhello"), vec![Step::Close]].concat(),
        line if line.contains("/early") => raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
        line if line.contains("/slices") => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            .bytes()
            .flat_map(|byte| [Step::Send(vec![byte]), Step::Wait(Duration::from_millis(1))])
            .collect(),
        _ => raw("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    })
    .await;
    let gateway = before_one(&origin, "").await;
    for path in ["/length", "/chunked", "/close", "/old", "/early", "/slices"] {
        for _ in 0..3 {
            assert_eq!(whole(&gateway, path).await.as_deref(), Ok("hello"), "{path}");
        }
    }
    let mut fetched = get(&gateway, "/length").await.expect("an answer");
    assert_eq!(fetched.head.headers.get("x-kept").expect("kept"), "yes");
    for gone in ["x-secret", "connection"] {
        assert!(
            !fetched.head.headers.contains_key(gone),
            "{gone} concerns one connection only"
        );
    }
    assert_eq!(read(&mut fetched).await.expect("whole"), b"hello");
    let mut fetched = get(&gateway, "/nothing").await.expect("an answer");
    assert_eq!(fetched.head.status, 204);
    assert_eq!(read(&mut fetched).await.expect("whole"), b"");
    let mut fetched = fetch(&gateway, &request("HEAD", "/length", &[]))
        .await
        .expect("an answer");
    assert_eq!(fetched.head.headers.get("content-length").expect("kept"), "5");
    drop(read(&mut fetched).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_sees_what_it_sees_from_clients() {
    let origin = Origin::fixed("hello").await;
    let gateway = before_one(&origin, "").await;
    let fields = [
        ("connection", "x-hop, keep-alive"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "secret"),
        ("x-forwarded-for", "6.6.6.6"),
        ("expect", "100-continue"),
        ("accept", "text/plain"),
    ];
    let mut fetched = fetch(&gateway, &request("GET", "/a%20b?c=d", &fields))
        .await
        .expect("an answer");
    assert_eq!(
        (read(&mut fetched).await.expect("whole"), fetched.attempts()),
        (b"hello".to_vec(), 1)
    );
    let seen = origin.last();
    assert_eq!(seen.line(), "GET /a%20b?c=d HTTP/1.1");
    for (name, value) in [
        ("host", "site.test"),
        ("accept", "text/plain"),
        ("x-forwarded-for", "192.0.2.7"),
        ("via", "1.1 deals247-gateway"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    for gone in [
        "connection",
        "x-hop",
        "te",
        "upgrade",
        "proxy-authorization",
        "expect",
        "transfer-encoding",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    for nominated in ["host", "X-Forwarded-For", "a, b, c, d, e, f, g, h, i, j", "\"x\""] {
        let refused = fetch(&gateway, &request("GET", "/", &[("connection", nominated)])).await;
        assert_eq!(
            refused.err().map(|failure| failure.reason),
            Some(Reason::BadRequest),
            "{nominated}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_could_be_read_in_two_ways_are_none() {
    const HOSTILE: [&str; 17] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "<html>hello</html>",
        "\x15\x03\x01\x00\x02\x02\x16",
    ];
    let origin = Origin::start(|request| {
        let index: usize = request.line()["GET /".len()..]
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .expect("index");
        let mut steps = raw(HOSTILE[index]);
        steps.push(Step::Hang);
        steps
    })
    .await;
    let gateway = before_one(&origin, "retry = { attempts = 1 }\noutlier = false").await;
    for (index, hostile) in HOSTILE.iter().enumerate() {
        let found = whole(&gateway, &format!("/{index}")).await;
        assert_eq!(found, Err(Reason::BadGateway), "{hostile:?}");
    }
    assert_eq!(origin.connections(), HOSTILE.len(), "no connection was used again");
    let interim = Origin::start(|_| raw(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000))).await;
    assert_eq!(
        whole(&before_one(&interim, "").await, "/").await,
        Err(Reason::BadGateway)
    );
    let endless = Origin::start(|_| raw(&format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(1 << 20)))).await;
    assert_eq!(
        whole(&before_one(&endless, "").await, "/").await,
        Err(Reason::BadGateway)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_end_as_they_said_are_faults() {
    let origin = Origin::start(|request| {
        let (text, then) = match request.line() {
            line if line.contains("/short") => ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Step::Close),
            line if line.contains("/cut") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                Step::Close,
            ),
            line if line.contains("/size") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n",
                Step::Hang,
            ),
            line if line.contains("/huge") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
                Step::Hang,
            ),
            line if line.contains("/bare") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
                Step::Hang,
            ),
            line if line.contains("/long") => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n",
                Step::Hang,
            ),
            line if line.contains("/reset") => ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Step::Reset),
            _ => ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Step::Hang),
        };
        let mut steps = raw(text);
        steps.push(then);
        steps
    })
    .await;
    let gateway = before_one(&origin, "outlier = false").await;
    let impatient = before_one(&origin, "read_timeout = \"200ms\"\noutlier = false").await;
    assert_eq!(whole(&impatient, "/hang").await, Err(Reason::GatewayTimeout));
    for (path, reason) in [
        ("/short", Reason::BadGateway),
        ("/cut", Reason::BadGateway),
        ("/size", Reason::BadGateway),
        ("/huge", Reason::BadGateway),
        ("/bare", Reason::BadGateway),
        ("/long", Reason::BadGateway),
        ("/reset", Reason::BadGateway),
    ] {
        assert_eq!(whole(&gateway, path).await, Err(reason), "{path}");
    }
    for gateway in [&gateway, &impatient] {
        assert_eq!(in_flight(gateway, &origin.address.to_string()).await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_again_only_when_nothing_is_left_on_it() {
    let unasked = Flag::default();
    let said = unasked.clone();
    let origin = Origin::start(move |request| match request.line() {
        line if line.contains("/more") => {
            raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        }
        line if line.contains("/later") => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
            Step::Wait(Duration::from_millis(50)),
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison".to_vec()),
            Step::Raise(said.clone()),
        ],
        line if line.contains("/close") => reply(200, "Connection: close\r\n", "ok"),
        line if line.contains("/no-content") => raw("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison"),
        _ => reply(200, "", "fine"),
    })
    .await;
    let gateway = before_one(&origin, "").await;
    for _ in 0..5 {
        assert_eq!(whole(&gateway, "/").await.as_deref(), Ok("fine"));
    }
    assert_eq!(origin.connections(), 1, "one connection for all");
    for path in ["/more", "/later", "/close", "/no-content"] {
        let good = if path == "/no-content" { "" } else { "ok" };
        assert_eq!(whole(&gateway, path).await.as_deref(), Ok(good), "{path}");
        if path == "/later" {
            unasked.raised().await;
        }
        assert_eq!(whole(&gateway, "/").await.as_deref(), Ok("fine"), "after {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_started_again_is_asked_again() {
    let origin = Origin::fixed("old").await;
    let address = origin.address;
    let gateway = before_one(&origin, "").await;
    assert_eq!(whole(&gateway, "/").await.as_deref(), Ok("old"));
    drop(origin);
    let _new = Origin::start_again(address, |_| reply(200, "", "new")).await;
    assert_eq!(whole(&gateway, "/").await.as_deref(), Ok("new"));
    let labels = format!("{{kind=\"connect\",server=\"{address}\",upstream=\"app\"}}");
    assert_eq!(
        gateway
            .metric(&format!("gateway_upstream_failures_total{labels}"))
            .await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_elsewhere_and_counted() {
    let bad = Origin::start(|request| match request.line() {
        line if line.contains("/status") => reply(503, "", "no"),
        _ => vec![Step::Close],
    })
    .await;
    let good = Origin::fixed("good").await;
    let servers = [bad.address.to_string(), good.address.to_string()];
    let retry = "balance = \"round-robin\"\noutlier = false\nretry = { on = [\"connect\", \"reset\", \"503\"] }";
    let gateway = before(&servers, retry).await;
    for path in ["/", "/status"] {
        for _ in 0..6 {
            assert_eq!(whole(&gateway, path).await.as_deref(), Ok("good"), "{path}");
        }
    }
    let last = good
        .received()
        .into_iter()
        .filter_map(|request| request.header("x-gateway-attempt").map(str::to_owned));
    assert!(last.into_iter().any(|attempt| attempt == "2"));
    assert!(gateway.metric("gateway_upstream_retries_total{upstream=\"app\"}").await >= 6.0);
    for server in &servers {
        assert_eq!(in_flight(&gateway, server).await, 0.0);
    }
    let nobody = before(&["127.0.0.1:1".to_owned()], "").await;
    assert_eq!(whole(&nobody, "/").await, Err(Reason::BadGateway));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_in_time() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let gateway = before_one(&origin, "first_byte_timeout = \"200ms\"\nretry = { attempts = 1 }").await;
    assert_eq!(whole(&gateway, "/").await, Err(Reason::GatewayTimeout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_releases_the_server() {
    let origin = Origin::start(|request| match request.line() {
        line if line.contains("/half") => [
            raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
            vec![Step::Hang],
        ]
        .concat(),
        line if line.contains("/never") => vec![Step::Hang],
        _ => reply(200, "", "fine"),
    })
    .await;
    let server = origin.address.to_string();
    let gateway = Arc::new(before_one(&origin, "").await);
    let mut fetched = get(&gateway, "/half").await.expect("a head");
    assert_eq!(
        fetched.next().await.expect("a part").as_deref(),
        Some(b"hello".as_slice())
    );
    assert_eq!(in_flight(&gateway, &server).await, 1.0);
    drop(fetched);
    assert_eq!(in_flight(&gateway, &server).await, 0.0);
    let waiting = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { get(&gateway, "/never").await.is_ok() }
    });
    eventually("it waits for the server", async || {
        in_flight(&gateway, &server).await == 1.0
    })
    .await;
    waiting.abort();
    eventually("it was released", async || in_flight(&gateway, &server).await == 0.0).await;
    assert_eq!(whole(&gateway, "/").await.as_deref(), Ok("fine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_behind_tls_http2_and_sockets_are_reached_alike() {
    let authority = Authority::new();
    let text = |request: &http::Request<bytes::Bytes>| Say::text(if request.uri().path() == "/x" { "x" } else { "y" });
    for (speaks, protocol, tls) in [
        (Speaks::Http1, "http1", true),
        (Speaks::Http2, "h2", true),
        (Speaks::Http2, "h2", false),
    ] {
        let alpn: &[&str] = if protocol == "h2" { &["h2"] } else { &["http/1.1"] };
        let acceptor = tls.then(|| authority.sign("localhost").acceptor(alpn));
        let service = Service::start(speaks, acceptor, text).await;
        let keys = if tls {
            format!("tls = {{ ca = {:?} }}\nprotocol = \"{protocol}\"", authority.file())
        } else {
            format!("protocol = \"{protocol}\"")
        };
        let server = format!("localhost:{}", service.address.port());
        let gateway = before(std::slice::from_ref(&server), &keys).await;
        for _ in 0..5 {
            assert_eq!(whole(&gateway, "/x").await.as_deref(), Ok("x"), "{protocol} {tls}");
        }
        drop(get(&gateway, "/x").await.expect("an answer")); // given up
        assert_eq!(whole(&gateway, "/").await.as_deref(), Ok("y"), "{protocol} {tls}");
        // A fast client may come before the last connection is back: seven requests, and not a connection for each.
        assert!(service.connections() < 7, "{protocol} {tls}: no connection was kept");
        assert_eq!(in_flight(&gateway, &server).await, 0.0);
    }
}
