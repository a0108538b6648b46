//! How long an answer may be used, and how old it is (RFC 9111 §4.2).

use std::time::Duration;

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};

use super::directives::{ResponseDirectives, Scope, seconds};
use super::list::split;
use super::moment::Moment;
use super::policy::Policy;

/// The part of the time since the last change that an answer is guessed to be good for (RFC 9111 §4.2.2).
const HEURISTIC_FRACTION: u32 = 10;

/// When an answer was asked for and when its head arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// When it was asked for.
    pub asked: Moment,
    /// When its head was here.
    pub answered: Moment,
}

/// Who says how long an answer is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The operator, whatever the application says.
    Ttl,
    /// The application.
    Application,
    /// The operator, where the application says nothing.
    DefaultTtl,
    /// Nobody: guessed from `Last-Modified`.
    Heuristic,
    /// Nobody.
    Nobody,
}

/// What an answer may be used for, worked out once when it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How long it is fresh.
    pub lifetime: Duration,
    /// Who says so.
    pub source: Source,
    /// How old it was when it arrived.
    pub initial_age: Duration,
    /// When it arrived.
    pub since: Moment,
    /// Its `Date`, or when it arrived.
    pub date: Moment,
    /// It is asked about each time.
    pub no_cache: bool,
    /// These fields are not given away without asking.
    pub no_cache_fields: Box<[HeaderName]>,
    /// It is never used stale.
    pub must_revalidate: bool,
    /// Its use stale while a new one is fetched, beyond its lifetime.
    pub stale_while_revalidate: Duration,
    /// Its use stale while the application fails, beyond its lifetime; `None`: nobody said.
    pub stale_if_error: Option<Duration>,
    /// It may be given to whoever has a name (RFC 9111 §3.5).
    pub for_everybody: bool,
}

impl Terms {
    /// Works them out.
    #[must_use]
    pub fn new(
        policy: &Policy,
        directives: &ResponseDirectives,
        status: StatusCode,
        answer: &HeaderMap,
        exchanged: Exchanged,
    ) -> Self {
        let date = answer.get(DATE).and_then(Moment::of_date);
        let given = given(directives, answer, date.unwrap_or(exchanged.answered));
        let (lifetime, source) = if let Some(ttl) = policy.overruling(status) {
            (ttl, Source::Ttl)
        } else if let Some(given) = given {
            (given, Source::Application)
        } else if directives.no_cache == Scope::All {
            (Duration::ZERO, Source::Application)
        } else if let Some(fallback) = policy.fallback(status) {
            (fallback, Source::DefaultTtl)
        } else if let Some(guess) = guess(policy, directives, status, answer, date.unwrap_or(exchanged.answered)) {
            (guess, Source::Heuristic)
        } else {
            (Duration::ZERO, Source::Nobody)
        };
        let overruled = source == Source::Ttl;
        let window = |directive: Option<u32>, operator: Duration| {
            directive.map_or(operator, |seconds| Duration::from_secs(seconds.into()).max(operator))
        };
        let no_cache_fields = match &directives.no_cache {
            Scope::Fields(names) if !overruled => names.clone().into(),
            _ => Box::default(),
        };
        Self {
            lifetime,
            source,
            // What the operator gives is counted from the arrival.
            initial_age: if matches!(source, Source::Ttl | Source::DefaultTtl) {
                Duration::ZERO
            } else {
                initial_age(answer, date, exchanged)
            },
            since: exchanged.answered,
            date: date.unwrap_or(exchanged.answered),
            no_cache: directives.no_cache == Scope::All && !overruled,
            no_cache_fields,
            // RFC 9111 §5.2.2.10: `s-maxage` includes `proxy-revalidate`.
            must_revalidate: !overruled
                && (directives.must_revalidate || directives.proxy_revalidate || directives.s_maxage.is_some()),
            stale_while_revalidate: window(directives.stale_while_revalidate, policy.stale_while_revalidate),
            stale_if_error: match (directives.stale_if_error, policy.stale_if_error) {
                (None, None) => None,
                (directive, operator) => Some(window(directive, operator.unwrap_or_default())),
            },
            for_everybody: directives.public || directives.must_revalidate || directives.s_maxage.is_some(),
        }
    }

    /// How old the answer is now (RFC 9111 §4.2.3).
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.saturating_add(now.since(self.since))
    }

    /// For how long it is fresh yet; `Err`: for how long it has not been.
    ///
    /// # Errors
    /// How stale it is.
    pub fn fresh_for(&self, now: Moment) -> Result<Duration, Duration> {
        let age = self.age(now);
        match self.lifetime.checked_sub(age) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(age.saturating_sub(self.lifetime)),
        }
    }

    /// How long it is of any use, beyond its arrival, without being asked about.
    #[must_use]
    pub fn useful_for(&self) -> Duration {
        let stale = self.stale_while_revalidate.max(self.stale_if_error.unwrap_or_default());
        self.lifetime.saturating_add(stale)
    }
}

/// What the application says (RFC 9111 §4.2.1).
fn given(directives: &ResponseDirectives, answer: &HeaderMap, date: Moment) -> Option<Duration> {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(Duration::from_secs(seconds.into()));
    }
    if directives.targeted {
        return None;
    }
    let mut lines = answer.get_all(EXPIRES).iter();
    let line = lines.next()?;
    // What is no date, or two of them, is over already (RFC 9111 §5.3).
    let expires = Moment::of_date(line).filter(|_| lines.next().is_none());
    Some(expires.map_or(Duration::ZERO, |expires| expires.since(date)))
}

/// A guess from `Last-Modified`, for statuses that may be guessed about (RFC 9110 §15.1) or answers that are public.
fn guess(
    policy: &Policy,
    directives: &ResponseDirectives,
    status: StatusCode,
    answer: &HeaderMap,
    date: Moment,
) -> Option<Duration> {
    if policy.heuristic.is_zero() || !(directives.public || heuristically_cacheable(status)) {
        return None;
    }
    let modified = answer.get(LAST_MODIFIED).and_then(Moment::of_date)?;
    Some((date.since(modified) / HEURISTIC_FRACTION).min(policy.heuristic))
}

/// RFC 9110 §15.1; without 206, which is never kept.
pub(super) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// How old an answer is when it arrives (RFC 9111 §4.2.3).
fn initial_age(answer: &HeaderMap, date: Option<Moment>, exchanged: Exchanged) -> Duration {
    // `Date` has whole seconds: the rest of the second is not age.
    let arrived = Moment(exchanged.answered.0 / 1000 * 1000);
    let apparent = date.map_or(Duration::ZERO, |date| arrived.since(date));
    let delay = exchanged.answered.since(exchanged.asked);
    apparent.max(age_value(answer).saturating_add(delay))
}

/// The `Age` of an answer: the first of several (RFC 9111 §5.1), nothing where it is no number.
fn age_value(answer: &HeaderMap) -> Duration {
    let first = answer.get(AGE).and_then(|line| split(line.as_bytes()).next());
    Duration::from_secs(first.and_then(seconds).unwrap_or(0).into())
}

#[cfg(test)]
mod tests;
