//! `[rate_limit.NAME]`, compiled: with the store that counts, and the handles of what is told about it.
//!
//! All limits of this process count in one store: a request is charged to every limit of its route, or to none, and only
//! a single store can promise that.

mod policy;

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::config::model;
use crate::limit::{
    Asker, Charge, Charges, Checked, Count, Key, KeyHasher, Level, Levels, Limits, Local, MAX_LIMITS, Mode, Policy,
    Report, Reservation, Verdict, fields,
};
use crate::observe::Throttle;
use crate::observe::metrics::{LimitMetrics, LimitVerdict, Metrics};

/// How often the log tells what a limit that only reports has seen.
const TELL: Duration = Duration::from_secs(600);

/// What outlives a snapshot: the buckets, the key of their hashes, and what was seen by limits that only report.
pub(super) struct LimitState {
    hasher: KeyHasher,
    local: Mutex<Option<(usize, Arc<Local>)>>,
    reports: Mutex<HashMap<Arc<str>, Arc<Reporter>>>,
}

impl LimitState {
    pub(super) fn new() -> Self {
        Self {
            hasher: KeyHasher::random(),
            local: Mutex::default(),
            reports: Mutex::default(),
        }
    }

    /// The store for so many keys: the one that exists, or a new one, which forgets what was counted.
    fn local(&self, capacity: usize) -> Arc<Local> {
        // What the tables round to anyway: one limit more in the file seldom makes a new store.
        let capacity = capacity.checked_next_power_of_two().unwrap_or(usize::MAX);
        let mut local = self.local.lock();
        match &*local {
            Some((existing, store)) if *existing == capacity => Arc::clone(store),
            _ => Arc::clone(&local.insert((capacity, Arc::new(Local::new(capacity)))).1),
        }
    }

    fn reporter(&self, name: &Arc<str>) -> Arc<Reporter> {
        let mut reports = self.reports.lock();
        Arc::clone(
            reports
                .entry(Arc::clone(name))
                .or_insert_with(|| Arc::new(Reporter::new())),
        )
    }
}

/// The limits of the file.
pub(super) struct CompiledLimits {
    each: Vec<Arc<Limit>>,
    hasher: KeyHasher,
    /// `None`: there is nothing to count.
    store: Option<Store>,
}

impl CompiledLimits {
    pub(super) fn new(limits: &[model::RateLimit], state: &LimitState, metrics: &Metrics) -> Self {
        let capacity = limits
            .iter()
            .fold(0_usize, |sum, limit| sum.saturating_add(limit.capacity));
        Self {
            each: limits
                .iter()
                .map(|limit| Arc::new(Limit::new(limit, state, metrics)))
                .collect(),
            hasher: state.hasher.clone(),
            store: (!limits.is_empty()).then(|| Store::Local(state.local(capacity))),
        }
    }

    /// The limits of a route, by their places in the file; `None`: it has none.
    pub(super) fn route(&self, places: &[usize]) -> Option<Arc<RouteLimits>> {
        let store = self.store.clone()?;
        let each: Box<[Arc<Limit>]> = places.iter().map(|&place| Arc::clone(&self.each[place])).collect();
        if each.is_empty() {
            return None;
        }
        let limits = Limits::new(each.iter().map(|limit| Arc::clone(&limit.policy)).collect());
        Some(Arc::new(RouteLimits {
            limits: limits.expect("the file admits no more than MAX_LIMITS on a route"),
            longest_wait: each.iter().map(|limit| limit.max_delay).max().unwrap_or_default(),
            delayed: "delayed".into(),
            each,
            hasher: self.hasher.clone(),
            store,
        }))
    }
}

/// Where requests are counted.
#[derive(Clone)]
enum Store {
    /// In this process.
    Local(Arc<Local>),
}

impl Store {
    /// Decides; a store elsewhere takes its time.
    async fn check(&self, charges: &Charges<'_>, now: u64) -> Checked {
        match self {
            Self::Local(local) => local.check(charges, now),
        }
    }
}

/// One limit and what is told about it.
struct Limit {
    policy: Arc<Policy>,
    max_delay: Duration,
    metrics: LimitMetrics,
    /// Of a limit that only reports.
    reporter: Option<Arc<Reporter>>,
    /// What the access log says.
    denied: Arc<str>,
    reported: Arc<str>,
}

