//! `forward_auth`: the application itself is asked whether somebody may. What is asked and what an answer means is here;
//! whoever has the connections carries it there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HOST, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::verdicts::{Circumstances, Verdicts};
use super::way::Refusal;
use crate::answer::{Answer, Reason};
use crate::auth::{Claims, Denial, Presented};
use crate::client;
use crate::config::model;
use crate::policy::{Admission, Delivery};
use crate::runtime::{Action, Registry, Route, Upstream};

/// What the application is asked.
pub struct Question<'a> {
    /// How it is reached.
    pub route: &'a Arc<Route>,
    /// The path, with a query where there is one.
    pub target: &'a str,
    /// What of the request it is told.
    pub headers: HeaderMap,
    /// When it must have answered.
    pub within: Duration,
}

/// Carries questions to applications.
pub trait Application: Send + Sync {
    /// What the application is told of the request beside the fields of the question.
    fn about(&self) -> Circumstances<'_>;

    /// The answer; `None`: there is none in time.
    fn ask<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Option<response::Parts>>;
}

/// `forward_auth`, compiled.
pub struct Asked {
    name: Arc<str>,
    upstream: usize,
    route: OnceLock<Arc<Route>>,
    target: Box<str>,
    send: Vec<HeaderName>,
    within: Duration,
    verdicts: Option<Verdicts>,
}

impl Asked {
    pub(super) fn new(name: &Arc<str>, model: model::ForwardAuth) -> Self {
        Self {
            name: Arc::clone(name),
            upstream: model.upstream,
            route: OnceLock::new(),
            target: model.target,
            send: model.send,
            within: model.timeout,
            verdicts: model.cache.map(Verdicts::new),
        }
    }

    /// Finds its upstream among those that there are now.
    pub(super) fn reach(&self, upstreams: &[Arc<Upstream>], registry: &Registry) {
        if let Some(upstream) = upstreams.get(self.upstream) {
            let _ = self.route.set(Arc::new(way_to(&self.name, upstream, registry)));
        }
    }

    /// Whose request it is, in the application's words.
    pub(super) async fn known(
        &self,
        request: &Presented<'_>,
        application: &dyn Application,
    ) -> Result<Claims, Refusal> {
        let headers = self.told(request.headers);
        let digest = |verdicts: &Verdicts| verdicts.digest(&headers, &application.about());
        let Some((verdicts, digest)) = self.verdicts.as_ref().and_then(|known| Some((known, digest(known)?))) else {
            let answer = self.ask(headers, application, self.within).await?;
            return judge(&answer);
        };
        if let Some(verdict) = verdicts.get(&digest) {
            return verdict;
        }
        // Waiting for another one's verdict is part of the time that there is.
        let until = Instant::now() + self.within;
        let asking = match timeout_at(until, verdicts.others(&digest))
            .await
            .map_err(|_| unavailable())?
        {
            Ok(verdict) => return verdict,
            Err(asking) => asking,
        };
        let left = until.saturating_duration_since(Instant::now());
        let answer = self.ask(headers, application, left).await;
        let verdict = answer.as_ref().map_err(Clone::clone).and_then(judge);
        let shared = answer.is_ok_and(|answer| verdicts.keep(digest, &answer, &verdict));
        if let Some(asking) = asking {
            asking.land(shared.then(|| verdict.clone()));
        }
        verdict
    }

    async fn ask(
        &self,
        headers: HeaderMap,
        application: &dyn Application,
        within: Duration,
    ) -> Result<response::Parts, Refusal> {
        let question = Question {
            route: self.route.get().ok_or_else(unavailable)?,
            target: &self.target,
            headers,
            within,
        };
        application.ask(question).await.ok_or_else(unavailable)
    }

    /// The fields that the question has: those of the file, and those that say how the request came.
    fn told(&self, fields: &HeaderMap) -> HeaderMap {
        let mut told = HeaderMap::new();
        for name in self.send.iter().chain([&HOST]).chain(&client::FORWARDING) {
            for value in fields.get_all(name) {
                told.append(name, value.clone());
            }
        }
        told
    }
}

/// A route of the gateway's own: it has no policy but the way to the upstream.
fn way_to(name: &Arc<str>, upstream: &Arc<Upstream>, registry: &Registry) -> Route {
    let label = format!("auth-{name}");
    Route {
        action: Action::Proxy {
            upstream: Arc::clone(upstream),
            rewrite: None,
        },
        admission: Admission {
            maintenance: None,
            allow: None,
            access: Box::default(),
            preflights: false,
            max_body: 0,
        },
        auth: None,
        limits: None,
        bandwidth: None,
        delivery: Delivery::default(),
        access_log: false,
        cache: None,
        priority: model::Priority::Normal,
        concurrency: None,
        pattern: None,
        metrics: registry.metrics.route(&label),
        name: label.into(),
    }
}

