//! From a head to a decision: identity, client, sanity, route, admission.

use std::ops::ControlFlow;

use http::{HeaderValue, Method, StatusCode, header, request};

use super::limit::Limited;
use super::{Exchange, deadline};
use crate::answer::{Answer, Grpc, Reason};
use crate::client::Scheme;
use crate::edge::Framing;
use crate::observe::identity::Identity;
use crate::policy::{self, Asked};
use crate::route::{self, Request};
use crate::runtime::Action;

/// What is done with a request.
pub(super) enum Decision {
    /// It goes to the route's upstream.
    Proxy,
    /// The gateway answers.
    Answer(Answer),
    /// It was answered before it came to what is counted: it costs nothing.
    Settled(Answer),
    /// A file answers.
    Files,
    /// The metrics answer.
    Metrics,
    /// The health endpoints answer.
    Health,
    /// An authority asks for this token: whether a name is ours.
    Challenge(Box<str>),
}

impl Exchange {
    /// Decides.
    pub(super) fn begin(&mut self, request: &request::Parts) -> Decision {
        match self.consider(request) {
            ControlFlow::Continue(decision) => decision,
            ControlFlow::Break(answer) => Decision::Settled(answer),
        }
    }

    fn consider(&mut self, request: &request::Parts) -> ControlFlow<Answer, Decision> {
        let Some(arrival) = &self.arrival else {
            return ControlFlow::Break(Answer::refuse(Reason::Internal)); // not through the gate: cannot be
        };
        self.peer_ip = arrival.peer.ip();
        self.local_port = arrival.local.port();
        self.secured = arrival.tls.clone();
        let scheme = if arrival.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        };
        self.client = self
            .snapshot
            .server
            .trusted_proxies
            .identify(arrival.peer.ip(), scheme, &request.headers);
        self.identity = Some(Identity::new(
            &request.headers,
            self.client.peer_trusted,
            self.snapshot.tracing,
        ));
        // Before anything is looked up for it.
        if let Some(left) = self.live.registry.banned(self.client.ip) {
            self.limited = Limited::banned();
            self.retry_after = Some(left);
            return ControlFlow::Break(self.refusal(Reason::Banned));
        }

        self.grpc = Grpc::of(request.headers.get(header::CONTENT_TYPE));
        if self.grpc.is_some() {
            let given = deadline::parse(request.headers.get(&deadline::FIELD));
            self.deadline = given.and_then(|given| arrival.started.checked_add(given));
        }

        self.host = match request.headers.get(header::HOST).map(HeaderValue::to_str) {
            Some(Ok(host)) => match route::normalise_host(host) {
                Ok((host, _port)) => host.into(),
                Err(_) => return ControlFlow::Break(Answer::refuse(Reason::BadRequest)),
            },
            Some(Err(_)) => return ControlFlow::Break(Answer::refuse(Reason::BadRequest)),
            None => Box::default(), // HTTP/1.0
        };
        let raw = request.uri.path();
        let path = match route::normalise(raw) {
            Ok(path) => path,
            Err(_) if raw == "*" => "*".into(),
            Err(_) => return ControlFlow::Break(Answer::refuse(Reason::BadPath)),
        };
        if let (Some(tls), Some(arrived)) = (&self.snapshot.tls, &arrival.tls)
            && !tls.hosts().may_serve(&self.host, arrived.client_auth)
        {
            return ControlFlow::Break(Answer::refuse(Reason::MisdirectedRequest));
        }
        // Before redirections and routes: who asks does not speak TLS, and knows nothing of our paths.
        if let Some(acme) = &self.snapshot.acme
            && let Some(token) = acme.asked(&self.host, &path)
        {
            return ControlFlow::Continue(Decision::Challenge(token.into()));
        }
        if let Some(to_https) = self.snapshot.to_https
            && self.client.scheme == Scheme::Http
        {
            let target = request.uri.path_and_query().map_or(raw, |target| target.as_str());
            if let Some(location) = to_https.location(&self.host, &path, target) {
                return ControlFlow::Break(elsewhere(&self.host, location));
            }
        }
        let asked = Request {
            method: &request.method,
            host: &self.host,
            path: &path,
            query: request.uri.query(),
            headers: &request.headers,
        };
        // A preflight is answered by the route of the request that it announces, where that one says who may call.
        let announced = policy::announced_method(&request.method, &request.headers);
        self.preflight = announced.is_some();
        let announced = announced.as_ref().and_then(|method| {
            let route = self.snapshot.route(&Request { method, ..asked });
            route.filter(|route| route.admission.preflights)
        });
        let found = announced.or_else(|| self.snapshot.route(&asked));
        if let std::borrow::Cow::Owned(path) = path {
            self.path = Some(path.into());
        }
        let Some(route) = found.cloned() else {
            self.in_flight = Some(self.snapshot.no_route.in_flight());
            return ControlFlow::Break(Answer::refuse(Reason::NotFound));
        };
        self.in_flight = Some(route.metrics.in_flight());
        let route = self.route.insert(route);
        arrival.link.limit_body(route.admission.max_body);
        let body = match arrival.framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked => None,
        };
        route.admission.admit(&Asked {
            client: self.client.ip,
            method: &request.method,
            path: self.path.as_deref().unwrap_or(raw),
            headers: &request.headers,
            has_body: arrival.framing != Framing::None,
            length: body,
            preflight: self.preflight,
        })?;
        ControlFlow::Continue(match &route.action {
            Action::Proxy { .. } => Decision::Proxy,
            Action::Respond(answer) => Decision::Answer(answer.clone()),
            Action::Redirect(redirect) => {
                let location = redirect.location(self.client.scheme, &self.host, raw, request.uri.query());
                match HeaderValue::try_from(location) {
                    Ok(location) => Decision::Answer(Answer::Redirect {
                        status: redirect.status,
                        location,
                    }),
                    Err(_) => Decision::Settled(Answer::refuse(Reason::BadRequest)),
                }
            }
            Action::Files(_) => Decision::Files,
            Action::Metrics | Action::Health(_) if !matches!(request.method, Method::GET | Method::HEAD) => {
                Decision::Settled(Answer::Refusal {
                    reason: Reason::MethodNotAllowed,
                    retry_after: None,
                    fields: vec![(header::ALLOW, HeaderValue::from_static("GET, HEAD"))],
                    members: Vec::new(),
                })
            }
            Action::Metrics => Decision::Metrics,
            Action::Health(_) => Decision::Health,
        })
    }
}

/// Sends a client in clear text to https. HTTP/1.0 may leave open where that is.
fn elsewhere(host: &str, location: String) -> Answer {
    match HeaderValue::try_from(location) {
        Ok(location) if !host.is_empty() => Answer::Redirect {
            status: StatusCode::PERMANENT_REDIRECT,
            location,
        },
        _ => Answer::refuse(Reason::BadRequest),
    }
}
