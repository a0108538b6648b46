//! `[dns]`

use std::net::{IpAddr, SocketAddr};

use crate::config::list::Several;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Timeout;
use crate::config::value::Integer;

table! {
    /// How names of servers are looked up. An answer is kept for as long as it says, within `min_ttl` and `max_ttl`, and never
    /// longer than `resolve_interval` of the upstream.
    pub struct Dns {
        /// Whom to ask: addresses, with a port where it is not 53.
        optional servers: Several<Written<NameServer>> => "those of `/etc/resolv.conf`",
        /// One attempt must be answered within this time.
        default timeout: Written<Timeout> = "\"2s\"",
        /// Attempts at each of them.
        default attempts: Integer<1, 10> = "2",
        /// The shortest time that an answer is kept.
        default min_ttl: Written<Timeout> = "\"1s\"",
        /// The longest time that an answer is kept.
        default max_ttl: Written<Timeout> = "\"5min\"",
    }
}

/// The address of a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl FromText for NameServer {
    const KIND: Kind = Kind {
        what: "the address of a name server",
        pattern: Some("^[0-9a-fA-F:.\\[\\]]+$"),
        example: "127.0.0.53:53",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const PORT: u16 = 53;
        let address = match text.parse::<IpAddr>() {
            Ok(ip) => Some(SocketAddr::new(ip, PORT)),
            Err(_) => text.parse().ok(),
        };
        match address {
            Some(address) if address.port() > 0 && !address.ip().is_unspecified() => Ok(Self(address)),
            _ => Err(
                Fault::new(format!("`{}` is not the address of a name server", clip(text))).help(
                    "write an IP address, with a port where it is not 53: `\"127.0.0.53\"`, `\"[2001:db8::1]:5353\"`",
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, address) in [
            ("127.0.0.53", "127.0.0.53:53"),
            ("127.0.0.53:5353", "127.0.0.53:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(
                NameServer::from_text(text).map(|server| server.0),
                Ok(address.parse().expect("address")),
                "{text}"
            );
        }
        for text in [
            "",
            "dns.internal",
            "127.0.0.1:0",
            "0.0.0.0",
            "udp://1.1.1.1",
            "1.1.1.1:99999",
        ] {
            assert!(NameServer::from_text(text).is_err(), "{text}");
        }
    }
}
