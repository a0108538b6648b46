//! Where a client stands after a request that passed: what it is told, and what is settled when the answer is known.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode};

use super::store::Reserved;
use super::{RouteLimits, nanoseconds};
use crate::limit::fields::{self, Stand};
use crate::limit::{Charge, Charges, Count, Key, Level, Levels};

/// The most that an application can say a request has cost.
const MAX_COST: u32 = 1_000_000;

/// Where a client stands after a request that passed: what it is told, and what is held until the answer is known.
pub struct Standing {
    limits: Arc<RouteLimits>,
    /// Owned, for they outlive the plan; and no more room than there are of them.
    charged: Box<[Charged]>,
    reserved: Option<Reserved>,
}

/// A charge whose limit is known by its place, and what is left of it.
struct Charged {
    place: usize,
    key: Key,
    cost: u32,
    level: Level,
}

impl Standing {
    /// `None`: there is nothing to tell and nothing to settle.
    pub(super) fn new(
        limits: &Arc<RouteLimits>,
        charges: &Charges<'_>,
        levels: &Levels,
        reserved: Option<Reserved>,
    ) -> Option<Self> {
        if limits.tells_nothing && reserved.is_none() {
            return None;
        }
        let charged = |(charge, level): (&Charge<'_>, &Level)| Charged {
            place: limits.place(charge.policy),
            key: charge.key,
            cost: charge.cost,
            level: *level,
        };
        Some(Self {
            limits: Arc::clone(limits),
            charged: charges.iter().zip(levels.iter()).map(charged).collect(),
            reserved,
        })
    }

    /// Adds the fields of the limits to the final answer.
    pub fn announce(&self, fields: &mut HeaderMap) {
        let stands = self.charged.iter().map(|charged| Stand {
            policy: &self.limits.limits[charged.place],
            id: charged.key.id,
            level: &charged.level,
        });
        fields::announce(stands, SystemTime::now, fields);
    }

    /// The application has answered: what it says that the request has cost, and has not been charged, is charged now.
    /// `started`: when the process began.
    pub fn surcharge(&mut self, fields: &HeaderMap, started: Instant) {
        for charged in &mut self.charged {
            let policy = &*self.limits.limits[charged.place];
            let told = policy.cost_header.as_ref().and_then(|name| told(fields, name));
            let more = told.map(|told| told.saturating_sub(charged.cost));
            let Some(more) = more.filter(|more| *more > 0) else {
                continue;
            };
            let charge = Charge {
                policy,
                key: charged.key,
                cost: more,
            };
            let now = nanoseconds(started.elapsed());
            charged.level = self.limits.store.surcharge(&charge, now);
            // An answer that is asked for twice is charged once.
            charged.cost += more;
        }
    }

    /// The status of the final answer is known: what limits on failures hold is given back, or charged.
    pub fn settle(&mut self, status: StatusCode) {
        if let Some(reserved) = self.reserved.take()
            && Count::Failures.gives_back(status)
        {
            reserved.give_back();
        }
    }
}

/// The cost that an answer tells: the largest where there are several. What is no number says nothing.
fn told(fields: &HeaderMap, name: &HeaderName) -> Option<u32> {
    let number = |value: &http::HeaderValue| {
        let digits = value.as_bytes().trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // Digits only: what does not fit is more than the most.
        let number = str::from_utf8(digits).ok()?.parse::<u32>().unwrap_or(MAX_COST);
        Some(number.min(MAX_COST))
    };
    fields.get_all(name).iter().filter_map(number).max()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_an_application_tells_is_bounded() {
        let name = HeaderName::from_static("x-cost");
        for (values, expected) in [
            (&["5"][..], Some(5)),
            (&["5", "7", "x"], Some(7)),
            (&[" 12 "], Some(12)),
            (&["0"], Some(0)),
            (&["99999999999999999999"], Some(MAX_COST)),
            (&["-1"], None),
            (&["+1"], None),
            (&["1.5"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(&name, HeaderValue::from_str(value).expect("a value"));
            }
            assert_eq!(told(&fields, &name), expected, "{values:?}");
        }
    }
}
