//! Who is counted: what identifies a client becomes a keyed 128-bit hash.
//!
//! The hash bounds the length of a key, keeps addresses and tokens out of stores, and cannot be aimed at by who does not
//! know its key. What is hashed begins with the name of the limit; every part follows with its kind and its length, so
//! no two different lists of parts are the same bytes.

mod source;

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use http::{HeaderMap, Method};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::auth::Subject;
pub use source::Source;
use source::Value;

/// The prefixes that are counted together while a table is flooded: of IPv4 and of IPv6 addresses.
const AGGREGATE_V4: u8 = 24;
const AGGREGATE_V6: u8 = 48;

/// What stands above the bits of an aggregate.
const FAMILY_V4: u64 = 4;
const FAMILY_V6: u64 = 6;

/// What identifies a client.
#[derive(Debug, Clone)]
pub struct KeySpec {
    /// Everything that must be the same for two requests to be counted together; none: all are.
    pub sources: Vec<Source>,
    /// How many leading bits of an IPv6 address make a client; 64 is one network of one customer, a home has often a 56.
    pub ipv6_prefix: u8,
    /// What is done with a request that lacks one of the sources.
    pub missing: Missing,
}

impl Default for KeySpec {
    /// The client's address, IPv6 by /64.
    fn default() -> Self {
        Self {
            sources: vec![Source::ClientIp],
            ipv6_prefix: 64,
            missing: Missing::ClientIp,
        }
    }
}

/// What is done with a request that lacks what identifies it. What is there but empty is missing; so is what is there
/// twice, for nobody can tell which of the two the application reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// The client's address stands in.
    #[default]
    ClientIp,
    /// It is not counted, as nginx does with an empty key.
    Skip,
    /// It is refused.
    Deny,
}

/// The facts of a request by which clients are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The client's address, as trusted proxies tell it.
    pub client: IpAddr,
    /// The request's method.
    pub method: &'a Method,
    /// The request's fields.
    pub headers: &'a HeaderMap,
    /// The query as it was sent, without `?`.
    pub query: Option<&'a str>,
    /// Who asks, where that is verified.
    pub subject: Option<&'a Subject>,
    /// The name of the route.
    pub route: &'a str,
    /// The host, lower case, without the port.
    pub host: &'a str,
}

impl Asker<'static> {
    /// An address of which nothing else is known, or matters.
    #[must_use]
    pub fn address(client: IpAddr) -> Self {
        static NO_FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        Self {
            client,
            method: &Method::GET,
            headers: &NO_FIELDS,
            query: None,
            subject: None,
            route: "",
            host: "",
        }
    }
}

/// Who is counted, and among whom if there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The keyed hash of the limit's name and of everything that identifies the client.
    pub id: u128,
    /// The client's IPv4 /24 or IPv6 /48 (or wider, if clients are counted by wider ones), not hashed.
    pub aggregate: u64,
}

impl Key {
    /// Whether the client came from an IPv6 address.
    #[must_use]
    pub fn is_ipv6(self) -> bool {
        self.aggregate >> 48 == FAMILY_V6
    }
}

/// Whom a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyed {
    /// For this one.
    Counted(Key),
    /// For nobody.
    Skipped,
    /// It is refused.
    Refused,
}

/// Makes keys.
#[derive(Clone)]
pub struct KeyHasher(SipHasher24);

impl std::fmt::Debug for KeyHasher {
    /// Without its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher")
    }
}

impl KeyHasher {
    /// For counting in this process: its hashes mean nothing elsewhere.
    #[must_use]
    pub fn random() -> Self {
        // Each `RandomState` is keyed by the operating system; its hashes are all that `std` gives away of that.
        let [a, b] = [0, 1].map(|half: u64| RandomState::new().hash_one(half));
        Self(SipHasher24::new_with_keys(a, b))
    }

    /// For a store that several gateways share: the same secret makes the same hashes, in every release.
    ///
    /// Without a secret (empty), who reads the store can try out addresses until one fits.
    #[must_use]
    pub fn shared(secret: &[u8]) -> Self {
        if secret.is_empty() {
            return Self(SipHasher24::new_with_keys(0, 0));
        }
        let key = SipHasher24::new_with_keys(0, 0).hash(secret).as_u128();
        Self(SipHasher24::new_with_key(&key.to_le_bytes()))
    }

    /// The hasher of a limit's keys: its name is hashed once.
    #[must_use]
    pub fn of(&self, policy: &str) -> PolicyHasher {
        PolicyHasher(self.begin(policy).0)
    }

    /// The identity under which a limit counts everybody of a network together.
    #[must_use]
    pub fn network(&self, policy: &str, aggregate: u64) -> u128 {
        let mut framed = self.begin(policy);
        framed.part(source::NETWORK, &aggregate.to_le_bytes());
        framed.0.finish128().as_u128()
    }

    /// Begins the key of a limit.
    fn begin(&self, policy: &str) -> Framed {
        let mut framed = Framed(self.0);
        framed.part(0, policy.as_bytes());
        framed
    }
}

/// Makes keys of one limit.
#[derive(Clone)]
pub struct PolicyHasher(SipHasher24);

