//! Who asks, before anything is counted: found out, and told to the application in the gateway's own words.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, request, response};

use super::Exchange;
use super::begin::Decision;
use super::fetch::{Caller, fetch};
use crate::auth::Presented;
use crate::runtime::{Application, Circumstances, Identified, Question};

/// What an application says of a request that may be let in; more than this of its words is not waited for.
const WORDS: usize = 64 * 1024;

const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Asks the application about a request, over the connections of its upstream.
struct Inquiry<'a> {
    exchange: &'a Exchange,
    request: &'a request::Parts,
}

impl Application for Inquiry<'_> {
    fn about(&self) -> Circumstances<'_> {
        Circumstances {
            client: self.exchange.client.ip,
            scheme: self.exchange.client.scheme,
            host: &self.exchange.host,
            method: &self.request.method,
            target: self.target(),
        }
    }

    fn ask<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Option<response::Parts>> {
        Box::pin(async move { tokio::time::timeout(question.within, self.carry(question)).await.ok()? })
    }
}

impl Inquiry<'_> {
    fn target(&self) -> &str {
        self.request.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    async fn carry(&self, question: Question<'_>) -> Option<response::Parts> {
        let Self { exchange, request } = self;
        let asked = http::Request::builder().uri(question.target).body(()).ok()?;
        let (mut parts, ()) = asked.into_parts();
        parts.headers = question.headers;
        let uri = self.target();
        let caller = Caller {
            client: exchange.client,
            peer: exchange.peer_ip,
            local_port: exchange.local_port,
            host: exchange.host.clone(),
            identity: exchange.identity.clone(),
            interim: None,
            further: HeaderMap::from_iter([
                (METHOD, HeaderValue::from_str(request.method.as_str()).ok()?),
                (URI, HeaderValue::from_str(uri).ok()?),
            ]),
        };
        let (snapshot, route) = (Arc::clone(&exchange.snapshot), Arc::clone(question.route));
        let mut answer = fetch(&exchange.live, snapshot, route, caller, &parts).await.ok()?;
        // Read to its end, where that is near: then the connection serves the next question.
        let mut read = 0;
        while let Ok(Some(part)) = answer.next().await {
            read += part.len();
            if read > WORDS {
                break;
            }
        }
        Some(answer.head)
    }
}

impl Exchange {
    /// Lets a decision stand for who may use the route, or refuses the request.
    pub(super) async fn identify(&mut self, request: &request::Parts, decision: Decision) -> Decision {
        let auth = self.route.as_ref().and_then(|route| route.auth.clone());
        let Some(auth) = auth.filter(|_| !matches!(decision, Decision::Settled(_))) else {
            return decision;
        };
        let presented = Presented {
            headers: &request.headers,
            query: request.uri.query(),
            client: self.client.ip,
        };
        let inquiry = Inquiry {
            exchange: self,
            request,
        };
        // Boxed: what nobody is asked for moves no state of it.
        let identified = Box::pin(auth.identify(&presented, &inquiry)).await;
        match identified {
            Identified::Known(known) => self.known = Some(known),
            Identified::Nobody => {}
            Identified::Refused(answer) => return Decision::Settled(answer),
        }
        decision
    }

    /// Whether the request's fields must be written anew before anybody believes them.
    pub(super) fn must_disclose(&self, headers: &HeaderMap) -> bool {
        self.known.as_ref().is_some_and(|known| known.discloses()) || !self.snapshot.claimed.are_absent(headers)
    }

    /// Takes out what only the gateway may say about who asks, and says it where it is known. What comes after it, limits
    /// and caches as well as the application, sees the request like this.
    pub(super) fn disclose(&self, headers: &mut HeaderMap) {
        self.snapshot.claimed.take_out(headers);
        if let Some(known) = &self.known {
            known.disclose(headers);
        }
    }
}
