//! What a request changed at the application, and what is forgotten because of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};

use super::super::Exchange;
use super::now;
use crate::answer::Answer;
use crate::cache::store::{Entry, Target};
use crate::cache::{
    self, Address, Asked, Exchanged, For, HeadSays, Key, changes, head_says, invalidated_groups, invalidated_places,
    merged, of_origin,
};
use crate::runtime::{Purged, RouteCache};

/// Where a request that may change something is sent.
pub(in crate::proxy) struct Change {
    scheme: &'static str,
    authority: String,
    path: String,
    query: Option<String>,
    method: Method,
}

/// A request for the head of what is kept, and stale.
pub(in crate::proxy) struct HeadOf {
    pub(super) cache: RouteCache,
    pub(super) key: Key,
    /// Where the tiers have it, if there are any.
    pub(super) address: Option<Address>,
    pub(super) entry: Arc<Entry>,
}

/// What was kept before was asked for before.
const PROVEN: u8 = 2;

impl Exchange {
    /// Remembers where a request goes that may change something.
    pub(super) fn note_change(&mut self, request: &request::Parts) {
        let safe = matches!(
            request.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
        );
        if safe || self.snapshot.caches.is_empty() {
            return;
        }
        self.change = Some(Box::new(Change {
            scheme: self.client.scheme.as_str(),
            authority: self.authority(request).into_owned(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            method: request.method.clone(),
        }));
    }

    /// The application has answered: what that makes of what is kept.
    pub(in crate::proxy) fn learn(&mut self, status: StatusCode, fields: &HeaderMap) {
        if let Some(of) = self.head_of.take() {
            let purged = learn_of_head(*of, status, fields);
            self.purged = (!purged.is_settled()).then(|| Box::new(purged));
        }
        let Some(change) = self.change.take().filter(|change| changes(&change.method, status)) else {
            return;
        };
        let named = invalidated_places(change.scheme, &change.authority, &change.path, fields);
        let groups = invalidated_groups(fields);
        let mut purged = Purged::default();
        for cache in &self.snapshot.caches {
            let forget = |path: &str, query: Option<&str>| {
                let query = cache.policy.key.query(query);
                let asked = Asked {
                    scheme: change.scheme,
                    authority: &change.authority,
                    path,
                    query: query.as_deref(),
                };
                cache.purge_url(&asked, None)
            };
            purged = purged.and(forget(&change.path, change.query.as_deref()));
            for (path, query) in &named {
                purged = purged.and(forget(path, query.as_deref()));
            }
            for group in &groups {
                let tag = of_origin(&change.authority, group);
                purged = purged.and(cache.purge(&Target::Tag(tag), Some(now())));
            }
        }
        self.purged = (!purged.is_settled()).then(|| Box::new(purged));
    }

    /// Waits until no restart can bring back what was forgotten: before the client is told that its change was made.
    pub(in crate::proxy) async fn settled(&mut self) {
        if let Some(purged) = self.purged.take()
            && !purged.settled().await
        {
            tracing::warn!("what a request made stale may be in a cache again after a restart");
        }
    }

    /// `PURGE`: takes out what there is for the URL.
    pub(super) fn purge_one(&mut self, cache: &RouteCache, request: &request::Parts) -> Answer {
        let purged = self.asked(cache, request, |asked| cache.purge_url(asked, None));
        let count = purged.count;
        self.purged = (!purged.is_settled()).then(|| Box::new(purged));
        Answer::Content {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("application/json"),
            body: Bytes::from(format!("{{\"purged\":{count}}}\n")),
            fields: vec![(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        }
    }
}

/// The answer to a HEAD says that what is kept is good, or that it is not (RFC 9111 §4.3.5).
fn learn_of_head(of: HeadOf, status: StatusCode, fields: &HeaderMap) -> Purged {
    let HeadOf {
        cache,
        key,
        address,
        entry,
    } = of;
    let stored = entry.fields.to_map();
    match head_says(&stored, status, fields) {
        HeadSays::Nothing => {}
        HeadSays::Changed => return cache.forget(&key, &entry),
        HeadSays::Same => {
            let at = now();
            let exchanged = Exchanged {
                asked: at,
                answered: at,
            };
            let mut updated = merged(&stored, fields);
            cache::clean(&cache.policy, &mut updated);
            let none = HeaderMap::new();
            let request = For {
                path: "",
                fields: &none,
                no_store: false,
            };
            if let Ok(terms) = cache::storable(&cache.policy, &request, entry.status, &updated, exchanged) {
                let new = Arc::new(entry.updated(&updated, terms, entry.selector.clone()));
                let begun = cache.begin();
                cache
                    .running
                    .store
                    .exchange(&key, &entry, Arc::clone(&new), &begun.since);
                if let Some(address) = address {
                    cache.offer(&key, address, &new, PROVEN, &begun);
                }
            }
        }
    }
    Purged::default()
}
