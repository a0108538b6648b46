//! What the file and name servers say about the servers of a pool.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// An address that a server of the file has at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The server as the file names it, `host:port`.
    pub server: Arc<str>,
    /// One of its addresses.
    pub address: SocketAddr,
    /// Its share; zero counts as one.
    pub weight: u32,
    /// Picked only when no other server is fit, or all others were tried.
    pub backup: bool,
    /// Most requests at once; `None`: as many as come.
    pub max_requests: Option<NonZeroU32>,
}

impl Member {
    /// A regular server without a limit.
    #[must_use]
    pub fn new(server: impl Into<Arc<str>>, address: SocketAddr, weight: u32) -> Self {
        Self {
            server: server.into(),
            address,
            weight,
            backup: false,
            max_requests: None,
        }
    }
}

/// Each member once, in the order of its first mention, with the sums of its weights and limits.
pub(super) fn merged(members: Vec<Member>) -> Vec<Member> {
    let mut places = HashMap::new();
    let mut merged: Vec<Member> = Vec::with_capacity(members.len());
    for mut member in members {
        member.weight = member.weight.max(1);
        let place = *places
            .entry((Arc::clone(&member.server), member.address))
            .or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => {
                first.weight = first.weight.saturating_add(member.weight);
                first.backup &= member.backup;
                first.max_requests = match (first.max_requests, member.max_requests) {
                    (Some(one), Some(other)) => Some(one.saturating_add(other.get())),
                    _ => None,
                };
            }
            None => merged.push(member),
        }
    }
    merged
}