impl std::fmt::Debug for PolicyHasher {
    /// Without its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PolicyHasher")
    }
}

impl KeySpec {
    /// Whom the limit of this hasher counts this request for.
    #[must_use]
    pub fn key(&self, hasher: &PolicyHasher, asker: &Asker<'_>) -> Keyed {
        let mut framed = Framed(hasher.0);
        for source in &self.sources {
            match (source.value(asker), self.missing) {
                (Value::Client, _) | (Value::Missing, Missing::ClientIp) => {
                    framed.client(asker.client, self.ipv6_prefix)
                }
                (Value::Owned(value), _) => framed.part(source.tag(), value.as_bytes()),
                (Value::Plain(value), _) => framed.part(source.tag(), value),
                (Value::Escaped(value), _) => framed.escaped(source.tag(), value),
                (Value::Missing, Missing::Skip) => return Keyed::Skipped,
                (Value::Missing, Missing::Deny) => return Keyed::Refused,
            }
        }
        Keyed::Counted(Key {
            id: framed.0.finish128().as_u128(),
            aggregate: aggregate(asker.client, self.ipv6_prefix),
        })
    }
}

/// Why nobody is meant by the parts of a key that somebody names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unnamed {
    /// They are not as many as the limit's key has.
    Parts,
    /// This one, counted from 0, should be an address.
    Address(usize),
}

impl KeySpec {
    /// Whom these parts mean, one for each source: as a request has them, decoded; of a claim `WAY:VALUE`, with the name of
    /// the way of `auth`. `client-ip=ADDRESS` is a part that a request had not, where the address stands in.
    ///
    /// # Errors
    /// [`Unnamed`].
    pub fn named(&self, hasher: &PolicyHasher, parts: &[String]) -> Result<Key, Unnamed> {
        if parts.len() != self.sources.len() {
            return Err(Unnamed::Parts);
        }
        let mut framed = Framed(hasher.0);
        let mut around = 0;
        for (place, (source, part)) in self.sources.iter().zip(parts).enumerate() {
            let stand_in = part.strip_prefix("client-ip=");
            let client = match (source, stand_in) {
                (Source::ClientIp, None) => Some(&**part),
                (Source::ClientIp, Some(address)) => Some(address),
                (_, Some(address)) if self.missing == Missing::ClientIp => Some(address),
                _ => None,
            };
            let Some(client) = client else {
                framed.part(source.tag(), part.as_bytes());
                continue;
            };
            let client: IpAddr = client.parse().map_err(|_| Unnamed::Address(place))?;
            framed.client(client, self.ipv6_prefix);
            around = aggregate(client, self.ipv6_prefix);
        }
        Ok(Key {
            id: framed.0.finish128().as_u128(),
            aggregate: around,
        })
    }
}

/// A hash in the making, of parts that cannot run into each other.
struct Framed(SipHasher24);

impl Framed {
    fn part(&mut self, tag: u8, value: &[u8]) {
        self.frame(tag, value.len());
        self.0.write(value);
    }

    /// A value of a query: hashed decoded, or one client could have a key for every way to spell itself.
    fn escaped(&mut self, tag: u8, value: &str) {
        self.frame(tag, source::decoded(value).count());
        let mut buffer = [0; 32];
        let mut filled = 0;
        for byte in source::decoded(value) {
            buffer[filled] = byte;
            filled += 1;
            if filled == buffer.len() {
                self.0.write(&buffer);
                filled = 0;
            }
        }
        self.0.write(&buffer[..filled]);
    }

    fn client(&mut self, client: IpAddr, ipv6_prefix: u8) {
        match client.to_canonical() {
            IpAddr::V4(v4) => self.address::<13>(&v4.octets()),
            IpAddr::V6(v6) => self.address::<25>(&leading(v6.to_bits(), ipv6_prefix).to_be_bytes()),
        }
    }

    /// A part of a known length, `N` bytes with its frame, in one go: the hasher is quickest so.
    fn address<const N: usize>(&mut self, address: &[u8]) {
        let mut whole = [0; N];
        whole[0] = source::CLIENT;
        whole[1..9].copy_from_slice(&(address.len() as u64).to_le_bytes());
        whole[9..].copy_from_slice(address);
        self.0.write(&whole);
    }

    fn frame(&mut self, tag: u8, length: usize) {
        self.0.write(&[tag]);
        self.0.write(&(length as u64).to_le_bytes());
    }
}

/// The leading bits of an address, the others 0.
fn leading(address: u128, bits: u8) -> u128 {
    // A shift by all 128 bits is none in Rust.
    u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0) & address
}

/// The network around a client, in the form of [`Key::aggregate`]: its family above 48 bits of address.
fn aggregate(client: IpAddr, ipv6_prefix: u8) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => FAMILY_V4 << 48 | u64::from(v4.to_bits() >> (32 - AGGREGATE_V4)),
        IpAddr::V6(v6) => {
            let network = leading(v6.to_bits(), ipv6_prefix.min(AGGREGATE_V6)) >> (128 - AGGREGATE_V6);
            FAMILY_V6 << 48 | u64::try_from(network).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests;
