//! Answers of a server that does not mean well, or of one that passes on what somebody else wrote.

use crate::support::client::Response;
use crate::support::origin::Step;

/// An answer, byte by byte.
pub(super) struct Answer {
    /// The rule: RFC and section, and what it is about.
    pub(super) rule: &'static str,
    bytes: Vec<u8>,
    fate: Fate,
}

enum Fate {
    /// The client is told that there is no good answer.
    Refused,
    /// The client sees that it is not all: the connection ends in the middle.
    Cut,
    /// It is delivered with this body, and without these fields.
    Passes(&'static str, &'static [&'static str]),
}

impl Answer {
    pub(super) fn steps(&self) -> Vec<Step> {
        vec![Step::Send(self.bytes.clone()), Step::Close]
    }

    /// Whether the client got what it should.
    pub(super) fn judge(&self, answer: Option<&Response>) -> Result<(), String> {
        let Some(answer) = answer else {
            return Err("the connection was closed".to_owned());
        };
        if answer.text().contains("evil") && !matches!(self.fate, Fate::Passes(..)) {
            return Err("what was smuggled was delivered".to_owned());
        }
        match &self.fate {
            Fate::Refused if answer.status == 502 => Ok(()),
            Fate::Refused => Err("it was not refused".to_owned()),
            Fate::Cut if answer.truncated || answer.status == 502 => Ok(()),
            Fate::Cut => Err("it looks whole".to_owned()),
            Fate::Passes(body, without) => {
                let field = without
                    .iter()
                    .find(|name| answer.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
                match field {
                    Some(field) => Err(format!("`{field}` was delivered")),
                    None if answer.status == 502 || answer.truncated || answer.text() != *body => {
                        Err(format!("not `{body}`"))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

/// What is smuggled behind an answer.
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

fn answer(head: &str, rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{head}\r\n{rest}").into_bytes()
}

fn chunked(wire: &str) -> Vec<u8> {
    answer("Transfer-Encoding: chunked\r\n", wire)
}

pub(super) fn all() -> Vec<Answer> {
    let with = |fate: fn() -> Fate| {
        move |(rule, bytes)| Answer {
            rule,
            bytes,
            fate: fate(),
        }
    };
    let mut all: Vec<Answer> = refused().into_iter().map(with(|| Fate::Refused)).collect();
    all.extend(cut().into_iter().map(with(|| Fate::Cut)));
    all.extend(passing());
    all
}

fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let both = format!("0\r\n\r\n{EVIL}");
    let large = format!("A: {}\r\nContent-Length: 0\r\n", "b".repeat(300_000));
    let many = format!("{}Content-Length: 0\r\n", "A: b\r\n".repeat(300));
    vec![
        (
            "9112 §6.3: both framings",
            answer("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &both),
        ),
        (
            "9112 §6.3: both framings, the other way",
            answer("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &both),
        ),
        (
            "9112 §6.3: two lengths",
            answer("Content-Length: 4\r\nContent-Length: 40\r\n", EVIL),
        ),
        (
            "9110 §8.6: a list of two lengths",
            answer("Content-Length: 4, 40\r\n", EVIL),
        ),
        ("9110 §8.6: a sign", answer("Content-Length: +4\r\n", "good")),
        ("9110 §8.6: a negative length", answer("Content-Length: -4\r\n", "good")),
        ("9110 §8.6: hexadecimal", answer("Content-Length: 0x4\r\n", "good")),
        ("9110 §8.6: a word", answer("Content-Length: four\r\n", "good")),
        (
            "9110 §8.6: beyond 2^64",
            answer("Content-Length: 18446744073709551620\r\n", "good"),
        ),
        (
            "9112 §6.1: a coding that is not known",
            answer("Transfer-Encoding: gzip, chunked\r\n", "4\r\ngood\r\n0\r\n\r\n"),
        ),
        (
            "9112 §6.1: chunked is not the last",
            answer("Transfer-Encoding: chunked, gzip\r\n", "4\r\ngood\r\n0\r\n\r\n"),
        ),
        (
            "9112 §6.1: chunked twice",
            answer("Transfer-Encoding: chunked, chunked\r\n", "4\r\ngood\r\n0\r\n\r\n"),
        ),
        (
            "9112 §6.1: the coding in two lines",
            answer(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "4\r\ngood\r\n0\r\n\r\n",
            ),
        ),
        (
            "9112 §6.1: a coding that is none",
            answer("Transfer-Encoding: xchunked\r\n", "4\r\ngood\r\n0\r\n\r\n"),
        ),
        (
            "9112 §6.1: HTTP/1.0 knows no codings",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n".to_vec(),
        ),
        (
            "9112 §5.1: a space before the colon",
            answer("Content-Length : 4\r\n", "good"),
        ),
        ("9112 §5: no colon", answer("Nothing\r\nContent-Length: 4\r\n", "good")),
        ("9112 §5: no name", answer(": x\r\nContent-Length: 4\r\n", "good")),
        (
            "9112 §5: a name with a space",
            answer("A B: c\r\nContent-Length: 4\r\n", "good"),
        ),
        (
            "9110 §5.5: a NUL in a value",
            answer("A: b\u{0}c\r\nContent-Length: 4\r\n", "good"),
        ),
        (
            "9110 §5.5: a bare CR in a value",
            answer("A: b\rContent-Length: 40\r\nContent-Length: 4\r\n", "good"),
        ),
        ("9112 §4: no answer of HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("9112 §4: HTTP/0.9", b"good".to_vec()),
        (
            "9112 §4: another major version",
            b"HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\ngood".to_vec(),
        ),
        (
            "9112 §4: a status of two digits",
            b"HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\ngood".to_vec(),
        ),
        (
            "9112 §4: a status of four digits",
            b"HTTP/1.1 2000 OK\r\nContent-Length: 4\r\n\r\ngood".to_vec(),
        ),
        (
            "9112 §4: a status of letters",
            b"HTTP/1.1 abc OK\r\nContent-Length: 4\r\n\r\ngood".to_vec(),
        ),
        (
            "9110 §15.2.2: a 101 that nobody asked for",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nevil".to_vec(),
        ),
        (
            "9112 §4: a head without end",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n".to_vec(),
        ),
        ("9112 §4: nothing", Vec::new()),
        ("9112 §4: a head that is too large", answer(&large, "")),
        ("9112 §4: too many fields", answer(&many, "")),
    ]
}

fn cut() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "9112 §8: shorter than its length",
            answer("Content-Length: 40\r\n", "good"),
        ),
        ("9112 §8: no last chunk", chunked("4\r\ngood\r\n")),
        ("9112 §8: half a chunk", chunked("40\r\ngood")),
        ("9112 §7.1: no size", chunked("4\r\ngood\r\n\r\n0\r\n\r\n")),
        ("9112 §7.1: a size that is none", chunked("4\r\ngood\r\nx\r\n\r\n")),
        ("9112 §7.1: a sign", chunked("4\r\ngood\r\n+1\r\na\r\n0\r\n\r\n")),
        (
            "9112 §7.1: a space behind the size",
            chunked("4\r\ngood\r\n1 \r\na\r\n0\r\n\r\n"),
        ),
        (
            "9112 §7.1: a size that overflows",
            chunked("4\r\ngood\r\n10000000000000001\r\na\r\n0\r\n\r\n"),
        ),
        (
            "9112 §7.1: a bare LF behind the content",
            chunked("4\r\ngood\n0\r\n\r\n"),
        ),
        ("9112 §7.1: content that is longer", chunked("4\r\ngood!\r\n0\r\n\r\n")),
    ]
}

fn passing() -> Vec<Answer> {
    let passes = |rule, bytes, body, without| Answer {
        rule,
        bytes,
        fate: Fate::Passes(body, without),
    };
    let plain = |rule, fields: &str, without| {
        passes(
            rule,
            answer(&format!("{fields}Content-Length: 4\r\n"), "good"),
            "good",
            without,
        )
    };
    vec![
        passes("9112 §6.3: until it closes", answer("", "good"), "good", &[]),
        passes(
            "9112 §7.1: chunks with extensions",
            chunked("4;a=b\r\ngood\r\n0\r\n\r\n"),
            "good",
            &[],
        ),
        passes(
            "9112 §7.1.2: trailers end here",
            chunked("4\r\ngood\r\n0\r\nSet-Cookie: evil=1\r\n\r\n"),
            "good",
            &["set-cookie"],
        ),
        passes(
            "9112 §6.3: what follows an answer is nobody's",
            answer("Content-Length: 4\r\n", &format!("good{EVIL}")),
            "good",
            &[],
        ),
        passes(
            "9110 §15.3.5: 204 has no body",
            format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}").into_bytes(),
            "",
            &[],
        ),
        passes(
            "9110 §15.2: interim answers before the answer",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood".to_vec(),
            "good",
            &[],
        ),
        plain("9110 §7.6.1: Connection", "Connection: X-A\r\nX-A: 1\r\n", &["x-a"]),
        plain(
            "9110 §7.6.1: nominated fields",
            "Connection: close, X-A, X-B\r\nX-A: 1\r\nX-B: 1\r\n",
            &["x-a", "x-b"],
        ),
        plain("9110 §7.6.1: Keep-Alive", "Keep-Alive: timeout=5\r\n", &["keep-alive"]),
        plain(
            "9110 §7.6.1: Proxy-Connection",
            "Proxy-Connection: close\r\n",
            &["proxy-connection"],
        ),
        plain(
            "9110 §11.7.1: Proxy-Authenticate",
            "Proxy-Authenticate: Basic\r\n",
            &["proxy-authenticate"],
        ),
        plain(
            "9110 §7.8: Upgrade",
            "Upgrade: h2c\r\nConnection: Upgrade\r\n",
            &["upgrade"],
        ),
        plain("9110 §6.6.2: Trailer", "Trailer: Set-Cookie\r\n", &["trailer"]),
    ]
}
