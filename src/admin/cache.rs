//! `/api/v1/cache`: what is kept; `…/purge`: take it out; `…/explain`: what a request would get, and why.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::wire;
use crate::answer::Answer;
use crate::cache::store::{Entry, Target};
use crate::cache::{Address, Asked, Lookup, Moment, Reuse, Why, Wish, judge};
use crate::route::{self, Request};
use crate::runtime::sharing::View as Sharing;
use crate::runtime::{Live, Purged, RouteCache};

/// Every cache, and what it holds.
pub(super) fn list(live: &Live) -> Answer {
    let snapshot = live.pin();
    let caches: Map<String, Value> = snapshot
        .caches
        .iter()
        .map(|cache| {
            let held = cache.running.store.holdings();
            let size = cache.policy.size;
            let behind: Map<String, Value> = cache
                .tiers
                .iter()
                .map(|tier| {
                    let report = tier.report();
                    let mut told = json!({
                        "given": report.hits, "missed": report.misses, "written": report.written,
                        "skipped": report.skipped, "damaged": report.damaged, "failed": report.failures,
                    });
                    if let Some(held) = report.held {
                        told["entries"] = held.entries.into();
                        told["bytes"] = held.bytes.into();
                        told["size"] = held.size.into();
                        told["evicted"] = held.evicted.into();
                    }
                    (tier.word().to_owned(), told)
                })
                .collect();
            let shown = json!({
                "entries": held.entries, "bytes": held.bytes, "size": size, "evicted": held.evicted,
                "fetching": cache.running.flights.count(), "tiers": behind,
            });
            (cache.policy.name.to_string(), shown)
        })
        .collect();
    let sharing = snapshot.sharing.as_ref().map(|sharing| sharing.view());
    let sharing = sharing.map(
        |Sharing {
             up_to_date,
             generation,
             untold,
             answers,
         }| {
            json!({ "up_to_date": up_to_date, "generation": generation, "untold": untold, "answers": answers })
        },
    );
    wire::json(StatusCode::OK, &json!({ "caches": caches, "sharing": sharing }))
}

/// Takes out what the body names: `{"url": …}`, `{"prefix": …}`, `{"tag": …}` or `{"all": true}`; `"soft": true` makes it
/// stale instead, `"cache": …` means only that one.
pub(super) async fn purge(live: &Live, body: &Bytes) -> Answer {
    let wrong = |detail: &str| wire::problem(StatusCode::BAD_REQUEST, detail, Map::new());
    let Ok(Value::Object(order)) = serde_json::from_slice(body) else {
        return wrong("Send a JSON object: {\"url\": …}, {\"prefix\": …}, {\"tag\": …} or {\"all\": true}.");
    };
    const KNOWN: [&str; 6] = ["url", "prefix", "tag", "all", "soft", "cache"];
    if let Some(other) = order.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return wrong(&format!(
            "There is no `{other}`: there are url, prefix, tag, all, soft, cache."
        ));
    }
    let text = |key: &str| order.get(key).and_then(Value::as_str).map(str::to_owned);
    let target = match (text("url"), text("prefix"), text("tag"), order.get("all")) {
        (Some(url), None, None, None) => Target::Url(url),
        (None, Some(prefix), None, None) => Target::Prefix(prefix),
        (None, None, Some(tag), None) => Target::Tag(tag),
        (None, None, None, Some(Value::Bool(true))) => Target::All,
        _ => return wrong("Say exactly one of: url, prefix, tag (texts), all (true)."),
    };
    let soft = match order.get("soft") {
        None => false,
        Some(Value::Bool(soft)) => *soft,
        Some(_) => return wrong("`soft` is true or false."),
    };
    let snapshot = live.pin();
    let only = text("cache");
    let names = || snapshot.caches.iter().map(|cache| &*cache.policy.name);
    if only.as_ref().is_some_and(|only| names().all(|name| name != only)) {
        return wire::unknown("There is no cache of this name.", "caches", names());
    }
    let mut purged = Purged::default();
    for cache in &snapshot.caches {
        if only.as_ref().is_some_and(|only| *cache.policy.name != **only) {
            continue;
        }
        purged = purged.and(cache.purge(&target, soft.then(now)));
    }
    let count = purged.count;
    // What lies in the Redis outlives this gateway: gone is what all know to be purged.
    let shared = |cache: &RouteCache| cache.policy.redis.is_some();
    let told = async {
        match &snapshot.sharing {
            Some(sharing) if snapshot.caches.iter().any(shared) => sharing.all_told().await,
            _ => true,
        }
    };
    let (lasting, told) = tokio::join!(purged.settled(), told);
    let lasting = lasting && told;
    tracing::info!(?target, soft, count, lasting, "purged by the operator");
    wire::json(
        StatusCode::OK,
        &json!({ "purged": count, "soft": soft, "lasting": lasting }),
    )
}

