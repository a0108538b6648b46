//! The `Host` of a request: validated, and brought into the form in which routes compare it.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// Longest `Host` value accepted, bytes: a DNS name has at most 253, and a port follows.
const LONGEST: usize = 255;

/// Why a `Host` value is refused (always answered 400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// No name, or nothing before the port.
    Empty,
    /// More than 255 bytes.
    TooLong,
    /// A byte that no host name has: a path, a comma, a space, `@`, an escape, a control byte; or an empty label.
    BadName,
    /// Brackets that do not hold an IPv6 address.
    BadAddress,
    /// Not a number from 0 to 65535.
    BadPort,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the host is empty",
            Self::TooLong => "the host is longer than 255 bytes",
            Self::BadName => "the host has a byte that no host name has, or an empty label",
            Self::BadAddress => "the brackets do not hold an IPv6 address",
            Self::BadPort => "the port is not a number from 0 to 65535",
        })
    }
}

impl std::error::Error for HostError {}

/// Validates a `Host` value (RFC 9110 §7.2, RFC 3986 §3.2.2) and gives the host as routes compare it, and the port.
///
/// The host comes out in lower case, without port and without one trailing dot; an IPv6 address in its brackets and in
/// its canonical text (RFC 5952). An empty port (`host:`) counts as none.
///
/// Narrower than RFC 3986's `reg-name` on purpose: escapes and delimiters (`,` `'` `;` …) are in no host name, but the
/// host is written into redirects, cache keys and logs.
///
/// # Errors
/// [`HostError`]; what it means to have no host at all (HTTP/1.0) is the caller's matter.
pub fn normalise_host(raw: &str) -> Result<(Cow<'_, str>, Option<u16>), HostError> {
    if raw.len() > LONGEST {
        return Err(HostError::TooLong);
    }
    if raw.starts_with('[') {
        let end = raw.find(']').ok_or(HostError::BadAddress)?;
        let (literal, after) = raw.split_at(end + 1);
        let address: Ipv6Addr = literal[1..end].parse().map_err(|_| HostError::BadAddress)?;
        let port = match after.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if after.is_empty() => None,
            None => return Err(HostError::BadAddress),
        };
        let canonical = format!("[{address}]");
        let host = if canonical == literal {
            Cow::Borrowed(literal)
        } else {
            Cow::Owned(canonical)
        };
        return Ok((host, port));
    }
    // Byte by byte: what searches in texts is made for longer ones.
    let (name, port) = match raw.bytes().position(|byte| byte == b':') {
        Some(colon) => (&raw[..colon], &raw[colon + 1..]),
        None => (raw, ""),
    };
    let host = parse_name(name.strip_suffix('.').unwrap_or(name))?;
    Ok((host, parse_port(port)?))
}

/// What a byte of a host name is; nothing: none.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => LOWER,
            b'A'..=b'Z' => UPPER,
            b'.' => DOT,
            _ => 0,
        };
        byte += 1;
    }
    bytes
};
const LOWER: u8 = 1;
const UPPER: u8 = 2;
const DOT: u8 = 4;

fn parse_name(name: &str) -> Result<Cow<'_, str>, HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    let (mut found, mut before) = (0, DOT);
    for byte in name.bytes() {
        let kind = BYTES[usize::from(byte)];
        if kind == 0 || kind & before & DOT != 0 {
            return Err(HostError::BadName);
        }
        found |= kind;
        before = kind;
    }
    if before == DOT {
        return Err(HostError::BadName);
    }
    Ok(if found & UPPER != 0 {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

fn parse_port(text: &str) -> Result<Option<u16>, HostError> {
    if text.is_empty() {
        return Ok(None);
    }
    // `parse` alone would take `+80`.
    if text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::BadPort);
    }
    text.parse().map(Some).map_err(|_| HostError::BadPort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_hosts() {
        let table = [
            ("example.com", "example.com", None),
            ("Example.COM:443", "example.com", Some(443)),
            ("example.com.", "example.com", None),
            ("example.com.:80", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("localhost:0", "localhost", Some(0)),
            ("h:65535", "h", Some(65535)),
            ("my_service:8080", "my_service", Some(8080)),
            ("xn--caf-dma.example", "xn--caf-dma.example", None),
            ("127.0.0.1:5000", "127.0.0.1", Some(5000)),
            ("[::1]", "[::1]", None),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]", None),
            ("[::1]:", "[::1]", None),
        ];
        for (raw, host, port) in table {
            assert_eq!(normalise_host(raw), Ok((Cow::Borrowed(host), port)), "{raw}");
        }
        assert!(matches!(normalise_host("example.com:80"), Ok((Cow::Borrowed(_), _))));
    }

    #[test]
    fn attacks() {
        use HostError::*;
        let long = "a".repeat(256);
        let table = [
            ("", Empty),
            (":80", Empty),
            (".", Empty),
            (long.as_str(), TooLong),
            ("..", BadName),
            (".example.com", BadName),
            ("a..b", BadName),
            ("example.com..", BadName),
            ("example.com/path", BadName),
            ("example.com\\x", BadName),
            ("a.com,b.com", BadName),
            ("a.com, b.com", BadName),
            ("a.com b.com", BadName),
            (" a.com", BadName),
            ("a.com\t", BadName),
            ("a.com\r\nX: y", BadName),
            ("a.com:80\r\nX: y", BadPort),
            ("a\0b", BadName),
            ("user@a.com", BadName),
            ("user:pw@a.com", BadPort),
            ("a.com?x", BadName),
            ("a.com#x", BadName),
            ("%61.com", BadName),
            ("a.com'\"><script>", BadName),
            ("caf\u{e9}.example", BadName),
            ("*.example.com", BadName),
            ("http://a.com", BadPort),
            ("a.com:80:80", BadPort),
            ("a.com:http", BadPort),
            ("a.com:-1", BadPort),
            ("a.com:+80", BadPort),
            ("a.com:65536", BadPort),
            ("a.com:000080", BadPort),
            ("a.com:80/", BadPort),
            ("a.com: 80", BadPort),
            ("::1", Empty),
            ("[::1", BadAddress),
            ("[]", BadAddress),
            ("[::1]x", BadAddress),
            ("[::1]]", BadAddress),
            ("[::1%25eth0]", BadAddress),
            ("[v1.x]", BadAddress),
            ("[127.0.0.1]", BadAddress),
            ("[::1]:x", BadPort),
        ];
        for (raw, error) in table {
            assert_eq!(normalise_host(raw), Err(error), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_good_host_is_a_fixed_point(raw in "[a-zA-Z0-9._:\\[\\]-]{0,20}") {
            if let Ok((host, _)) = normalise_host(&raw) {
                prop_assert_eq!(normalise_host(&host), Ok((Cow::Borrowed(&*host), None)));
                prop_assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
            }
        }

        #[test]
        fn never_panics(raw in any::<String>()) {
            let _ = normalise_host(&raw);
        }
    }
}
