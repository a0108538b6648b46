//! Whether the cache has anything to do with a request, and by which key.

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
    pub(super) url: String,
    /// Host and port, as they are in the key.
    pub(super) authority: String,
    /// Path and query, as the application is asked for them.
    pub(super) target: String,
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
        let authority = self.authority(request);
        let query = policy.key.query(request.uri.query());
        let asked = Asked {
            scheme: self.client.scheme.as_str(),
            authority: &authority,
            path: request.uri.path(),
            query: query.as_deref(),
        };
        let route = self.route.as_ref().map_or("", |route| &route.name);
        let key = policy.key.key(cache.running.store.seed(), &asked, route, fields);
        let target = match asked.query {
            Some(query) => format!("{}?{query}", asked.path),
            None => asked.path.to_owned(),
        };
        Ok(Asking {
            cache: cache.clone(),
            key,
            url: asked.url(),
            target,
            wish: Wish::of(policy, fields),
            head,
            authority,
        })
    }

    /// Host and port as the application is told, in lower case; the usual port is none.
    pub(super) fn authority(&self, request: &request::Parts) -> String {
        let host = request
            .headers
            .get(header::HOST)
            .and_then(|host: &HeaderValue| host.to_str().ok());
        let host = host.unwrap_or(&self.host).to_ascii_lowercase();
        let usual = match self.client.scheme {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        };
        host.strip_suffix(usual).map_or_else(|| host.clone(), str::to_owned)
    }
}
