//! Consistent hashing with bounded loads, on ketama's circle.
//!
//! Every server has points on a circle, in proportion to its weight and at places that depend only on its name and
//! address. A key belongs to the server of the next point. When a server goes, its keys go on to the next points, about
//! 1/n of all, and every other key stays; when it comes back, so do they. A server that has more than its share of the
//! requests in flight (times the load factor) is passed over, so that one popular key cannot drown it.
//!
//! Ketama rather than Maglev: Maglev spreads more evenly, but moves a few keys more, and has no order of second choices;
//! the bound on the load evens out more than the difference.

use std::net::SocketAddr;

use super::Endpoint;
use super::dice::mix;

/// Points of a server of mean weight, and of all servers together.
const POINTS: f64 = 256.0;
const POINTS_MAX: f64 = 65_536.0;

/// Points and the servers they belong to, in order.
#[derive(Debug, Default)]
pub(super) struct Circle(Box<[(u64, u32)]>);

impl Circle {
    /// For these servers, out of `all` with this mean weight: the points of one do not depend on which others are fit.
    pub(super) fn new<'a>(servers: impl Iterator<Item = &'a Endpoint>, all: usize, mean: f64) -> Self {
        let each = POINTS.min(POINTS_MAX / all.max(1) as f64);
        let mut points = Vec::new();
        for (index, endpoint) in (0..).zip(servers) {
            let count = (f64::from(endpoint.weight()) / mean.max(1.0) * each).round().max(1.0) as u64;
            let seed = identity(endpoint.server(), endpoint.address());
            points.extend((0..count).map(|number| (mix(seed ^ mix(number + 1)), index)));
        }
        points.sort_unstable();
        Self(points.into())
    }

    /// The servers in the order of their points from a key on. A server comes once for each of its points; not more points
    /// than `most` are walked.
    pub(super) fn from(&self, key: u64, most: usize) -> impl Iterator<Item = usize> {
        let key = mix(key);
        let start = self.0.partition_point(|&(point, _)| point < key);
        let (before, after) = self.0.split_at(start);
        after.iter().chain(before).take(most).map(|&(_, index)| index as usize)
    }
}

/// FNV-1a over the name and the address: the same in every gateway and every version.
fn identity(server: &str, address: SocketAddr) -> u64 {
    let ip: Vec<u8> = match address {
        SocketAddr::V4(address) => address.ip().octets().to_vec(),
        SocketAddr::V6(address) => address.ip().octets().to_vec(),
    };
    let bytes = server.bytes().chain([0]).chain(ip).chain(address.port().to_be_bytes());
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::balance::Member;

    fn servers(weights: &[(u16, u32)]) -> Vec<Endpoint> {
        let server = |&(number, weight): &(u16, u32)| {
            let address = SocketAddr::from(([10, 0, 0, 1], number));
            Endpoint::new("api".into(), &Member::new(address.to_string(), address, weight))
        };
        weights.iter().map(server).collect()
    }

    fn owners(servers: &[Endpoint], mean: f64) -> Vec<u16> {
        let circle = Circle::new(servers.iter(), servers.len(), mean);
        let owner = |key| servers[circle.from(key, 1).next().unwrap()].address().port();
        (0..20_000).map(owner).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        let mut keys: HashMap<u16, f64> = HashMap::new();
        for owner in owners(&servers(&[(1, 1), (2, 1), (3, 2), (4, 4)]), 2.0) {
            *keys.entry(owner).or_default() += 1.0 / 20_000.0;
        }
        for (port, share) in [(1, 0.125), (2, 0.125), (3, 0.25), (4, 0.5)] {
            assert!((keys[&port] / share - 1.0).abs() < 0.25, "{port}: {}", keys[&port]);
        }
    }

    #[test]
    fn only_the_keys_of_the_server_that_goes_move() {
        let all: Vec<(u16, u32)> = (1..=8).map(|number| (number, 1)).collect();
        let before = owners(&servers(&all), 1.0);
        let after = owners(&servers(&all[..7]), 1.0);
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!(
            before.iter().zip(&after).all(|(a, b)| a == b || *a == 8),
            "a key moved without need"
        );
        assert!((1_700..3_300).contains(&moved), "about an eighth: {moved}");
    }

    #[test]
    fn many_servers_and_odd_weights_stay_bounded() {
        let many: Vec<(u16, u32)> = (1..=3000).map(|number| (number, 1)).collect();
        assert!(Circle::new(servers(&many).iter(), many.len(), 1.0).0.len() <= POINTS_MAX as usize + many.len());
        assert_eq!(Circle::new(servers(&[]).iter(), 0, 0.0).from(1, 10).count(), 0);
        let odd = servers(&[(1, u32::MAX), (2, 1)]);
        assert_eq!(Circle::new(odd.iter(), 2, f64::from(u32::MAX) / 2.0).0.len(), 513);
    }
}
