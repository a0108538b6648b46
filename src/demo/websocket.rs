//! A WebSocket that sends back what it gets (RFC 6455): so that an upgrade through the gateway can be tried.
//!
//! Bounded: a message has at most 64 KiB, and a connection on which nothing comes for five minutes is closed.

use std::io;
use std::time::Duration;

use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::digest::{base64, sha1};
use super::node::{Context, Request};
use super::reply::{self, Response};

const MAX_MESSAGE: usize = 64 * 1024;
const IDLE: Duration = Duration::from_secs(300);
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Why a connection ends: the status of RFC 6455 §7.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Protocol = 1002,
    NotText = 1007,
    TooBig = 1009,
}

/// Answers the handshake and, where it is one, echoes from then on until the client or the server ends it.
pub(super) fn accept(mut request: Request, context: &Context) -> Response {
    let Some(key) = handshake(request.method(), request.version(), request.headers()) else {
        let mut response = reply::typed(
            StatusCode::UPGRADE_REQUIRED,
            "text/plain; charset=utf-8",
            "WebSocket only\n",
        );
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let mut closing = context.closing.clone();
    tokio::spawn(async move {
        let session = async {
            if let Ok(stream) = upgrade.await {
                // The client's going away is no fault of ours.
                let _ = echo(TokioIo::new(stream)).await;
            }
        };
        tokio::select! {
            () = session => {}
            _ = closing.changed() => {}
        }
    });
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, key);
    response
}

/// The answer to the client's key, if this is a handshake (§4.2.1).
fn handshake(method: &Method, version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = |name: HeaderName, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    let fits = method == Method::GET
        && version == Version::HTTP_11
        && lists(UPGRADE, "websocket")
        && lists(CONNECTION, "upgrade")
        && headers
            .get(SEC_WEBSOCKET_VERSION)
            .is_some_and(|version| version == "13")
        && key.len() == 24;
    if !fits {
        return None;
    }
    HeaderValue::try_from(base64(&sha1(format!("{key}{MAGIC}").as_bytes()))).ok()
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut message = Vec::new();
    let mut kind = None;
    loop {
        let frame = match timeout(IDLE, Frame::read(&mut stream, message.len())).await {
            Ok(frame) => frame?,
            Err(_) => return stream.shutdown().await,
        };
        let fault = match frame {
            Err(fault) => Some(fault),
            Ok(Frame {
                opcode: CLOSE, payload, ..
            }) => {
                // The client's own status back, without its reason.
                write(&mut stream, CLOSE, &payload[..payload.len().min(2)]).await?;
                return stream.shutdown().await;
            }
            Ok(Frame {
                opcode: PING, payload, ..
            }) => {
                write(&mut stream, PONG, &payload).await?;
                continue;
            }
            Ok(Frame { opcode: PONG, .. }) => continue,
            Ok(Frame { opcode, last, payload }) => {
                // A message begins with its kind and goes on with continuations (§5.4).
                if (opcode == CONTINUATION) == kind.is_none() {
                    Some(Fault::Protocol)
                } else {
                    let kind_of_message = *kind.get_or_insert(opcode);
                    message.extend_from_slice(&payload);
                    if !last {
                        continue;
                    }
                    kind = None;
                    let message = std::mem::take(&mut message);
                    if kind_of_message == TEXT && std::str::from_utf8(&message).is_err() {
                        Some(Fault::NotText)
                    } else {
                        write(&mut stream, kind_of_message, &message).await?;
                        None
                    }
                }
            }
        };
        if let Some(fault) = fault {
            write(&mut stream, CLOSE, &(fault as u16).to_be_bytes()).await?;
            return stream.shutdown().await;
        }
    }
}

struct Frame {
    opcode: u8,
    last: bool,
    payload: Vec<u8>,
}

impl Frame {
    /// Reads a frame of a message of which this many bytes are here already (§5.2).
    async fn read(stream: &mut (impl AsyncRead + Unpin), so_far: usize) -> io::Result<Result<Self, Fault>> {
        let [first, second] = stream.read_u16().await?.to_be_bytes();
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let control = opcode >= CLOSE;
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let reserved = first & 0x70 != 0;
        let masked = second & 0x80 != 0;
        if !known || reserved || !masked || control && (!last || length > 125) || opcode == CLOSE && length == 1 {
            return Ok(Err(Fault::Protocol));
        }
        let room = if control { MAX_MESSAGE } else { MAX_MESSAGE - so_far };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= room) else {
            return Ok(Err(Fault::TooBig));
        };
        let mask = stream.read_u32().await?.to_be_bytes();
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Ok(Self { opcode, last, payload }))
    }
}

