//! The answers of one cache in the Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::super::Sharing;
use super::line::Waiting;
use super::write::useful_for;
use super::{Answers, Seen};
use crate::cache::packed::{MARGIN, Packed, Unpacked, unpack};
use crate::cache::store::{Entry, Target};
use crate::cache::{Address, Generation, Lookup, Moment, Offer, Position, Report, Ruling, Settling, Tier, place_of};
use crate::runtime::limits::shared::failure::{Failure, Refusal};

/// The answers of one cache in the Redis.
pub(in crate::runtime) struct RedisTier {
    shared: Arc<Shared>,
}

struct Shared {
    sharing: Arc<Sharing>,
    cache: Arc<str>,
    /// The largest body that is shared, bytes.
    most: AtomicU64,
    counts: Arc<Counts>,
}

#[derive(Default)]
pub(super) struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) skipped: AtomicU64,
    damaged: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// Why there is no answer to be given.
enum Not {
    /// It is something else.
    Damaged,
    /// It cannot be looked up on the connection of this number.
    Failed(Failure, u64),
}

impl RedisTier {
    pub(in crate::runtime) fn new(sharing: &Arc<Sharing>, cache: &Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                sharing: Arc::clone(sharing),
                cache: Arc::clone(cache),
                most: AtomicU64::new(0),
                counts: Arc::default(),
            }),
        })
    }

    /// Whether it is kept in this Redis.
    pub(in crate::runtime) fn is_of(&self, sharing: &Arc<Sharing>) -> bool {
        Arc::ptr_eq(&self.shared.sharing, sharing)
    }

    /// From now on bodies of at most so many bytes are shared.
    pub(in crate::runtime) fn resize(&self, most: u64) {
        self.shared.most.store(most, Relaxed);
    }
}

impl Tier for RedisTier {
    fn word(&self) -> &'static str {
        "redis"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn may_have(&self, _: &Address) -> bool {
        let sharing = &self.shared.sharing;
        sharing.answers.link.is_up() && sharing.state.lock().knows()
    }

    fn lookup(&self, address: Address, request: &HeaderMap) -> BoxFuture<'static, Lookup> {
        let (shared, request) = (Arc::clone(&self.shared), request.clone());
        Box::pin(async move {
            let found = shared
                .look(address, &request)
                .await
                .unwrap_or_else(|not| shared.note(not));
            let count = match &found {
                Lookup::Entry(_) => &shared.counts.hits,
                Lookup::Others | Lookup::Nothing => &shared.counts.misses,
            };
            count.fetch_add(1, Relaxed);
            found
        })
    }

    fn generation(&self) -> Generation {
        self.shared.sharing.generation()
    }

    fn offer(&self, offer: Offer) {
        let Shared {
            sharing,
            cache,
            most,
            counts,
        } = &*self.shared;
        let most = most.load(Relaxed);
        let fits = offer.entry.body.chunks().and(offer.entry.body.length());
        let wanted = sharing.answers.link.is_up()
            && fits.is_some_and(|length| length <= most)
            && useful_for(&offer.entry.terms, now()).is_some();
        let waiting = Waiting {
            offer,
            cache: Arc::clone(cache),
            most,
            counts: Arc::clone(counts),
        };
        if !wanted || !sharing.answers.line.push(waiting) {
            counts.skipped.fetch_add(1, Relaxed);
        }
    }

    /// Nothing: what the sequence says, and what is to be told, each answer is compared with.
    fn purge(&self, _: &Target, _: Option<Moment>) -> Option<Settling> {
        None
    }

    /// Nothing: each answer says it of itself.
    fn heard(&self, _: &Position) {}

    /// The Redis keeps what it keeps: an answer leaves when it is of no use, or as its `maxmemory-policy` says.
    fn used(&self, _: &Address) {}

    fn report(&self) -> Report {
        let counts = &self.shared.counts;
        Report {
            held: None,
            hits: counts.hits.load(Relaxed),
            misses: counts.misses.load(Relaxed),
            written: counts.written.load(Relaxed),
            skipped: counts.skipped.load(Relaxed),
            damaged: counts.damaged.load(Relaxed),
            failures: counts.failures.load(Relaxed),
        }
    }
}

