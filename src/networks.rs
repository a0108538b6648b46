//! Sets of networks: as many as a file holds, and an address is found in them in a few steps.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A set of addresses, given as networks. IPv4-mapped IPv6 addresses count as IPv4 (RFC 4291 §2.5.5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last addresses, in order; none touches the next one.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    /// Whether this address is in one of them.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => within(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => within(&self.v6, ip.to_bits()),
        }
    }

    /// Whether no address is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// What a file of networks says, as [`list`] reads it.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        list(text).map(Self::from_iter)
    }
}

/// A list as files have it: a network or an address on each line, `#` begins a comment.
///
/// # Errors
/// What is wrong with which line.
pub fn list(text: &str) -> Result<Vec<IpNet>, String> {
    let mut networks = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let network = entry
            .parse::<IpNet>()
            .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
        let clipped: String = entry.chars().take(60).collect();
        match network {
            Ok(network) if network.addr() == network.network() => networks.push(network),
            Ok(network) => {
                return Err(format!(
                    "line {number}: `{clipped}` is an address within a network: write `{}` or `{}`",
                    network.trunc(),
                    network.addr()
                ));
            }
            Err(_) => {
                return Err(format!(
                    "line {number}: `{clipped}` is neither a network nor an address"
                ));
            }
        }
    }
    Ok(networks)
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => match mapped(network) {
                    Some(network) => v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                    None => v6.push((network.network().to_bits(), network.broadcast().to_bits())),
                },
            }
        }
        Self {
            v4: merged(v4, |last| last.checked_add(1)),
            v6: merged(v6, |last| last.checked_add(1)),
        }
    }
}

/// The IPv4 network that an IPv4-mapped one stands for.
fn mapped(network: Ipv6Net) -> Option<Ipv4Net> {
    let address = network.addr().to_ipv4_mapped()?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if after(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let above = ranges.partition_point(|(first, _)| *first <= address);
    above.checked_sub(1).is_some_and(|index| address <= ranges[index].1)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> Networks {
        list.iter()
            .map(|text| text.parse::<IpNet>().expect("network"))
            .collect()
    }

    #[test]
    fn addresses_are_found() {
        let set = networks(&["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::ffff:198.51.100.0/120"]);
        for (ip, inside) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("::ffff:10.1.2.3", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("198.51.100.9", true),
            ("::ffff:198.51.100.9", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::10.1.2.3", false),
        ] {
            assert_eq!(set.contains(ip.parse().expect("address")), inside, "{ip}");
        }
        assert!(!Networks::default().contains(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        assert!(networks(&["0.0.0.0/0"]).contains(IpAddr::V4(Ipv4Addr::BROADCAST)));
        assert!(
            !networks(&["::/0"]).contains(IpAddr::V4(Ipv4Addr::BROADCAST)),
            "IPv4 is none of IPv6"
        );
    }

    #[test]
    fn neighbours_become_one() {
        let set = networks(&[
            "10.1.0.0/16",
            "10.0.0.0/16",
            "10.0.128.0/17",
            "255.255.255.255/32",
            "255.0.0.0/8",
        ]);
        assert_eq!(set.v4.len(), 2);
        assert!(set.v6.is_empty());
    }

    #[test]
    fn files() {
        let set = Networks::parse("# ours\n10.0.0.0/8  # office\n\n2001:db8::1\r\n").expect("a list");
        assert!(set.contains("10.9.9.9".parse().expect("address")));
        assert!(set.contains("2001:db8::1".parse().expect("address")));
        assert!(Networks::parse("").expect("an empty list").is_empty());
        for (text, what) in [
            ("1.2.3.4\nx", "line 2: `x`"),
            ("10.0.0.1/8", "`10.0.0.0/8`"),
            ("1.2.3.4/33", "line 1"),
        ] {
            let fault = Networks::parse(text).expect_err(text);
            assert!(fault.contains(what), "{fault}");
        }
    }

    proptest! {
        /// As whoever looks at each of them.
        #[test]
        fn as_one_by_one(list in prop::collection::vec((any::<u32>(), 0u8..=32), 0..40), near in any::<prop::sample::Index>(),
                         any in any::<u32>(), shift in 0u32..3) {
            let list: Vec<Ipv4Net> = list
                .into_iter()
                .filter_map(|(bits, length)| Ipv4Net::new(Ipv4Addr::from_bits(bits), length).ok())
                .map(|network| network.trunc())
                .collect();
            let set: Networks = list.iter().copied().map(IpNet::V4).collect();
            let mut asked = vec![any];
            if !list.is_empty() {
                let one = list[near.index(list.len())];
                asked.extend([one.network().to_bits().wrapping_sub(shift), one.broadcast().to_bits().wrapping_add(shift)]);
            }
            for bits in asked {
                let ip = Ipv4Addr::from_bits(bits);
                prop_assert_eq!(set.contains(IpAddr::V4(ip)), list.iter().any(|network| network.contains(&ip)), "{}", ip);
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f.:/# \n]{0,60}") {
            let _ = Networks::parse(&text);
        }
    }
}
