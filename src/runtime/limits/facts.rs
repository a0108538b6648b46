//! What operators are told about the limits.

use std::sync::Arc;

use super::CompiledLimits;
use crate::config::units::Rate;
use crate::limit::{Mode, Summary};
use crate::observe::metrics::LimitVerdict;
use crate::runtime::Snapshot;

/// One limit: what the file says, and what came of it since the process began.
#[derive(Debug, Clone)]
pub struct LimitFacts {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it refuses.
    pub mode: Mode,
    /// How many in which time.
    pub rate: Rate,
    /// How many may come at once beyond the first.
    pub burst: u32,
    /// Requests that it let pass at once.
    pub allowed: u64,
    /// Requests that it let pass after a wait.
    pub delayed: u64,
    /// Requests that it refused.
    pub denied: u64,
    /// Requests that it would have refused.
    pub would_deny: u64,
    /// Clients that it banned.
    pub bans: u64,
    /// What it has seen of clients, if it only reports.
    pub seen: Option<Summary>,
}

impl Snapshot {
    /// What there is to say about each rate limit. `now`: nanoseconds since the process began.
    #[must_use]
    pub fn limit_facts(&self, now: u64) -> Vec<LimitFacts> {
        self.limits.facts(now)
    }
}

impl CompiledLimits {
    /// In the order of the file.
    fn facts(&self, now: u64) -> Vec<LimitFacts> {
        let facts = |limit: &Arc<super::Limit>| LimitFacts {
            name: Arc::clone(&limit.name),
            mode: limit.policy.mode,
            rate: limit.rate,
            burst: limit.policy.bucket.capacity() - 1,
            allowed: limit.metrics.count(LimitVerdict::Allowed),
            delayed: limit.metrics.count(LimitVerdict::Delayed),
            denied: limit.metrics.count(LimitVerdict::Denied),
            would_deny: limit.metrics.count(LimitVerdict::Reported),
            bans: limit.metrics.bans(),
            seen: limit.reporter.as_ref().map(|reporter| reporter.summary(now)),
        };
        self.each.iter().map(facts).collect()
    }
}
