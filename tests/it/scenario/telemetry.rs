//! Traces and metrics for a collector, which may be strict, slow, sick or gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::support::collector::{self, Collector, hex, texts};
use crate::support::gateway::{self, Running};
use crate::support::origin::{Origin, Received, Step, reply};
use crate::support::port::{self, Closed};
use crate::support::tls::Authority;
use crate::support::{client, eventually, log};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

fn file(server: &str, collector: &str, keys: &str) -> String {
    format!(
        "trusted_proxies = [\"127.0.0.1\"]\n\
         [telemetry]\nendpoint = \"{collector}\"\ninterval = \"100ms\"\ntimeout = \"20s\"\n{keys}\n\
         [upstream.app]\nservers = [\"{server}\"]\n\
         [[route]]\nname = \"api\"\npath = \"/api/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"closed\"\npath = [\"/closed\", \"/shut\"]\nrespond = {{ status = 403, body = \"no\" }}\n"
    )
}

/// The same with these lines of the upstream, and this server before the one it has.
fn with_another(file: &str, upstream: &str, server: std::net::SocketAddr) -> String {
    file.replace("servers = [", &format!("{upstream}\nservers = [\"{server}\", "))
}

async fn before(origin: &Origin, collector: &str, keys: &str) -> Running {
    gateway::start(&file(&origin.address.to_string(), collector, keys)).await
}

