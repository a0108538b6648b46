//! What a client of HTTP/2 may ask of the gateway beyond requests and answers, counted frame by frame on the wire, before
//! anything else looks at it.
//!
//! Each kind of frame that makes work and brings nothing has a price. A connection begins with a purse, earns a little
//! with time and with each request, and is ended with ENHANCE_YOUR_CALM when it is spent. Resets are paid for whoever sends
//! them: that the client makes the gateway reset its streams (by windows that overflow, by streams that depend on
//! themselves, by frames on closed streams) is the same attack in other clothes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a connection may spend at once.
const PURSE: i64 = 4000;
/// What it earns in a second.
const INCOME: i64 = 400;
/// What it earns with each request.
const REQUEST: i64 = 10;
/// What a reset costs: two hundred requests may be taken back at once, and a third of all later on.
const RESET: i64 = 30;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// A window that grows by less makes a frame of a few bytes: next to no client asks for so little.
const SMALL_WINDOW: u32 = 64;
/// `RST_STREAM` with `NO_ERROR`: the answer is whole, and the rest of the request is not needed.
const NO_ERROR: [u8; 4] = [0; 4];

const PREFACE: usize = 24;

/// What guard and server tell each other.
#[derive(Debug, Default)]
pub(super) struct Calm {
    wanted: AtomicBool,
    purse: AtomicI64,
    waker: AtomicWaker,
}

impl Calm {
    /// Resolves when the connection is to be ended.
    pub(super) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.wanted.load(Relaxed) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Ends the connection.
    pub(super) fn want(&self) {
        self.wanted.store(true, Relaxed);
        self.waker.wake();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    fn pay(&self, price: i64) {
        if self.purse.fetch_sub(price, Relaxed) < price {
            self.want();
        }
    }

    fn earn(&self, income: i64) {
        let _ = self
            .purse
            .fetch_update(Relaxed, Relaxed, |purse| Some((purse + income).min(PURSE)));
    }
}

/// Follows the frames of one direction.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes before the first frame.
    preface: usize,
    head: [u8; 9],
    have: usize,
    /// Left of the payload.
    left: usize,
    payload: [u8; 5],
    payload_have: usize,
}

/// A frame, as much of it as matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    length: usize,
    stream: u32,
    /// The first bytes of the payload.
    payload: [u8; 5],
}

impl Frames {
    /// Whether a frame has begun and is not complete.
    fn is_within(&self) -> bool {
        self.preface > 0 || self.have > 0
    }

    fn kind(&self) -> Option<u8> {
        (self.have == 9).then_some(self.head[3])
    }

    fn follow(&mut self, mut bytes: &[u8], mut complete: impl FnMut(Frame)) {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.have < 9 {
                let take = (9 - self.have).min(bytes.len());
                self.head[self.have..self.have + take].copy_from_slice(&bytes[..take]);
                self.have += take;
                bytes = &bytes[take..];
                if self.have < 9 {
                    return;
                }
                self.left =
                    usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
                self.payload_have = 0;
            }
            let take = self.left.min(bytes.len());
            let keep = take.min(self.payload.len() - self.payload_have);
            self.payload[self.payload_have..self.payload_have + keep].copy_from_slice(&bytes[..keep]);
            self.payload_have += keep;
            self.left -= take;
            bytes = &bytes[take..];
            if self.left > 0 {
                return;
            }
            self.have = 0;
            self.payload[self.payload_have..].fill(0);
            let [_, _, _, kind, flags, a, b, c, d] = self.head;
            complete(Frame {
                kind,
                flags,
                length: usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]),
                stream: u32::from_be_bytes([a & 0x7f, b, c, d]),
                payload: self.payload,
            });
        }
    }
}

/// What a frame of the client costs; less than nothing: it earns.
fn price(frame: Frame) -> i64 {
    match frame.kind {
        HEADERS => -REQUEST,
        DATA if frame.length == 0 && frame.flags & END_STREAM == 0 => 20,
        DATA => 0,
        RST_STREAM => RESET,
        PRIORITY => {
            let [a, b, c, d, _] = frame.payload;
            let on = u32::from_be_bytes([a & 0x7f, b, c, d]);
            if on == frame.stream { RESET } else { 4 }
        }
        SETTINGS => 20,
        PING => 10,
        WINDOW_UPDATE => {
            let [a, b, c, d, _] = frame.payload;
            i64::from(u32::from_be_bytes([a & 0x7f, b, c, d]) < SMALL_WINDOW)
        }
        CONTINUATION if frame.length == 0 => 200,
        CONTINUATION => 40,
        _ => 10,
    }
}

/// A connection whose frames are counted.
#[derive(Debug)]
pub(super) struct Guard<T> {
    io: T,
    calm: Arc<Calm>,
    from_client: Frames,
    to_client: Frames,
    /// A field block has begun and not ended.
    in_block: bool,
    earned: Instant,
    /// By when what has begun must be complete.
    deadline: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl<T> Guard<T> {
    /// `patience`: what has begun, the preface, a frame or a field block, must be complete within this time. Of bodies
    /// their reader keeps the pace.
    pub(super) fn new(io: T, patience: Duration) -> (Self, Arc<Calm>) {
        let calm = Arc::new(Calm::default());
        calm.purse.store(PURSE, Relaxed);
        let guard = Self {
            io,
            calm: Arc::clone(&calm),
            from_client: Frames {
                preface: PREFACE,
                ..Frames::default()
            },
            to_client: Frames::default(),
            in_block: false,
            earned: Instant::now(),
            deadline: Some(Box::pin(tokio::time::sleep(patience))),
            patience,
        };
        (guard, calm)
    }

    fn count(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let seconds = now.saturating_duration_since(self.earned).as_millis();
        let income = i64::try_from(seconds).unwrap_or(i64::MAX / INCOME).min(1_000_000) * INCOME / 1000;
        if income > 0 {
            self.earned = now;
            self.calm.earn(income);
        }
        let (calm, in_block) = (&self.calm, &mut self.in_block);
        self.from_client.follow(bytes, |frame| {
            match price(frame) {
                price if price < 0 => calm.earn(-price),
                price => calm.pay(price),
            }
            if matches!(frame.kind, HEADERS | CONTINUATION) {
                *in_block = frame.flags & END_HEADERS == 0;
            }
        });
        let unfinished = self.in_block || self.from_client.is_within() && self.from_client.kind() != Some(DATA);
        if !unfinished {
            self.deadline = None;
        } else if self.deadline.is_none() {
            self.deadline = Some(Box::pin(tokio::time::sleep(self.patience)));
        }
    }

    fn count_own(&mut self, bytes: &[u8]) {
        let calm = &self.calm;
        self.to_client.follow(bytes, |frame| {
            if frame.kind == RST_STREAM && frame.payload[..4] != NO_ERROR {
                calm.pay(RESET);
            }
        });
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        if guard.calm.is_wanted() {
            return Poll::Pending; // nothing of it is read any more
        }
        let before = out.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut guard.io).poll_read(cx, out) {
            read?;
            guard.count(&out.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        if let Some(deadline) = &mut guard.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            guard.deadline = None;
            guard.calm.want();
        }
        Poll::Pending
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = std::task::ready!(Pin::new(&mut guard.io).poll_write(cx, bytes))?;
        guard.count_own(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
