//! `[bandwidth.NAME]`

use ipnet::IpNet;

use crate::config::list::{List, OneOrMore};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Size;
use crate::config::value::Integer;
use crate::limit::Source;

table! {
    /// How fast bodies may flow, counted together for whoever `key` says: nobody is refused, what is too fast waits. One of
    /// `download` and `upload` is there.
    pub struct Bandwidth {
        /// The bodies of answers: `1MB/s`, at least `4KB/s`. A WebSocket's messages count, too.
        optional download: Written<Speed> => "any speed",
        /// The bodies of requests: `500KB/s`, at least `4KB/s`.
        optional upload: Written<Speed> => "any speed",
        /// How many bytes may flow before anything waits, in each direction.
        optional burst: Written<Size> => "what flows in a second",
        /// Who is counted together, as for a rate limit; where a part is missing, the client's address stands in.
        default key: OneOrMore<Written<Source>> = "\"client-ip\"",
        /// IPv6 clients of one network are one client: its prefix length.
        default ipv6_prefix: Integer<32, 128> = "64",
        /// Networks or addresses that never wait.
        optional allow: List<Written<IpNet>> => "nobody",
    }
}

/// Bytes in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speed(pub(crate) u64);

/// Slower, and a part of a body would wait longer than clients do.
const SLOWEST: u64 = 4 << 10;

impl FromText for Speed {
    const KIND: Kind = Kind {
        what: "a speed",
        pattern: Some("^[0-9]+([KMGT]i?)?B/s$"),
        example: "1MB/s",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let Some(size) = text.strip_suffix("/s") else {
            return Err(Fault::new(format!("`{}` is not a speed", clip(text)))
                .help("write how many bytes in a second: `\"500KB/s\"`, `\"1MB/s\"`"));
        };
        let Size(bytes) = Size::from_text(size)?;
        if bytes < SLOWEST {
            return Err(
                Fault::new(format!("`{}` is too slow: clients would give up", clip(text)))
                    .help("write at least `\"4KB/s\"`"),
            );
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        for (text, bytes) in [("4KB/s", 4096), ("1MB/s", 1 << 20), ("5000B/s", 5000)] {
            assert_eq!(Speed::from_text(text).ok(), Some(Speed(bytes)), "{text}");
        }
        for text in ["", "1MB", "1MB/min", "1/s", "1mb/s", "3KB/s", "0B/s", "8Mbit/s"] {
            assert!(Speed::from_text(text).is_err(), "{text}");
        }
    }
}
