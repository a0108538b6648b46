//! How many connections there may be: in all, and of one client.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::arrivals::Arrivals;
use crate::answer::Reason;
use crate::config::units::Rate;

const SHARDS: usize = 32;

/// Which bound a connection would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `max_connections`.
    Total,
    /// `max_connections_per_client`.
    Client,
    /// `connection_rate_per_client`.
    Rate,
    /// Its client is banned.
    Banned,
}

impl Refused {
    /// Why, as the client is told.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Total | Self::Client => Reason::Overloaded,
            Self::Rate => Reason::RateLimited,
            Self::Banned => Reason::Banned,
        }
    }
}

/// Counts open connections. An entry exists only while its client has a connection, so memory is bounded by the total.
#[derive(Debug)]
pub struct Caps {
    total: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
    arrivals: Arrivals,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            total: AtomicUsize::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            arrivals: Arrivals::default(),
        }
    }
}

impl Caps {
    /// Takes a place for a connection; `client`: `None` where the peer is a trusted proxy and counts in the total only.
    ///
    /// # Errors
    /// Which bound is reached.
    pub fn admit(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        most: usize,
        most_per_client: usize,
    ) -> Result<Place, Refused> {
        let mut place = Place {
            caps: Arc::clone(self),
            client: None,
        };
        if self.total.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Refused::Total);
        }
        let Some(key) = client.map(Self::key) else {
            return Ok(place);
        };
        let mut clients = self.shard(key).lock();
        let count = clients.entry(key).or_insert(0);
        if *count >= most_per_client {
            if *count == 0 {
                clients.remove(&key);
            }
            drop(clients);
            return Err(Refused::Client);
        }
        *count += 1;
        drop(clients);
        place.client = Some(key);
        Ok(place)
    }

    /// Counts a connection of a client that comes now.
    ///
    /// # Errors
    /// More have come than `rate` allows.
    pub fn arrive(&self, client: IpAddr, rate: Rate) -> Result<(), Refused> {
        let in_time = self.arrivals.admit(client, rate, Instant::now());
        if in_time { Ok(()) } else { Err(Refused::Rate) }
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// One subscriber has a whole /64 of IPv6, and one address of IPv4.
    fn key(ip: IpAddr) -> IpAddr {
        match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            ip => ip,
        }
    }

    fn shard(&self, key: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        &self.clients[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    caps: Arc<Caps>,
    client: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.total.fetch_sub(1, Ordering::Relaxed);
        let Some(key) = self.client else { return };
        let mut clients = self.caps.shard(key).lock();
        if let Some(count) = clients.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("address"))
    }

    #[test]
    fn bounds_hold_and_places_come_back() {
        let caps = Arc::new(Caps::default());
        let a = caps.admit(ip("192.0.2.1"), 3, 2).expect("first");
        let b = caps.admit(ip("::ffff:192.0.2.1"), 3, 2).expect("second");
        assert_eq!(caps.admit(ip("192.0.2.1"), 3, 2).err(), Some(Refused::Client));
        assert_eq!(caps.open(), 2);
        let c = caps.admit(None, 3, 2).expect("a trusted proxy");
        assert_eq!(caps.admit(ip("192.0.2.9"), 3, 2).err(), Some(Refused::Total));
        assert_eq!(caps.open(), 3);
        drop((a, b, c));
        assert_eq!(caps.open(), 0);
        assert!(caps.clients.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn a_client_of_ipv6_is_its_64() {
        let caps = Arc::new(Caps::default());
        let _one = caps.admit(ip("2001:db8::1"), 9, 1).expect("first");
        assert_eq!(caps.admit(ip("2001:db8::ffff:2"), 9, 1).err(), Some(Refused::Client));
        assert!(caps.admit(ip("2001:db8:0:1::1"), 9, 1).is_ok());
    }
}