#[track_caller]
fn says(span: &Span, expected: &[(&str, &str)]) {
    let told = texts(&span.attributes);
    for (key, value) in expected {
        assert_eq!(told.get(*key).map(|told| &**told), Some(*value), "{key}: {span:#?}");
    }
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == kind as i32).collect()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_told_with_its_attempt_below_it() {
    let origin = Origin::fixed("hello").await;
    let collector = Collector::start().await;
    let keys = "metrics = false\nservice = \"shop\"\nattributes = { \"deployment.environment.name\" = \"test\" }\n\
                headers = { authorization = \"Bearer s3cret\" }";
    let gateway = before(&origin, &collector.url(), keys).await;
    let fields = format!("traceparent: {PARENT}-01\r\ntracestate: a=b\r\nUser-Agent: agent/1\r\n");
    let answer = client::get(gateway.address, "/api/deals?token=s3cret", &fields).await;
    assert_eq!(answer.status, 200);

    let spans = collector.told.all(2).await;
    let (server, attempt) = (
        of_kind(&spans, SpanKind::Server)[0],
        of_kind(&spans, SpanKind::Client)[0],
    );
    assert_eq!(hex(&server.trace_id), PARENT[3..35]);
    assert_eq!(hex(&server.parent_span_id), PARENT[36..]);
    assert_eq!(
        (&attempt.trace_id, &attempt.parent_span_id),
        (&server.trace_id, &server.span_id)
    );
    assert_eq!((&*server.name, &*attempt.name), ("GET /api/*", "GET"));
    assert!(!is_error(server) && !is_error(attempt));
    assert_eq!(
        (server.flags, attempt.flags),
        (0x301, 0x101),
        "of a remote caller, sampled"
    );
    // The application goes on below the attempt, the client is told of the request.
    let below = format!("{}-{}-01", &PARENT[..35], hex(&attempt.span_id));
    assert_eq!(origin.last().header("traceparent"), Some(&*below));
    assert_eq!(origin.last().header("tracestate"), Some("a=b"));
    let told = format!("{}-{}-01", &PARENT[..35], hex(&server.span_id));
    assert_eq!(answer.header("traceparent"), Some(&*told));

    let port = gateway.address.port().to_string();
    says(
        server,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/api/*"),
            ("url.scheme", "http"),
            ("url.path", "/api/deals"),
            ("server.address", "site.test"),
            ("server.port", &port),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "agent/1"),
            ("gateway.request_id", answer.header("x-request-id").expect("an id")),
            ("gateway.route", "api"),
            ("gateway.attempts", "1"),
        ],
    );
    let address = origin.address;
    says(
        attempt,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", &address.port().to_string()),
            ("gateway.upstream", "app"),
        ],
    );
    assert!(attempt.start_time_unix_nano >= server.start_time_unix_nano);
    let resource = collector.told.resource();
    assert_eq!(resource["service.name"], "shop");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(!resource["service.instance.id"].is_empty());
    let sent = collector.origin.last();
    assert_eq!(sent.header("authorization"), Some("Bearer s3cret"));
    assert!(
        !String::from_utf8_lossy(&sent.body).contains("s3cret"),
        "queries stay here"
    );
    // Counted when the collector's answer is there, which it gives after it has told us.
    eventually("they are counted", async || {
        gateway.metric("gateway_telemetry_spans_total{result=\"sent\"}").await == 2.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_recorded_is_told_only_where_it_fails() {
    let origin = Origin::start(|received: &Received| match received.line() {
        line if line.contains("/api/sick") => reply(500, "", ""),
        _ => reply(200, "", ""),
    })
    .await;
    let collector = Collector::start().await;
    let gateway = before(&origin, &collector.url(), "metrics = false\nsample = \"0%\"").await;
    assert_eq!(gateway.get("/api/good").await.status, 200);
    let unsampled = origin.last().header("traceparent").expect("a trace").to_owned();
    assert!(unsampled.ends_with("-00"), "applications are told: {unsampled}");
    assert_eq!(gateway.get("/closed").await.status, 403);
    assert_eq!(gateway.get("/api/sick").await.status, 500);
    let spans = collector.told.all(2).await;
    let (server, attempt) = (
        of_kind(&spans, SpanKind::Server)[0],
        of_kind(&spans, SpanKind::Client)[0],
    );
    says(server, &[("url.path", "/api/sick"), ("error.type", "500")]);
    says(attempt, &[("http.response.status_code", "500"), ("error.type", "500")]);
    assert!(is_error(server) && is_error(attempt));
    assert_eq!(attempt.parent_span_id, server.span_id);
    assert_eq!(server.flags & 1, 0);

    // Who is trusted decides.
    client::get(gateway.address, "/closed", &format!("traceparent: {PARENT}-01\r\n")).await;
    let spans = collector.told.all(3).await;
    says(
        &spans[2],
        &[
            ("url.path", "/closed"),
            ("http.response.status_code", "403"),
            ("gateway.route", "closed"),
        ],
    );
    assert!(!is_error(&spans[2]), "that is the client's affair");
    assert!(
        !texts(&spans[2].attributes).contains_key("http.route"),
        "it has two paths"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_is_told() {
    let origin = Origin::fixed("hello").await;
    let closed = Closed::new();
    let collector = Collector::start().await;
    let file = file(
        &origin.address.to_string(),
        &collector.url(),
        "metrics = false\nsample = \"100%\"",
    );
    let file = with_another(
        &file,
        "balance = \"round-robin\"\nretry = { attempts = 2 }",
        closed.address,
    );
    let gateway = gateway::start(&file).await;
    // At least one of two of them meets the server that is not there.
    for _ in 0..2 {
        assert_eq!(gateway.get("/api/deals").await.status, 200);
    }
    let both = || of_kind(&collector.told.spans(), SpanKind::Server).len() == 2;
    eventually("both requests are told", async || both()).await;
    let spans = collector.told.spans();
    let failed: Vec<_> = spans.iter().filter(|span| is_error(span)).collect();
    assert!(!failed.is_empty(), "{spans:#?}");
    says(
        failed[0],
        &[
            ("error.type", "connect"),
            ("server.port", &closed.address.port().to_string()),
        ],
    );
    let second = spans
        .iter()
        .find(|span| span.parent_span_id == failed[0].parent_span_id && !is_error(span))
        .expect("the attempt after it");
    says(
        second,
        &[("http.request.resend_count", "1"), ("http.response.status_code", "200")],
    );
    let server = spans
        .iter()
        .find(|span| span.span_id == second.parent_span_id)
        .expect("the request");
    says(server, &[("gateway.attempts", "2")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_and_that_is_told() {
    let closed = Closed::new();
    let collector = Collector::start().await;
    let file = file(
        &closed.address.to_string(),
        &collector.url(),
        "metrics = false\nsample = \"0%\"",
    );
    let gateway = gateway::start(&file).await;
    let answer = gateway.get("/api/deals").await;
    assert_eq!(answer.status, 502);
    let spans = collector.told.all(3).await;
    let (server, attempt) = (
        of_kind(&spans, SpanKind::Server)[0],
        of_kind(&spans, SpanKind::Client)[1],
    );
    says(
        server,
        &[
            ("error.type", "bad_gateway"),
            ("gateway.refusal", "bad_gateway"),
            ("gateway.attempts", "2"),
        ],
    );
    says(attempt, &[("http.request.resend_count", "1")]);
    says(attempt, &[("error.type", "connect")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_is_read_and_both_forms_are_passed_on() {
    let origin = Origin::fixed("hello").await;
    let collector = Collector::start().await;
    let keys = "metrics = false\nsample = \"0%\"\npropagation = [\"b3\", \"w3c\"]";
    let gateway = before(&origin, &collector.url(), keys).await;
    let (trace, span) = (&PARENT[3..35], &PARENT[36..]);
    let single = format!("b3: {trace}-{span}-1\r\n");
    let several = format!("X-B3-TraceId: {trace}\r\nX-B3-SpanId: {span}\r\nX-B3-Sampled: 1\r\n");
    for (count, fields) in [(2, single), (4, several)] {
        client::get(gateway.address, "/api/deals", &fields).await;
        let spans = collector.told.all(count).await;
        let attempt = of_kind(&spans, SpanKind::Client)[count / 2 - 1];
        let server = of_kind(&spans, SpanKind::Server)[count / 2 - 1];
        assert_eq!(
            (hex(&server.trace_id), hex(&server.parent_span_id)),
            (trace.to_owned(), span.to_owned())
        );
        let (seen, own) = (origin.last(), hex(&attempt.span_id));
        assert_eq!(seen.header("b3"), Some(&*format!("{trace}-{own}-1")));
        assert_eq!(seen.header("x-b3-traceid"), Some(trace));
        assert_eq!(seen.header("x-b3-spanid"), Some(&*own));
        assert_eq!(seen.header("x-b3-sampled"), Some("1"));
        assert_eq!(seen.header("traceparent"), Some(&*format!("00-{trace}-{own}-01")));
    }
    // Without a collector fields are read and written all the same.
    gateway
        .reload(&format!(
            "trusted_proxies = [\"127.0.0.1\"]\n[telemetry]\npropagation = [\"b3\"]\n\
             [upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"api\"\npath = \"/*\"\nupstream = \"app\"\n",
            origin.address
        ))
        .await
        .expect("reloaded");
    let answer = client::get(gateway.address, "/api/deals", &format!("b3: {trace}-{span}-0\r\n")).await;
    let seen = origin.last();
    assert!(
        seen.header("b3")
            .is_some_and(|b3| b3.starts_with(trace) && b3.ends_with("-0")),
        "{}",
        seen.head
    );
    assert_eq!((seen.header("traceparent"), answer.header("traceparent")), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_told_as_they_are_shown() {
    let origin = Origin::fixed("hello").await;
    let collector = Collector::start().await;
    let gateway = before(&origin, &collector.url(), "traces = false").await;
    for _ in 0..3 {
        gateway.get("/api/deals").await;
    }
    let counted = || {
        let metric = collector.told.metric("gateway_requests_total")?;
        let Some(Data::Sum(sum)) = metric.data else {
            panic!("not a sum")
        };
        assert!(sum.is_monotonic);
        let api = |labels: &[_]| texts(labels)["route"] == "api";
        let point = sum.data_points.iter().find(|point| api(&point.attributes))?.clone();
        assert!(point.start_time_unix_nano <= point.time_unix_nano);
        Some((texts(&point.attributes), point.value))
    };
    eventually("three requests are told", async || {
        counted().is_some_and(|(_, value)| value == Some(Value::AsDouble(3.0)))
    })
    .await;
    let (labels, _) = counted().expect("a count");
    assert_eq!((&*labels["method"], &*labels["status"]), ("GET", "2xx"));
    let Some(Data::Histogram(times)) = collector
        .told
        .metric("gateway_request_duration_seconds")
        .expect("a histogram")
        .data
    else {
        panic!("not a histogram")
    };
    let point = &times.data_points[0];
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    assert!(collector.told.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_sends_what_waits() {
    let origin = Origin::fixed("hello").await;
    let collector = Collector::start().await;
    let gateway = before(&origin, &collector.url(), "sample = \"100%\"").await;
    gateway
        .reload(&file(&origin.address.to_string(), &collector.url(), "sample = \"100%\"").replace("100ms", "1h"))
        .await
        .expect("reloaded");
    gateway.get("/api/deals").await;
    gateway.logged(1).await;
    gateway.drain(None).await;
    assert_eq!(collector.told.spans().len(), 2);
    assert!(collector.told.metric("gateway_requests_total").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_costs_requests_nothing_and_is_told_when_it_comes() {
    log::keep();
    let origin = Origin::fixed("hello").await;
    let address = port::free();
    let url = format!("http://{address}");
    let gateway = before(&origin, &url, "metrics = false\nsample = \"100%\"").await;
    assert_eq!(gateway.get("/api/deals").await.status, 200);
    let failed = "gateway_telemetry_exports_total{result=\"failed\",signal=\"traces\"}";
    eventually("a failure", async || gateway.metric(failed).await >= 1.0).await;
    let collector = Collector::again(address).await;
    collector.told.all(2).await;
    gateway.get("/api/deals").await;
    collector.told.all(4).await;
    let lines = |what: &str| log::lines_with(&url).iter().filter(|line| line.contains(what)).count();
    eventually("the log says so", async || lines("takes what it is sent again") == 1).await;
    assert_eq!(lines("telemetry cannot be sent"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_busy_gets_the_same_spans_again() {
    let origin = Origin::fixed("hello").await;
    let busy = Arc::new(AtomicBool::new(true));
    let is_busy = Arc::clone(&busy);
    let collector = Collector::answering(move |_| match is_busy.swap(false, SeqCst) {
        true => reply(503, "Retry-After: 0\r\n", ""),
        false => reply(200, "", ""),
    })
    .await;
    let gateway = before(&origin, &collector.url(), "metrics = false\nsample = \"100%\"").await;
    gateway.get("/api/deals").await;
    collector.told.all(2).await;
    let requests = collector.origin.received();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(
        gateway
            .metric("gateway_telemetry_spans_total{result=\"dropped\"}")
            .await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_understand_is_not_told_twice() {
    let origin = Origin::fixed("hello").await;
    let garbage = |_: &Received| {
        vec![Step::Send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec(),
        )]
    };
    for (collector, lost) in [
        (Origin::start(|_| reply(400, "", "")).await, 2.0),
        (Origin::start(|_| reply(404, "", "")).await, 2.0),
        (Origin::start(garbage).await, 2.0),
        // partial_success { rejected_spans: 1 }
        (Origin::start(|_| reply(200, "", "\x0a\x02\x08\x01")).await, 1.0),
    ] {
        let url = format!("http://{}", collector.address);
        let gateway = before(&origin, &url, "metrics = false\nsample = \"100%\"").await;
        gateway.get("/api/deals").await;
        let dropped = "gateway_telemetry_spans_total{result=\"dropped\"}";
        eventually("they are lost", async || gateway.metric(dropped).await == lost).await;
        assert_eq!(collector.received().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_and_silence_hold_nobody_up() {
    let origin = Origin::fixed("hello").await;
    for collector in [
        Origin::start(|_| vec![Step::Hang]).await,
        Origin::start(|_| vec![Step::Close]).await,
        Origin::start(|_| vec![Step::Send(b"\x16\x03\x01nonsense\r\n\r\n".to_vec()), Step::Close]).await,
        Origin::start(|_| {
            let endless = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_owned() + &"x".repeat(200_000);
            vec![Step::Send(endless.into_bytes()), Step::Hang]
        })
        .await,
    ] {
        let url = format!("http://{}", collector.address);
        let file = file(&origin.address.to_string(), &url, "sample = \"100%\"").replace("\"20s\"", "\"200ms\"");
        let gateway = gateway::start(&file).await;
        gateway.get("/api/deals").await;
        let failed = "gateway_telemetry_exports_total{result=\"failed\",signal=\"traces\"}";
        eventually("a failure", async || gateway.metric(failed).await >= 1.0).await;
        assert_eq!(gateway.get("/api/deals").await.status, 200);
        // A stop is not held up either: the support of these tests loses its patience after 20 s.
        gateway.drain(None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_the_queue_waits() {
    let origin = Origin::fixed("hello").await;
    let collector = Origin::start(|_| vec![Step::Hang]).await;
    let url = format!("http://{}", collector.address);
    let file =
        file(&origin.address.to_string(), &url, "metrics = false\nsample = \"100%\"").replace("\"20s\"", "\"1h\"");
    let gateway = gateway::start(&file).await;
    let mut asked = 0;
    let dropped = "gateway_telemetry_spans_total{result=\"dropped\"}";
    while gateway.metric(dropped).await == 0.0 {
        let mut connection = gateway.connect().await;
        for _ in 0..250 {
            let answer = connection.ask("GET /closed HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
            assert_eq!(answer.status, 403);
            asked += 1;
        }
        assert!(asked < 10_000, "there must be an end");
    }
    assert!(asked >= 4096, "the queue is of use: {asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_who_is_told_and_loses_nothing() {
    let origin = Origin::fixed("hello").await;
    let (one, other) = (Collector::start().await, Collector::start().await);
    let server = origin.address.to_string();
    let slow = file(&server, &one.url(), "metrics = false\nsample = \"100%\"").replace("100ms", "1h");
    let gateway = gateway::start(&slow).await;
    gateway.get("/api/deals").await;
    gateway.logged(1).await;
    let text = file(&server, &other.url(), "metrics = false\nsample = \"100%\"");
    gateway.reload(&text).await.expect("reloaded");
    gateway.get("/api/deals").await;
    one.told.all(2).await;
    other.told.all(2).await;
    // Without the section nobody is told, and traces are as they were before there was one.
    let (_, rest) = text.split_once("[upstream").expect("upstreams");
    gateway.reload(&format!("[upstream{rest}")).await.expect("reloaded");
    gateway.get("/api/deals").await;
    assert!(
        origin
            .last()
            .header("traceparent")
            .is_some_and(|trace| trace.ends_with("-01"))
    );
    gateway.drain(None).await;
    assert_eq!((one.told.spans().len(), other.told.spans().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_carries_the_same() {
    let origin = Origin::fixed("hello").await;
    let (service, told) = collector::grpc("0", None).await;
    let url = format!("http://{}", service.address);
    let keys = "protocol = \"grpc\"\nsample = \"100%\"\nheaders = { x-key = \"s3cret\" }";
    let gateway = before(&origin, &url, keys).await;
    gateway.get("/api/deals").await;
    let spans = told.all(2).await;
    says(of_kind(&spans, SpanKind::Server)[0], &[("url.path", "/api/deals")]);
    eventually("metrics come, too", async || {
        told.metric("gateway_requests_total").is_some()
    })
    .await;
    assert_eq!(service.last_field("x-key").as_deref(), Some("s3cret"));

    let (sick, _) = collector::grpc("3", None).await;
    gateway
        .reload(&file(
            &origin.address.to_string(),
            &format!("http://{}", sick.address),
            "protocol = \"grpc\"\nmetrics = false\nsample = \"100%\"",
        ))
        .await
        .expect("reloaded");
    gateway.get("/api/deals").await;
    let dropped = "gateway_telemetry_spans_total{result=\"dropped\"}";
    eventually("they are refused", async || gateway.metric(dropped).await == 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_behind_tls_is_verified() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let acceptor = authority.sign("localhost").acceptor(&["h2"]);
    let (service, told) = collector::grpc("0", Some(acceptor)).await;
    let url = format!("https://localhost:{}", service.address.port());
    let keys = "protocol = \"grpc\"\nmetrics = false\nsample = \"100%\"";
    let ca = format!("{keys}\nca = {:?}", authority.file());
    let gateway = before(&origin, &url, &ca).await;
    gateway.get("/api/deals").await;
    told.all(2).await;
    // Without its authority it is a stranger.
    gateway
        .reload(&file(&origin.address.to_string(), &url, keys))
        .await
        .expect("reloaded");
    gateway.get("/api/deals").await;
    let failed = "gateway_telemetry_exports_total{result=\"failed\",signal=\"traces\"}";
    eventually("it is not believed", async || gateway.metric(failed).await >= 1.0).await;
    assert_eq!(told.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cache_fetches_stands_below_who_asked_and_a_hit_alone() {
    let origin = Origin::start(|_| reply(200, "Cache-Control: max-age=60\r\n", "hello")).await;
    let collector = Collector::start().await;
    let file = file(
        &origin.address.to_string(),
        &collector.url(),
        "metrics = false\nsample = \"100%\"",
    )
    .replace(
        "path = \"/api/*\"\nupstream = \"app\"\n",
        "path = \"/api/*\"\nupstream = \"app\"\ncache = \"short\"\n",
    );
    let gateway = gateway::start(&format!("{file}[cache.short]\n")).await;
    for count in [2, 3] {
        assert_eq!(gateway.get("/api/deals").await.text(), "hello");
        collector.told.all(count).await;
    }
    let spans = collector.told.spans();
    let (servers, attempts) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
    says(servers[0], &[("gateway.cache", "miss")]);
    says(servers[1], &[("gateway.cache", "hit")]);
    assert_eq!((attempts.len(), &attempts[0].parent_span_id), (1, &servers[0].span_id));
    says(
        attempts[0],
        &[("http.response.status_code", "200"), ("http.request.method", "GET")],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_attempts_of_a_hedge_are_told() {
    let stalling = Origin::start(|_| vec![Step::Hang]).await;
    let good = Origin::fixed("hello").await;
    let collector = Collector::start().await;
    let file = file(
        &stalling.address.to_string(),
        &collector.url(),
        "metrics = false\nsample = \"100%\"",
    );
    let file = with_another(
        &file,
        "balance = \"round-robin\"\nhedge = { after = \"1s\", budget = \"100%\" }",
        good.address,
    );
    let gateway = gateway::start(&file).await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/api/deals").await.text(), "hello");
    }
    let outrun = |spans: &[Span]| {
        let port = stalling.address.port().to_string();
        let is = |span: &&Span| {
            texts(&span.attributes)
                .get("error.type")
                .is_some_and(|error| error == "outrun")
        };
        let found = spans.iter().find(is).cloned()?;
        says(&found, &[("server.port", &port)]);
        Some(found)
    };
    eventually("the slow one is told", async || {
        outrun(&collector.told.spans()).is_some()
    })
    .await;
    let spans = collector.told.spans();
    let loser = outrun(&spans).expect("the slow one");
    let winner = spans
        .iter()
        .find(|span| span.parent_span_id == loser.parent_span_id && span.span_id != loser.span_id)
        .expect("the other one");
    says(
        winner,
        &[
            ("http.response.status_code", "200"),
            ("server.port", &good.address.port().to_string()),
        ],
    );
    assert!(winner.start_time_unix_nano >= loser.start_time_unix_nano);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gate_refuses_is_told_too() {
    let origin = Origin::fixed("hello").await;
    let collector = Collector::start().await;
    let gateway = before(&origin, &collector.url(), "metrics = false\nsample = \"100%\"").await;
    let answer = client::ask(
        gateway.address,
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
    )
    .await;
    assert_eq!(answer.status, 400);
    let spans = collector.told.all(1).await;
    says(&spans[0], &[("http.response.status_code", "400"), ("url.path", "/x")]);
    assert!(texts(&spans[0].attributes).contains_key("gateway.refusal"));
}
