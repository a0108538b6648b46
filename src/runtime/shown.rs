//! What the metrics show of an upstream and its servers.

use std::sync::Arc;
use std::time::Instant;

use super::Upstream;
use crate::balance::{Endpoint, EndpointView};
use crate::observe::metrics::{OTHERS, ServerMetrics};

impl Upstream {
    /// Shows in its metric whether a server of the file is fit at any of its addresses.
    pub fn show_health(&self, endpoint: &Endpoint) {
        let same = |other: &&Arc<Endpoint>| other.server() == endpoint.server();
        let fit = self
            .pool
            .endpoints()
            .iter()
            .filter(same)
            .any(|other| other.state().is_usable());
        if let Some(metrics) = self.server_metrics(endpoint) {
            metrics.set_healthy(fit);
        }
    }

    /// Forgets the counters of servers that have left the file, or the servers file.
    pub(super) fn forget_servers(&self) {
        let endpoints = self.pool.endpoints();
        self.all_metrics.retain_servers(&self.name, |server| {
            server == OTHERS
                || self.server_names().any(|name| name == server)
                || endpoints.iter().any(|one| **one.server() == *server)
        });
    }

    /// Shows what is not counted but is: the states of servers, budget, breaker, queue. For whoever asks for the metrics.
    pub fn show_state(&self, now: Instant) {
        self.forget_servers();
        for endpoint in self.pool.endpoints().iter() {
            let _ = self.server_metrics(endpoint);
        }
        let views = self.pool.snapshot(now);
        let unresolved = self
            .server_names()
            .filter(|name| !views.iter().any(|view| *view.server == **name));
        self.all_metrics.show_servers(
            &self.name,
            views
                .iter()
                .map(|view: &EndpointView| (&*view.server, view.state.metric(), view.latency_estimate))
                .chain(unresolved.map(|name| (name, "unresolved", None))),
        );
        self.metrics.show(
            self.pool.budget().left(now),
            self.pool.breaker(now),
            self.queue.waiting(),
            self.pool.is_panicking(),
        );
    }

    /// The servers, as the file names them.
    pub fn server_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|name| &**name)
    }

    /// The counters of a server; found once.
    #[must_use]
    pub fn server_metrics<'a>(&self, endpoint: &'a Endpoint) -> Option<&'a ServerMetrics> {
        endpoint
            .tally
            .filled(|| self.all_metrics.server(endpoint.upstream(), endpoint.server()))
    }
}
