//! `maintenance`: a route that is closed for a while.

use std::net::IpAddr;
use std::time::Duration;

use crate::networks::Networks;

/// Everybody is told to come back later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Who may in all the same.
    pub allow: Networks,
    /// When the others are told to come back.
    pub retry_after: Duration,
}

impl Maintenance {
    /// When this client is told to come back; `None`: it may in.
    #[must_use]
    pub fn turns_away(&self, client: IpAddr) -> Option<Duration> {
        (!self.allow.contains(client)).then_some(self.retry_after)
    }
}
