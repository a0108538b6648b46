//! What the gateway shows of itself: pure answers; the listener asks for them.

pub mod health;

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use crate::answer::{Answer, Reason, Rendered};
use crate::balance::EndpointView;
use crate::edge::Ask;
use crate::observe::identity::Identity;
use crate::observe::{metrics, process};
use crate::route;
use crate::runtime::Live;
use health::{HealthFacts, Phase, ServerFacts, UpstreamFacts};

/// Answers a request to the admin listener.
#[must_use]
pub fn answer(live: &Live, ask: &Ask<'_>) -> Rendered {
    let identity = Identity::new(ask.headers, false);
    let accept = ask.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let mut rendered = page(live, ask).render(accept, identity.request_id());
    identity.write_response(&mut rendered.headers);
    rendered
        .headers
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    rendered
}

fn page(live: &Live, ask: &Ask<'_>) -> Answer {
    let host = ask.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_none_or(is_address) {
        return Answer::refuse(Reason::AddressNotAllowed);
    }
    if !matches!(*ask.method, Method::GET | Method::HEAD) {
        return Answer::Refusal {
            reason: Reason::MethodNotAllowed,
            retry_after: None,
            fields: vec![(header::ALLOW, HeaderValue::from_static("GET, HEAD"))],
            members: Vec::new(),
        };
    }
    match ask.uri.path() {
        "/livez" => json(health::livez()),
        "/readyz" => with_facts(live, |facts| json(health::readyz(facts))),
        "/metrics" => metrics(live),
        _ => Answer::refuse(Reason::NotFound),
    }
}

/// A page of another site can make its visitor's browser ask here under that site's name (DNS rebinding); a name is
/// therefore no way in, an address or `localhost` is.
fn is_address(host: &str) -> bool {
    let Ok((host, _port)) = route::normalise_host(host) else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok()
}

/// The metrics, as a page.
#[must_use]
pub fn metrics(live: &Live) -> Answer {
    Answer::Content {
        status: StatusCode::OK,
        content_type: HeaderValue::from_static(metrics::CONTENT_TYPE),
        body: Bytes::from(live.registry.metrics.render()),
        fields: no_store(),
    }
}

/// What `serve = "health"` gives under a path; `base`: see [`health::serve`].
#[must_use]
pub fn site_health(live: &Live, path: &str, base: &str) -> Option<Answer> {
    with_facts(live, |facts| health::serve(path, base, facts).map(json))
}

fn with_facts<T>(live: &Live, tell: impl FnOnce(&HealthFacts<'_>) -> T) -> T {
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
        resident_memory: process::resident_memory(),
        upstreams,
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

fn json((status, body): health::Health) -> Answer {
    Answer::Content {
        status,
        content_type: HeaderValue::from_static("application/json"),
        body: Bytes::from(body.to_string()),
        fields: no_store(),
    }
}

fn no_store() -> Vec<(header::HeaderName, HeaderValue)> {
    vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_a_way_in() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:9900",
            "localhost:9900",
            "[::1]:9900",
            "10.0.0.7",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test:9900", ""] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
