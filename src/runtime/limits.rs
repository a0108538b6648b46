//! `[rate_limit.NAME]`, compiled: with the store that counts, and the handles of what is told about it.
//!
//! All limits of this process count in one store, its own or one that it shares: a request is charged to every limit of
//! its route, or to none, and only a single store can promise that.

mod bandwidth;
mod facts;
mod inspect;
mod policy;
mod reporter;
pub(super) mod shared;
mod standing;
mod state;
mod store;

pub use bandwidth::{Flows, RouteBandwidth};
pub use facts::LimitFacts;
pub use inspect::{KeyFault, KeyState, LimitKey, SharedState};
pub use shared::StoreView;
pub(in crate::runtime) use shared::{Link, StoreAddress};
pub use standing::Standing;
pub(super) use state::LimitState;

use std::net::IpAddr;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderName;

use super::ClientTls;
use crate::config::model;
use crate::config::units::Rate;
use crate::limit::{Asker, Bans, Charges, KeyHasher, Level, Levels, Limits, Mode, Policy, Verdict, fields};
use crate::observe::Throttle;
use crate::observe::metrics::{LimitMetrics, LimitVerdict, Metrics, SourceMetrics};
use reporter::Reporter;
use store::{Decided, Store};

/// The limits of the file.
pub(super) struct CompiledLimits {
    each: Vec<Arc<Limit>>,
    hasher: KeyHasher,
    /// `None`: there is nothing to count.
    store: Option<Store>,
    /// Keys that may be kept in this process.
    capacity: usize,
    /// What the file says of the store that gateways share, where it is used.
    redis: Option<model::Redis>,
    bans: Arc<Bans>,
    telling_bans: Arc<Throttle>,
}

impl CompiledLimits {
    /// `redis`: the store that gateways share, with its TLS. `started`: when the process began.
    pub(super) fn new(
        limits: &[model::RateLimit],
        redis: Option<(&model::Redis, Option<&Arc<ClientTls>>)>,
        state: &LimitState,
        metrics: &Metrics,
        started: Instant,
    ) -> Self {
        let redis = redis.filter(|_| !limits.is_empty());
        let shared = redis.map(|(redis, tls)| state.shared(redis, tls, metrics, started));
        let capacity = limits
            .iter()
            .fold(0_usize, |sum, limit| sum.saturating_add(limit.capacity));
        Self {
            each: limits
                .iter()
                .map(|limit| Arc::new(Limit::new(limit, shared.is_some(), state, metrics)))
                .collect(),
            hasher: shared.as_ref().map_or(&state.hasher, |shared| shared.hasher()).clone(),
            store: (!limits.is_empty()).then(|| match shared {
                Some(shared) => Store::Shared(shared, Arc::clone(&state.local)),
                None => Store::Local(Arc::clone(&state.local)),
            }),
            capacity,
            redis: redis.map(|(redis, _)| redis.clone()),
            bans: Arc::clone(&state.bans),
            telling_bans: Arc::clone(&state.telling_bans),
        }
    }

    /// The limits of a route; `None`: it has none.
    pub(super) fn route(&self, uses: &[model::LimitUse]) -> Option<Arc<RouteLimits>> {
        let store = self.store.clone()?;
        let each: Box<[Arc<Limit>]> = uses.iter().map(|used| Arc::clone(&self.each[used.limit])).collect();
        if each.is_empty() {
            return None;
        }
        let costing = (each.iter().zip(uses)).map(|(limit, used)| (Arc::clone(&limit.policy), used.cost.map(units)));
        let mut cost_headers: Vec<HeaderName> = Vec::new();
        for name in each.iter().filter_map(|limit| limit.policy.cost_header.as_ref()) {
            if !cost_headers.contains(name) {
                cost_headers.push(name.clone());
            }
        }
        Some(Arc::new(RouteLimits {
            limits: Limits::costing(costing.collect(), &self.hasher)
                .expect("the file admits no more than MAX_LIMITS on a route"),
            tells_nothing: cost_headers.is_empty() && !each.iter().any(|limit| limit.policy.is_announced()),
            cost_headers: cost_headers.into(),
            bans: Arc::clone(&self.bans),
            telling_bans: Arc::clone(&self.telling_bans),
            longest_wait: each.iter().map(|limit| limit.max_delay).max().unwrap_or_default(),
            delayed: "delayed".into(),
            each,
            store,
        }))
    }
}

