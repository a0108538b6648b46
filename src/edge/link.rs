//! The client's connection, and what gate, lane and exchange tell each other about the request on it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt as _;

use crate::answer::Reason;
use crate::client::Words;

/// How often a body is looked at that may lie still.
const LOOK: Duration = Duration::from_millis(200);

/// Milliseconds since the first call, plus one.
fn now() -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    ORIGIN.elapsed().as_millis() as u64 + 1
}

/// A client connection between two requests: the stream, and what was read ahead of it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) io: Stream,
    pub(crate) ahead: BytesMut,
    /// Written by who was lent the connection, and never flushed.
    pub(crate) unsent: Vec<u8>,
}

impl Conn {
    pub(crate) fn new(io: Stream) -> Self {
        Self {
            io,
            ahead: BytesMut::new(),
            unsent: Vec::new(),
        }
    }

    /// Sends what was left unsent.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.io.write_all(&unsent).await?;
        self.io.flush().await
    }
}

/// What the gate, the lane and the exchange tell each other about the request in progress.
#[derive(Debug, Default)]
pub struct Link {
    pub(super) home: Mutex<Option<Conn>>,
    fault: AtomicU8,
    tunnel: AtomicBool,
    keep: AtomicBool,
    pub(super) limit: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    /// The alarm's time in milliseconds below, the count of its settings above.
    pub(super) alarm: AtomicU64,
    stopping: Option<ShutdownWatch>,
    /// What upstreams are told about the client, from one request to the next.
    pub(crate) words: Arc<Words>,
    /// How long the body may lie still between lane and upstream, milliseconds; 0: for ever.
    stall: AtomicU64,
    /// When the lane last gave body bytes, in milliseconds since the first one ever; 0: whoever waits, waits for the client.
    fed: AtomicU64,
}

impl Link {
    /// Of a connection to a listener that stops when this says so.
    pub(crate) fn new(stopping: ShutdownWatch) -> Self {
        Self {
            stopping: Some(stopping),
            ..Self::default()
        }
    }

    /// The same, of one request among others on a connection.
    pub(super) fn beside(stopping: ShutdownWatch, words: Arc<Words>) -> Self {
        Self {
            words,
            ..Self::new(stopping)
        }
    }

    /// Whether the listener accepts no more: what is answered now is the last answer.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| *stopping.borrow())
    }

    /// Forgets the last request; `limit`: the largest body, bytes.
    pub(crate) fn begin(&self, limit: u64) {
        self.fault.store(0, Relaxed);
        self.tunnel.store(false, Relaxed);
        self.keep.store(false, Relaxed);
        self.limit.store(limit, Relaxed);
        self.received.store(0, Relaxed);
        self.sent.store(0, Relaxed);
        self.alarm.store(0, Relaxed);
        self.stall.store(0, Relaxed);
        self.fed.store(0, Relaxed);
    }

    /// The connection, once Pingora has let go of it.
    pub(crate) fn take_home(&self) -> Option<Conn> {
        self.home.lock().take()
    }

    /// Limits the body of this request; called when its route is known, before the body is read.
    pub fn limit_body(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    /// From now on the connection is a tunnel: bytes pass as they come, without a limit.
    pub fn open_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Whether the connection has become a tunnel.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// The exchange failed and was answered whole: the connection can be used again, although Pingora gives it up.
    pub fn keep(&self) {
        self.keep.store(true, Relaxed);
    }

    /// The request was not read to its end.
    pub(super) fn give_up(&self) {
        self.keep.store(false, Relaxed);
    }

    /// Whether the connection can be used again although Pingora gave it up.
    pub(crate) fn is_kept(&self) -> bool {
        self.keep.load(Relaxed)
    }

    /// Fails the exchange with [`Reason::GatewayTimeout`] unless the alarm is set again or off by then; `None`: off.
    /// At most twelve days.
    pub fn set_alarm(&self, within: Option<Duration>) {
        // The upper half counts the settings, so that the lane notices each; zero below is "off".
        let setting = (self.alarm.load(Relaxed) >> 32).wrapping_add(1) << 32;
        let millis = within.map_or(0, |within| within.as_millis().clamp(1, 1 << 30) as u64);
        self.alarm.store(setting | millis, Relaxed);
    }

    /// Fails the exchange with [`Reason::GatewayTimeout`] when nobody takes more of the body for so long, although the
    /// client has sent more; `None`: never. Pingora notices only much later: while its pipe is full it looks at nothing
    /// else.
    pub fn set_stall(&self, within: Option<Duration>) {
        let millis = within.map_or(0, |within| within.as_millis().clamp(1, 1 << 40) as u64);
        self.stall.store(millis, Relaxed);
    }

    /// The lane gave bytes of the body.
    pub(super) fn fed(&self) {
        self.fed.store(now(), Relaxed);
    }

    /// It is the client's turn, or the body is over.
    pub(super) fn starved(&self) {
        self.fed.store(0, Relaxed);
    }

    /// Returns when the body has lain still for too long.
    pub(super) async fn stalled(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (stall, fed) = (self.stall.load(Relaxed), self.fed.load(Relaxed));
            if stall != 0 && fed != 0 && now().saturating_sub(fed) > stall {
                self.fail(Reason::GatewayTimeout);
                return;
            }
        }
    }

    /// The exchange goes on after a fault that the lane was asked to watch for.
    pub fn forgive(&self) {
        self.fault.store(0, Relaxed);
        self.set_alarm(None);
        self.set_stall(None);
    }

    /// Why the lane ended the request, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<Reason> {
        Some(match self.fault.load(Relaxed) {
            1 => Reason::BadRequest,
            2 => Reason::BodyTooLarge,
            3 => Reason::RequestTimeout,
            4 => Reason::GatewayTimeout,
            _ => return None,
        })
    }

    pub(super) fn fail(&self, reason: Reason) -> io::Error {
        let (code, kind) = match reason {
            Reason::BodyTooLarge => (2, io::ErrorKind::FileTooLarge),
            Reason::RequestTimeout => (3, io::ErrorKind::TimedOut),
            Reason::GatewayTimeout => (4, io::ErrorKind::TimedOut),
            _ => (1, io::ErrorKind::InvalidData),
        };
        self.fault.store(code, Relaxed);
        kind.into()
    }

    /// Bytes of content that the client sent, framing not counted; of a tunnel: all of them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes written to the client for this request, head and framing included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}
