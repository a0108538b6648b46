//! Whether there is a way to an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::super::answer::Found;

/// Leaves out addresses that no route leads to, as long as another one can be reached: the IPv6 addresses of a name where
/// the container has no IPv6. (RFC 6724 §5, rule 1.)
pub(super) fn prefer_reachable(servers: &mut Vec<Found>) {
    prefer(servers, is_routed);
}

fn prefer(servers: &mut Vec<Found>, is_routed: impl Fn(SocketAddr) -> bool) {
    let mixed = servers.iter().any(|one| one.address.is_ipv4()) && servers.iter().any(|one| one.address.is_ipv6());
    if !mixed {
        return;
    }
    let routed: Vec<bool> = servers.iter().map(|one| is_routed(one.address)).collect();
    if routed.contains(&true) {
        let mut routed = routed.into_iter();
        servers.retain(|_| routed.next() == Some(true));
    }
}

/// Asks the kernel; nothing is sent.
fn is_routed(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect(address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_reached_is_left_out_where_families_are_mixed() {
        let servers = |ips: &[&str]| -> Vec<Found> {
            let found = |ip: &&str| Found {
                address: SocketAddr::new(ip.parse().unwrap(), 80),
                weight: 1,
                name: "app".into(),
            };
            ips.iter().map(found).collect()
        };
        type Row = (&'static [&'static str], fn(SocketAddr) -> bool, &'static [&'static str]);
        let table: [Row; 5] = [
            (&["10.0.0.1", "fd00::1"], |address| address.is_ipv4(), &["10.0.0.1"]),
            (&["10.0.0.1", "fd00::1"], |address| address.is_ipv6(), &["fd00::1"]),
            (&["10.0.0.1", "fd00::1"], |_| false, &["10.0.0.1", "fd00::1"]),
            (&["10.0.0.1", "fd00::1"], |_| true, &["10.0.0.1", "fd00::1"]),
            (
                &["10.0.0.1", "10.0.0.2"],
                |_| unreachable!("not asked"),
                &["10.0.0.1", "10.0.0.2"],
            ),
        ];
        for (before, is_routed, after) in table {
            let mut found = servers(before);
            prefer(&mut found, is_routed);
            assert_eq!(found, servers(after), "{before:?}");
        }
        assert!(is_routed("127.0.0.1:80".parse().unwrap()));
    }
}