/// What a GET of `{"url": …, "headers": {…}}` would get.
pub(super) async fn explain(live: &Live, body: &Bytes) -> Answer {
    let wrong = |detail: &str| wire::problem(StatusCode::BAD_REQUEST, detail, Map::new());
    let Ok(Value::Object(question)) = serde_json::from_slice(body) else {
        return wrong("Send a JSON object: {\"url\": \"https://…\", \"headers\": {…}}.");
    };
    let url: Option<Uri> = question
        .get("url")
        .and_then(Value::as_str)
        .and_then(|url| url.parse().ok());
    let Some((url, Some(scheme), Some(authority))) = url.as_ref().map(|url| {
        (
            url,
            url.scheme_str(),
            url.authority().map(|host| host.as_str().to_ascii_lowercase()),
        )
    }) else {
        return wrong("`url` is the whole address: https://host/path?query.");
    };
    let mut fields = HeaderMap::new();
    for (name, value) in question.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let pair = value.as_str().and_then(|value| {
            Some((
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                HeaderValue::from_str(value).ok()?,
            ))
        });
        let Some((name, value)) = pair else {
            return wrong(&format!("`{name}` is no header field."));
        };
        fields.append(name, value);
    }
    let snapshot = live.pin();
    let Ok((host, _)) = route::normalise_host(&authority) else {
        return wrong("The host is none.");
    };
    let Ok(path) = route::normalise(url.path()) else {
        return wrong("The path cannot be normalised.");
    };
    let found = snapshot.route(&Request {
        method: &Method::GET,
        host: &host,
        path: &path,
        query: url.query(),
        headers: &fields,
    });
    let Some(route) = found else {
        return wire::json(StatusCode::OK, &json!({ "verdict": "no route takes it" }));
    };
    let Some(cache) = &route.cache else {
        return wire::json(
            StatusCode::OK,
            &json!({ "route": &*route.name, "verdict": "the route has no cache" }),
        );
    };
    let policy = &cache.policy;
    let query = policy.key.query(url.query());
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let asked = Asked {
        scheme,
        authority: authority.strip_suffix(usual).unwrap_or(&authority),
        path: url.path(),
        query: query.as_deref(),
    };
    let store = &cache.running.store;
    let key = policy.key.key(store.seed(), &asked, &route.name, &fields);
    let at = now();
    let wish = Wish::of(policy, &fields);
    let entries = store.entries(key.url);
    let mine = |entry: &Entry| entry.extra == key.extra && entry.selector.selects(&fields);
    let here = entries.iter().find(|entry| mine(entry));
    let behind = match here {
        None => behind(cache, policy.key.address(&asked.url(), &route.name, &fields), &fields).await,
        Some(_) => None,
    };
    let judged = |entry: &Entry| match judge(policy, &entry.terms, &wish, at) {
        Reuse::Fresh(left) => format!("hit: fresh for {} s yet", left.as_secs()),
        Reuse::Stale(by) => format!("hit: {} s too old, and the request takes that", by.as_secs()),
        Reuse::StaleWhileRevalidate(by) => format!("hit: {} s too old; a new one is fetched", by.as_secs()),
        Reuse::NotForThis => {
            "bypass: the request has credentials, and the answer does not say that it is for all".to_owned()
        }
        Reuse::Ask(Why::Stale) => "asked about: it is too old".to_owned(),
        Reuse::Ask(Why::NoCache) => "asked about: the answer wants it each time".to_owned(),
        Reuse::Ask(Why::Request) => "asked about: the request wants it".to_owned(),
    };
    let verdict = match policy.bypassed(url.query(), &fields) {
        Some(part) => format!("bypass: the request has `{part}`"),
        None if path != url.path() => "bypass: the path is not in its normal spelling".to_owned(),
        None => match (here, &behind) {
            (Some(entry), _) => judged(entry),
            (None, Some((tier, entry))) => format!("{}; from {tier}", judged(entry)),
            (None, None) if entries.is_empty() && store.passes(&key, at) => {
                "miss: an answer a moment ago was not to be kept".to_owned()
            }
            (None, None) if entries.is_empty() => "miss: there is nothing of this URL".to_owned(),
            (None, None) => "miss: there are answers, for other requests".to_owned(),
        },
    };
    let behind = behind.iter().map(|(tier, entry)| show(entry, tier, true, at));
    let shown: Vec<Value> = (entries.iter().map(|entry| show(entry, "memory", mine(entry), at)))
        .chain(behind)
        .collect();
    wire::json(
        StatusCode::OK,
        &json!({ "route": &*route.name, "cache": &*policy.name, "key": asked.url(), "verdict": verdict, "answers": shown }),
    )
}

/// What a tier behind memory has for a request, and which.
async fn behind(cache: &RouteCache, address: Address, fields: &HeaderMap) -> Option<(&'static str, Box<Entry>)> {
    for tier in cache.tiers.iter().filter(|tier| tier.may_have(&address)) {
        if let Lookup::Entry(entry) = tier.lookup(address, fields).await {
            return Some((tier.word(), entry));
        }
    }
    None
}

fn show(entry: &Entry, tier: &str, selected: bool, at: Moment) -> Value {
    let (fresh, stale) = match entry.terms.fresh_for(at) {
        Ok(left) => (Some(left.as_secs()), None),
        Err(by) => (None, Some(by.as_secs())),
    };
    json!({
        "tier": tier,
        "status": entry.status.as_u16(),
        "age": entry.terms.age(at).as_secs(),
        "fresh_for": fresh,
        "stale_by": stale,
        "lifetime_from": format!("{:?}", entry.terms.source).to_ascii_lowercase(),
        "bytes": entry.body.length().unwrap_or_default(),
        "tags": entry.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
        "vary": entry.selector.names().map(HeaderName::as_str).collect::<Vec<_>>(),
        "for_this_request": selected,
    })
}

fn now() -> Moment {
    SystemTime::now().into()
}
