//! The cache in the way of a request: look, use what is there, or have it fetched once for everybody who waits.
//!
//! ```text
//! begin (may it be cached, by which key) → look up and judge (here) → fill (one fetch a key) → compose (what the client gets)
//! ```

mod begin;
mod behind;
mod change;
mod compose;
mod fill;
mod write;

pub(super) use begin::Asking;
pub(super) use change::{Change, HeadOf};
pub(super) use write::serve;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{StatusCode, request, response};

use super::Exchange;
use super::fetch::{Failure, Fetched};
use crate::answer::{Answer, Reason};
use crate::cache::store::{Entry, Found, Reader};
use crate::cache::{self, Forward, Moment, Reuse, Status, Why, judge, rescues};
use crate::runtime::Landed;
use behind::Lying;
use fill::{Flying, Hand};

/// How long a request waits for somebody else's fetch before it fetches by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a request looks again, when what it waited for was not for it.
const MOST_ROUNDS: u32 = 4;

/// What becomes of a request.
pub(super) enum Served {
    /// This is the answer.
    Answer(response::Parts, Source),
    /// The gateway answers by itself.
    Refuse(Answer),
    /// It goes to the upstream, past the cache.
    Proxy,
}

/// Where a body comes from.
pub(super) enum Source {
    /// There is none.
    Nothing,
    /// An answer that is kept, or arrives to be.
    Kept(Reader),
    /// The application.
    Passing(Box<Fetched>),
}

impl Source {
    /// The next part; `None`: that was all. `Err`: it breaks off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ()> {
        match self {
            Self::Nothing => Ok(None),
            Self::Kept(reader) => reader.next().await.map_err(drop),
            Self::Passing(fetched) => fetched.next().await.map_err(drop),
        }
    }
}

pub(super) fn now() -> Moment {
    SystemTime::now().into()
}

impl Exchange {
    /// Answers at once what can be: from what is kept and fresh enough, or past the cache. `Err`: it must be fetched.
    pub(super) fn at_once(&mut self, request: &request::Parts) -> Result<Served, Box<Asking>> {
        self.note_change(request);
        let Some(cache) = self.route.as_ref().and_then(|route| route.cache.clone()) else {
            return Ok(Served::Proxy);
        };
        let asking = match self.asking(&cache, request) {
            Ok(asking) => asking,
            Err(begin::Aside::Purge) => return Ok(Served::Refuse(self.purge_one(&cache, request))),
            Err(begin::Aside::Past(forward, detail)) => {
                self.cache_status = Some(Status {
                    forward: Some(forward),
                    detail,
                    ..Status::default()
                });
                return Ok(Served::Proxy);
            }
        };
        let missing = match self.find(&asking, request, None) {
            Ok(served) => return Ok(served),
            Err(missing) => missing,
        };
        if self.may_be_behind(&asking, request, missing.stale.is_some()) {
            return Err(Box::new(asking));
        }
        match self.without_fetch(&asking, request, missing) {
            Ok(served) => Ok(served),
            Err(_) => Err(Box::new(asking)),
        }
    }

    /// Counts what the cache did.
    pub(super) fn count_cache(&self) {
        if let (Some(status), Some(cache)) = (
            self.cache_status,
            self.route.as_ref().and_then(|route| route.cache.as_ref()),
        ) {
            cache.running.metrics.judged(status.verdict());
        }
    }