/// One limit and what is told about it.
struct Limit {
    name: Arc<str>,
    rate: Rate,
    policy: Arc<Policy>,
    max_delay: Duration,
    metrics: LimitMetrics,
    /// Of a limit that gateways share.
    sources: Option<SourceMetrics>,
    /// Of a limit that only reports.
    reporter: Option<Arc<Reporter>>,
    /// What the access log says.
    denied: Arc<str>,
    reported: Arc<str>,
}

impl Limit {
    fn new(limit: &model::RateLimit, is_shared: bool, state: &LimitState, metrics: &Metrics) -> Self {
        let policy = policy::policy(limit);
        Self {
            name: Arc::clone(&limit.name),
            rate: limit.rate,
            reporter: (policy.mode == Mode::Report).then(|| state.reporter(&limit.name)),
            policy: Arc::new(policy),
            max_delay: limit.max_delay,
            metrics: metrics.limit(&limit.name),
            sources: is_shared.then(|| metrics.sources(&limit.name)),
            denied: format!("denied:{}", limit.name).into(),
            reported: format!("report:{}", limit.name).into(),
        }
    }

    /// What became of a request by this limit; `None`: it would have passed, another limit refused it.
    fn verdict(&self, level: &Level, all: &Verdict) -> Option<LimitVerdict> {
        let Policy { mode, bucket, .. } = &*self.policy;
        match (mode, all) {
            (Mode::Report, _) if level.retry_in > 0 => Some(LimitVerdict::Reported),
            (Mode::Enforce, _) if level.retry_in > 0 => Some(LimitVerdict::Denied),
            (_, Verdict::Denied { .. }) => None,
            (Mode::Enforce, Verdict::Delayed { .. })
                if level.full_in > bucket.period().saturating_mul(bucket.prompt().into()) =>
            {
                Some(LimitVerdict::Delayed)
            }
            _ => Some(LimitVerdict::Allowed),
        }
    }
}

/// The limits of a route.
pub struct RouteLimits {
    limits: Limits,
    /// In the order of `limits`.
    each: Box<[Arc<Limit>]>,
    /// Fields of the application's answer that are for us alone.
    cost_headers: Box<[HeaderName]>,
    /// No field announces any of them, nor is any charged by what the application says.
    tells_nothing: bool,
    bans: Arc<Bans>,
    telling_bans: Arc<Throttle>,
    longest_wait: Duration,
    delayed: Arc<str>,
    store: Store,
}

/// What becomes of a request.
pub struct Ruling {
    /// Whether it passes.
    pub outcome: Outcome,
    /// What the access log says: `denied:NAME`, `delayed` or `report:NAME`; `None`: it passed.
    pub word: Option<Arc<str>>,
}

/// Whether a request passes.
pub enum Outcome {
    /// After a wait, which is zero mostly. `None`: nothing remains to be told or settled.
    Passes(Duration, Option<Standing>),
    /// With this answer it does not.
    Refused(crate::answer::Answer),
}

