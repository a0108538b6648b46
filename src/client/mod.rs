//! Who is really calling, and what the upstream is told about it.
//!
//! One rule: what a stranger says about itself is replaced; what a trusted proxy says is walked from right to left up
//! to the first address that is not trusted.

mod chain;
mod fields;
mod forwarding;
mod presets;

use std::net::IpAddr;

use http::HeaderMap;

pub use fields::{ATTEMPT, FORWARDING, disclaim};
pub use forwarding::{Forwarding, Words, write_forwarding};
pub use presets::{PRESETS, Preset};

use crate::networks::Networks;

/// The scheme by which the client reached the outermost trusted hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Addresses whose forwarding fields are believed; by default nobody's.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Networks);

/// Who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address: the peer's, or the first untrusted one from the right. IPv4-mapped IPv6 is IPv4 here.
    pub ip: IpAddr,
    /// How the client came, as far as it is known.
    pub scheme: Scheme,
    /// Whether the peer itself is a trusted proxy.
    pub peer_trusted: bool,
}

impl TrustedProxies {
    /// Trusts these networks; IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn new(networks: Networks) -> Self {
        Self(networks)
    }

    /// Whether this address is a trusted proxy.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(ip)
    }

    /// Identifies the client of a connection from `peer` that sent these fields; `scheme` is the connection's own.
    ///
    /// A stranger is itself. Of a trusted peer the lines of `X-Forwarded-For` are joined and walked from right to left:
    /// the first address that is not trusted is the client. An element that is no address ends the walk at the hop
    /// before it; where all are trusted, the leftmost is the client. At most 64 elements and 8 KiB are looked at.
    ///
    /// `X-Forwarded-Proto` of a trusted peer gives the scheme. Where it has several values, it is the one that stands
    /// as far from the right as the client's address does, for one hop wrote both; where it has fewer, the leftmost.
    /// `Forwarded` is not read: a deployment speaks one of the two, and what nobody writes anybody can send.
    #[must_use]
    pub fn identify(&self, peer: IpAddr, scheme: Scheme, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return Client {
                ip: peer,
                scheme,
                peer_trusted: false,
            };
        }
        let mut ip = peer;
        let mut hop = 0;
        for (index, element) in chain::from_the_right(headers, &fields::X_FORWARDED_FOR).enumerate() {
            let Some(address) = chain::address(element) else {
                break;
            };
            (ip, hop) = (address, index);
            if !self.contains(address) {
                break;
            }
        }
        let told = chain::from_the_right(headers, &fields::X_FORWARDED_PROTO)
            .take(hop + 1)
            .last();
        Client {
            ip,
            scheme: told.and_then(chain::scheme).unwrap_or(scheme),
            peer_trusted: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn trusted() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "2001:db8::/32", "::ffff:192.0.2.0/120"];
        TrustedProxies::new(
            networks
                .iter()
                .map(|network| network.parse::<ipnet::IpNet>().unwrap())
                .collect(),
        )
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |&(name, value): &(&str, &str)| {
            (
                name.parse::<HeaderName>().unwrap(),
                value.parse::<HeaderValue>().unwrap(),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn identify(peer: &str, lines: &[(&str, &str)]) -> (String, Scheme, bool) {
        let client = trusted().identify(peer.parse().unwrap(), Scheme::Http, &headers(lines));
        (client.ip.to_string(), client.scheme, client.peer_trusted)
    }

    #[test]
    fn networks() {
        let table = [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.9", true),
            ("::ffff:192.0.2.9", true),
            ("2001:db8::9", true),
            ("11.0.0.1", false),
            ("192.0.3.1", false),
            ("::10.1.2.3", false),
            ("::1", false),
        ];
        for (ip, wanted) in table {
            assert_eq!(trusted().contains(ip.parse().unwrap()), wanted, "{ip}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_stranger_is_itself_whatever_it_says() {
        let lines = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=10.0.0.1"),
        ];
        assert_eq!(
            identify("203.0.113.7", &lines),
            ("203.0.113.7".into(), Scheme::Http, false)
        );
        assert_eq!(
            identify("::ffff:203.0.113.7", &[]),
            ("203.0.113.7".into(), Scheme::Http, false)
        );
    }

    #[test]
    fn the_first_untrusted_address_from_the_right() {
        let table: [(&[&str], &str); 20] = [
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["198.51.100.1"], "198.51.100.1"),
            (&["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            (&["6.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            (&["6.6.6.6", "198.51.100.1", "10.9.9.9,10.8.8.8"], "198.51.100.1"),
            (&["198.51.100.1,, ,10.9.9.9"], "198.51.100.1"),
            (&["10.7.7.7, 10.9.9.9"], "10.7.7.7"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["2001:db9::1"], "2001:db9::1"),
            (&["[2001:db9::1]:4711, 2001:db8::5"], "2001:db9::1"),
            (&["\"[2001:db9::1]\""], "2001:db9::1"),
            (&["\"198.51.100.1:80\""], "198.51.100.1"),
            (&["::ffff:198.51.100.1"], "198.51.100.1"),
            (&["198.51.100.1, ::ffff:10.9.9.9"], "198.51.100.1"),
            (&["198.51.100.1, unknown"], "10.0.0.1"),
            (&["198.51.100.1, unknown, 10.9.9.9"], "10.9.9.9"),
            (&["198.51.100.1, _hidden, 10.9.9.9"], "10.9.9.9"),
            (&["198.51.100.1, 10.0.0.1/8"], "10.0.0.1"),
            (&["198.51.100.1, 010.0.0.1"], "10.0.0.1"),
        ];
        for (lines, wanted) in table {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(
                identify("10.0.0.1", &lines),
                (wanted.into(), Scheme::Http, true),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn the_walk_is_bounded() {
        let long = "10.1.1.1,".repeat(100);
        let lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", &*long)];
        assert_eq!(identify("10.0.0.1", &lines).0, "10.1.1.1");
        let wide = format!("{}10.1.1.1", " ".repeat(9000));
        let lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", &*wide)];
        assert_eq!(identify("10.0.0.1", &lines).0, "10.0.0.1");
    }

    #[test]
    fn the_scheme_that_the_trusted_hop_saw() {
        let table: [(&str, &[&str], Scheme); 11] = [
            ("198.51.100.1", &["https"], Scheme::Https),
            ("198.51.100.1", &["HTTPS"], Scheme::Https),
            ("198.51.100.1", &["wss"], Scheme::Https),
            ("198.51.100.1", &["ftp"], Scheme::Http),
            ("198.51.100.1", &["http, https"], Scheme::Https),
            ("198.51.100.1", &["https, http"], Scheme::Http),
            ("198.51.100.1, 10.9.9.9", &["https, http"], Scheme::Https),
            ("198.51.100.1, 10.9.9.9", &["http", "https, http"], Scheme::Https),
            ("198.51.100.1, 10.9.9.9", &["https"], Scheme::Https),
            ("6.6.6.6, 198.51.100.1, 10.9.9.9", &["https, http, http"], Scheme::Http),
            ("", &["https"], Scheme::Https),
        ];
        for (addresses, schemes, wanted) in table {
            let mut lines = vec![("x-forwarded-for", addresses)];
            lines.extend(schemes.iter().map(|line| ("x-forwarded-proto", *line)));
            assert_eq!(identify("10.0.0.1", &lines).1, wanted, "{lines:?}");
        }
    }

    proptest! {
        /// Whatever a client writes on the left of what a trusted proxy appended changes nothing.
        #[test]
        fn the_left_is_never_believed(spoof in "[ -~]{0,60}") {
            let honest = identify("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, 10.9.9.9"), ("x-forwarded-proto", "https, http")]);
            let addresses = format!("{spoof}, 198.51.100.1, 10.9.9.9");
            let schemes = format!("{spoof}, https, http");
            prop_assert_eq!(identify("10.0.0.1", &[("x-forwarded-for", &addresses), ("x-forwarded-proto", &schemes)]), honest);
        }
    }
}