/// Nothing is known, and nobody is let in by that.
fn unavailable() -> Refusal {
    Denial::Unavailable.into()
}

/// What an answer means: 2xx lets in, and its fields are what is known; 401, 403 and redirects are the application's word
/// to the client; everything else says nothing, and nobody is let in by that.
fn judge(answer: &response::Parts) -> Result<Claims, Refusal> {
    let status = answer.status;
    let passed = |names: &[HeaderName]| {
        let of = |name: &HeaderName| {
            let lines = answer.headers.get_all(name).iter();
            lines.map(|line| (name.clone(), line.clone())).collect::<Vec<_>>()
        };
        names.iter().flat_map(of).collect()
    };
    let refusal = |reason, denial| Refusal {
        denial,
        answer: Some(Box::new(Answer::Refusal {
            reason,
            retry_after: None,
            fields: passed(&[WWW_AUTHENTICATE, SET_COOKIE]),
            members: Vec::new(),
        })),
    };
    match status {
        _ if status.is_success() => Ok(claims(&answer.headers)),
        StatusCode::UNAUTHORIZED => Err(refusal(Reason::Unauthenticated, Denial::Nothing)),
        StatusCode::FORBIDDEN => Err(refusal(Reason::NotPermitted, Denial::Forbidden)),
        StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT
            if answer.headers.contains_key(LOCATION) =>
        {
            let content_type = answer.headers.get(CONTENT_TYPE).cloned();
            Err(Refusal {
                denial: Denial::Nothing,
                answer: Some(Box::new(Answer::Content {
                    status,
                    content_type: content_type.unwrap_or(const { HeaderValue::from_static("text/plain") }),
                    body: bytes::Bytes::new(),
                    fields: passed(&[LOCATION, SET_COOKIE]),
                })),
            })
        }
        _ => Err(unavailable()),
    }
}

/// The fields of an answer, as claims.
fn claims(fields: &HeaderMap) -> Claims {
    let mut claims = Map::new();
    for name in fields.keys() {
        let lines = fields.get_all(name).iter();
        let mut texts: Vec<Value> = lines
            .filter_map(|line| line.to_str().ok())
            .map(|text| Value::String(text.to_owned()))
            .collect();
        let value = if texts.len() == 1 {
            texts.remove(0)
        } else {
            Value::Array(texts)
        };
        claims.insert(name.as_str().to_owned(), value);
    }
    Claims::new(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, fields: &[(&'static str, &'static str)]) -> Result<Claims, Refusal> {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = StatusCode::from_u16(status).expect("status");
        for (name, value) in fields {
            parts.headers.append(*name, HeaderValue::from_static(value));
        }
        judge(&parts)
    }

    #[test]
    fn what_an_answer_means() {
        for status in [200, 204, 299] {
            let claims = judged(status, &[("x-user", "ann"), ("x-role", "a"), ("x-role", "b")]).expect("let in");
            assert_eq!(claims.get("x-user"), Some(&Value::from("ann")));
            assert_eq!(claims.get("x-role"), Some(&Value::from(vec!["a", "b"])));
        }
        for (status, denial, told) in [
            (401, Denial::Nothing, Some(401)),
            (403, Denial::Forbidden, Some(403)),
            (302, Denial::Nothing, Some(302)),
            (307, Denial::Nothing, Some(307)),
            (304, Denial::Unavailable, None),
            (404, Denial::Unavailable, None),
            (429, Denial::Unavailable, None),
            (500, Denial::Unavailable, None),
            (503, Denial::Unavailable, None),
        ] {
            let fields = [
                ("location", "/login"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("x-inner", "secret"),
            ];
            let refusal = judged(status, &fields).expect_err("refused");
            assert_eq!(refusal.denial, denial, "{status}");
            let told_now = refusal.answer.map(|answer| answer.render(None, ""));
            assert_eq!(told_now.as_ref().map(|answer| answer.status.as_u16()), told, "{status}");
            if let Some(answer) = told_now {
                assert_eq!(answer.headers.get_all(SET_COOKIE).iter().count(), 2, "{status}");
                assert!(!answer.headers.contains_key("x-inner"));
            }
        }
        assert_eq!(judged(302, &[]).expect_err("no way").denial, Denial::Unavailable);
    }
}