impl RouteLimits {
    /// Who is charged for a request, without a look at any store. `started`: when the process began.
    ///
    /// # Errors
    /// It lacks what identifies it, and a limit refuses that.
    pub fn plan(&self, asker: &Asker<'_>, started: Instant) -> Result<Charges<'_>, Ruling> {
        self.limits.charges(asker).map_err(|policy| {
            let limit = &self.each[self.place(policy)];
            limit.metrics.decided(LimitVerdict::Denied);
            self.count_refusal(limit, asker.client, Instant::now(), started);
            // No Retry-After: no wait would help.
            let answer = fields::refuse(&Charges::default(), &Levels::default(), SystemTime::now);
            Ruling {
                outcome: Outcome::Refused(answer),
                word: Some(Arc::clone(&limit.denied)),
            }
        })
    }

    /// Charges a request of `client` to all the limits, or to none; counts what comes of it. `started`: when the process
    /// began.
    pub async fn check(self: &Arc<Self>, charges: &Charges<'_>, client: IpAddr, started: Instant) -> Ruling {
        let at = Instant::now();
        let now = nanoseconds(at.saturating_duration_since(started));
        let Decided {
            verdict,
            reserved,
            sources,
        } = self.store.check(charges, now).await;
        for (charge, source) in charges.iter().zip(&sources) {
            if let Some(counted) = &self.each[self.place(charge.policy)].sources {
                counted.decided(*source);
            }
        }
        let reported = self.note(charges, &verdict, at, now);
        match verdict {
            Verdict::Denied { by, levels, .. } => {
                for (charge, level) in charges.iter().zip(levels.iter()) {
                    if level.retry_in > 0 {
                        self.count_refusal(&self.each[self.place(charge.policy)], client, at, started);
                    }
                }
                Ruling {
                    outcome: Outcome::Refused(fields::refuse(charges, &levels, SystemTime::now)),
                    word: charges
                        .get(by)
                        .map(|charge| Arc::clone(&self.each[self.place(charge.policy)].denied)),
                }
            }
            Verdict::Delayed { wait, levels } => Ruling {
                // A single request may cost more than what can pass in the longest wait.
                outcome: Outcome::Passes(
                    wait.min(self.longest_wait),
                    Standing::new(self, charges, &levels, reserved),
                ),
                word: Some(Arc::clone(&self.delayed)),
            },
            Verdict::Allowed { levels } => Ruling {
                outcome: Outcome::Passes(Duration::ZERO, Standing::new(self, charges, &levels, reserved)),
                word: reported,
            },
        }
    }

    /// Counts what came of a request; returns what the log says of a limit that only reports.
    fn note(&self, charges: &Charges<'_>, verdict: &Verdict, at: Instant, now: u64) -> Option<Arc<str>> {
        let mut reported = None;
        for (charge, level) in charges.iter().zip(verdict.levels().iter()) {
            let limit = &self.each[self.place(charge.policy)];
            if let Some(decided) = limit.verdict(level, verdict) {
                limit.metrics.decided(decided);
            }
            if let Some(reporter) = &limit.reporter {
                let refused = level.retry_in > 0;
                reporter.note(charge, refused, at, now);
                if refused && reported.is_none() {
                    reported = Some(Arc::clone(&limit.reported));
                }
            }
        }
        reported
    }

    /// A limit refused a client: once too often perhaps.
    fn count_refusal(&self, limit: &Limit, client: IpAddr, at: Instant, started: Instant) {
        let Some(rule) = &limit.policy.ban else { return };
        let now = nanoseconds(at.saturating_duration_since(started));
        let Some(ban) = self.bans.refused(client, &limit.name, rule, now) else {
            return;
        };
        limit.metrics.banned();
        if let Some(left_out) = self.telling_bans.admit(at) {
            let (client, length) = (ban.client, ban.left(now));
            tracing::warn!(limit = &*limit.name, %client, ?length, left_out, "a client is banned: it was refused too often");
        }
    }

    /// The fields in which the application tells what a request has cost, which clients do not see.
    #[must_use]
    pub fn cost_headers(&self) -> &[HeaderName] {
        &self.cost_headers
    }

    /// The place of a limit of this route.
    fn place(&self, policy: &Policy) -> usize {
        let same = |known: &Arc<Policy>| ptr::eq(&raw const **known, policy);
        self.limits
            .iter()
            .position(same)
            .expect("charges are made from the limits of the route")
    }
}

fn units(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