impl Limit {
    fn new(limit: &model::RateLimit, state: &LimitState, metrics: &Metrics) -> Self {
        let policy = policy::policy(limit);
        Self {
            reporter: (policy.mode == Mode::Report).then(|| state.reporter(&limit.name)),
            policy: Arc::new(policy),
            max_delay: limit.max_delay,
            metrics: metrics.limit(&limit.name),
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
    longest_wait: Duration,
    delayed: Arc<str>,
    hasher: KeyHasher,
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
    /// After a wait, which is zero mostly.
    Passes(Duration, Box<Standing>),
    /// With this answer it does not.
    Refused(crate::answer::Answer),
}

impl RouteLimits {
    /// Who is charged for a request, without a look at any store.
    ///
    /// # Errors
    /// It lacks what identifies it, and a limit refuses that.
    pub fn plan(&self, asker: &Asker<'_>) -> Result<Charges<'_>, Ruling> {
        self.limits.charges(&self.hasher, asker).map_err(|policy| {
            let limit = &self.each[self.place(policy)];
            limit.metrics.decided(LimitVerdict::Denied);
            // No Retry-After: no wait would help.
            let answer = fields::refuse(&Charges::default(), &Levels::default(), SystemTime::UNIX_EPOCH);
            Ruling {
                outcome: Outcome::Refused(answer),
                word: Some(Arc::clone(&limit.denied)),
            }
        })
    }

    /// Charges a request to all the limits, or to none; counts what comes of it. `started`: when the process began.
    pub async fn check(self: &Arc<Self>, charges: &Charges<'_>, started: Instant) -> Ruling {
        let at = Instant::now();
        let now = nanoseconds(at.saturating_duration_since(started));
        let Checked { verdict, reservation } = self.store.check(charges, now).await;
        let reported = self.note(charges, &verdict, at, now);
        match verdict {
            Verdict::Denied { by, levels, .. } => Ruling {
                outcome: Outcome::Refused(fields::refuse(charges, &levels, SystemTime::now())),
                word: charges
                    .iter()
                    .nth(by)
                    .map(|charge| Arc::clone(&self.each[self.place(charge.policy)].denied)),
            },
            Verdict::Delayed { wait, levels } => Ruling {
                // A single request may cost more than what can pass in the longest wait.
                outcome: Outcome::Passes(
                    wait.min(self.longest_wait),
                    Box::new(self.standing(charges, levels, reservation)),
                ),
                word: Some(Arc::clone(&self.delayed)),
            },
            Verdict::Allowed { levels } => Ruling {
                outcome: Outcome::Passes(Duration::ZERO, Box::new(self.standing(charges, levels, reservation))),
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

    fn standing(self: &Arc<Self>, charges: &Charges<'_>, levels: Levels, reservation: Option<Reservation>) -> Standing {
        let mut who = [None; MAX_LIMITS];
        for (who, charge) in who.iter_mut().zip(charges.iter()) {
            *who = Some((self.place(charge.policy), charge.key));
        }
        Standing {
            limits: Arc::clone(self),
            who,
            levels,
            reservation,
        }
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

/// Where a client stands after a request that passed: what it is told, and what is held until the answer is known.
pub struct Standing {
    limits: Arc<RouteLimits>,
    /// The charges, by place; owned, for they outlive the plan.
    who: [Option<(usize, Key)>; MAX_LIMITS],
    levels: Levels,
    reservation: Option<Reservation>,
}

impl Standing {
    /// Adds the fields of the limits to the final answer.
    pub fn announce(&self, fields: &mut HeaderMap) {
        let charge = |(place, key): (usize, Key)| {
            let policy = &*self.limits.limits[place];
            Charge {
                policy,
                key,
                cost: policy.cost,
            }
        };
        let charges: Charges<'_> = self.who.into_iter().flatten().map(charge).collect();
        fields::announce(&charges, &self.levels, SystemTime::now(), fields);
    }

    /// The status of the final answer is known: what limits on failures hold is given back, or charged.
    pub fn settle(&mut self, status: StatusCode) {
        if let Some(reservation) = self.reservation.take()
            && Count::Failures.gives_back(status)
        {
            reservation.give_back();
        }
    }
}

/// What a limit that only reports has seen.
struct Reporter {
    report: Mutex<Report>,
    telling: Throttle,
}

impl Reporter {
    fn new() -> Self {
        let telling = Throttle::new(TELL);
        // There is nothing to tell at first.
        telling.admit(Instant::now());
        Self {
            report: Mutex::default(),
            telling,
        }
    }

    fn note(&self, charge: &Charge<'_>, refused: bool, at: Instant, now: u64) {
        let mut report = self.report.lock();
        report.note(charge.key, charge.cost, refused, now);
        if self.telling.admit(at).is_none() {
            return;
        }
        let summary = report.summary();
        drop(report);
        tracing::info!(
            limit = &*charge.policy.name,
            requests = summary.ipv4.requests + summary.ipv6.requests,
            would_refuse = summary.ipv4.refused + summary.ipv6.refused,
            clients_ipv4 = summary.ipv4.clients,
            clients_ipv6 = summary.ipv6.clients,
            per_minute_median = summary.median,
            per_minute_p99 = summary.p99,
            per_minute_most = summary.most,
            suggested_per_minute = summary.suggestion.map(|suggestion| suggestion.per_minute),
            suggested_burst = summary.suggestion.map(|suggestion| suggestion.burst),
            "what a limit that only reports has seen"
        );
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_keeps_the_buckets() {
        let state = LimitState::new();
        let store = state.local(1_000_000);
        assert!(Arc::ptr_eq(&store, &state.local(1_000_000)));
        assert!(!Arc::ptr_eq(&store, &state.local(3_000_000)));
    }
}
