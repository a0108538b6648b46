//! Four gateways as processes and one Redis, three times as much as the limit admits: what passes in any window.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use crate::support::client::Connection;
use crate::support::process::{Process, command};
use crate::support::redis::Redis;

/// A request that passed: when it was sent and when its answer was there, seconds.
type Passed = (f64, f64);

/// What became of some load.
#[derive(Default)]
pub(super) struct Load {
    pub(super) passed: Vec<Passed>,
    pub(super) refused: usize,
    /// Whatever should not have happened.
    pub(super) odd: Vec<String>,
    /// How long each request took, seconds.
    pub(super) took: Vec<f64>,
}

/// The file of a gateway that shares this Redis.
pub(super) fn file(redis: &str, limit: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\n[admin]\nlisten = false\n[access_log]\nenabled = false\n{redis}\n\
         [rate_limit.key]\nkey = \"route\"\n{limit}\n[[route]]\nname = \"a\"\npath = \"/*\"\nrate_limit = [\"key\"]\n\
         respond = {{ body = \"ok\" }}\n"
    )
}

/// Four processes with this file.
pub(super) async fn four(directory: &tempfile::TempDir, text: &str) -> Vec<Process> {
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).expect("file");
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(Process::run_as(command(), &path).await);
    }
    all
}

/// Sends so many requests a second to each of these, for so long, on one connection each that is opened again if need be.
pub(super) async fn load(gateways: &[SocketAddr], each: f64, length: Duration) -> Load {
    let began = Instant::now();
    let senders: Vec<_> = gateways
        .iter()
        .map(|address| {
            let address = *address;
            tokio::spawn(async move {
                let mut load = Load::default();
                let mut connection = None;
                let mut next = began;
                while next < began + length {
                    next += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / each);
                    sleep_until(next).await;
                    let mut open = match connection.take() {
                        Some(open) => open,
                        None => match tokio::net::TcpStream::connect(address).await {
                            Ok(stream) => Connection::over(stream),
                            Err(_) => continue, // it was killed
                        },
                    };
                    let sent = began.elapsed().as_secs_f64();
                    open.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                    let Some(answer) = open.response(false).await else {
                        continue;
                    };
                    let there = began.elapsed().as_secs_f64();
                    load.took.push(there - sent);
                    match answer.status {
                        200 => load.passed.push((sent, there)),
                        429 => load.refused += 1,
                        _ => load.odd.push(format!("{answer:?}")),
                    }
                    connection = Some(open);
                }
                load
            })
        })
        .collect(); // all at once
    let mut all = Load::default();
    for sender in senders {
        let load = sender.await.expect("a sender");
        all.passed.extend(load.passed);
        all.refused += load.refused;
        all.odd.extend(load.odd);
        all.took.extend(load.took);
    }
    all
}

/// The least burst `b` for which in every window no more than `b + rate·w` were admitted for certain: sent after it began
/// and answered before it ended.
fn depth(passed: &[Passed], rate: f64) -> f64 {
    let mut passed = passed.to_vec();
    passed.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut depth = 0.0_f64;
    for (begin, _) in &passed {
        let mut count = 0.0;
        for (_, end) in passed.iter().filter(|(sent, _)| sent >= begin) {
            count += 1.0;
            depth = depth.max(count - rate * (end - begin));
        }
    }
    depth
}