/// Writes an unmasked, unfragmented frame, in one piece.
async fn write(stream: &mut (impl AsyncWrite + Unpin), opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Sends these bytes, and reads until the server closes.
    async fn talk(bytes: Vec<u8>) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(256 * 1024);
        let server = tokio::spawn(echo(server));
        let (mut read, mut write) = tokio::io::split(client);
        write.write_all(&bytes).await.unwrap();
        write.shutdown().await.unwrap();
        let mut answer = Vec::new();
        read.read_to_end(&mut answer).await.unwrap();
        let _ = server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn echoes() {
        for (what, sent, expected) in [
            ("text", frame(0x81, b"Hello"), b"\x81\x05Hello".to_vec()),
            (
                "the frame of RFC 6455 §5.7",
                b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
                b"\x81\x05Hello".to_vec(),
            ),
            ("binary", frame(0x82, &[0xff, 0]), b"\x82\x02\xff\x00".to_vec()),
            ("empty", frame(0x81, b""), b"\x81\x00".to_vec()),
            ("ping", frame(0x89, b"you"), b"\x8a\x03you".to_vec()),
            ("pong", frame(0x8a, b"me"), Vec::new()),
            ("close", frame(0x88, b"\x03\xe8bye"), b"\x88\x02\x03\xe8".to_vec()),
            ("close without a status", frame(0x88, b""), b"\x88\x00".to_vec()),
            (
                "fragments with a ping between them",
                [frame(0x01, b"Hel"), frame(0x89, b""), frame(0x80, b"lo")].concat(),
                b"\x8a\x00\x81\x05Hello".to_vec(),
            ),
            (
                "two",
                [frame(0x81, b"a"), frame(0x81, b"b")].concat(),
                b"\x81\x01a\x81\x01b".to_vec(),
            ),
        ] {
            assert_eq!(talk(sent).await, expected, "{what}");
        }
    }

    #[tokio::test]
    async fn echoes_every_length() {
        for length in [125, 126, 127, 65_535, MAX_MESSAGE] {
            let answer = talk(frame(0x82, &vec![7; length])).await;
            let head = answer.len() - length;
            assert_eq!(
                head,
                if length < 126 {
                    2
                } else if length < 65_536 {
                    4
                } else {
                    10
                }
            );
            assert!(answer[head..].iter().all(|byte| *byte == 7));
        }
    }

    #[tokio::test]
    async fn refuses() {
        let close = |status: u16| [&[0x88, 2][..], &status.to_be_bytes()].concat();
        for (what, sent, status) in [
            ("unmasked", b"\x81\x05Hello".to_vec(), 1002),
            ("a reserved bit", frame(0xc1, b"x"), 1002),
            ("an unknown opcode", frame(0x83, b"x"), 1002),
            ("a fragmented ping", frame(0x09, b"x"), 1002),
            ("a long ping", frame(0x89, &[0; 126]), 1002),
            ("a close of one byte", frame(0x88, b"x"), 1002),
            ("a continuation of nothing", frame(0x80, b"x"), 1002),
            (
                "a message within a message",
                [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
                1002,
            ),
            ("what is not UTF-8", frame(0x81, b"\xff"), 1007),
            ("a large message", frame(0x82, &vec![0; MAX_MESSAGE + 1]), 1009),
            (
                "large fragments",
                [frame(0x02, &vec![0; MAX_MESSAGE]), frame(0x80, b"x")].concat(),
                1009,
            ),
            (
                "the largest length",
                [&b"\x82\xff"[..], &[0xff; 8], &MASK].concat(),
                1009,
            ),
        ] {
            assert_eq!(talk(sent).await, close(status), "{what}");
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_it() {
        assert_eq!(talk(b"\x81".to_vec()).await, b"");
        assert_eq!(talk(frame(0x81, b"Hello")[..8].to_vec()).await, b"");
    }

    #[test]
    fn knows_a_handshake() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "h2c, WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            assert_eq!(
                handshake(&Method::GET, Version::HTTP_11, &headers),
                None,
                "before {name}"
            );
            headers.insert(name, HeaderValue::from_static(value));
        }
        let accept = handshake(&Method::GET, Version::HTTP_11, &headers).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(handshake(&Method::POST, Version::HTTP_11, &headers), None);
        assert_eq!(handshake(&Method::GET, Version::HTTP_10, &headers), None);
    }
}
