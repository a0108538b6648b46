//! `allow` of a route: only these networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks that may use a route.
#[derive(Debug, Clone)]
pub struct AllowList(Vec<IpNet>);

impl AllowList {
    /// Lets these networks in and nobody else; an empty list admits nobody.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// Whether this client may use the route; IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.0.iter().any(|network| network.contains(&client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        let list = AllowList::new(vec!["10.0.0.0/8".parse().expect("network")]);
        assert!(list.admits("10.1.2.3".parse().expect("address")));
        assert!(list.admits("::ffff:10.1.2.3".parse().expect("address")));
        assert!(!list.admits("11.0.0.1".parse().expect("address")));
        assert!(!AllowList::new(vec![]).admits("10.1.2.3".parse().expect("address")));
    }
}
