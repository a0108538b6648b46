//! Labels come from names in the file: a hundred thousand paths, hosts, methods and users add none, while a real
//! Prometheus watches.

use std::net::SocketAddr;

use super::prometheus::Prometheus;
use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::origin::Origin;
use crate::support::process::Process;

const TOKEN: &str = "a-token-of-twenty-4-bytes";
const CLIENTS: u64 = 4;
/// Requests that are on their way on one connection at a time.
const BATCH: u64 = 50;

/// A request that nobody has ever made before.
fn request(number: u64) -> String {
    let method = match number % 4 {
        0 => format!("M{number}"),
        1 => "POST".to_owned(),
        _ => "GET".to_owned(),
    };
    let place = match number % 20 {
        0 => "app/",
        1 => "kept/",
        2..6 => "nowhere/",
        _ => "",
    };
    format!(
        "{method} /{place}{number:x}?q={number} HTTP/1.1\r\nHost: h{number}.example\r\nUser-Agent: a{number}\r\n\
         X-Forwarded-For: 10.{}.{}.{}\r\nX-User: {number}\r\nReferer: http://{number}/\r\nContent-Length: 0\r\n\r\n",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255,
    )
}

async fn ask(gateway: SocketAddr, numbers: std::ops::Range<u64>) {
    let mut connection = Connection::open(gateway).await;
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let batch: Vec<u64> = numbers.by_ref().take(BATCH as usize).collect();
        let text: String = batch.iter().map(|number| request(*number)).collect();
        connection.send(&text).await;
        for _ in batch {
            connection.response(false).await.expect("an answer");
        }
    }
}

async fn ask_together(gateway: SocketAddr, from: u64, to: u64) {
    let share = (to - from) / CLIENTS;
    let clients = (0..CLIENTS).map(|client| {
        let first = from + client * share;
        tokio::spawn(ask(gateway, first..first + share))
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_add_no_series() {
    let origin = Origin::fixed("hello").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("gateway.toml");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nkeepalive_requests = 1000000\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n\
         [access_log]\nenabled = false\n\
         [rate_limit.each]\nrate = \"1000/s\"\nkey = [\"client-ip\", \"header:x-user\"]\n\
         [cache.kept]\ndefault_ttl = \"1h\"\n\
         [upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\npath = \"~^/[0-9a-f]+$\"\nrate_limit = [\"each\"]\nrespond = {{ body = \"x\" }}\n\
         [[route]]\nname = \"app\"\npath = \"/app/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"kept\"\npath = \"/kept/*\"\nupstream = \"app\"\ncache = \"kept\"\n",
        origin.address
    );
    std::fs::write(&file, text).expect("file");
    let gateway = Process::run(&file).await;
    let prometheus = Prometheus::start(gateway.admin.expect("on"), TOKEN).await;

    let mut asked = 0;
    let mut series = Vec::new();
    for upto in [2_000, 20_000, 40_000, 60_000, 80_000, 100_000] {
        ask_together(gateway.address, asked, upto).await;
        asked = upto;
        eventually("Prometheus has seen them all", async || {
            prometheus.number("sum(gateway_requests_total)").await == Some(asked as f64)
        })
        .await;
        let mut count = None;
        eventually("it has them still", async || {
            // After a look that took too long it has none, until the next one.
            let all = "count({job=\"gateway\",__name__=~\"(gateway|process)_.*\"})";
            count = prometheus.number(all).await;
            count.is_some()
        })
        .await;
        series.push(count.expect("a count"));
    }
    // The first two thousand have shown every combination of method, status and verdict there is.
    assert!(
        series.iter().all(|count| *count == series[0]),
        "series grew: {series:?}"
    );
    let values = prometheus.query("count by (route) (gateway_requests_total)").await;
    let mut routes: Vec<&str> = values
        .iter()
        .filter_map(|value| value["metric"]["route"].as_str())
        .collect();
    routes.sort_unstable();
    assert_eq!(routes, ["-", "all", "app", "kept"]);
    let answered = prometheus.number("sum_over_time(up[1h])").await.expect("a count");
    assert!(answered >= 6.0, "it watched for the whole time: {answered}");
}