impl Shared {
    /// What there is for a request, within the budget of a lookup.
    async fn look(&self, address: Address, request: &HeaderMap) -> Result<Lookup, Not> {
        let Self { sharing, cache, .. } = self;
        let answers: &Answers = &sharing.answers;
        let Ok(_place) = answers.room.try_acquire() else {
            return Ok(Lookup::Others); // there may be one
        };
        let series = sharing.generation().series;
        let deadline = Instant::now() + sharing.model.timeout;
        let Some(mut seen) = self.see(&sharing.answer_key(cache, address, None), deadline).await? else {
            return Ok(Lookup::Nothing);
        };
        let mut packed = unpack(&seen.value, address).ok_or(Not::Damaged)?;
        if let Packed::Beside(names) = packed {
            let key = sharing.answer_key(cache, address, Some(place_of(&names, request)));
            let Some(beside) = self.see(&key, deadline).await? else {
                return Ok(Lookup::Others);
            };
            seen = beside;
            packed = unpack(&seen.value, address).ok_or(Not::Damaged)?;
        }
        let Packed::Answer(answer) = packed else {
            return Err(Not::Damaged);
        };
        let Unpacked { entry, asked } = *answer;
        let Some(there) = seen.there else {
            return Ok(Lookup::Nothing); // the sequence is lost, and what was purged
        };
        let heard = async {
            loop {
                let moved = sharing.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if let Some(ruling) = sharing.rule(cache, series, &there, &asked, &entry) {
                    return ruling;
                }
                moved.await;
            }
        };
        let ruling = tokio::time::timeout_at(deadline.into(), heard).await;
        let entry: Entry = match ruling {
            Ok(Ruling::Stays) => entry,
            Ok(Ruling::Stale(at)) => entry.expired(at),
            Ok(Ruling::Gone) => return Ok(Lookup::Nothing),
            Err(_) => return Ok(Lookup::Others),
        };
        Ok(match entry.selector.selects(request) {
            true => Lookup::Entry(Box::new(entry)),
            false => Lookup::Others,
        })
    }

    /// What there is at a key; `None`: nothing.
    async fn see(&self, key: &str, deadline: Instant) -> Result<Option<Seen>, Not> {
        let Self { sharing, most, .. } = self;
        let Some((mut handle, number)) = sharing.answers.link.handle() else {
            return Ok(None); // it was given up a moment ago
        };
        let most = usize::try_from(most.load(Relaxed)).unwrap_or(0) + MARGIN;
        let left = deadline.saturating_duration_since(Instant::now());
        match sharing.see(&mut handle, key, most, left).await {
            Ok(seen) if seen.value.len() > most => Err(Not::Damaged),
            Ok(seen) => Ok((!seen.value.is_empty()).then_some(seen)),
            // A value of another type.
            Err(Failure::Refused(Refusal::Other, why)) if why.starts_with("WRONGTYPE") => Err(Not::Damaged),
            Err(failure) => Err(Not::Failed(failure, number)),
        }
    }

    /// Counts and tells why there is none.
    fn note(&self, not: Not) -> Lookup {
        let Self {
            sharing, cache, counts, ..
        } = self;
        match not {
            Not::Damaged => {
                counts.damaged.fetch_add(1, Relaxed);
                sharing.answers.complain(|| {
                    tracing::warn!(%cache, "what stands for an answer in the Redis is none of ours, or damaged");
                });
                Lookup::Nothing
            }
            Not::Failed(failure, number) => {
                counts.failures.fetch_add(1, Relaxed);
                sharing.answers.complain(|| {
                    tracing::warn!(%cache, reason = %failure, "an answer of other gateways cannot be looked up");
                });
                if failure.ends_connection() {
                    sharing.answers.link.give_up(number, failure);
                }
                Lookup::Others
            }
        }
    }
}

fn now() -> Moment {
    SystemTime::now().into()
}
