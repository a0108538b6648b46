//! Clients of HTTP/2 that open their windows by next to nothing: what they ask for is not fetched ahead, they are cut, and
//! nobody else waits for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::http2::{PREFACE, ask, before, client, connect, frame, get};
use crate::support::gateway::Running;
use crate::support::origin::{Origin, reply};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A client that writes its frames itself.
struct Raw {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// What came, of what matters here.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Data(u32, Vec<u8>),
    Reset(u32, u32),
    GoAway(u32),
    Closed,
}

impl Raw {
    /// With streams whose windows begin with this.
    async fn open(gateway: &Running, authority: &Authority, window: u32) -> Self {
        let mut raw = Self {
            stream: connect(gateway, authority).await,
            buffer: Vec::new(),
        };
        let setting = [&[0, 4], window.to_be_bytes().as_slice()].concat();
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()).await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The connection may have been ended meanwhile: what came says so.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    async fn get(&mut self, stream: u32) {
        let block = [b"\x82\x84\x87\x41\x09".as_slice(), b"site.test"].concat();
        self.send(&frame(HEADERS, 5, stream, &block)).await;
    }

    async fn grow(&mut self, stream: u32, by: u32) {
        self.send(&frame(WINDOW, 0, stream, &by.to_be_bytes())).await;
    }

    async fn next(&mut self) -> Came {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
        loop {
            while self.buffer.len() < 9 || self.buffer.len() < 9 + length(&self.buffer) {
                let read = self.stream.read_buf(&mut self.buffer);
                if !matches!(timeout(PATIENCE, read).await.expect("in time"), Ok(1..)) {
                    return Came::Closed;
                }
            }
            let all: Vec<u8> = self.buffer.drain(..9 + length(&self.buffer)).collect();
            let (stream, payload) = (number(&all[5..]), &all[9..]);
            match all[3] {
                DATA => return Came::Data(stream, payload.to_vec()),
                RESET => return Came::Reset(stream, number(payload)),
                GOAWAY => return Came::GoAway(number(&payload[4..])),
                SETTINGS if all[4] == 0 => self.send(&frame(SETTINGS, 1, 0, &[])).await,
                _ => {}
            }
        }
    }
}

fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

/// An answer in which every byte can be told from its neighbours.
fn large() -> &'static str {
    let text: String = (b'a'..=b'z').cycle().take(1_000_000).map(char::from).collect();
    Box::leak(text.into_boxed_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_a_byte_is_filled_byte_by_byte_and_holds_nobody_up() {
    let large = large();
    let origin = Origin::start(move |_| reply(200, "", large)).await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut raw = Raw::open(&gateway, &authority, 1).await;
    raw.get(1).await;
    for at in 0..500 {
        assert_eq!(raw.next().await, Came::Data(1, large.as_bytes()[at..=at].to_vec()));
        raw.grow(1, 1).await;
    }
    // Another stream of the connection, whose window is as large as that of the connection, and another connection.
    raw.get(3).await;
    raw.grow(3, 60_000).await;
    let mut taken = Vec::new();
    while taken.len() < 60_001 {
        match raw.next().await {
            Came::Data(3, data) => taken.extend(data),
            Came::Data(1, data) => assert_eq!(data.len(), 1),
            other => panic!("{other:?} after {} bytes", taken.len()),
        }
    }
    assert!(taken == large.as_bytes()[..60_001]);
    let mut other = client(&gateway, &authority).await;
    let answer = ask(&mut other, get("/"), None).await.expect("others are served");
    assert!(answer.body == large.as_bytes());
}

/// Whether it grows in time or not at all: so little is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_do_not_grow_to_something_are_given_up() {
    let large = large();
    let origin = Origin::start(move |_| reply(200, "", large)).await;
    let authority = Authority::new();
    let gateway = before(&authority, "write_timeout = \"1s\"", origin.address, "").await;
    for (window, grows) in [(0, false), (1, false), (1, true)] {
        let mut raw = Raw::open(&gateway, &authority, window).await;
        raw.get(1).await;
        let reset = loop {
            match raw.next().await {
                Came::Data(1, _) if grows => {
                    // Slowly: who does it fast has spent his purse before, see below.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    raw.grow(1, 1).await;
                }
                Came::Data(1, data) => assert_eq!(data.len() as u32, window),
                other => break other,
            }
        };
        assert_eq!(reset, Came::Reset(1, ENHANCE_YOUR_CALM), "{window} {grows}");
        // The connection goes on.
        raw.get(3).await;
        raw.grow(3, 1000).await;
        assert!(matches!(raw.next().await, Came::Data(3, _)), "{window} {grows}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_byte_by_byte_as_fast_as_he_can_is_calmed() {
    let large = large();
    let origin = Origin::start(move |_| reply(200, "", large)).await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    let mut raw = Raw::open(&gateway, &authority, 1).await;
    raw.get(1).await;
    let end = loop {
        match raw.next().await {
            // Several at once, so that no waiting for one another pays for them.
            Came::Data(1, _) => raw.send(&frame(WINDOW, 0, 1, &[0, 0, 0, 1]).repeat(20)).await,
            other => break other,
        }
    };
    assert!(matches!(end, Came::GoAway(ENHANCE_YOUR_CALM)), "{end:?}");
}

/// Answers without end, and how much of them was written.
async fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
                    .await;
                let part = [b'x'; 64 * 1024];
                while stream.write_all(&part).await.is_ok() {
                    count.fetch_add(part.len(), SeqCst);
                }
            });
        }
    });
    (address, written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_not_fetched() {
    const ANSWERS: u32 = 20;
    let (address, written) = endless().await;
    let authority = Authority::new();
    let gateway = before(&authority, "write_timeout = \"1s\"", address, "").await;
    for window in [0, 1] {
        let mut raw = Raw::open(&gateway, &authority, window).await;
        for nth in 0..ANSWERS {
            raw.get(2 * nth + 1).await;
        }
        let mut given_up = 0;
        while given_up < ANSWERS {
            match raw.next().await {
                Came::Data(_, data) => assert_eq!(data.len() as u32, window),
                Came::Reset(_, code) => {
                    assert_eq!(code, ENHANCE_YOUR_CALM);
                    given_up += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        eventually("released", async || {
            gateway.metric("gateway_requests_in_flight").await == 0.0
        })
        .await;
        // What the kernel keeps of a connection is most of it.
        let each = written.swap(0, SeqCst) / ANSWERS as usize;
        assert!(each < 16 << 20, "{each} bytes of each answer were fetched");
    }
}
