//! `[rate_limit.NAME]`, compiled: with the store that counts, and the handles of what is told about it.
//!
//! All limits of this process count in one store: a request is charged to every limit of its route, or to none, and only
//! a single store can promise that.

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::config::model::{self, Counted, LimitHeaders, LimitKey, LimitMode, MissingKey};
use crate::limit::{
    Announce, Asker, Bucket, Charge, Charges, Checked, Count, Key, KeyHasher, KeySpec, Level, Levels, Limits, Local,
    MAX_LIMITS, Missing, Mode, OnStoreError, Policy, Report, Reservation, Source, Verdict, fields,
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
        let policy = policy(limit);
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
    Passes(Duration, Standing),
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
                outcome: Outcome::Passes(wait.min(self.longest_wait), self.standing(charges, levels, reservation)),
                word: Some(Arc::clone(&self.delayed)),
            },
            Verdict::Allowed { levels } => Ruling {
                outcome: Outcome::Passes(Duration::ZERO, self.standing(charges, levels, reservation)),
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

fn policy(limit: &model::RateLimit) -> Policy {
    let model::RateLimit {
        name,
        rate: _,
        period: _,
        capacity_units: _,
        delay_after: _,
        max_delay: _,
        cost,
        count,
        key,
        missing,
        ipv6_prefix,
        exempt,
        headers,
        capacity: _,
        on_store_error,
        exact,
        strict,
        mode,
    } = limit; // a new key must be mapped, or this does not compile
    Policy {
        name: (&**name).into(),
        bucket: bucket(limit),
        cost: units(*cost),
        key: KeySpec {
            sources: key.iter().map(source).collect(),
            ipv6_prefix: *ipv6_prefix,
            missing: match missing {
                MissingKey::ClientIp => Missing::ClientIp,
                MissingKey::Skip => Missing::Skip,
                MissingKey::Deny => Missing::Deny,
            },
        },
        allow: exempt.as_ref().map_or_else(Vec::new, |list| list.networks().to_vec()),
        count: match count {
            Counted::Requests => Count::All,
            Counted::Failures => Count::Failures,
        },
        mode: match mode {
            LimitMode::Enforce => Mode::Enforce,
            LimitMode::Report => Mode::Report,
        },
        exact: *exact,
        strict: *strict,
        on_store_error: match on_store_error {
            model::OnStoreError::Local => OnStoreError::Local,
            model::OnStoreError::Allow => OnStoreError::Allow,
            model::OnStoreError::Deny => OnStoreError::Deny,
        },
        announce: match headers {
            LimitHeaders::Ietf => Announce::Draft10,
            LimitHeaders::ExpressLegacy => Announce::Legacy,
            LimitHeaders::Draft6 => Announce::Draft6,
            LimitHeaders::Draft7 => Announce::Draft7,
            LimitHeaders::Draft8 => Announce::Draft8,
            LimitHeaders::None => Announce::Off,
        },
    }
}

fn source(key: &LimitKey) -> Source {
    match key {
        LimitKey::ClientIp => Source::ClientIp,
        LimitKey::Route => Source::Route,
        LimitKey::Host => Source::Host,
        LimitKey::Header(name) => Source::Header(name.clone()),
        LimitKey::Cookie(name) => Source::Cookie(name.clone()),
        LimitKey::Query(name) => Source::Query(name.clone()),
        LimitKey::Jwt(_) => Source::Claim,
    }
}

/// Who would wait longer than the longest wait finds the bucket full: so it is made no larger than that.
fn bucket(limit: &model::RateLimit) -> Bucket {
    let capacity = units(limit.capacity_units);
    let bucket = Bucket::new(limit.rate.count, limit.rate.per, capacity);
    let Some(delay) = limit.delay_after else {
        return bucket;
    };
    let prompt = bucket.delaying_beyond(units(delay)).prompt();
    let waiting = units(nanoseconds(limit.max_delay) / bucket.period());
    // Never below the cost, or a request would cost less than the file says.
    let most = prompt.saturating_add(waiting).max(units(limit.cost)).min(capacity);
    Bucket::new(limit.rate.count, limit.rate.per, most).delaying_beyond(units(delay))
}

fn units(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The first limit of a file with these keys.
    fn limit(keys: &str) -> model::RateLimit {
        let text = format!("[rate_limit.a]\n{keys}\n{ROUTE}");
        let loaded = config::parse("test.toml", &text, std::path::Path::new("."), &|_| None);
        match loaded {
            Ok(loaded) => loaded.config.rate_limits.into_iter().next().expect("a limit"),
            Err(report) => panic!("{report}"),
        }
    }

    const ROUTE: &str = "[[route]]\nname = \"a\"\npath = \"/*\"\nrate_limit = [\"a\"]\nrespond = { body = \"a\" }\n";

    #[test]
    fn buckets_are_as_the_file_says() {
        for (keys, capacity, prompt, period) in [
            ("rate = \"5/min\"", 5, 5, 12_000_000_000),
            ("rate = \"10/s\"\nburst = 40", 41, 41, 100_000_000),
            ("rate = \"10/s\"\nburst = 0", 1, 1, 100_000_000),
            ("rate = \"1/s\"\nburst = 20\ndelay = 3", 9, 4, 1_000_000_000),
            (
                "rate = \"1/s\"\nburst = 20\ndelay = 3\nmax_delay = \"1m\"",
                21,
                4,
                1_000_000_000,
            ),
            (
                "rate = \"1/s\"\nburst = 20\ndelay = 0\nmax_delay = \"1ms\"",
                1,
                1,
                1_000_000_000,
            ),
            (
                "rate = \"1/s\"\nburst = 20\ndelay = 0\nmax_delay = \"1ms\"\ncost = 5",
                5,
                1,
                1_000_000_000,
            ),
        ] {
            let bucket = bucket(&limit(keys));
            assert_eq!(
                (bucket.capacity(), bucket.prompt(), bucket.period()),
                (capacity, prompt, period),
                "{keys}"
            );
        }
    }

    #[test]
    fn every_key_of_the_file_arrives() {
        let policy = policy(&limit(
            "rate = \"10/s\"\ncost = 2\ncount = \"failures\"\n\
             key = [\"header:X-Key\", \"jwt:sub\", \"route\", \"host\", \"cookie:c\", \"query:q\", \"client-ip\"]\n\
             missing = \"skip\"\nipv6_prefix = 56\nallow = [\"10.0.0.0/8\"]\nheaders = \"draft-8\"\n\
             on_store_error = \"deny\"\nexact = true\nmode = \"report\"",
        ));
        assert_eq!((&*policy.name, policy.cost), ("a", 2));
        assert_eq!(
            policy.key.sources,
            [
                Source::Header(http::HeaderName::from_static("x-key")),
                Source::Claim,
                Source::Route,
                Source::Host,
                Source::Cookie("c".into()),
                Source::Query("q".into()),
                Source::ClientIp,
            ]
        );
        assert_eq!((policy.key.missing, policy.key.ipv6_prefix), (Missing::Skip, 56));
        assert!(policy.exempts("10.1.2.3".parse().expect("address")));
        assert!(!policy.exempts("11.1.2.3".parse().expect("address")));
        assert_eq!((policy.count, policy.mode), (Count::Failures, Mode::Report));
        assert_eq!(
            (policy.announce, policy.on_store_error),
            (Announce::Draft8, OnStoreError::Deny)
        );
        assert!(policy.exact && !policy.strict);
    }

    #[test]
    fn a_reload_keeps_the_buckets() {
        let state = LimitState::new();
        let store = state.local(1_000_000);
        assert!(Arc::ptr_eq(&store, &state.local(1_000_000)));
        assert!(!Arc::ptr_eq(&store, &state.local(3_000_000)));
    }
}
