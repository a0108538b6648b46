//! What a look-up found.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Most addresses of one entry.
const ADDRESSES_MAX: usize = 64;

/// How a look-up ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With addresses.
    Found(Answer),
    /// The name does not exist or has no addresses: those who must know said so.
    Absent,
    /// Nobody could be asked, or nobody knew.
    Failed(String),
}

/// Addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) servers: Vec<Found>,
    /// What could not be asked for: there, the addresses before are the best that is known.
    pub(super) unsure: Vec<(Arc<str>, Family)>,
    /// How long it is good.
    pub(super) ttl: Duration,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) address: SocketAddr,
    /// Its share relative to the others of the entry, at least 1.
    pub(super) weight: u32,
    /// The name that has this address: the entry's own, or a target of an SRV name.
    pub(super) name: Arc<str>,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Answer {
    /// The addresses that a server can have, those of `before` included that could not be asked for: each once, in a fixed
    /// order, not more than [`ADDRESSES_MAX`]. Whoever answers for a name must not make the gateway connect to itself by
    /// `0.0.0.0` or speak to a group.
    pub(super) fn accepted(self, before: &[Found]) -> Vec<Found> {
        let unsure = |one: &&Found| {
            let family = Family::of(one.address);
            self.unsure.iter().any(|(name, of)| *name == one.name && *of == family)
        };
        let kept = before.iter().filter(unsure).cloned();
        accepted(self.servers.iter().cloned().chain(kept).collect())
    }
}

/// What [`Answer::accepted`] does with addresses that are given.
pub(super) fn accepted(mut servers: Vec<Found>) -> Vec<Found> {
    for one in &mut servers {
        // Only a mapped address is rebuilt: scope ids of the others must stay.
        if let IpAddr::V4(ip) = one.address.ip().to_canonical() {
            one.address = SocketAddr::from((ip, one.address.port()));
        }
    }
    servers.retain(|one| {
        let ip = one.address.ip();
        !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST
    });
    servers.sort_by(|a, b| a.address.cmp(&b.address).then(b.weight.cmp(&a.weight)));
    servers.dedup_by_key(|one| one.address);
    servers.truncate(ADDRESSES_MAX);
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ips: &[&str]) -> Vec<Found> {
        let one = |ip: &&str| Found {
            address: SocketAddr::new(ip.parse().unwrap(), 80),
            weight: 1,
            name: "app".into(),
        };
        ips.iter().map(one).collect()
    }

    #[test]
    fn only_unicast_addresses_are_accepted() {
        let table: [(&[&str], &[&str]); 7] = [
            (&[], &[]),
            (&["0.0.0.0", "::", "::ffff:0.0.0.0"], &[]),
            (&["224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:239.1.1.1"], &[]),
            (&["10.0.0.2", "10.0.0.1", "10.0.0.2"], &["10.0.0.1", "10.0.0.2"]),
            (&["::ffff:10.0.0.1", "10.0.0.1"], &["10.0.0.1"]),
            (&["fd00::1", "10.0.0.1", "0.0.0.0"], &["10.0.0.1", "fd00::1"]),
            (&["127.0.0.1", "169.254.1.1"], &["127.0.0.1", "169.254.1.1"]),
        ];
        for (ips, expected) in table {
            assert_eq!(accepted(found(ips)), found(expected), "{ips:?}");
        }
        let many = (0..1000u32).map(|number| Found {
            address: SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 80)),
            ..found(&["10.0.0.1"]).remove(0)
        });
        assert_eq!(accepted(many.collect()).len(), ADDRESSES_MAX);
    }

    #[test]
    fn of_an_address_that_is_named_twice_the_larger_weight_counts() {
        let mut servers = found(&["10.0.0.1", "10.0.0.1"]);
        servers[1].weight = 7;
        let accepted = accepted(servers);
        assert_eq!(accepted.iter().map(|one| one.weight).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn what_could_not_be_asked_for_is_kept() {
        let answer = |unsure: &[Family]| Answer {
            servers: found(&["10.0.0.2"]),
            unsure: unsure.iter().map(|family| ("app".into(), *family)).collect(),
            ttl: Duration::ZERO,
        };
        let before = found(&["10.0.0.1", "fd00::1"]);
        assert_eq!(answer(&[]).accepted(&before), found(&["10.0.0.2"]));
        assert_eq!(answer(&[Family::V6]).accepted(&before), found(&["10.0.0.2", "fd00::1"]));
        assert_eq!(
            answer(&Family::BOTH).accepted(&before),
            found(&["10.0.0.1", "10.0.0.2", "fd00::1"])
        );
    }
}
