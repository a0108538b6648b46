//! What the gateway shows of itself, and what operators tell it. The listener asks [`answer`]; everything behind it is a
//! function of the snapshot in force.
//!
//! ```text
//! which page (page) → may they (guard) → the page's answer (health, upstreams, drain …) → its form (wire)
//! ```

mod bans;
mod cache;
mod drain;
mod facts;
mod guard;
pub mod health;
mod limit_key;
mod limits;
mod openapi;
mod orders;
mod page;
mod status;
mod upstreams;
mod wire;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Map;

use crate::answer::{Answer, Rendered};
use crate::cache::Tier;
use crate::edge::Ask;
use crate::observe::audit::Deed;
use crate::observe::identity::{Identity, Tracing};
use crate::observe::metrics;
use crate::runtime::{Live, Snapshot};
use crate::tls::{ClientFact, ClientIdentity};
use facts::with_facts;
use guard::{Certificate, Refused, Wanted};
use orders::Order;
use page::Page;

/// How somebody comes to the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To an address.
    Network,
    /// Over a socket in the file system, which no page of a browser can open.
    Local,
}

/// Answers a request to the admin listener.
pub async fn answer(live: Arc<Live>, way: Way, ask: Ask) -> Rendered {
    let identity = Identity::new(&ask.headers, false, Tracing::default());
    let answer = match judged(&live, way, &ask) {
        ControlFlow::Break(answer) => answer,
        ControlFlow::Continue(Later::Order(order, body)) => {
            let for_people = wire::wants_text(&ask.headers, true);
            orders::pass_on(&live, order, &who(&live, way, &ask), &body, for_people).await
        }
        ControlFlow::Continue(Later::Purge(body)) => cache::purge(&live, &body).await,
        ControlFlow::Continue(Later::ExplainCache(body)) => cache::explain(&live, &body).await,
        ControlFlow::Continue(Later::Key(limit, parts)) if ask.method == Method::DELETE => {
            limit_key::reset(&live, &limit, &parts).await
        }
        ControlFlow::Continue(Later::Key(limit, parts)) => limit_key::show(&live, &limit, &parts).await,
    };
    let mut rendered = answer.render(accept(&ask), identity.request_id());
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        note(&live, way, &ask, rendered.status).await;
    }
    identity.write_response(&mut rendered.headers);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Other sites' pages neither show nor load anything from here.
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        rendered.headers.insert(name, HeaderValue::from_static(value));
    }
    rendered
}

/// What takes its time.
enum Later {
    Order(Order, Bytes),
    Purge(Bytes),
    ExplainCache(Bytes),
    /// A key of this limit, by its parts.
    Key(String, Vec<String>),
}

/// What is asked of whoever asks this, and of his certificate whether there is one.
fn wanted<'a>(snapshot: &'a Snapshot, ask: &Ask) -> Wanted<'a> {
    Wanted {
        token: snapshot.admin.token.as_ref().map(|token| token.expose()),
        certificate: certificate(snapshot, ask).map(|(required, shown)| Certificate {
            required,
            shown: shown.is_some(),
        }),
    }
}

/// Whether every connection must have a certificate, and the one that this one has; `None`: nobody is asked for one.
fn certificate<'a>(snapshot: &Snapshot, ask: &'a Ask) -> Option<(bool, Option<&'a ClientIdentity>)> {
    let tls = snapshot.admin_tls.as_ref()?;
    let (_, required) = *tls.settings.certificates.first()?.client_ca.as_ref()?;
    let asked = tls.hosts().all().first().map(|host| host.client_auth);
    // What an earlier configuration took for good is not: its authorities may be others.
    let secured = ask.tls.as_ref().filter(|secured| Some(secured.client_auth) == asked);
    Some((required, secured.and_then(|secured| secured.client.as_ref())))
}

/// Who asks, as far as that is known.
fn who(live: &Live, way: Way, ask: &Ask) -> String {
    let snapshot = live.peek();
    let token = snapshot.admin.token.as_ref();
    let mut by = "the admin listener".to_owned();
    if let Some((_, Some(operator))) = certificate(&snapshot, ask) {
        by += &format!(" as {}", operator.fact(ClientFact::Subject));
    }
    if token.is_some_and(|token| guard::bears(&ask.headers, token.expose())) {
        by += " with its token";
    }
    match way {
        Way::Network => format!("{by}, from {}", ask.peer),
        Way::Local => format!("{by}, over its socket"),
    }
}

/// Notes a change, or the attempt, in the audit log.
async fn note(live: &Arc<Live>, way: Way, ask: &Ask, status: StatusCode) {
    // What strangers send is not kept: they could fill the disk with it.
    let is_stranger = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
    let deed = Deed {
        who: who(live, way, ask),
        what: format!("{} {}", ask.method, page::for_log(ask.uri.path())),
        detail: ask
            .body
            .as_ref()
            .ok()
            .filter(|_| !is_stranger)
            .map_or_else(String::new, |body| String::from_utf8_lossy(body).into_owned()),
        done: status.is_success(),
        result: status.to_string(),
    };
    let live = Arc::clone(live);
    let _ = tokio::task::spawn_blocking(move || live.registry.audit.note(&deed)).await;
}

