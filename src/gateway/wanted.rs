//! The listeners that a configuration names, beside those that are there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::Config;
use crate::config::model::AdminListen;
use crate::edge::{Bound, BoundLocal, Edge, Role};

/// The listeners that a configuration names.
pub(super) struct Wanted {
    clear: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    admin_tls: Vec<SocketAddr>,
    local: Option<PathBuf>,
}

/// Sockets that are bound and do not accept yet.
pub(super) struct Sockets {
    pub(super) bound: Vec<(Role, Bound)>,
    pub(super) local: Option<BoundLocal>,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        let (admin, local) = match &config.admin.listen {
            Some(AdminListen::Tcp(address)) => (vec![*address], None),
            Some(AdminListen::Unix(path)) => (Vec::new(), Some(path.clone())),
            None => (Vec::new(), None),
        };
        let (admin, admin_tls) = match &config.admin.tls {
            Some(_) => (Vec::new(), admin),
            None => (admin, Vec::new()),
        };
        Self {
            clear: config.server.listen.clone(),
            tls: config.tls.as_ref().map_or_else(Vec::new, |tls| tls.listen.clone()),
            admin,
            admin_tls,
            local,
        }
    }

    pub(super) fn by_role(&self) -> [(Role, &[SocketAddr]); 4] {
        [
            (Role::Clear, &self.clear),
            (Role::Tls, &self.tls),
            (Role::Admin, &self.admin),
            (Role::AdminTls, &self.admin_tls),
        ]
    }

    pub(super) fn local(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    /// Binds those that are not there yet: all of them, or none.
    pub(super) fn bind(&self, edge: &mut Edge) -> Result<Sockets, StartError> {
        let missing = self.by_role().map(|(role, wanted)| (role, edge.missing(role, wanted)));
        let missing: Vec<(Role, SocketAddr)> = missing
            .into_iter()
            .flat_map(|(role, addresses)| addresses.into_iter().map(move |address| (role, address)))
            .collect();
        let local = self.local.as_deref().map(|path| edge.bind_local(path)).transpose();
        let local = local.map_err(StartError::BindLocal)?.flatten();
        let bound = edge.bind(&missing).map_err(StartError::Bind)?;
        Ok(Sockets { bound, local })
    }
}
