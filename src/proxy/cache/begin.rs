//! Whether the cache has anything to do with a request, and by which key.

use std::borrow::Cow;

use http::{HeaderValue, Method, header, request};

use super::super::Exchange;
use crate::cache::{Asked, Forward, Key, Wish};
use crate::client::Scheme;
use crate::edge::Framing;
use crate::runtime::RouteCache;

/// A request that the cache may answer.
pub(in crate::proxy) struct Asking {
    pub(super) cache: RouteCache,
    pub(super) key: Key,
    pub(super) wish: Wish,
    /// It asks for the head only.
    pub(super) head: bool,
}

/// Why the cache has nothing to do with it.
pub(super) enum Aside {
    /// It passes.
    Past(Forward, Option<&'static str>),
    /// It wants the answer taken out.
    Purge,
}

impl Exchange {
    /// What is asked of the cache.
    pub(super) fn asking(&self, cache: &RouteCache, request: &request::Parts) -> Result<Asking, Aside> {
        let policy = &cache.policy;
        let past = |why| Err(Aside::Past(Forward::Bypass, Some(why)));
        let head = request.method == Method::HEAD;
        if policy.purge && request.method.as_str() == "PURGE" {
            return Err(Aside::Purge);
        }
        if request.method != Method::GET && !(head && policy.head) {
            return Err(Aside::Past(Forward::Method, None));
        }
        let Some(arrival) = &self.arrival else {
            return past("internal");
        };
        if arrival.upgrade || self.grpc.is_some() {
            return past("upgrade");
        }
        if arrival.framing != Framing::None {
            // A body of a GET that the key does not know could change the answer for everybody.
            return past("request-body");
        }
        if self.path.is_some() {
            // Another spelling of a path may be another thing to the application, and must not be kept as this one.
            return past("path-spelling");
        }
        let fields = &request.headers;
        if policy.bypassed(request.uri.query(), fields).is_some() {
            return past("policy");
        }
        if fields.contains_key(header::IF_MATCH) || fields.contains_key(header::IF_UNMODIFIED_SINCE) {
            return past("precondition"); // for the origin to judge (RFC 9111 §4.3.2)
        }
        let seed = cache.running.store.seed();
        let key = Key {
            url: self.asked(cache, request, |asked| asked.url_key(seed)),
            extra: cache.extra.unwrap_or_else(|| {
                let route = self.route.as_ref().map_or("", |route| &route.name);
                policy.key.extra(seed, route, fields)
            }),
        };
        Ok(Asking {
            cache: cache.clone(),
            key,
            wish: Wish::of(policy, fields),
            head,
        })
    }

    /// What is asked for, as far as the key of this cache goes.
    pub(super) fn asked<T>(
        &self,
        cache: &RouteCache,
        request: &request::Parts,
        tell: impl FnOnce(&Asked<'_>) -> T,
    ) -> T {
        let authority = self.authority(request);
        let query = cache.policy.key.query(request.uri.query());
        tell(&Asked {
            scheme: self.client.scheme.as_str(),
            authority: &authority,
            path: request.uri.path(),
            query: query.as_deref(),
        })
    }

    /// Host and port as the application is told, in lower case; the usual port is none.
    pub(super) fn authority<'a>(&'a self, request: &'a request::Parts) -> Cow<'a, str> {
        let host = request
            .headers
            .get(header::HOST)
            .and_then(|host: &HeaderValue| host.to_str().ok());
        let host = host.unwrap_or(&self.host);
        let usual = match self.client.scheme {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        };
        let host = host.strip_suffix(usual).unwrap_or(host);
        match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => host.to_ascii_lowercase().into(),
            false => host.into(),
        }
    }
}