#[test]
fn depth_is_what_a_bucket_would_have_had_to_hold() {
    let moments = |times: &[f64]| -> Vec<Passed> { times.iter().map(|time| (*time, *time)).collect() };
    assert_eq!(depth(&moments(&[0.0, 0.0, 0.0]), 10.0), 3.0);
    assert_eq!(depth(&moments(&[0.0, 0.5, 1.0]), 1.0), 2.0);
    assert_eq!(depth(&moments(&[0.0, 5.0, 10.0]), 1.0), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_gateways_admit_no_more_than_the_bound() {
    let directory = tempfile::tempdir().expect("directory");
    for (limit, bound) in [
        // A lease lasts 100 ms: 20 units.
        ("rate = \"200/s\"", 220.0),
        ("rate = \"200/s\"\nstrict = true", 200.0),
        ("rate = \"200/s\"\nexact = true", 200.0),
    ] {
        let redis = Redis::start().await;
        let store = format!("[redis]\nurl = \"{}\"\ntimeout = \"2s\"", redis.url());
        let mut gateways = four(&directory, &file(&store, limit)).await;
        redis.knows_gateways(4).await;
        let addresses: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.address).collect();
        // One of them is killed while it holds leases.
        let first = load(&addresses, 150.0, Duration::from_millis(2500));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            gateways.pop().expect("a gateway").signal(Signal::KILL);
        };
        let (load, ()) = tokio::join!(first, killing);
        assert_eq!(load.odd, Vec::<String>::new(), "{limit}");
        let depth = depth(&load.passed, 200.0);
        println!(
            "{limit}: {} passed, {} refused, depth {depth:.1} of {bound}",
            load.passed.len(),
            load.refused
        );
        assert!(depth <= bound + 0.001, "{limit}: {depth} of {bound}");
        assert!(load.passed.len() > 180, "{limit}: {}", load.passed.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_is_never_one_too_many() {
    let directory = tempfile::tempdir().expect("directory");
    let redis = Redis::start().await;
    let store = format!("[redis]\nurl = \"{}\"\ntimeout = \"2s\"", redis.url());
    let gateways = four(&directory, &file(&store, "rate = \"50/d\"\nexact = true")).await;
    redis.knows_gateways(4).await;
    let addresses: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.address).collect();
    let load = load(&addresses, 100.0, Duration::from_secs(1)).await;
    assert_eq!(load.odd, Vec::<String>::new());
    assert_eq!(load.passed.len(), 50);
}

/// What is said in docs/shared-limits.md: `cargo test --profile quick --test it figures -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, for half a minute"]
async fn figures() {
    let directory = tempfile::tempdir().expect("directory");
    for (limit, each, length) in [
        ("rate = \"1000/s\"", 237.5, 10),
        ("rate = \"300/s\"", 225.0, 10),
        ("rate = \"300/s\"\nexact = true", 225.0, 10),
        ("rate = \"1000000/s\"", 225.0, 5),
    ] {
        for shared in [true, false] {
            let mut redis = Redis::start().await;
            let store = format!("[redis]\nurl = \"{}\"", redis.url());
            let text = file(if shared { &store } else { "" }, limit);
            let gateways = four(&directory, &text).await;
            if shared {
                redis.knows_gateways(4).await;
            }
            redis.ask::<()>(&["CONFIG", "RESETSTAT"]).await;
            let addresses: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.address).collect();
            let mut load = load(&addresses, each, Duration::from_secs(length)).await;
            // Without the heartbeats.
            let calls = redis.script_calls().await.saturating_sub(4 * length) as f64;
            let requests = load.took.len();
            load.took.sort_by(f64::total_cmp);
            let at = |share: f64| load.took[((requests - 1) as f64 * share) as usize] * 1e6;
            let rate: f64 = limit
                .split('"')
                .nth(1)
                .and_then(|rate| rate.strip_suffix("/s"))
                .map_or(0.0, |rate| rate.parse().expect("a number"));
            println!(
                "{limit:?} shared {shared}: {requests} requests, {} passed, calls {:.1} %, depth {:.0} of {rate}, p50 {:.0} us, \
                 p99 {:.0} us, odd {}",
                load.passed.len(),
                calls * 100.0 / requests as f64,
                depth(&load.passed, rate),
                at(0.5),
                at(0.99),
                load.odd.len()
            );
            if shared && limit.ends_with("true") {
                print!("{}", recover(&mut redis, &addresses).await);
            }
        }
    }
}

/// How long after its return Redis is asked again, in words.
async fn recover(redis: &mut Redis, addresses: &[SocketAddr]) -> String {
    let mut told = String::new();
    for fault in ["frozen", "killed"] {
        for outage in [1, 5] {
            match fault {
                "frozen" => redis.freeze(),
                _ => redis.kill().await,
            }
            let during = load(addresses, 100.0, Duration::from_secs(outage)).await;
            let slowest = during.took.iter().copied().fold(0.0, f64::max) * 1e3;
            match fault {
                "frozen" => redis.thaw(),
                _ => redis.restart().await,
            }
            let back = Instant::now();
            redis.ask::<()>(&["DEL", "gw:gateways"]).await;
            redis.ask::<()>(&["CONFIG", "RESETSTAT"]).await;
            redis.knows_gateways(4).await;
            told += &format!(
                "{fault} for {outage} s: {} answers, {} odd, the slowest {slowest:.0} ms; all four back after {:.0} ms, {} connections\n",
                during.took.len(),
                during.odd.len(),
                back.elapsed().as_secs_f64() * 1e3,
                redis.connections().await
            );
        }
    }
    told
}
