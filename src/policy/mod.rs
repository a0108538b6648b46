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

pub use access::{
    Access, Addresses, AgentPattern, Agents, AllowList, Countries, CountryRule, Maintenance, SCANNER_LISTS, Scanners,
};
pub use compress::{Coding, Compression, Effort, Encoder};
pub use cors::{Cors, OriginPattern, Origins, RequestFields, announced as announced_method};
pub use headers::{ContentSecurityPolicy, HeaderPolicy, Preset};
pub use https::ToHttps;
pub use redirect::{Redirect, Template, TemplateError};
pub use rewrite::Rewrite;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::answer::{Answer, Reason};

/// The facts of a request that wants to be admitted.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub client: IpAddr,
    /// How.
    pub method: &'a Method,
    /// For what; normalised, as routes see it.
    pub path: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Whether a body follows.
    pub has_body: bool,
    /// How long its body is, bytes; `None`: there is none, or only its end will tell.
    pub length: Option<u64>,
    /// Whether it only asks what a page of another site may ask.
    pub preflight: bool,
}

/// What a route asks of a request before it does anything.
///
/// What needs no memory is here. Behind it, in this order, stands what counts: the rate limits of the route
/// (`proxy/limit.rs`), then how many requests are in progress. So what is refused here costs nobody a unit.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Whether the route is closed.
    pub maintenance: Option<Maintenance>,
    /// Who may use the route; `None`: everyone.
    pub allow: Option<AllowList>,
    /// Who may use it, and with what; all of them must agree.
    pub access: Box<[Arc<Access>]>,
    /// Whether preflights are answered here, by what [`Delivery::cors`] says.
    pub preflights: bool,
    /// Largest request body, bytes.
    pub max_body: u64,
}

impl Admission {
    /// Lets a request continue or answers it.
    pub fn admit(&self, asked: &Asked<'_>) -> ControlFlow<Answer> {
        // A new policy must be placed below, or this does not compile.
        let Self {
            maintenance,
            allow,
            access,
            preflights,
            max_body,
        } = self;
        // First of all: behind it nothing may be relied on.
        if let Some(retry_after) = maintenance.as_ref().and_then(|closed| closed.turns_away(asked.client)) {
            return ControlFlow::Break(Answer::Refusal {
                reason: Reason::Maintenance,
                retry_after: Some(retry_after),
                fields: Vec::new(),
                members: Vec::new(),
            });
        }
        // Then addresses: who may not come in learns nothing about the other rules.
        if allow.as_ref().is_some_and(|list| !list.admits(asked.client)) {
            return ControlFlow::Break(Answer::refuse(Reason::AddressNotAllowed));
        }
        if let Some(refusal) = access.iter().find_map(|access| access.refuse_client(asked)) {
            return ControlFlow::Break(refusal);
        }
        // Before everything that asks who somebody is or counts: browsers send neither names nor keys along (Fetch, "CORS
        // protocol and credentials"). What may follow is said at delivery.
        if *preflights && asked.preflight {
            return ControlFlow::Break(Answer::Content {
                status: StatusCode::NO_CONTENT,
                content_type: const { HeaderValue::from_static("text/plain") },
                body: Bytes::new(),
                fields: Vec::new(),
            });
        }
        if let Some(refusal) = access.iter().find_map(|access| access.refuse_request(asked)) {
            return ControlFlow::Break(refusal);
        }
        // By its announcement, before a byte of it is read; what is not announced is counted as it arrives.
        if asked.length.is_some_and(|length| length > *max_body) {
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

    /// What a smaller body is worth.
    #[must_use]
    pub fn effort(&self) -> Effort {
        self.compress
            .as_ref()
            .map_or(Effort::default(), |compress| compress.effort)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::networks::Networks;

    fn admission() -> Admission {
        Admission {
            maintenance: None,
            allow: Some(AllowList::new(vec!["10.0.0.0/8".parse().expect("network")])),
            access: Box::default(),
            preflights: false,
            max_body: 10,
        }
    }

    fn status(admission: &Admission, ip: &str, length: Option<u64>, preflight: bool) -> u16 {
        let asked = Asked {
            client: ip.parse().expect("address"),
            method: &if preflight { Method::OPTIONS } else { Method::GET },
            path: "/.env",
            headers: &HeaderMap::new(),
            has_body: length.is_some(),
            length,
            preflight,
        };
        match admission.admit(&asked) {
            ControlFlow::Break(answer) => answer.render(None, "").status.as_u16(),
            ControlFlow::Continue(()) => 200,
        }
    }

    #[test]
    fn strangers_learn_nothing_about_the_body_limit() {
        let admission = admission();
        for (ip, length, expected) in [
            ("192.0.2.1", Some(11), 403),
            ("10.0.0.1", Some(11), 413),
            ("10.0.0.1", Some(10), 200),
            ("10.0.0.1", None, 200),
        ] {
            assert_eq!(status(&admission, ip, length, false), expected, "{ip} {length:?}");
        }
    }

    #[test]
    fn preflights_are_answered_behind_the_addresses() {
        let admission = Admission {
            preflights: true,
            access: [Arc::new(Access {
                methods: vec![Method::POST],
                ..Access::default()
            })]
            .into(),
            ..admission()
        };
        assert_eq!(status(&admission, "192.0.2.1", Some(11), true), 403);
        assert_eq!(status(&admission, "10.0.0.1", Some(11), true), 204);
        assert_eq!(status(&admission, "10.0.0.1", Some(11), false), 405);
    }

    #[test]
    fn what_is_closed_is_closed_before_anything_else() {
        let closed = Admission {
            maintenance: Some(Maintenance {
                allow: ["10.0.0.1/32".parse::<ipnet::IpNet>().expect("network")]
                    .into_iter()
                    .collect::<Networks>(),
                retry_after: Duration::from_secs(60),
            }),
            preflights: true,
            ..admission()
        };
        assert_eq!(status(&closed, "192.0.2.1", Some(11), true), 503);
        assert_eq!(status(&closed, "10.0.0.2", None, true), 503);
        assert_eq!(status(&closed, "10.0.0.1", None, true), 204);
        assert_eq!(status(&closed, "10.0.0.1", None, false), 200);
    }

    #[test]
    fn all_that_is_asked_must_hold() {
        let one = Access::default();
        let other = Access {
            scanners: Scanners::all(),
            ..Access::default()
        };
        let both = Admission {
            access: [Arc::new(one), Arc::new(other)].into(),
            ..admission()
        };
        assert_eq!(status(&both, "10.0.0.1", None, false), 404);
        assert_eq!(status(&both, "192.0.2.1", None, false), 403);
    }
}