    /// Looks for an answer and gives it, if it may be given. `behind`: what a tier has. `Err`: what there is instead.
    fn find(&mut self, asking: &Asking, request: &request::Parts, behind: Option<&Lying>) -> Result<Served, Missing> {
        let policy = &asking.cache.policy;
        // What a tier had is in memory by now: it is the answer of the tier for the one who had it looked up.
        let mut tier = behind.map(|behind| behind.tier);
        let found = match (asking.cache.running.store.find(&asking.key, &request.headers), behind) {
            (Found::Entry(here), Some(behind)) if behind.entry.terms.since <= here.terms.since => {
                tier = tier.filter(|_| Arc::ptr_eq(&here, &behind.entry));
                Found::Entry(here)
            }
            (_, Some(behind)) => Found::Entry(Arc::clone(&behind.entry)),
            (found, None) => found,
        };
        let hit = |fresh| Status {
            hit: true,
            fresh: Some(fresh),
            detail: tier,
            ..Status::default()
        };
        Err(match found {
            Found::Entry(entry) => match judge(policy, &entry.terms, &asking.wish, now()) {
                Reuse::Fresh(left) => {
                    self.used(asking, request);
                    return Ok(self.give(asking, request, &entry, hit(Ok(left)), true));
                }
                Reuse::Stale(by) => return Ok(self.give(asking, request, &entry, hit(Err(by)), true)),
                Reuse::StaleWhileRevalidate(by) => {
                    self.refresh(asking, request, &entry);
                    let status = Status {
                        detail: Some("stale-while-revalidate"),
                        ..hit(Err(by))
                    };
                    return Ok(self.give(asking, request, &entry, status, true));
                }
                Reuse::NotForThis => return Ok(self.past(Forward::Bypass, "identity")),
                Reuse::Ask(why) => Missing {
                    forward: if why == Why::Request {
                        Forward::Request
                    } else {
                        Forward::Stale
                    },
                    // Each such request asks by itself: what one is told is not for the next.
                    alone: why == Why::NoCache,
                    like: Some(Arc::clone(&entry)),
                    stale: Some(entry),
                },
            },
            Found::Others(other) => Missing {
                forward: Forward::VaryMiss,
                like: Some(other),
                stale: None,
                alone: false,
            },
            Found::Nothing => Missing {
                forward: Forward::UriMiss,
                like: None,
                stale: None,
                alone: false,
            },
        })
    }

    /// What a request is given for which nothing is to be fetched. `Err`: it must be.
    fn without_fetch(
        &mut self,
        asking: &Asking,
        request: &request::Parts,
        missing: Missing,
    ) -> Result<Served, Missing> {
        if asking.wish.directives.only_if_cached {
            self.cache_status = Some(Status {
                detail: Some("only-if-cached"),
                ..Status::default()
            });
            return Ok(Served::Refuse(self.refusal(Reason::GatewayTimeout)));
        }
        if asking.wish.directives.no_store {
            return Ok(self.past(Forward::Request, "request-no-store"));
        }
        if asking.head {
            // Not worth the body: the application is asked for the head, which may say that what is kept is good.
            self.head_of = missing.stale.map(|entry| {
                Box::new(HeadOf {
                    cache: asking.cache.clone(),
                    key: asking.key,
                    address: self.address(asking, request),
                    entry,
                })
            });
            return Ok(self.past(missing.forward, "head"));
        }
        Err(missing)
    }

