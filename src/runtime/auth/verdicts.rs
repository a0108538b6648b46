//! What applications have said about requests, kept for a while: the same question is not asked again, nor twice at a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{SET_COOKIE, VARY};
use http::{HeaderMap, Method, StatusCode, response};

use super::way::Refusal;
use crate::auth::{Claims, Digest, Verified};
use crate::cache::store::{Flights, Joined, Lead};
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

/// A question that is being asked, on whose verdict others wait. What comes of it: the verdict, or `None` where it is for
/// this request only.
pub(super) type Asking = Lead<Digest, Option<Verdict>>;

/// Verdicts that are still good.
pub(super) struct Verdicts {
    cache: VerdictCache,
    known: Verified<Verdict>,
    asked: Arc<Flights<Digest, Option<Verdict>>>,
    started: Instant,
}

impl Verdicts {
    pub(super) fn new(cache: VerdictCache) -> Self {
        Self {
            cache,
            known: Verified::default(),
            asked: Flights::new(),
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

    /// The verdict of whoever asks the same at the moment. Otherwise it is up to the caller to ask: for all who ask the same,
    /// or, where the answer to another one was for nobody else, for its own request alone.
    pub(super) async fn others(&self, digest: &Digest) -> Result<Verdict, Option<Asking>> {
        loop {
            match self.asked.join(digest) {
                // Whoever asked may have landed between the look at what is kept and this one.
                Joined::Lead(asking) => return self.get(digest).ok_or(Some(asking)),
                Joined::Wait(other) => match other.landed().await {
                    Some(Some(verdict)) => return Ok(verdict),
                    Some(None) => return Err(None),
                    // It was given up before there was an answer: somebody else asks.
                    None => {}
                },
            }
        }
    }

    /// Keeps what an answer says, where it may be kept: then it holds for others, too.
    pub(super) fn keep(&self, digest: Digest, answer: &response::Parts, verdict: &Verdict) -> bool {
        let ttl = lifetime(answer, self.cache.ttl);
        if let Some(ttl) = ttl {
            let until = self.now().saturating_add(millis(ttl));
            self.known.put(digest, verdict.clone(), until);
        }
        ttl.is_some()
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
    use futures_util::FutureExt as _;
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

    #[tokio::test]
    async fn one_asks_for_all_who_ask_the_same() {
        let verdicts = Verdicts::new(VerdictCache {
            ttl: Duration::from_secs(3600),
            by_credentials: false,
        });
        let digest = verdicts.known.digest(&[b"a question"]).expect("random numbers");
        let verdict = || Ok(Claims::new(serde_json::Map::new()));
        let Err(Some(first)) = verdicts.others(&digest).await else {
            panic!("nobody asks it yet")
        };

        // Given up: one of those who wait asks, the others wait for that one.
        let mut second = Box::pin(verdicts.others(&digest));
        let mut third = Box::pin(verdicts.others(&digest));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(first);
        let Err(Some(second)) = second.await else {
            panic!("somebody must ask")
        };
        assert!(third.as_mut().now_or_never().is_none());

        // An answer for one request only: whoever waited asks for itself.
        second.land(None);
        drop(second);
        assert!(matches!(third.await, Err(None)));

        let Err(Some(fourth)) = verdicts.others(&digest).await else {
            panic!("nobody asks it any more")
        };
        let fifth = verdicts.others(&digest);
        let (parts, ()) = http::Response::new(()).into_parts();
        assert!(verdicts.keep(digest, &parts, &verdict()));
        fourth.land(Some(verdict()));
        assert!(matches!(fifth.await, Ok(Ok(_))));
        drop(fourth);
        // Who looked before it was kept, and joins after the last one has landed.
        assert!(matches!(verdicts.others(&digest).await, Ok(Ok(_))));
    }
}
