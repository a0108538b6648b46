//! What a request changed at the application, and what is forgotten because of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};

use super::super::Exchange;
use super::now;
use crate::answer::Answer;
use crate::cache::store::{Entry, Target};
use crate::cache::{
    self, Asked, Exchanged, For, HeadSays, changes, head_says, invalidated_groups, invalidated_places, merged,
    of_origin,
};
use crate::runtime::RouteCache;

/// Where a request that may change something is sent.
pub(in crate::proxy) struct Change {
    scheme: &'static str,
    authority: String,
    path: String,
    query: Option<String>,
    method: Method,
}

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
            authority: self.authority(request),
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            method: request.method.clone(),
        }));
    }

    /// The application has answered: what that makes of what is kept.
    pub(in crate::proxy) fn learn(&mut self, status: StatusCode, fields: &HeaderMap) {
        if let Some((cache, key, entry)) = self.head_of.take() {
            learn_of_head(&cache, key, &entry, status, fields);
        }
        let Some(change) = self.change.take().filter(|change| changes(&change.method, status)) else {
            return;
        };
        let named = invalidated_places(change.scheme, &change.authority, &change.path, fields);
        let groups = invalidated_groups(fields);
        for cache in &self.snapshot.caches {
            let forget = |path: &str, query: Option<&str>| {
                let query = cache.policy.key.query(query);
                let asked = Asked {
                    scheme: change.scheme,
                    authority: &change.authority,
                    path,
                    query: query.as_deref(),
                };
                let store = &cache.running.store;
                store.purge(&Target::Key(asked.url_key(store.seed())), None)
            };
            let mut count = forget(&change.path, change.query.as_deref());
            for (path, query) in &named {
                count += forget(path, query.as_deref());
            }
            for group in &groups {
                let tag = of_origin(&change.authority, group);
                count += cache.running.store.purge(&Target::Tag(tag), Some(now()));
            }
            cache.running.metrics.purged(count);
        }
    }

    /// `PURGE`: takes out what there is for the URL.
    pub(super) fn purge_one(&mut self, cache: &RouteCache, request: &request::Parts) -> Answer {
        let authority = self.authority(request);
        let query = cache.policy.key.query(request.uri.query());
        let asked = Asked {
            scheme: self.client.scheme.as_str(),
            authority: &authority,
            path: request.uri.path(),
            query: query.as_deref(),
        };
        let store = &cache.running.store;
        let count = store.purge(&Target::Key(asked.url_key(store.seed())), None);
        cache.running.metrics.purged(count);
        Answer::Content {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("application/json"),
            body: Bytes::from(format!("{{\"purged\":{count}}}\n")),
            fields: vec![(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        }
    }
}

/// The answer to a HEAD says that what is kept is good, or that it is not (RFC 9111 §4.3.5).
fn learn_of_head(cache: &RouteCache, key: cache::Key, entry: &Arc<Entry>, status: StatusCode, fields: &HeaderMap) {
    let store = &cache.running.store;
    let stored = entry.fields.to_map();
    match head_says(&stored, status, fields) {
        HeadSays::Nothing => {}
        HeadSays::Changed => store.forget(&key, entry),
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
                store.exchange(&key, entry, new, store.changes());
            }
        }
    }
}
