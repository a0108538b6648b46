//! HTTP/2 byte by byte (RFC 9113): frames as they go over the wire, and a client that writes its own.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::gateway::Running;
use super::http2::connect;
use super::tls::Authority;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Field blocks of requests for `/` of `site.test`, without Huffman codes and without an entry of the dynamic table.
pub(crate) const GET: &[u8] = b"\x82\x84\x87\x01\x09site.test";
pub(crate) const POST: &[u8] = b"\x83\x84\x87\x01\x09site.test";

/// Types of frames (§6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Codes of errors (§7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL: u32 = 1;
pub(crate) const FLOW_CONTROL: u32 = 3;
pub(crate) const CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE: u32 = 6;
pub(crate) const REFUSED: u32 = 7;
pub(crate) const COMPRESSION: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// SETTINGS with one setting.
pub(crate) fn setting(identifier: u16, value: u32) -> Vec<u8> {
    let payload = [&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

/// A frame that came.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The first one of these bytes, where it is whole.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let head: [u8; 9] = bytes.get(..9)?.try_into().expect("nine bytes");
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let payload = bytes.get(9..9 + length)?.to_vec();
        bytes.drain(..9 + length);
        Some(Self {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Why, of RST_STREAM and GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4).expect("a code");
        u32::from_be_bytes(code.try_into().expect("four bytes"))
    }
}

/// A client that writes its frames itself.
pub(crate) struct Raw {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Raw {
    /// A connection on which nothing was said.
    pub(crate) async fn silent(gateway: &Running, authority: &Authority) -> Self {
        Self {
            stream: connect(gateway, authority).await,
            buffer: Vec::new(),
        }
    }

    /// With preface and these SETTINGS.
    pub(crate) async fn open(gateway: &Running, authority: &Authority, settings: &[u8]) -> Self {
        let mut raw = Self::silent(gateway, authority).await;
        raw.send(&[PREFACE, settings].concat()).await;
        raw
    }

    /// Writes; the connection may have been ended meanwhile: what came says so.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next frame, where it is at hand.
    pub(crate) fn take(&mut self) -> Option<Frame> {
        Frame::take(&mut self.buffer)
    }

    /// Waits for more bytes; `false`: the connection has ended.
    pub(crate) async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// The next frame; `None`: the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }
}
