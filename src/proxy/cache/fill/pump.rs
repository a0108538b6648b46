//! The body of a fetch, on its way into the store and to those who read along.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::super::super::fetch::Fetched;
use super::Fill;
use crate::cache::store::{Body, Entry};
use crate::runtime::RouteCache;

impl Fill {
    /// Takes in the body. What breaks off is asked for once more, and goes on where it was, if it is the same.
    pub(super) async fn pump(self, mut fetched: Fetched, entry: &Arc<Entry>, body: &Arc<Body>, mut fields: HeaderMap) {
        let most = self.cache.policy.max_object;
        let mut filling = Filling {
            cache: &self.cache,
            bytes: 0,
        };
        let mut kept = true;
        let mut again = false;
        let (mut at, mut length) = (0, 0);
        loop {
            let part = match fetched.next().await {
                Ok(Some(part)) => part,
                Ok(None) if at < length => return body.fail(), // the second one is shorter
                Ok(None) => break,
                Err(_) if again || !kept => return body.fail(),
                Err(_) => {
                    again = true;
                    let Some(other) = self.same_again(entry).await else {
                        return body.fail();
                    };
                    fetched = other;
                    at = 0;
                    continue;
                }
            };
            let seen = (length - at).min(part.len() as u64);
            if seen > 0 && !body.agrees(at, &part[..usize::try_from(seen).unwrap_or(0)]) {
                return body.fail();
            }
            at += part.len() as u64;
            let new: Bytes = part.slice(usize::try_from(seen).unwrap_or(0)..);
            length += new.len() as u64;
            if kept && (length > most || !filling.takes(new.len() as u64)) {
                kept = false;
                // Nobody new may begin with it: its beginning will be gone.
                self.lead.leave();
                body.overflow();
            }
            if !kept && !body.room().await {
                return body.fail();
            }
            body.push(new);
        }
        if !body.finish() {
            return;
        }
        fields.insert(header::CONTENT_LENGTH, length.into());
        let complete = Arc::new(entry.updated(&fields, entry.terms.clone(), entry.selector.clone()));
        let store = &self.cache.running.store;
        let since = &self.begun.since;
        if store.keep(&self.key, &self.selecting, Arc::clone(&complete), self.missed, since) {
            self.offer(&complete);
        }
    }

    /// The same answer once more; `None`: the application has another one now, or none.
    async fn same_again(&self, entry: &Entry) -> Option<Fetched> {
        let fetched = self.fetch(self.request.headers.clone()).await.ok()?;
        let same = |name: &header::HeaderName| entry.fields.first(name) == fetched.head.headers.get(name);
        let describing = [
            header::ETAG,
            header::LAST_MODIFIED,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
        ];
        (fetched.head.status == entry.status && describing.iter().all(same)).then_some(fetched)
    }
}

/// Counts what arrives to be kept.
struct Filling<'a> {
    cache: &'a RouteCache,
    bytes: u64,
}

impl Filling<'_> {
    /// `false`: more arrives than can be kept at all.
    fn takes(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let all = self.cache.running.filling.fetch_add(bytes, Relaxed) + bytes;
        all <= self.cache.policy.size
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.cache.running.filling.fetch_sub(self.bytes, Relaxed);
    }
}
