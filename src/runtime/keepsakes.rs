//! What a process hands to the one that takes its place: little that clients and operators would miss. The rest begins
//! anew there: counters, buckets of limits that are not shared, answers in memory, what was learnt of servers.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Registry, Snapshot};
use crate::balance::Drain;
use crate::tls::Tickets;

/// What outlives the process. What is not there begins anew.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keepsakes {
    /// What the keys of TLS session tickets are made from: clients that come back need no whole handshake.
    ticket_secret: Option<Vec<u8>>,
    /// What operators have taken out of service.
    drained: Vec<Drained>,
    /// Directories of caches, held until the process ends.
    caches: Vec<PathBuf>,
}

/// A server that is taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Drained {
    upstream: String,
    /// Its name, or one of its addresses.
    server: String,
    sessions_kept: bool,
}

impl fmt::Debug for Keepsakes {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepsakes")
            .field("drained", &self.drained)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// What there is to hand over. From now on nothing of it changes here: whoever would change it is told to ask again,
    /// until [`Registry::keep`] is called.
    #[must_use]
    pub fn hand_over(&self) -> Keepsakes {
        let mut handed_over = self.handed_over.lock();
        *handed_over = true;
        let tickets = self.tickets.lock().clone();
        let upstreams = self.upstreams.lock();
        let drained = upstreams.values().flat_map(|upstream| {
            upstream.pool.drains().into_iter().map(|(server, how)| Drained {
                upstream: upstream.name.to_string(),
                server,
                sessions_kept: how == Drain::KeepSessions,
            })
        });
        Keepsakes {
            ticket_secret: tickets.as_ref().and_then(Tickets::secret).map(<[u8]>::to_vec),
            drained: drained.collect(),
            caches: self.caches.directories(),
        }
    }

    /// Nobody has taken what was handed over.
    pub fn keep(&self) {
        *self.handed_over.lock() = false;
    }

    /// Changes what would be handed over; `None`: it has been, and the change would be forgotten.
    pub fn unless_handed_over<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let handed_over = self.handed_over.lock();
        (!*handed_over).then(change)
    }

    /// Takes over what must be there before the first configuration is compiled.
    pub fn take_secrets(&self, kept: &Keepsakes) {
        self.caches.inherit(&kept.caches);
        *self.tickets.lock() = kept.ticket_secret.as_deref().and_then(Tickets::restore);
    }

    /// Takes over what concerns servers, once they are known.
    pub fn take_drains(&self, kept: &Keepsakes, snapshot: &Snapshot) {
        for drained in &kept.drained {
            let how = if drained.sessions_kept {
                Drain::KeepSessions
            } else {
                Drain::Everything
            };
            let named = snapshot
                .upstreams
                .iter()
                .filter(|upstream| *upstream.name == *drained.upstream);
            for upstream in named.map(Arc::as_ref) {
                // As many as there are can be remembered there, too.
                let _ = upstream.pool.drain(&drained.server, how);
            }
        }
    }
}
