//! What a request is charged with, and what comes of it. Moved about a good deal, so there is room for what most routes
//! have, without an allocation; only for more there is one.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::gcra::Level;
use super::key::{Asker, Key, KeyHasher, Keyed, PolicyHasher};
use super::policy::{Mode, Policy};

/// Most limits that one request can meet.
pub const MAX_LIMITS: usize = 8;

/// Something for each limit that a request meets, in order.
pub(crate) type Each<T> = SmallVec<[T; 2]>;

/// One limit and who is charged.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The limit.
    pub policy: &'a Policy,
    /// Who is counted.
    pub key: Key,
    /// Units.
    pub cost: u32,
}

/// The limits of a route, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    policies: Box<[Arc<Policy>]>,
    /// What a request of the route costs, where the route says so; in the order of the policies.
    costs: Box<[Option<u32>]>,
    /// In the order of the policies.
    hashers: Box<[PolicyHasher]>,
}

impl Limits {
    /// These limits, at what they say themselves; `None` if they are more than [`MAX_LIMITS`].
    #[must_use]
    pub fn new(policies: Vec<Arc<Policy>>, hasher: &KeyHasher) -> Option<Self> {
        Self::costing(policies.into_iter().map(|policy| (policy, None)).collect(), hasher)
    }

    /// These limits, each with the units that a request costs here; `None` if they are more than [`MAX_LIMITS`].
    #[must_use]
    pub fn costing(limits: Vec<(Arc<Policy>, Option<u32>)>, hasher: &KeyHasher) -> Option<Self> {
        let (policies, costs): (Vec<_>, Vec<_>) = limits.into_iter().unzip();
        (policies.len() <= MAX_LIMITS).then(|| Self {
            hashers: policies.iter().map(|policy| hasher.of(&policy.name)).collect(),
            policies: policies.into(),
            costs: costs.into(),
        })
    }

    /// What this request is charged with: exempt clients, requests without what identifies them, and methods that cost
    /// nothing are left out.
    ///
    /// # Errors
    /// The limit that does not admit a request without what identifies it.
    pub fn charges<'a>(&'a self, asker: &Asker<'_>) -> Result<Charges<'a>, &'a Policy> {
        let mut charges = Charges::default();
        for ((policy, cost), hasher) in self.policies.iter().zip(&self.costs).zip(&self.hashers) {
            let cost = cost.unwrap_or_else(|| policy.cost_of(asker.method));
            if cost == 0 || policy.exempts(asker.client) {
                continue;
            }
            match policy.key.key(hasher, asker) {
                Keyed::Counted(key) => {
                    charges.push(Charge { policy, key, cost });
                }
                Keyed::Skipped => {}
                // A limit that only reports refuses nothing, this neither.
                Keyed::Refused if policy.mode == Mode::Report => {}
                Keyed::Refused => return Err(policy),
            }
        }
        Ok(charges)
    }
}

impl Deref for Limits {
    type Target = [Arc<Policy>];

    fn deref(&self) -> &Self::Target {
        &self.policies
    }
}

/// What one request is charged with; at most [`MAX_LIMITS`].
#[derive(Debug, Clone, Default)]
pub struct Charges<'a>(Each<Charge<'a>>);

impl<'a> Charges<'a> {
    /// Adds a charge; `false`: there is no more room, and it was not added.
    pub fn push(&mut self, charge: Charge<'a>) -> bool {
        let fits = self.0.len() < MAX_LIMITS;
        if fits {
            self.0.push(charge);
        }
        fits
    }
}

impl<'a> Deref for Charges<'a> {
    type Target = [Charge<'a>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> FromIterator<Charge<'a>> for Charges<'a> {
    /// Takes the first [`MAX_LIMITS`].
    fn from_iter<I: IntoIterator<Item = Charge<'a>>>(charges: I) -> Self {
        Self(charges.into_iter().take(MAX_LIMITS).collect())
    }
}

/// What is left of each limit, in the order of the charges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels(Each<Level>);

impl Levels {
    /// Adds the level of the next charge.
    pub fn push(&mut self, level: Level) {
        self.0.push(level);
    }
}

impl Deref for Levels {
    type Target = [Level];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// What becomes of a request, by all its limits together: all are charged, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes at once.
    Allowed {
        /// What is left. A limit in [`Mode::Report`] that would have refused has a `retry_in`.
        levels: Levels,
    },
    /// It passes after a wait.
    Delayed {
        /// The longest of the waits.
        wait: Duration,
        /// What is left.
        levels: Levels,
    },
    /// It does not pass, and nothing was charged.
    Denied {
        /// The charge, by its place, that must be waited for longest.
        by: usize,
        /// When it would pass, if nobody else asks.
        retry_after: Duration,
        /// What there is; every limit that refuses has a `retry_in`.
        levels: Levels,
    },
}

impl Verdict {
    /// What is left of each limit, in the order of the charges.
    #[must_use]
    pub fn levels(&self) -> &Levels {
        match self {
            Self::Allowed { levels } | Self::Delayed { levels, .. } | Self::Denied { levels, .. } => levels,
        }
    }

    /// Puts a verdict together. `levels`: of each charge, in order; `wait`: the longest of those that are enforced,
    /// nanoseconds.
    #[must_use]
    pub fn of(charges: &[Charge<'_>], levels: Levels, wait: u64) -> Self {
        let refusing = charges
            .iter()
            .zip(levels.iter())
            .enumerate()
            .filter(|(_, (charge, level))| charge.policy.mode == Mode::Enforce && level.retry_in > 0)
            .map(|(place, (_, level))| (level.retry_in, place))
            // The first of equals.
            .reduce(|longest, next| if next.0 > longest.0 { next } else { longest });
        match refusing {
            Some((retry_in, by)) => Self::Denied {
                by,
                retry_after: Duration::from_nanos(retry_in),
                levels,
            },
            None if wait > 0 => Self::Delayed {
                wait: Duration::from_nanos(wait),
                levels,
            },
            None => Self::Allowed { levels },
        }
    }
}