fn accept(ask: &Ask) -> Option<&str> {
    ask.headers.get(header::ACCEPT)?.to_str().ok()
}

/// First who asks, so that strangers do not learn what there is; then what for. What takes its time goes on.
fn judged(live: &Live, way: Way, ask: &Ask) -> ControlFlow<Answer, Later> {
    let page = Page::find(ask.uri.path());
    let snapshot = live.peek();
    let wanted = wanted(&snapshot, ask);
    let open = page.as_ref().is_some_and(Page::is_open);
    if let Err(refused) = guard::judge(way, &ask.method, &ask.headers, wanted, open) {
        return ControlFlow::Break(refuse(refused));
    }
    let Some(page) = page else {
        let nothing = "There is nothing at this address.";
        return ControlFlow::Break(wire::problem(StatusCode::NOT_FOUND, nothing, Map::new()));
    };
    if !page.takes(&ask.method) {
        return ControlFlow::Break(wire::method_not_allowed(page.methods()));
    }
    let body = match &ask.body {
        Ok(body) => body,
        Err(reason) => return ControlFlow::Break(Answer::refuse(*reason)),
    };
    page_of(live, ask, page, body, wanted.is_met(&ask.headers))
}

/// `trusted`: who asks may see everything.
fn page_of(live: &Live, ask: &Ask, page: Page, body: &Bytes, trusted: bool) -> ControlFlow<Answer, Later> {
    ControlFlow::Break(match page {
        Page::Order(order) => return ControlFlow::Continue(Later::Order(order, body.clone())),
        Page::Purge => return ControlFlow::Continue(Later::Purge(body.clone())),
        Page::ExplainCache => return ControlFlow::Continue(Later::ExplainCache(body.clone())),
        Page::LimitKey { limit, parts } => return ControlFlow::Continue(Later::Key(limit, parts)),
        Page::Livez => json(health::livez()),
        Page::Readyz if trusted => with_facts(live, |facts| json(health::readyz(facts))),
        Page::Readyz => with_facts(live, |facts| json(health::ready(facts))),
        Page::Metrics => metrics(live),
        Page::Upstreams { upstream, api } => upstreams::page(live, upstream.as_deref(), api, &ask.headers),
        Page::LimitsReport => limits::report(live, &ask.headers),
        Page::Bans => bans::list(live),
        Page::Ban { client } => bans::lift(live, &client),
        Page::Status => status::status(live),
        Page::Certificates => status::certificates(live),
        Page::Log => status::log(&ask.method, body),
        Page::OpenApi => openapi::description(),
        Page::Caches => cache::list(live),
        Page::Drain { upstream, server, out } => drain::order(live, &upstream, &server, out, body),
    })
}

fn refuse(refused: Refused) -> Answer {
    match refused {
        Refused::Token => wire::problem_with(
            StatusCode::UNAUTHORIZED,
            "This needs `Authorization: Bearer` with the token of `[admin]`.",
            Map::new(),
            vec![(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"gateway admin\""),
            )],
        ),
        // A handshake shows another one: the connection may be from before certificates were asked for.
        Refused::Certificate => wire::problem_with(
            StatusCode::FORBIDDEN,
            "This needs a certificate of one of the authorities in `client_ca` of `[admin] tls`.",
            Map::new(),
            vec![(header::CONNECTION, HeaderValue::from_static("close"))],
        ),
        Refused::Host => wire::problem(
            StatusCode::FORBIDDEN,
            "Ask by address or as `localhost`: pages of other sites come under names (DNS rebinding).",
            Map::new(),
        ),
        Refused::CrossSite => wire::problem(
            StatusCode::FORBIDDEN,
            "This changes something: send `Content-Type: application/json` or `X-Requested-With`, and not from a page \
             of another site.",
            Map::new(),
        ),
    }
}

/// The metrics, as a page.
#[must_use]
pub fn metrics(live: &Live) -> Answer {
    let metrics = &live.registry.metrics;
    let now = Instant::now();
    let snapshot = live.peek();
    for upstream in &snapshot.upstreams {
        upstream.show_state(now);
    }
    for cache in &snapshot.caches {
        cache.running.metrics.holds(&cache.running.store.holdings());
    }
    metrics.show_tiers(snapshot.caches.iter().flat_map(|cache| {
        let shown = |tier: &Arc<dyn Tier>| (&*cache.policy.name, tier.word(), tier.report());
        cache.tiers.iter().map(shown).collect::<Vec<_>>()
    }));
    let page = metrics.render();
    wire::content(StatusCode::OK, metrics::CONTENT_TYPE, page, Vec::new())
}

/// What `serve = "health"` gives under a path; `base`: see [`health::serve`].
#[must_use]
pub fn site_health(live: &Live, path: &str, base: &str) -> Option<Answer> {
    with_facts(live, |facts| health::serve(path, base, facts).map(json))
}

fn json((status, body): health::Health) -> Answer {
    wire::json(status, &body)
}
