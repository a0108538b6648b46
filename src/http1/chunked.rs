//! The chunked framing of a body (RFC 9112 §7.1), followed byte by byte and strictly: where a body ends is never
//! left to two readers.

use bytes::{Buf, Bytes, BytesMut};

/// Most bytes of one chunk's size line beyond its digits: extensions mean nothing to the gateway.
const MAX_EXTENSION: u16 = 256;
/// Most bytes of the trailer section.
const MAX_TRAILERS: u16 = 8192;

/// The framing is broken: the connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Where in the framing the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size {
        digits: u8,
    },
    Extension {
        length: u16,
    },
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    TrailerLineEnd,
    FinalLf,
    Done,
    /// Nobody knows where the body ends: nothing that comes later can mend it.
    Broken,
}

/// Follows one body.
#[derive(Debug)]
pub(crate) struct Chunked {
    at: At,
    /// Left of the chunk that is being read, bytes.
    left: u64,
    trailers: u16,
    /// Bytes of content so far, framing not counted.
    content: u64,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size { digits: 0 },
            left: 0,
            trailers: 0,
            content: 0,
        }
    }

    /// Whether the body has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Bytes of content so far.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    /// Follows these bytes; returns how many of them belong to the body: fewer than given only where it ends.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::Done {
            if self.at == At::Data {
                let take = self.left.min((bytes.len() - used) as u64);
                self.left -= take;
                self.content += take;
                used += usize::try_from(take).map_err(|_| Broken)?;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
            } else {
                self.step(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    /// Takes what comes next out of `buffer`: content that stands together, without the framing around it. `None`: more
    /// bytes are needed, or the body has ended.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
        self.pass_framing(buffer)?;
        if self.at != At::Data || buffer.is_empty() {
            return Ok(None);
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let content = buffer.split_to(length).freeze();
        self.advance(&content)?;
        // The end is often there already: then nobody waits for it.
        self.pass_framing(buffer)?;
        Ok(Some(content))
    }

    fn pass_framing(&mut self, buffer: &mut BytesMut) -> Result<(), Broken> {
        let mut passed = 0;
        while passed < buffer.len() && !matches!(self.at, At::Data | At::Done) {
            self.step(buffer[passed])?;
            passed += 1;
        }
        buffer.advance(passed);
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), Broken> {
        let next = self.next(byte);
        self.at = next.unwrap_or(At::Broken);
        next.map(drop)
    }

    fn next(&mut self, byte: u8) -> Result<At, Broken> {
        let line_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (self.at, byte) {
            // 15 digits stay below 2^60: no reader overflows.
            (At::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).ok_or(Broken)?;
                self.left = self.left << 4 | u64::from(digit);
                Ok(At::Size { digits: digits + 1 })
            }
            (At::Size { digits: 1.. }, b'\r') => Ok(At::SizeEnd),
            (At::Size { digits: 1.. }, b';') => Ok(At::Extension { length: 0 }),
            (At::Extension { .. }, b'\r') => Ok(At::SizeEnd),
            (At::Extension { length }, _) if line_text(byte) && length < MAX_EXTENSION => {
                Ok(At::Extension { length: length + 1 })
            }
            (At::SizeEnd, b'\n') => Ok(if self.left == 0 { At::Trailer } else { At::Data }),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { digits: 0 }),
            (At::Trailer, b'\r') => Ok(At::FinalLf),
            (At::TrailerLine, b'\r') => Ok(At::TrailerLineEnd),
            (At::Trailer | At::TrailerLine, _) if line_text(byte) && self.trailers < MAX_TRAILERS => {
                self.trailers += 1;
                Ok(At::TrailerLine)
            }
            (At::TrailerLineEnd, b'\n') => Ok(At::Trailer),
            (At::FinalLf, b'\n') => Ok(At::Done),
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_broken_stays_so() {
        // Read on from here, the next request would be the end of these trailers.
        let mut body = Chunked::new();
        assert_eq!(body.advance(b"0\r\nA: b\nC: d\r\n\r\n"), Err(Broken));
        assert_eq!(body.advance(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Broken));
        assert!(!body.is_done());
        let mut body = Chunked::new();
        let mut buffer = BytesMut::from(&b"0\r\nA: b\n"[..]);
        assert_eq!(body.take(&mut buffer), Err(Broken));
        assert_eq!(body.take(&mut BytesMut::from(&b"c\r\n\r\n"[..])), Err(Broken));
    }

    fn follow(bytes: &[u8]) -> Result<(usize, bool, u64), Broken> {
        let mut body = Chunked::new();
        let used = body.advance(bytes)?;
        Ok((used, body.is_done(), body.content()))
    }

    #[test]
    fn bodies_end_where_they_end() {
        assert_eq!(follow(b"5\r\nhello\r\n0\r\n\r\nGET /"), Ok((15, true, 5)));
        assert_eq!(follow(b"0\r\n\r\n"), Ok((5, true, 0)));
        assert_eq!(follow(b"A;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"), Ok((30, true, 10)));
        assert_eq!(follow(b"5\r\nhel"), Ok((6, false, 3)));
    }

    #[test]
    fn broken_framing_is_refused() {
        let long_extension = [b"1;".as_slice(), &[b'a'; 300], b"\r\n"].concat();
        let long_trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(3000)].concat();
        let cases: [&[u8]; 14] = [
            b"\r\n",
            b"5\nhello",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n",
            b"g\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b"1000000000000000\r\n",
            b";a\r\n",
            b"0\r\n\n",
            &long_extension,
            &long_trailers,
        ];
        for case in cases {
            assert_eq!(follow(case), Err(Broken), "{:?}", String::from_utf8_lossy(case));
        }
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
                                cuts in prop::collection::vec(1usize..20, 1..60)) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let length = wire.len();
            wire.extend(b"GET / HTTP/1.1\r\n");
            let mut body = Chunked::new();
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while !body.is_done() {
                let end = (at + cuts.next().copied().unwrap_or(1)).min(wire.len());
                at += body.advance(&wire[at..end]).expect("good framing");
            }
            prop_assert_eq!(at, length);
            prop_assert_eq!(body.content(), chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
        }

        #[test]
        fn content_comes_out_as_it_went_in(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
                                           cuts in prop::collection::vec(1usize..20, 1..60)) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x};ext\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\nTrailer: x\r\n\r\nnext");
            let (mut body, mut buffer, mut content) = (Chunked::new(), BytesMut::new(), Vec::new());
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while at < wire.len() {
                let end = (at + cuts.next().copied().unwrap_or(1)).min(wire.len());
                buffer.extend_from_slice(&wire[at..end]);
                at = end;
                while let Some(part) = body.take(&mut buffer).expect("good framing") {
                    content.extend_from_slice(&part);
                }
            }
            prop_assert!(body.is_done());
            prop_assert_eq!(&buffer[..], b"next");
            prop_assert_eq!(content, chunks.concat());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = follow(&bytes);
        }
    }
}
