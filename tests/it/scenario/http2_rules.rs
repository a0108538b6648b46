//! What RFC 9113 and RFC 7541 say that an endpoint MUST do, byte by byte against a listener.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::frames::{
    CLOSED, COMPRESSION, CONTINUATION, DATA, ENHANCE_YOUR_CALM, FLOW_CONTROL, FRAME_SIZE, GET, GOAWAY, HEADERS,
    NO_ERROR, PING, POST, PRIORITY, PROTOCOL, PUSH, REFUSED, RESET, Raw, SETTINGS, WINDOW, frame, setting,
};
use crate::support::http2::before;
use crate::support::origin::Origin;
use crate::support::tls::Authority;

/// What must come of it.
enum Must {
    /// The connection ends, with GOAWAY and one of these codes.
    End(&'static [u32]),
    /// The stream ends with one of these codes, or the connection does: an endpoint may take a stream's error for one of
    /// the connection (RFC 9113 §5.4.1).
    Reset(&'static [u32]),
    /// The request is malformed (RFC 9113 §8.1.1): its stream ends, or it is answered with 4xx; it is not served.
    Malformed,
    /// It is served: 200.
    Serve,
    /// Nothing: the connection goes on.
    GoOn,
}

/// What came.
#[derive(Default)]
struct Came {
    goaway: Option<u32>,
    reset: Option<u32>,
    /// Whether the status is 200.
    answered: Option<bool>,
    data: Vec<usize>,
    settled: bool,
    pong: bool,
    closed: bool,
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GOAWAY {:?}, RST_STREAM {:?}, answered {:?}, pong {}, closed {}",
            self.goaway, self.reset, self.answered, self.pong, self.closed
        )
    }
}

