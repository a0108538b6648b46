//! A limit as the file names it, compiled.

use std::net::IpAddr;

use http::{HeaderName, Method, StatusCode};
use ipnet::IpNet;

use super::ban::BanRule;
use super::fields::Told;
use super::gcra::Bucket;
use super::key::KeySpec;
use super::shared::AllTerms;

/// `[rate_limit.NAME]`, compiled. Not changed once it is in use.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name in the file: part of every key, of the fields that clients see, of metrics and the log.
    pub name: Box<str>,
    /// Rate, burst and delay.
    pub bucket: Bucket,
    /// Units that a request costs; 1 is the default. More than the bucket's capacity costs the whole bucket.
    pub cost: u32,
    /// Units that requests of these methods cost instead; 0: they are not counted.
    pub method_costs: Box<[(Method, u32)]>,
    /// The field in which the application tells what a request has cost after all.
    pub cost_header: Option<HeaderName>,
    /// Who is counted.
    pub key: KeySpec,
    /// Networks that are never counted.
    pub allow: Vec<IpNet>,
    /// What costs something.
    pub count: Count,
    /// Whether it refuses.
    pub mode: Mode,
    /// Every decision is made in the shared store, one round trip each.
    pub exact: bool,
    /// Leases of the shared store are granted out of a smaller bucket, so that no window ever sees one too many.
    pub strict: bool,
    /// What is decided while the shared store cannot be asked.
    pub on_store_error: OnStoreError,
    /// Which fields tell clients about it.
    pub announce: Announce,
    /// When a client that it refuses is turned away from everything.
    pub ban: Option<BanRule>,
    /// What clients are told of it again and again.
    pub told: Told,
    /// How it is counted in a store that gateways share.
    pub terms: AllTerms,
}

impl Policy {
    /// A policy with the defaults of the file: counted by client address, every request costs 1, enforced.
    #[must_use]
    pub fn new(name: &str, bucket: Bucket) -> Self {
        Self {
            name: name.into(),
            bucket,
            cost: 1,
            method_costs: Box::default(),
            cost_header: None,
            key: KeySpec::default(),
            allow: Vec::new(),
            count: Count::All,
            mode: Mode::Enforce,
            exact: false,
            strict: false,
            on_store_error: OnStoreError::Local,
            announce: Announce::Draft10,
            ban: None,
            told: Told::default(),
            terms: AllTerms::default(),
        }
    }

    /// Units that a request of this method costs; 0: it is not counted.
    #[must_use]
    pub fn cost_of(&self, method: &Method) -> u32 {
        let own = self.method_costs.iter().find(|(known, _)| known == method);
        own.map_or(self.cost, |(_, cost)| *cost)
    }

    /// Whether fields of an answer that passes tell about it.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.mode == Mode::Enforce && self.announce != Announce::Off
    }

    /// Whether this client is never counted.
    #[must_use]
    pub fn exempts(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.allow.iter().any(|network| network.contains(&client))
    }
}

/// What costs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Count {
    /// Every request.
    #[default]
    All,
    /// Requests that fail. Each is reserved when it comes and given back when it succeeds, so guesses in parallel gain
    /// nothing.
    Failures,
}

impl Count {
    /// Whether a request that was answered so is given back: a failure is 400 and above.
    #[must_use]
    pub fn gives_back(self, status: StatusCode) -> bool {
        self == Self::Failures && status.as_u16() < 400
    }
}

/// Whether a limit refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It refuses.
    #[default]
    Enforce,
    /// It counts what it would refuse.
    Report,
}

impl Mode {
    /// The word of the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// What is decided while the shared store cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStoreError {
    /// This process counts by itself.
    #[default]
    Local,
    /// Everything is admitted.
    Allow,
    /// Everything is refused.
    Deny,
}

/// Which fields tell clients about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announce {
    /// `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-10.
    #[default]
    Draft10,
    /// The same two as express-rate-limit writes them for draft 8.
    Draft8,
    /// `RateLimit` and `RateLimit-Policy` of draft 7.
    Draft7,
    /// `RateLimit-Policy`, `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` of draft 6.
    Draft6,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`, as express-rate-limit writes them.
    Legacy,
    /// None but `Retry-After` on a refusal.
    Off,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_successes_of_a_limit_on_failures_are_given_back() {
        for (count, status, expected) in [
            (Count::All, 200, false),
            (Count::All, 401, false),
            (Count::Failures, 200, true),
            (Count::Failures, 302, true),
            (Count::Failures, 399, true),
            (Count::Failures, 400, false),
            (Count::Failures, 401, false),
            (Count::Failures, 503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(count.gives_back(status), expected, "{count:?} {status}");
        }
    }

    #[test]
    fn exempt_clients_are_known_in_either_notation() {
        let mut policy = Policy::new("api", Bucket::new(10, Duration::from_secs(1), 41));
        policy.allow = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        for (client, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(policy.exempts(client.parse().unwrap()), expected, "{client}");
        }
    }
}
