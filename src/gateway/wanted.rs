//! The listeners that a configuration names, beside those that are there.

use std::net::SocketAddr;

use super::StartError;
use crate::config::Config;
use crate::edge::{Bound, Edge, Role};

/// The listeners that a configuration names.
pub(super) struct Wanted {
    clear: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            clear: config.server.listen.clone(),
            tls: config.tls.as_ref().map_or_else(Vec::new, |tls| tls.listen.clone()),
            admin: config.admin.listen.into_iter().collect(),
        }
    }

    pub(super) fn by_role(&self) -> [(Role, &[SocketAddr]); 3] {
        [
            (Role::Clear, &self.clear),
            (Role::Tls, &self.tls),
            (Role::Admin, &self.admin),
        ]
    }

    /// Binds those that are not there yet: all of them, or none.
    pub(super) fn bind(&self, edge: &mut Edge) -> Result<Vec<(Role, Bound)>, StartError> {
        let missing = self.by_role().map(|(role, wanted)| (role, edge.missing(role, wanted)));
        let missing: Vec<(Role, SocketAddr)> = missing
            .into_iter()
            .flat_map(|(role, addresses)| addresses.into_iter().map(move |address| (role, address)))
            .collect();
        edge.bind(&missing).map_err(StartError::Bind)
    }
}