    /// Has the answer fetched, or waits for somebody else's fetch.
    pub(super) async fn look(&mut self, asking: &Asking, request: &request::Parts) -> Served {
        let store = &asking.cache.running.store;
        let policy = &asking.cache.policy;
        let mut alone = asking.wish.authorized;
        let mut like: Option<Arc<Entry>> = None;
        let mut behind: Option<Lying> = None;
        let mut looked_behind = false;
        let mut round = 0;
        while round < MOST_ROUNDS {
            let missing = match self.find(asking, request, behind.as_ref()) {
                Ok(served) => return served,
                Err(missing) => missing,
            };
            let known = missing.stale.is_some();
            if !looked_behind && self.may_be_behind(asking, request, known) {
                // Somebody may have put it into memory meanwhile: looked there again before it is fetched.
                looked_behind = true;
                behind = self.behind(asking, request, known).await;
                continue;
            }
            let missing = match self.without_fetch(asking, request, missing) {
                Ok(served) => return served,
                Err(missing) => missing,
            };
            round += 1;
            let Missing { forward, stale, .. } = missing;
            alone |= missing.alone;
            like = missing.like.or(like);
            alone |= store.passes(&asking.key, now()) || round == MOST_ROUNDS;
            let mut flying = self.join(asking, request, stale.as_ref(), like.as_ref(), alone);
            let (landed, handed, collapsed) = loop {
                match flying {
                    Flying::Lead(flight, handed) => {
                        break (flight.landed().await, Some(handed), false);
                    }
                    Flying::Wait(flight) => match tokio::time::timeout(PATIENCE, flight.landed()).await {
                        Ok(landed) => break (landed, None, true),
                        Err(_) => {
                            flying = self.take_over(asking, request, stale.as_ref(), like.as_ref(), &flight);
                        }
                    },
                }
            };
            let status = Status {
                forward: Some(forward),
                collapsed,
                ..Status::default()
            };
            match landed {
                None => {}
                Some(Landed::Entry {
                    entry,
                    status: answered,
                    stored,
                    instead,
                }) => {
                    if collapsed && !entry.selector.selects(&request.headers) {
                        like = Some(entry); // now it is known how requests are told apart
                        continue;
                    }
                    if collapsed && !is_for(policy, asking, &entry) {
                        alone = true;
                        continue;
                    }
                    let reader = match handed.map(|mut handed| handed.try_recv()) {
                        Some(Ok(Hand::Reader(reader))) => reader,
                        _ => entry.body.reader(0, None),
                    };
                    if reader.is_late() {
                        alone = true;
                        continue;
                    }
                    let changed = answered != entry.status;
                    let status = Status {
                        forward_status: changed.then_some(answered),
                        stored,
                        detail: instead,
                        fresh: Some(entry.terms.fresh_for(now())),
                        ..status
                    };
                    return self.give_from(asking, request, &entry, status, changed || collapsed, Some(reader));
                }
                Some(Landed::Pass { why }) => {
                    let handed = match handed {
                        Some(handed) => handed.await.ok(),
                        None => None,
                    };
                    let Some(Hand::Answer(fetched)) = handed else {
                        alone = true;
                        continue;
                    };
                    if let Some(served) = self.rescue_from(asking, request, stale.as_ref(), status, fetched.head.status)
                    {
                        return served;
                    }
                    let status = Status {
                        detail: Some(why),
                        ..status
                    };
                    return self.pass(asking, request, fetched, status);
                }
                Some(Landed::Failed { reason, retry_after }) => {
                    if let Some(entry) = stale
                        && rescues(&entry.terms, &asking.wish, cache::Failure::Disconnected, now())
                    {
                        let status = Status {
                            detail: Some("stale-if-error"),
                            fresh: Some(entry.terms.fresh_for(now())),
                            ..status
                        };
                        return self.give(asking, request, &entry, status, true);
                    }
                    self.cache_status = Some(status);
                    self.retry_after = retry_after;
                    return Served::Refuse(self.refusal(reason));
                }
            }
        }
        self.past(Forward::UriMiss, "contended")
    }

    /// Goes past the cache, for a reason.
    fn past(&mut self, forward: Forward, why: &'static str) -> Served {
        self.cache_status = Some(Status {
            forward: Some(forward),
            detail: Some(why),
            ..Status::default()
        });
        Served::Proxy
    }

    /// A stale answer instead of an error of the application.
    fn rescue_from(
        &mut self,
        asking: &Asking,
        request: &request::Parts,
        stale: Option<&Arc<Entry>>,
        status: Status,
        answered: StatusCode,
    ) -> Option<Served> {
        let entry = stale?;
        let failed = matches!(answered.as_u16(), 500 | 502 | 503 | 504);
        if !failed || !rescues(&entry.terms, &asking.wish, cache::Failure::Error, now()) {
            return None;
        }
        let status = Status {
            forward_status: Some(answered),
            fresh: Some(entry.terms.fresh_for(now())),
            detail: Some("stale-if-error"),
            ..status
        };
        Some(self.give(asking, request, entry, status, true))
    }
}

/// Whether an answer that somebody else asked for is for this request too.
fn is_for(policy: &cache::Policy, asking: &Asking, entry: &Entry) -> bool {
    matches!(
        judge(policy, &entry.terms, &asking.wish, now()),
        Reuse::Fresh(_) | Reuse::Stale(_) | Reuse::StaleWhileRevalidate(_)
    )
}

/// What there is when there is no answer to give.
struct Missing {
    forward: Forward,
    /// An answer that may be confirmed, or be better than none.
    stale: Option<Arc<Entry>>,
    /// An answer that says how requests are told apart.
    like: Option<Arc<Entry>>,
    /// The request does not wait for others.
    alone: bool,
}

/// What a failed fetch tells those who wait.
impl From<Failure> for Landed {
    fn from(failure: Failure) -> Self {
        Self::Failed {
            reason: failure.reason,
            retry_after: failure.retry_after,
        }
    }
}
