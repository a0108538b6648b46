//! Where a request head ends, found as its bytes arrive.

use memchr::memchr_iter;

use crate::answer::Reason;
use crate::config::model::HeadLimits;

/// Empty lines before a request line that are skipped (RFC 9112 §2.2 asks for at least one).
const MAX_LEADING_EMPTY_LINES: usize = 4;

/// Finds the end of a head as its bytes arrive, reading each byte once.
///
/// Refuses early what no further byte can mend, so that a sender cannot make the gate hold or scan more than its limits.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes already seen.
    seen: usize,
    /// Where the line that is being read begins.
    line: usize,
    /// Complete lines, the request line among them.
    lines: usize,
    /// Where the request line begins, after empty lines.
    start: usize,
}

/// The bytes of one head within a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where the request line begins.
    pub start: usize,
    /// After the empty line that ends the head.
    pub end: usize,
}

impl Scanner {
    /// Looks at what was added to `buffer`; `None`: the head is not complete yet.
    ///
    /// # Errors
    /// The reason for which the request is refused, whatever is still to come.
    pub fn scan(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<Extent>, Reason> {
        let from = self.seen;
        for offset in memchr_iter(b'\n', &buffer[from..]) {
            let newline = from + offset;
            // A bare LF as line end is the classic disagreement between parsers (RFC 9112 §2.2 permits, we refuse).
            if newline == self.line || buffer[newline - 1] != b'\r' {
                return Err(Reason::BadRequest);
            }
            let empty = newline - 1 == self.line;
            self.line = newline + 1;
            if empty && self.lines == 0 {
                if self.start >= 2 * MAX_LEADING_EMPTY_LINES {
                    return Err(Reason::BadRequest);
                }
                self.start = newline + 1;
            } else if empty {
                let extent = Extent {
                    start: self.start,
                    end: newline + 1,
                };
                return if extent.end - extent.start > limits.size {
                    Err(Reason::HeadTooLarge)
                } else {
                    Ok(Some(extent))
                };
            } else {
                self.lines += 1;
                if self.lines - 1 > limits.fields {
                    return Err(Reason::HeadTooLarge);
                }
            }
        }
        self.seen = buffer.len();
        // TLS or another protocol on this port: no line end will come, and waiting for one would tell nobody anything.
        if self.lines == 0
            && buffer
                .get(self.line)
                .is_some_and(|&byte| byte != b'\r' && !byte.is_ascii_graphic())
        {
            return Err(Reason::BadRequest);
        }
        // The longest method that anybody uses and the version stand beside the target on the request line.
        if self.lines == 0 && buffer.len() - self.line > limits.uri + 40 {
            return Err(Reason::UriTooLong);
        }
        if buffer.len() - self.start > limits.size {
            return Err(Reason::HeadTooLarge);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        size: 2048,
        fields: 20,
        uri: 256,
    };

    #[test]
    fn the_scanner_finds_the_end_wherever_the_bytes_are_split() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for cut in 0..head.len() {
            let mut scanner = Scanner::default();
            let first = scanner.scan(&head[..cut], &LIMITS).expect("good so far");
            let extent = first
                .or_else(|| scanner.scan(head, &LIMITS).expect("good"))
                .expect("complete");
            assert_eq!(
                extent,
                Extent {
                    start: 2,
                    end: head.len() - 4
                },
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn the_scanner_refuses_early() {
        let scan = |bytes: &[u8]| Scanner::default().scan(bytes, &LIMITS);
        assert_eq!(scan(b"GET / HTTP/1.1\n"), Err(Reason::BadRequest));
        assert_eq!(scan(b"\n"), Err(Reason::BadRequest));
        assert_eq!(scan(b"\x16\x03\x01\x02\x00"), Err(Reason::BadRequest));
        assert_eq!(scan(b"\r"), Ok(None));
        assert_eq!(scan(&b"\r\n".repeat(6)), Err(Reason::BadRequest));
        assert_eq!(scan(&[b'a'; 400]), Err(Reason::UriTooLong));
        let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(21)].concat();
        assert_eq!(scan(&many), Err(Reason::HeadTooLarge));
        let large = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 2100]].concat();
        assert_eq!(scan(&large), Err(Reason::HeadTooLarge));
    }
}
