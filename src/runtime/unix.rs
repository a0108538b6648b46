//! Servers that are sockets in the file system, where everything else goes by network addresses.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv6Addr, SocketAddr};

/// What the name of such a server begins with; its path follows.
pub const UNIX: &str = "unix:";

/// The address that stands for such a server among the others: in 100::/64, to which nothing is ever routed (RFC 6666).
pub(in crate::runtime) fn address(server: &str) -> SocketAddr {
    let mut hasher = DefaultHasher::new();
    server.hash(&mut hasher);
    let address = (0x0100_u128 << 112) | u128::from(hasher.finish());
    SocketAddr::from((Ipv6Addr::from(address), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_address() {
        let (one, other) = (address("unix:/run/a.sock"), address("unix:/run/b.sock"));
        assert_eq!(one, address("unix:/run/a.sock"));
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("[100::"), "{one}");
    }
}
