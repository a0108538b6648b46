//! What may be asked of a request and done to its answer: a file per policy, siblings never name each other.
//!
//! [`Admission`] and [`Delivery`] are the two declared orders: the only place where policies meet.

mod access;
mod compress;
mod cors;
mod headers;
mod https;
mod redirect;
mod rewrite;

pub use access::AllowList;
pub use compress::{Coding, Compression, Encoder};
pub use cors::{Cors, OriginPattern, Origins, RequestFields, announced as announced_method};
pub use headers::{ContentSecurityPolicy, HeaderPolicy, Preset};
pub use https::ToHttps;
pub use redirect::{Redirect, Template, TemplateError};
pub use rewrite::Rewrite;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::answer::{Answer, Reason};

/// What a route asks of a request before it does anything.
///
/// What needs no memory is here. Behind it, in this order, stands what counts: the rate limits of the route
/// (`proxy/limit.rs`), then how many requests are in progress. So what is refused here costs nobody a unit.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Who may use the route; `None`: everyone.
    pub allow: Option<AllowList>,
    /// Whether preflights are answered here, by what [`Delivery::cors`] says.
    pub preflights: bool,
    /// Largest request body, bytes.
    pub max_body: u64,
}

impl Admission {
    /// Lets a request continue or answers it. `body`: the length that the request announces, bytes; `preflight`: whether it
    /// is one.
    pub fn admit(&self, client: IpAddr, body: Option<u64>, preflight: bool) -> ControlFlow<Answer> {
        // A new policy must be placed below, or this does not compile.
        let Self {
            allow,
            preflights,
            max_body,
        } = self;
        // Addresses first: who may not come in learns nothing about the other rules.
        if allow.as_ref().is_some_and(|list| !list.admits(client)) {
            return ControlFlow::Break(Answer::refuse(Reason::AddressNotAllowed));
        }
        // Before everything that asks who somebody is or counts: browsers send neither names nor keys along (Fetch, "CORS
        // protocol and credentials"). What may follow is said at delivery.
        if *preflights && preflight {
            return ControlFlow::Break(Answer::Content {
                status: StatusCode::NO_CONTENT,
                content_type: const { HeaderValue::from_static("text/plain") },
                body: Bytes::new(),
                fields: Vec::new(),
            });
        }
        // By its announcement, before a byte of it is read; what is not announced is counted as it arrives.
        if body.is_some_and(|length| length > *max_body) {
            return ControlFlow::Break(Answer::refuse(Reason::BodyTooLarge));
        }
        ControlFlow::Continue(())
    }
}

/// What is done to every final answer of a route, the application's and our own.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// Header fields.
    pub headers: Option<Arc<HeaderPolicy>>,
    /// Who may read the answer from another site.
    pub cors: Option<Arc<Cors>>,
    /// Content coding.
    pub compress: Option<Arc<Compression>>,
}

/// The facts of the request that an answer is delivered for.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// The client came over TLS.
    pub tls: bool,
    /// The request is a HEAD.
    pub head: bool,
    /// Its fields.
    pub fields: &'a HeaderMap,
    /// It is a preflight.
    pub preflight: bool,
    /// Its `Accept-Encoding`.
    pub accept_encoding: Option<&'a str>,
}

impl Delivery {
    /// Changes the fields of an answer; returns the coding that its body must now be encoded with.
    pub fn deliver(&self, to: &Recipient<'_>, status: StatusCode, fields: &mut HeaderMap) -> Option<Coding> {
        // A new policy must be placed below, or this does not compile.
        let Self {
            headers,
            cors,
            compress,
        } = self;
        if let Some(policy) = headers {
            policy.apply(to.tls, fields);
        }
        // After the fields: what they set by hand is replaced with the application's.
        if let Some(cors) = cors {
            cors.apply(to.fields, to.preflight, fields);
        }
        // After the fields: a policy may have said `no-transform`.
        compress
            .as_ref()?
            .negotiate(to.accept_encoding, to.head, status, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_learn_nothing_about_the_body_limit() {
        let allow = Some(AllowList::new(vec!["10.0.0.0/8".parse().expect("network")]));
        let admission = Admission {
            allow,
            preflights: false,
            max_body: 10,
        };
        let refused = |ip: &str, body| match admission.admit(ip.parse().expect("address"), body, false) {
            ControlFlow::Break(Answer::Refusal { reason, .. }) => Some(reason),
            _ => None,
        };
        assert_eq!(refused("192.0.2.1", Some(11)), Some(Reason::AddressNotAllowed));
        assert_eq!(refused("10.0.0.1", Some(11)), Some(Reason::BodyTooLarge));
        assert_eq!(refused("10.0.0.1", Some(10)), None);
        assert_eq!(refused("10.0.0.1", None), None);
    }

    #[test]
    fn preflights_are_answered_behind_the_addresses() {
        let allow = Some(AllowList::new(vec!["10.0.0.0/8".parse().expect("network")]));
        let admission = Admission {
            allow,
            preflights: true,
            max_body: 10,
        };
        let status = |ip: &str, preflight| match admission.admit(ip.parse().expect("address"), Some(11), preflight) {
            ControlFlow::Break(answer) => answer.render(None, "").status.as_u16(),
            ControlFlow::Continue(()) => 200,
        };
        assert_eq!(status("192.0.2.1", true), 403);
        assert_eq!(status("10.0.0.1", true), 204);
        assert_eq!(status("10.0.0.1", false), 413);
    }
}
