//! Whether a stored answer may be given to a request (RFC 9111 §4), and what to do where it may not.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::directives::{MaxStale, RequestDirectives};
use super::freshness::{Source, Terms};
use super::moment::Moment;
use super::policy::{DISCONNECTED, Policy};

/// What is done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It is given: fresh for that long yet.
    Fresh(Duration),
    /// It is given although it is stale by that much: the request takes it.
    Stale(Duration),
    /// It is given stale, and a new one is fetched meanwhile.
    StaleWhileRevalidate(Duration),
    /// It may not be given: the application is asked, for this reason.
    Ask(Why),
    /// It is not for this request at all: as if there were none.
    NotForThis,
}

/// Why the application is asked although there is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is stale.
    Stale,
    /// It asks for it each time: `no-cache`.
    NoCache,
    /// The request asks for it.
    Request,
}

/// What a request wants of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Its directives.
    pub directives: RequestDirectives,
    /// It has credentials (RFC 9111 §3.5).
    pub authorized: bool,
    /// It has cookies.
    pub cookies: bool,
}

impl Wish {
    /// Reads it.
    #[must_use]
    pub fn of(policy: &Policy, request: &HeaderMap) -> Self {
        Self {
            directives: if policy.client_control {
                RequestDirectives::of(request)
            } else {
                RequestDirectives::default()
            },
            authorized: request.contains_key(AUTHORIZATION),
            cookies: request.contains_key(COOKIE),
        }
    }
}

/// Judges a stored answer.
#[must_use]
pub fn judge(policy: &Policy, terms: &Terms, wish: &Wish, now: Moment) -> Reuse {
    let by_operator = matches!(terms.source, Source::DefaultTtl | Source::Heuristic);
    let has_a_name = wish.authorized || wish.cookies && by_operator && policy.key.cookies.is_empty();
    if has_a_name && !terms.for_everybody {
        return Reuse::NotForThis;
    }
    if terms.no_cache {
        return Reuse::Ask(Why::NoCache);
    }
    let wanted = &wish.directives;
    let limit = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(seconds.into()));
    if wanted.no_cache || limit(wanted.max_age).is_some_and(|most| terms.age(now) > most) {
        return Reuse::Ask(Why::Request);
    }
    match terms.fresh_for(now) {
        Ok(left) if limit(wanted.min_fresh).is_some_and(|least| left < least) => Reuse::Ask(Why::Request),
        Ok(left) => Reuse::Fresh(left),
        Err(_) if terms.must_revalidate => Reuse::Ask(Why::Stale),
        Err(by) => match wanted.max_stale {
            MaxStale::Any => Reuse::Stale(by),
            MaxStale::By(most) if by <= Duration::from_secs(most.into()) => Reuse::Stale(by),
            // A request that names a limit of its own is not given more than that.
            _ if wanted.min_fresh.is_some() => Reuse::Ask(Why::Request),
            _ if by < terms.stale_while_revalidate => Reuse::StaleWhileRevalidate(by),
            _ => Reuse::Ask(Why::Stale),
        },
    }
}

/// How the application failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached, or left in the middle of its answer's head.
    Disconnected,
    /// It answered 500, 502, 503 or 504 (RFC 5861 §4).
    Error,
}

/// Whether a stale answer is better than the failure.
#[must_use]
pub fn rescues(terms: &Terms, wish: &Wish, failure: Failure, now: Moment) -> bool {
    if terms.must_revalidate || terms.no_cache || wish.directives.no_cache {
        return false;
    }
    let window = match (terms.stale_if_error, failure) {
        (Some(window), _) => window,
        (None, Failure::Disconnected) => DISCONNECTED,
        (None, Failure::Error) => return false,
    };
    match terms.fresh_for(now) {
        Ok(_) => true,
        Err(by) => by < window.max(terms.stale_while_revalidate),
    }
}

#[cfg(test)]
mod tests;
