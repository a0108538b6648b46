//! What the pages about health are told.

use std::time::Instant;

use super::health::{HealthFacts, Phase, RedisFacts, ServerFacts, UpstreamFacts};
use crate::balance::EndpointView;
use crate::observe::process;
use crate::runtime::Live;

/// Gathers the facts; they live as long as `tell` looks at them.
pub(super) fn with_facts<T>(live: &Live, tell: impl FnOnce(&HealthFacts<'_>) -> T) -> T {
    let snapshot = live.pin();
    let now = Instant::now();
    let views: Vec<Vec<EndpointView>> = snapshot
        .upstreams
        .iter()
        .map(|upstream| upstream.pool.snapshot(now))
        .collect();
    let mut upstreams = Vec::new();
    for (upstream, views) in snapshot.upstreams.iter().zip(&views) {
        let mut servers: Vec<ServerFacts<'_>> = views.iter().map(server).collect();
        for name in upstream.server_names() {
            if views.iter().all(|view| *view.server != *name) {
                let reason = Some("its name does not resolve".to_owned());
                servers.push(ServerFacts {
                    server: name,
                    address: None,
                    healthy: false,
                    reason,
                });
            }
        }
        upstreams.push(UpstreamFacts {
            name: &upstream.name,
            servers,
        });
    }
    tell(&HealthFacts {
        phase: if live.registry.is_draining() {
            Phase::Draining
        } else {
            Phase::Ready
        },
        uptime: live.registry.started.elapsed(),
        version: env!("CARGO_PKG_VERSION"),
        generation: snapshot.generation,
        refused_reload: live.registry.refused_reload(),
        resident_memory: process::resident_memory(),
        upstreams,
        redis: live.registry.store().map(|store| RedisFacts {
            degraded: store.degraded,
            gateways: store.gateways,
        }),
    })
}

fn server(view: &EndpointView) -> ServerFacts<'_> {
    ServerFacts {
        server: &view.server,
        address: Some(view.address.to_string()),
        healthy: view.state.is_fit(),
        reason: view.reason.clone(),
    }
}
