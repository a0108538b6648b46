//! The head of an answer, read strictly. What the servers behind the gateway say is believed as little as what clients say:
//! they pass on what others wrote, and who can make a proxy see the end of an answer elsewhere than it is can give the next
//! client an answer of his own.

use std::fmt;
use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use memchr::memchr_iter;

use super::field_name;

/// Most bytes of a head.
pub(crate) const MAX_HEAD: usize = 256 * 1024;
/// Most field lines of a head.
const MAX_FIELDS: usize = 256;
/// Most options in `Connection` that are looked at.
const MAX_OPTIONS: usize = 32;

/// How the body of an answer is framed (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none: an interim answer, 204, 304, or an answer to HEAD.
    None,
    /// `Content-Length`, bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// The head of an answer that was found good.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// The fields, but for `Transfer-Encoding`, and `Connection` where it says no more than whether it stays: how the next
    /// hop frames the body, and what becomes of its connection, is its own business.
    pub(crate) fields: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the server keeps the connection open (RFC 9112 §9.3).
    pub(crate) keep_alive: bool,
}

/// An answer that breaks the rules of HTTP, with the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Takes a complete head out of `buffer`; `None`: there is more to come. `scanned`: bytes of it in which the end was not
/// found before. `head_request`: what it answers is a HEAD.
pub(crate) fn take(buffer: &mut BytesMut, scanned: &mut usize, head_request: bool) -> Result<Option<Head>, Invalid> {
    const START: &[u8] = b"HTTP/1.";
    let start = buffer.len().min(START.len());
    if buffer[..start] != START[..start] {
        return Err(Invalid("not the head of an HTTP/1 answer"));
    }
    let end = end(buffer, *scanned);
    if end.unwrap_or(buffer.len()) > MAX_HEAD {
        return Err(Invalid("the head is too large"));
    }
    let Some(end) = end else {
        *scanned = buffer.len();
        return Ok(None);
    };
    *scanned = 0;
    // The values share one buffer with the head; nothing is copied once more.
    read(&buffer.split_to(end).freeze(), head_request).map(Some)
}

/// Where the head ends: after the first empty line.
fn end(buffer: &[u8], scanned: usize) -> Option<usize> {
    let from = scanned.saturating_sub(2);
    memchr_iter(b'\n', &buffer[from..]).find_map(|newline| match &buffer[from + newline + 1..] {
        [b'\n', ..] => Some(from + newline + 2),
        [b'\r', b'\n', ..] => Some(from + newline + 3),
        _ => None,
    })
}

fn read(head: &Bytes, head_request: bool) -> Result<Head, Invalid> {
    // Uninitialised: clearing 10 KiB for every answer would cost more than parsing it.
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Invalid("too many fields")),
        Ok(_) | Err(_) => return Err(Invalid("not the head of an HTTP/1 answer")),
    }
    let (Some(code), Some(version)) = (response.code, response.version) else {
        return Err(Invalid("not the head of an HTTP/1 answer"));
    };
    let status = StatusCode::from_u16(code).map_err(|_| Invalid("a status below 100"))?;
    let mut facts = Facts::default();
    let mut map = HeaderMap::with_capacity(response.headers.len() + 8);
    for field in response.headers.iter() {
        let name = field_name(field.name.as_bytes()).map_err(|_| Invalid("a field's name is not a token"))?;
        facts.look(&name, field.value)?;
        if name == header::TRANSFER_ENCODING || name == header::CONNECTION && says_only_how_it_ends(field.value) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
            .map_err(|_| Invalid("a control character in a field's value"))?;
        map.append(name, value);
    }
    let framing = facts.framing(status, version, head_request)?;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        map.remove(header::CONTENT_LENGTH); // RFC 9110 §8.6
    }
    Ok(Head {
        status,
        fields: map,
        framing,
        keep_alive: facts.keeps_alive(version) && framing != Framing::UntilClose,
    })
}

