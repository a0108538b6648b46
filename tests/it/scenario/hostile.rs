//! Garbage, huge and slow input, while a well-behaved client is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client;
use crate::support::gateway::fast_lane;
use crate::support::origin::Origin;
use crate::support::process::Process;

/// A small generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn garbage(random: &mut Random) -> Vec<u8> {
    let mut request = b"POST /a?b HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\nhello".to_vec();
    match random.below(5) {
        0 => (0..random.below(600)).map(|_| random.next() as u8).collect(),
        1 => {
            // A good request with a few bytes changed.
            for _ in 0..=random.below(6) {
                let at = random.below(request.len());
                request[at] = random.next() as u8;
            }
            request
        }
        2 => {
            request.truncate(random.below(request.len()));
            request
        }
        3 => [
            b"GET /".as_slice(),
            &vec![b'a'; random.below(100_000)],
            b" HTTP/1.1\r\nHost: a\r\n\r\n",
        ]
        .concat(),
        _ => {
            let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
            for index in 0..random.below(2000) {
                head.extend(format!("X-{index}: {}\r\n", "y".repeat(random.below(50))).bytes());
            }
            head.extend(b"\r\n");
            head
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_bad_requests_bring_nothing_down() {
    let origin = Origin::fixed("hello").await;
    // A process of its own, so that its memory is nobody else's.
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("gateway.toml");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nfast_lane = {}\nheader_timeout = \"5s\"\nbody_timeout = \"2s\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[access_log]\nenabled = false\n[upstream.app]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n",
        fast_lane(),
        origin.address
    );
    std::fs::write(&file, text).expect("file");
    let gateway = Process::run(&file).await;
    let address = gateway.address;
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let well_behaved = tokio::spawn({
        let (over, served) = (Arc::clone(&over), Arc::clone(&served));
        async move {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(client::get(address, "/good", "").await.status, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let before = gateway.resident_kib();
    let mut attackers = tokio::task::JoinSet::new();
    for seed in 0..20 {
        attackers.spawn(async move {
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed + 1));
            for _ in 0..500 {
                let Ok(mut stream) = TcpStream::connect(address).await else {
                    continue;
                };
                let _ = stream.write_all(&garbage(&mut random)).await;
                let _ = stream.shutdown().await;
                let mut sink = Vec::new();
                let read = stream.read_to_end(&mut sink);
                assert!(
                    tokio::time::timeout(Duration::from_secs(30), read).await.is_ok(),
                    "the gate lets go"
                );
            }
        });
    }
    // And some that never finish what they began.
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
        slow.push(stream);
    }
    while let Some(attacker) = attackers.join_next().await {
        attacker.expect("an attacker saw what it expected");
    }
    over.store(true, Ordering::Relaxed);
    well_behaved
        .await
        .expect("the well-behaved client was served all the while");
    assert!(served.load(Ordering::Relaxed) > 20);
    let metrics = client::admin(gateway.admin.expect("on"), "/metrics").await;
    assert!(
        metrics.text().contains("gateway_panics_total 0\n"),
        "{}",
        metrics.text()
    );
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 200 * 1024, "memory grew by {grown} KiB");
}
