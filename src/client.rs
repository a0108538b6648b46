//! Who is really calling, and what the upstream is told about it.
//!
//! One rule: what a stranger says about itself is replaced; what a trusted proxy says is walked from right to left up
//! to the first address that is not trusted.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The scheme by which the client reached the outermost trusted hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

/// Addresses whose forwarding fields are believed; by default nobody's.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// Who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address: the peer's, or the first untrusted one from the right.
    pub ip: IpAddr,
    /// How the client came, as far as it is known.
    pub scheme: Scheme,
    /// Whether the peer itself is a trusted proxy.
    pub peer_trusted: bool,
}

impl TrustedProxies {
    /// Trusts these networks; IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether this address is a trusted proxy.
    #[must_use]
    pub fn contains(&self, _ip: IpAddr) -> bool {
        unimplemented!()
    }

    /// Identifies the client of a connection from `peer` that sent these fields.
    #[must_use]
    pub fn identify(&self, _peer: IpAddr, _scheme: Scheme, _headers: &HeaderMap) -> Client {
        unimplemented!()
    }
}

/// The facts that the forwarding fields are written from.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding<'a> {
    /// Who is calling.
    pub client: &'a Client,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// The `Host` that the client sent, as it sent it.
    pub host: &'a str,
    /// The port on which the gateway took the connection.
    pub local_port: u16,
    /// `1.0`, `1.1` or `2.0`, for `Via`.
    pub version: &'a str,
}

/// Writes `X-Forwarded-For/-Proto/-Host/-Port`, `X-Real-IP`, `Forwarded` and `Via` into a request to an upstream.
/// Fields of a stranger are replaced, those of a trusted peer are extended. Twins with underscores are removed.
pub fn write_forwarding(_headers: &mut HeaderMap, _facts: &Forwarding<'_>) {
    unimplemented!()
}