/// What the fields say about framing and connection.
#[derive(Default)]
struct Facts {
    lengths: usize,
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Facts {
    fn look(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Invalid> {
        match *name {
            header::CONTENT_LENGTH => {
                self.lengths += 1;
                self.length = length(value);
                if self.length.is_none() {
                    return Err(Invalid("Content-Length is not a number"));
                }
            }
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                self.chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            header::CONNECTION => {
                let options = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
                for option in options.take(MAX_OPTIONS) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.3, without its leniencies: several framings are none.
    fn framing(&self, status: StatusCode, version: u8, head_request: bool) -> Result<Framing, Invalid> {
        if self.codings > 0 {
            match () {
                () if version == 0 => return Err(Invalid("Transfer-Encoding in HTTP/1.0")),
                () if self.lengths > 0 => return Err(Invalid("both Content-Length and Transfer-Encoding")),
                () if self.codings > 1 || !self.chunked => return Err(Invalid("a transfer coding other than chunked")),
                () => {}
            }
        }
        if self.lengths > 1 {
            return Err(Invalid("several Content-Length"));
        }
        let bodiless = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || head_request;
        Ok(match self.length {
            _ if bodiless => Framing::None,
            _ if self.chunked => Framing::Chunked,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        })
    }

    fn keeps_alive(&self, version: u8) -> bool {
        !self.close && (version == 1 || self.keep_alive)
    }
}

/// Whether a line of `Connection` nominates no field, and no other protocol.
fn says_only_how_it_ends(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// Digits only; 18 of them stay far below 2^63, beyond which readers disagree.
fn length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let good = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    good.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &str, head_request: bool) -> Result<Option<Head>, Invalid> {
        take(&mut BytesMut::from(bytes), &mut 0, head_request)
    }

    fn framing(fields: &str) -> (Framing, bool) {
        let head = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), false);
        let head = head.expect("good").expect("complete");
        (head.framing, head.keep_alive)
    }

    #[test]
    fn framings() {
        assert_eq!(framing("Content-Length: 5\r\n"), (Framing::Length(5), true));
        assert_eq!(framing("content-length:  0 \r\n"), (Framing::None, true));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), (Framing::Chunked, true));
        assert_eq!(framing(""), (Framing::UntilClose, false));
        assert_eq!(
            framing("Content-Length: 5\r\nConnection: x, Close\r\n"),
            (Framing::Length(5), false)
        );
        let old = read("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false);
        assert!(!old.expect("good").expect("complete").keep_alive);
        let old = read(
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n",
            false,
        );
        assert!(old.expect("good").expect("complete").keep_alive);
    }

    #[test]
    fn answers_without_a_body() {
        for (status, fields, head_request) in [
            (204, "Content-Length: 5\r\n", false),
            (204, "Transfer-Encoding: chunked\r\n", false),
            (304, "Content-Length: 5\r\n", false),
            (103, "Link: </a>\r\n", false),
            (200, "Content-Length: 5\r\n", true),
            (200, "Transfer-Encoding: chunked\r\n", true),
            (200, "", true),
        ] {
            let head = read(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), head_request);
            let head = head.expect("good").expect("complete");
            assert_eq!(head.framing, Framing::None, "{status} {fields:?}");
            assert!(!head.fields.contains_key(header::TRANSFER_ENCODING));
            if status == 204 {
                assert!(!head.fields.contains_key(header::CONTENT_LENGTH));
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\u{0}b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/0.9 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "hello?\r\n\r\n",
        ] {
            assert!(read(head, false).is_err(), "{head:?}");
            assert!(read(head, true).is_err(), "{head:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(read(&many, false).err(), Some(Invalid("too many fields")));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
        assert_eq!(read(&endless, false).err(), Some(Invalid("the head is too large")));
    }

    #[test]
    fn what_follows_the_head_stays() {
        let mut scanned = 0;
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nX: 1\r\nX: 2\r\nContent-Length: 2\r\n\r\nab");
        let head = take(&mut buffer, &mut scanned, false).expect("good").expect("complete");
        assert_eq!(&buffer[..], b"ab");
        let values: Vec<_> = head.fields.get_all("x").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(cut in 0_usize..60) {
            let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n";
            let cut = cut.min(whole.len() - 1);
            let mut scanned = 0;
        let mut buffer = BytesMut::from(&whole[..cut]);
            prop_assert!(take(&mut buffer, &mut scanned, false).expect("good so far").is_none());
            buffer.extend_from_slice(&whole.as_bytes()[cut..]);
            prop_assert!(take(&mut buffer, &mut scanned, false).expect("good").is_some());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut scanned = 0;
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\n"[..]);
            buffer.extend_from_slice(&bytes);
            let _ = take(&mut buffer, &mut scanned, false);
        }
    }
}