impl Must {
    fn holds(&self, came: &Came) -> bool {
        let ended = |codes: &[u32]| came.goaway.is_some_and(|code| codes.contains(&code));
        match self {
            // h2spec and others take a bare close for an end, too; we always say why.
            // The library says PROTOCOL_ERROR where the RFC has a more special code.
            Self::End(codes) => (ended(codes) || ended(&[PROTOCOL])) && came.closed,
            Self::Reset(codes) => {
                came.reset.is_some_and(|code| codes.contains(&code)) || ended(codes) || ended(&[PROTOCOL])
            }
            Self::Malformed => {
                came.answered != Some(true)
                    && (came.reset == Some(PROTOCOL) || ended(&[PROTOCOL]) || came.answered == Some(false))
            }
            Self::Serve => came.answered == Some(true) && came.pong,
            Self::GoOn => came.pong && came.goaway.is_none(),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A request with these further bytes of its field block.
fn with(more: &[u8]) -> Vec<u8> {
    frame(HEADERS, 5, 1, &[GET, more].concat())
}

/// A request of these bytes only.
fn only(block: &[&[u8]]) -> Vec<u8> {
    frame(HEADERS, 5, 1, &block.concat())
}

fn number(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

const PINGED: [u8; 8] = *b"h2 rules";

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &PINGED)
}

/// Bytes, and what they must bring about. The first word says where that is written.
fn rules() -> Vec<(&'static str, Vec<u8>, Must)> {
    use Must::*;
    let all = |parts: &[Vec<u8>]| parts.concat();
    let host = text("site.test");
    let (method, path, scheme, authority): (&[u8], &[u8], &[u8], Vec<u8>) =
        (b"\x82", b"\x84", b"\x87", [&[1], host.as_slice()].concat());
    let authority = authority.as_slice();
    let started = || frame(HEADERS, 4, 1, POST);
    let ended = || frame(HEADERS, 5, 1, GET);
    vec![
        ("4.1 unknown type", frame(0x16, 0, 0, b"x"), GoOn),
        ("4.1 unknown flags", frame(PING, 0x16, 0, &[0; 8]), GoOn),
        ("4.1 reserved bit", frame(PING, 0, 0x8000_0000, &[0; 8]), GoOn),
        (
            "4.2 DATA too large",
            all(&[started(), frame(DATA, 1, 1, &vec![0; 16_385])]),
            Reset(&[FRAME_SIZE]),
        ),
        (
            "4.2 HEADERS too large",
            frame(HEADERS, 5, 1, &vec![0; 16_385]),
            End(&[FRAME_SIZE]),
        ),
        (
            "4.3 broken block",
            frame(HEADERS, 5, 1, &[0x40]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "4.3 PRIORITY within a block",
            all(&[frame(HEADERS, 1, 1, GET), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])]),
            End(&[PROTOCOL]),
        ),
        (
            "4.3 another stream within a block",
            all(&[frame(HEADERS, 1, 1, GET), frame(HEADERS, 5, 3, GET)]),
            End(&[PROTOCOL]),
        ),
        (
            "5.5 unknown frame within a block",
            all(&[frame(HEADERS, 1, 1, GET), frame(0x16, 0, 0, b"x")]),
            End(&[PROTOCOL]),
        ),
        ("5.1 idle: DATA", frame(DATA, 1, 1, b"x"), End(&[PROTOCOL, CLOSED])),
        ("5.1 idle: RST_STREAM", frame(RESET, 0, 1, &number(8)), End(&[PROTOCOL])),
        (
            "5.1 idle: WINDOW_UPDATE",
            frame(WINDOW, 0, 1, &number(100)),
            End(&[PROTOCOL]),
        ),
        (
            "5.1 idle: CONTINUATION",
            frame(CONTINUATION, 4, 1, GET),
            End(&[PROTOCOL]),
        ),
        (
            "5.1 half closed: DATA",
            all(&[ended(), frame(DATA, 1, 1, b"x")]),
            Reset(&[CLOSED]),
        ),
        ("5.1 half closed: HEADERS", all(&[ended(), ended()]), Reset(&[CLOSED])),
        (
            "5.1 half closed: CONTINUATION",
            all(&[ended(), frame(CONTINUATION, 4, 1, GET)]),
            End(&[PROTOCOL, CLOSED]),
        ),
        (
            "5.1 closed: DATA",
            all(&[started(), frame(RESET, 0, 1, &number(8)), frame(DATA, 1, 1, b"x")]),
            Reset(&[CLOSED]),
        ),
        (
            "5.1 closed: HEADERS",
            all(&[started(), frame(RESET, 0, 1, &number(8)), ended()]),
            Reset(&[CLOSED, PROTOCOL]),
        ),
        (
            "5.1 closed: CONTINUATION",
            all(&[
                started(),
                frame(RESET, 0, 1, &number(8)),
                frame(CONTINUATION, 4, 1, GET),
            ]),
            End(&[PROTOCOL, CLOSED]),
        ),
        (
            "5.1 closed: PRIORITY",
            all(&[
                started(),
                frame(RESET, 0, 1, &number(8)),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
            ]),
            GoOn,
        ),
        ("5.1.1 even", frame(HEADERS, 5, 2, GET), End(&[PROTOCOL])),
        (
            "5.1.1 going back",
            all(&[frame(HEADERS, 5, 5, GET), frame(HEADERS, 5, 3, GET)]),
            End(&[PROTOCOL, CLOSED]),
        ),
        (
            "5.1.2 too many",
            (0..130)
                .flat_map(|turn| frame(HEADERS, 4, turn * 2 + 1, POST))
                .collect(),
            Reset(&[REFUSED, PROTOCOL, ENHANCE_YOUR_CALM]),
        ),
        ("6.1 DATA on the connection", frame(DATA, 1, 0, b"x"), End(&[PROTOCOL])),
        (
            "6.1 more padding than frame",
            all(&[started(), frame(DATA, 9, 1, &[6, 0, 0])]),
            End(&[PROTOCOL]),
        ),
        (
            "6.1 padding",
            all(&[started(), frame(DATA, 9, 1, &[2, b'x', 0, 0])]),
            Serve,
        ),
        (
            "6.2 HEADERS on the connection",
            frame(HEADERS, 5, 0, GET),
            End(&[PROTOCOL]),
        ),
        (
            "6.2 more padding than frame",
            frame(HEADERS, 13, 1, &[&[99], GET].concat()),
            End(&[PROTOCOL]),
        ),
        (
            "6.2 padding and priority",
            frame(HEADERS, 0x2d, 1, &[&[1, 0, 0, 0, 0, 15], GET, &[0]].concat()),
            Serve,
        ),
        (
            "6.3 PRIORITY on the connection",
            frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 1]),
            End(&[PROTOCOL]),
        ),
        (
            "6.3 length of PRIORITY",
            all(&[started(), frame(PRIORITY, 0, 1, &[0; 4])]),
            Reset(&[FRAME_SIZE]),
        ),
        (
            "6.4 RST_STREAM on the connection",
            frame(RESET, 0, 0, &number(8)),
            End(&[PROTOCOL]),
        ),
        (
            "6.4 length of RST_STREAM",
            all(&[started(), frame(RESET, 0, 1, &[0; 3])]),
            End(&[FRAME_SIZE]),
        ),
        (
            "6.5 acknowledgment with payload",
            frame(SETTINGS, 1, 0, &[0; 6]),
            End(&[FRAME_SIZE]),
        ),
        (
            "6.5 SETTINGS on a stream",
            frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 9]),
            End(&[PROTOCOL]),
        ),
        (
            "6.5 length of SETTINGS",
            frame(SETTINGS, 0, 0, &[0, 3, 0]),
            End(&[FRAME_SIZE]),
        ),
        ("6.5.2 ENABLE_PUSH", setting(2, 2), End(&[PROTOCOL])),
        ("6.5.2 INITIAL_WINDOW_SIZE", setting(4, 1 << 31), End(&[FLOW_CONTROL])),
        ("6.5.2 MAX_FRAME_SIZE too small", setting(5, 16_383), End(&[PROTOCOL])),
        ("6.5.2 MAX_FRAME_SIZE too large", setting(5, 1 << 24), End(&[PROTOCOL])),
        ("6.5.2 unknown", setting(0xff, 1), GoOn),
        (
            "6.6 PUSH_PROMISE",
            all(&[started(), frame(PUSH, 4, 1, &[number(2).as_slice(), GET].concat())]),
            End(&[PROTOCOL]),
        ),
        ("6.7 acknowledgment nobody waits for", frame(PING, 1, 0, &[1; 8]), GoOn),
        ("6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), End(&[PROTOCOL])),
        ("6.7 length of PING", frame(PING, 0, 0, &[0; 6]), End(&[FRAME_SIZE])),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), End(&[PROTOCOL])),
        (
            "6.9 connection: by nothing",
            frame(WINDOW, 0, 0, &number(0)),
            End(&[PROTOCOL]),
        ),
        (
            "6.9 stream: by nothing",
            all(&[started(), frame(WINDOW, 0, 1, &number(0))]),
            Reset(&[PROTOCOL]),
        ),
        (
            "6.9 length of WINDOW_UPDATE",
            frame(WINDOW, 0, 0, &[0; 3]),
            End(&[FRAME_SIZE]),
        ),
        (
            "6.9.1 connection: beyond all",
            all(&[
                frame(WINDOW, 0, 0, &number(0x7fff_ffff)),
                frame(WINDOW, 0, 0, &number(0x7fff_ffff)),
            ]),
            End(&[FLOW_CONTROL]),
        ),
        (
            "6.9.1 stream: beyond all",
            all(&[started(), frame(WINDOW, 0, 1, &number(0x7fff_ffff))]),
            Reset(&[FLOW_CONTROL]),
        ),
        (
            "6.9.2 window of streams beyond all",
            all(&[started(), frame(WINDOW, 0, 1, &number(1000)), setting(4, 0x7fff_ffff)]),
            Reset(&[FLOW_CONTROL]),
        ),
        (
            "6.10 pieces",
            all(&[
                frame(HEADERS, 1, 1, &GET[..3]),
                frame(CONTINUATION, 0, 1, &GET[3..7]),
                frame(CONTINUATION, 4, 1, &GET[7..]),
            ]),
            Serve,
        ),
        (
            "6.10 after the end of the block",
            all(&[started(), frame(CONTINUATION, 4, 1, &field("x", "y"))]),
            End(&[PROTOCOL]),
        ),
        (
            "6.10 after the end of pieces",
            all(&[
                frame(HEADERS, 0, 1, POST),
                frame(CONTINUATION, 4, 1, &field("x", "y")),
                frame(CONTINUATION, 4, 1, &field("x", "y")),
            ]),
            End(&[PROTOCOL]),
        ),
        (
            "6.10 CONTINUATION on the connection",
            all(&[frame(HEADERS, 1, 1, GET), frame(CONTINUATION, 4, 0, &field("x", "y"))]),
            End(&[PROTOCOL]),
        ),
        (
            "6.10 DATA within a block",
            all(&[frame(HEADERS, 0, 1, POST), frame(DATA, 1, 1, b"x")]),
            End(&[PROTOCOL]),
        ),
        (
            "8.1 trailers that end nothing",
            all(&[started(), frame(HEADERS, 4, 1, &field("x", "y"))]),
            Malformed,
        ),
        (
            "8.1.1 shorter than said",
            all(&[
                frame(HEADERS, 4, 1, &[POST, &field("content-length", "5")].concat()),
                frame(DATA, 1, 1, b"1234"),
            ]),
            Malformed,
        ),
        (
            "8.1.1 longer than said",
            all(&[
                frame(HEADERS, 4, 1, &[POST, &field("content-length", "1")].concat()),
                frame(DATA, 0, 1, b"12"),
                frame(DATA, 1, 1, b"34"),
            ]),
            Malformed,
        ),
        (
            "8.1.1 nothing, something said",
            with(&field("content-length", "1")),
            Malformed,
        ),
        ("8.2 upper case", with(&field("X-Test", "ok")), Malformed),
        ("8.2.1 space in a name", with(&field("x test", "ok")), Malformed),
        ("8.2.1 colon in a name", with(&field("x:test", "ok")), Malformed),
        ("8.2.1 control in a value", with(&field("x-test", "o\nk")), Malformed),
        ("8.2.1 space around a value", with(&field("x-test", " ok ")), Malformed),
        ("8.2.1 zero in a value", with(&field("x-test", "o\0k")), Malformed),
        ("8.2.2 Connection", with(&field("connection", "keep-alive")), Malformed),
        ("8.2.2 Keep-Alive", with(&field("keep-alive", "1")), Malformed),
        (
            "8.2.2 Transfer-Encoding",
            with(&field("transfer-encoding", "chunked")),
            Malformed,
        ),
        ("8.2.2 Upgrade", with(&field("upgrade", "websocket")), Malformed),
        ("8.2.2 TE", with(&field("te", "trailers, deflate;q=0.5")), Malformed),
        ("8.2.2 TE: trailers", with(&field("te", "trailers")), Serve),
        ("8.3 unknown", with(&field(":test", "ok")), Malformed),
        ("8.3 of an answer", with(&field(":status", "200")), Malformed),
        (
            "8.3 after the others",
            only(&[method, path, scheme, authority, &field("x", "y"), &field(":path", "/")]),
            Malformed,
        ),
        (
            "8.3 late",
            only(&[method, &field("x", "y"), path, scheme, authority]),
            Malformed,
        ),
        ("8.3.1 no path", only(&[method, scheme, authority]), Malformed),
        (
            "8.3.1 empty path",
            only(&[method, &[4, 0], scheme, authority]),
            Malformed,
        ),
        ("8.3.1 no method", only(&[path, scheme, authority]), Malformed),
        ("8.3.1 no scheme", only(&[method, path, authority]), Malformed),
        (
            "8.3.1 method twice",
            only(&[method, method, path, scheme, authority]),
            Malformed,
        ),
        (
            "8.3.1 path twice",
            only(&[method, path, path, scheme, authority]),
            Malformed,
        ),
        (
            "8.3.1 scheme twice",
            only(&[method, path, scheme, scheme, authority]),
            Malformed,
        ),
        (
            "8.3.1 authority twice",
            only(&[method, path, scheme, authority, authority]),
            Malformed,
        ),
        (
            "8.3.1 user in the authority",
            only(&[method, path, scheme, &[1], &text("me@site.test")]),
            Malformed,
        ),
        (
            "8.3.1 Host that says something else",
            with(&field("host", "other.test")),
            Malformed,
        ),
        (
            "8.5 CONNECT with path",
            only(&[&[2], &text("CONNECT"), path, scheme, authority]),
            Malformed,
        ),
        (
            "HPACK 2.3.3 index nothing",
            with(&[0x80]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 2.3.3 index beyond the table",
            with(&[0xff, 0]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 4.2 table size at the end",
            with(&[0x20]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 6.3 table too large",
            only(&[&[0x3f, 0xe1, 0xff, 0x03], GET]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 5.2 padding too long",
            with(&[0, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 5.2 padding of zeros",
            with(&[0, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x83, 0x49, 0x50, 0x90]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 5.2 end of string",
            with(&[
                0, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x87, 0x49, 0x51, 0xff, 0xff, 0xff, 0xfa, 0x7f,
            ]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
        (
            "HPACK 5.1 number beyond all",
            with(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            End(&[COMPRESSION, PROTOCOL]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_is_kept() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    // What is never complete ends soon.
    let limits = "header_timeout = \"2s\"\nbody_timeout = \"2s\"";
    let gateway = before(&authority, limits, origin.address, "").await;
    let mut broken = Vec::new();
    for (name, bytes, must) in rules() {
        let mut raw = Raw::open(&gateway, &authority, &frame(SETTINGS, 0, 0, &[])).await;
        raw.send(&[bytes, ping()].concat()).await;
        let patient = matches!(must, Must::Serve | Must::Reset(_) | Must::Malformed);
        let came = timeout(PATIENCE, read(&mut raw, patient)).await;
        let came = came.unwrap_or_else(|_| panic!("{name}: nothing came"));
        if !must.holds(&came) {
            broken.push(format!("{name}: {came}"));
        }
        if !came.closed {
            assert!(came.settled, "{name}: SETTINGS are acknowledged (6.5.3)");
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The preface and what follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_begins_with_preface_and_settings() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let gateway = before(&authority, "", origin.address, "").await;
    for (name, bytes) in [("3.4 no preface", b"GET / HTTP/1.1\r\nHost: site.test\r\n\r\n")] {
        let mut raw = Raw::silent(&gateway, &authority).await;
        raw.send(bytes).await;
        let came = timeout(PATIENCE, read(&mut raw, false)).await.expect("in time");
        assert!(came.closed && !came.pong && came.answered.is_none(), "{name}: {came}");
    }
}

/// An answer before the end of the request comes by itself, and only a moment later the word that nobody wants the rest
/// (RFC 9113 §8.1): some clients lose the answer where both come at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_not_followed_by_a_reset_at_once() {
    let origin = Origin::fixed("hello").await;
    let authority = Authority::new();
    let gateway = before(&authority, "max_body = \"1KB\"", origin.address, "").await;
    let mut raw = Raw::open(&gateway, &authority, &frame(SETTINGS, 0, 0, &[])).await;
    // Its body is still to come, and will not be taken.
    let begun = frame(HEADERS, 4, 1, &[POST, &field("content-length", "5000")].concat());
    raw.send(&[begun, ping()].concat()).await;
    let came = timeout(PATIENCE, read(&mut raw, true)).await.expect("in time");
    assert!(came.answered == Some(false) && came.reset.is_none(), "{came}");
    raw.send(&ping()).await;
    let came = timeout(PATIENCE, read(&mut raw, false)).await.expect("in time");
    assert!(came.reset.is_none() && came.pong, "{came}");
    // Unasked, it comes in the end.
    let came = timeout(PATIENCE, async {
        loop {
            raw.send(&ping()).await;
            let came = read(&mut raw, false).await;
            if came.reset.is_some() || came.closed {
                return came;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a reset");
    assert_eq!(came.reset, Some(NO_ERROR), "{came}");
}

/// Reads until our PING is answered and, where an answer may come later, that has come or a moment has passed; or until the
/// end.
async fn read(raw: &mut Raw, patient: bool) -> Came {
    let mut came = Came::default();
    loop {
        while let Some(frame) = raw.take() {
            match frame.kind {
                DATA => came.data.push(frame.payload.len()),
                HEADERS => {
                    came.answered.get_or_insert(frame.payload.first() == Some(&0x88));
                }
                RESET => {
                    came.reset.get_or_insert(frame.code());
                }
                SETTINGS => came.settled |= frame.flags & 1 == 1,
                PING => came.pong |= frame.payload == PINGED,
                GOAWAY => {
                    // The first may announce an orderly end.
                    came.goaway = Some(frame.code());
                }
                _ => {}
            }
        }
        let over = came.reset.is_some() || came.answered.is_some() || !patient;
        if came.pong && over && came.goaway.is_none() {
            return came;
        }
        if !raw.more().await {
            came.closed = true;
            return came;
        }
    }
}
