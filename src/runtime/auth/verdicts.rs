//! What applications have said about requests, kept for a while: the same question is not asked again.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::header::{SET_COOKIE, VARY};
use http::{HeaderMap, Method, StatusCode, response};

use super::way::Refusal;
use crate::auth::{Claims, Digest, Verified};
use crate::cache::{ResponseDirectives, Scope};
use crate::client::Scheme;
use crate::config::model::VerdictCache;

/// The largest head of an answer that is kept, bytes: 10,000 of them are.
const LARGEST: usize = 4 * 1024;

/// What an application is told of a request beside the fields of a question.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Who asks.
    pub client: IpAddr,
    /// How.
    pub scheme: Scheme,
    /// At which host.
    pub host: &'a str,
    /// For what: the method.
    pub method: &'a Method,
    /// For what: path and query.
    pub target: &'a str,
}

/// What an application says of a request.
pub(super) type Verdict = Result<Claims, Refusal>;

/// Verdicts that are still good.
pub(super) struct Verdicts {
    cache: VerdictCache,
    known: Verified<Verdict>,
    started: Instant,
}

impl Verdicts {
    pub(super) fn new(cache: VerdictCache) -> Self {
        Self {
            cache,
            known: Verified::default(),
            started: Instant::now(),
        }
    }

    /// What tells questions apart. `fields`: those of the question.
    pub(super) fn digest(&self, fields: &HeaderMap, about: &Circumstances<'_>) -> Option<Digest> {
        let client = about.client.to_string();
        let mut parts: Vec<&[u8]> = vec![
            client.as_bytes(),
            about.scheme.as_str().as_bytes(),
            about.host.as_bytes(),
        ];
        if !self.cache.by_credentials {
            parts.extend([about.method.as_str().as_bytes(), about.target.as_bytes()]);
        }
        for (name, value) in fields {
            parts.extend([name.as_str().as_bytes(), value.as_bytes()]);
        }
        self.known.digest(&parts)
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Verdict> {
        self.known.get(digest, self.now())
    }

    /// Keeps what an answer says, where it may be kept.
    pub(super) fn keep(&self, digest: Digest, answer: &response::Parts, verdict: &Verdict) {
        if let Some(ttl) = lifetime(answer, self.cache.ttl) {
            let until = self.now().saturating_add(millis(ttl));
            self.known.put(digest, verdict.clone(), until);
        }
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How long an answer is good, at most `ttl`; `None`: it is for this request only.
fn lifetime(answer: &response::Parts, ttl: Duration) -> Option<Duration> {
    let decides =
        answer.status.is_success() || [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status);
    let fields = &answer.headers;
    let size: usize = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let varies = fields.get_all(VARY).iter().any(|value| value == "*");
    let said = ResponseDirectives::of(fields);
    if !decides || size > LARGEST || varies || fields.contains_key(SET_COOKIE) {
        return None;
    }
    if said.no_store || said.no_cache != Scope::None {
        return None;
    }
    let most = said
        .s_maxage
        .or(said.max_age)
        .map(|most| Duration::from_secs(most.into()));
    let ttl = most.map_or(ttl, |most| most.min(ttl));
    (!ttl.is_zero()).then_some(ttl)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_may_be_kept_and_how_long() {
        let long: &'static str = Box::leak("x".repeat(LARGEST).into_boxed_str());
        for (status, fields, seconds) in [
            (200, &[][..], Some(10)),
            (204, &[("cache-control", "private, max-age=3")], Some(3)),
            (200, &[("cache-control", "max-age=60")], Some(10)),
            (401, &[], Some(10)),
            (403, &[("vary", "cookie")], Some(10)),
            (200, &[("cache-control", "no-store")], None),
            (
                401,
                &[("cache-control", "private"), ("cache-control", "No-Store")],
                None,
            ),
            (200, &[("cache-control", "no-cache")], None),
            (200, &[("cache-control", "max-age=0")], None),
            (200, &[("vary", "*")], None),
            (401, &[("set-cookie", "a=1")], None),
            (200, &[("x-user", long)], None),
            (302, &[("location", "/login")], None),
            (404, &[], None),
            (500, &[], None),
            (503, &[], None),
        ] {
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.status = StatusCode::from_u16(status).expect("a status");
            for (name, value) in fields {
                parts.headers.append(*name, HeaderValue::from_static(value));
            }
            let kept = lifetime(&parts, Duration::from_secs(10));
            assert_eq!(kept.map(|time| time.as_secs()), seconds, "{status} {fields:?}");
        }
    }

    #[test]
    fn which_questions_are_the_same() {
        let asked = |by_credentials, client: [u8; 4], host, method: &Method, target, cookie| {
            let verdicts = Verdicts::new(VerdictCache {
                ttl: Duration::from_secs(1),
                by_credentials,
            });
            let about = |client, host, method, target| Circumstances {
                client: IpAddr::from(client),
                scheme: Scheme::Https,
                host,
                method,
                target,
            };
            let fields = |cookie| HeaderMap::from_iter([(http::header::COOKIE, HeaderValue::from_static(cookie))]);
            let one = verdicts.digest(&fields("a=1"), &about([192, 0, 2, 1], "h", &Method::GET, "/"));
            one.is_some() && one == verdicts.digest(&fields(cookie), &about(client, host, method, target))
        };
        let one = [192, 0, 2, 1];
        for by_credentials in [false, true] {
            assert!(asked(by_credentials, one, "h", &Method::GET, "/", "a=1"));
            assert!(!asked(by_credentials, [192, 0, 2, 2], "h", &Method::GET, "/", "a=1"));
            assert!(!asked(by_credentials, one, "i", &Method::GET, "/", "a=1"));
            assert!(!asked(by_credentials, one, "h", &Method::GET, "/", "a=2"));
            assert_eq!(
                asked(by_credentials, one, "h", &Method::PUT, "/", "a=1"),
                by_credentials
            );
            assert_eq!(
                asked(by_credentials, one, "h", &Method::GET, "/x", "a=1"),
                by_credentials
            );
        }
    }
}
