//! Clients of HTTP/2 that open their windows by next to nothing: what they ask for is not fetched ahead, they are cut, and
//! nobody else waits for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::frames::{
    DATA, ENHANCE_YOUR_CALM, GET, GOAWAY, HEADERS, RESET, Raw, SETTINGS, WINDOW, frame, setting,
};
use crate::support::gateway::Running;
use crate::support::http2::{ask, before, client, get};
use crate::support::origin::{Origin, reply};
use crate::support::tls::Authority;
use crate::support::{PATIENCE, eventually};

/// What came, of what matters here.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Data(u32, Vec<u8>),
    Reset(u32, u32),
    GoAway(u32),
    Closed,
}

/// A client with streams whose windows begin with this.
async fn open(gateway: &Running, authority: &Authority, window: u32) -> Raw {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    Raw::open(gateway, authority, &setting(INITIAL_WINDOW_SIZE, window)).await
}

async fn ask_for(raw: &mut Raw, stream: u32) {
    raw.send(&frame(HEADERS, 5, stream, GET)).await;
}

async fn grow(raw: &mut Raw, stream: u32, by: u32) {
    raw.send(&frame(WINDOW, 0, stream, &by.to_be_bytes())).await;
}

async fn next(raw: &mut Raw) -> Came {
    loop {
        let Some(came) = timeout(PATIENCE, raw.next()).await.expect("in time") else {
            return Came::Closed;
        };
        match came.kind {
            DATA => return Came::Data(came.stream, came.payload),
            RESET => return Came::Reset(came.stream, came.code()),
            GOAWAY => return Came::GoAway(came.code()),
            SETTINGS if came.flags == 0 => raw.send(&frame(SETTINGS, 1, 0, &[])).await,
            _ => {}
        }
    }
}

/// A gateway before an application with a large answer.
struct Site {
    large: &'static str,
    gateway: Running,
    authority: Authority,
    _origin: Origin,
}

impl Site {
    /// `server`: lines of `[server]`.
    async fn start(server: &str) -> Self {
        let large = large();
        let origin = Origin::start(move |_| reply(200, "", large)).await;
        let authority = Authority::new();
        Self {
            large,
            gateway: before(&authority, server, origin.address, "").await,
            authority,
            _origin: origin,
        }
    }

    async fn open(&self, window: u32) -> Raw {
        open(&self.gateway, &self.authority, window).await
    }
}

/// An answer in which every byte can be told from its neighbours.
fn large() -> &'static str {
    let text: String = (b'a'..=b'z').cycle().take(1_000_000).map(char::from).collect();
    Box::leak(text.into_boxed_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_a_byte_is_filled_byte_by_byte_and_holds_nobody_up() {
    let site = Site::start("").await;
    let mut raw = site.open(1).await;
    ask_for(&mut raw, 1).await;
    for at in 0..500 {
        assert_eq!(
            next(&mut raw).await,
            Came::Data(1, site.large.as_bytes()[at..=at].to_vec())
        );
        grow(&mut raw, 1, 1).await;
    }
    // Another stream of the connection, whose window is as large as that of the connection, and another connection.
    ask_for(&mut raw, 3).await;
    grow(&mut raw, 3, 60_000).await;
    let mut taken = Vec::new();
    while taken.len() < 60_001 {
        match next(&mut raw).await {
            Came::Data(3, data) => taken.extend(data),
            Came::Data(1, data) => assert_eq!(data.len(), 1),
            other => panic!("{other:?} after {} bytes", taken.len()),
        }
    }
    assert!(taken == site.large.as_bytes()[..60_001]);
    let mut other = client(&site.gateway, &site.authority).await;
    let answer = ask(&mut other, get("/"), None).await.expect("others are served");
    assert!(answer.body == site.large.as_bytes());
}

/// Whether it grows in time or not at all: so little is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_do_not_grow_to_something_are_given_up() {
    let site = Site::start("write_timeout = \"1s\"").await;
    for (window, grows) in [(0, false), (1, false), (1, true)] {
        let mut raw = site.open(window).await;
        ask_for(&mut raw, 1).await;
        let reset = loop {
            match next(&mut raw).await {
                Came::Data(1, _) if grows => {
                    // Slowly: who does it fast has spent his purse before, see below.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    grow(&mut raw, 1, 1).await;
                }
                Came::Data(1, data) => assert_eq!(data.len() as u32, window),
                other => break other,
            }
        };
        assert_eq!(reset, Came::Reset(1, ENHANCE_YOUR_CALM), "{window} {grows}");
        // The connection goes on.
        ask_for(&mut raw, 3).await;
        grow(&mut raw, 3, 1000).await;
        assert!(matches!(next(&mut raw).await, Came::Data(3, _)), "{window} {grows}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_byte_by_byte_as_fast_as_he_can_is_calmed() {
    let site = Site::start("").await;
    let mut raw = site.open(1).await;
    ask_for(&mut raw, 1).await;
    let end = loop {
        match next(&mut raw).await {
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
        let mut raw = open(&gateway, &authority, window).await;
        for nth in 0..ANSWERS {
            ask_for(&mut raw, 2 * nth + 1).await;
        }
        let mut given_up = 0;
        while given_up < ANSWERS {
            match next(&mut raw).await {
                Came::Data(_, data) => assert_eq!(data.len() as u32, window),
                Came::Reset(_, code) => {
                    assert_eq!(code, ENHANCE_YOUR_CALM);
                    given_up += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        eventually("released", async || {
            gateway.metric("gateway_requests_in_flight{route=\"all\"}").await == 0.0
        })
        .await;
        // What the kernel keeps of a connection is most of it.
        let each = written.swap(0, SeqCst) / ANSWERS as usize;
        assert!(each < 16 << 20, "{each} bytes of each answer were fetched");
    }
}
