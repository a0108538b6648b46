//! Where a client stands after a request that passed: what it is told, and what is settled when the answer is known.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode};

use super::store::Reserved;
use super::{RouteLimits, nanoseconds};
use crate::limit::{Charge, Charges, Count, Key, Levels, MAX_LIMITS, fields};

/// The most that an application can say a request has cost.
const MAX_COST: u32 = 1_000_000;

/// Where a client stands after a request that passed: what it is told, and what is held until the answer is known.
pub struct Standing {
    limits: Arc<RouteLimits>,
    /// The charges; owned, for they outlive the plan.
    charged: [Option<Charged>; MAX_LIMITS],
    levels: Levels,
    reserved: Option<Reserved>,
}

/// A charge whose limit is known by its place.
#[derive(Clone, Copy)]
struct Charged {
    place: usize,
    key: Key,
    cost: u32,
}

impl Standing {
    pub(super) fn new(
        limits: &Arc<RouteLimits>,
        charges: &Charges<'_>,
        levels: Levels,
        reserved: Option<Reserved>,
    ) -> Self {
        let mut charged = [None; MAX_LIMITS];
        for (charged, charge) in charged.iter_mut().zip(charges.iter()) {
            *charged = Some(Charged {
                place: limits.place(charge.policy),
                key: charge.key,
                cost: charge.cost,
            });
        }
        Self {
            limits: Arc::clone(limits),
            charged,
            levels,
            reserved,
        }
    }

    /// Adds the fields of the limits to the final answer.
    pub fn announce(&self, fields: &mut HeaderMap) {
        let charge = |Charged { place, key, cost }| Charge {
            policy: &self.limits.limits[place],
            key,
            cost,
        };
        let charges: Charges<'_> = self.charged.into_iter().flatten().map(charge).collect();
        fields::announce(&charges, &self.levels, SystemTime::now(), fields);
    }

    /// The application has answered: what it says that the request has cost, and has not been charged, is charged now.
    /// `started`: when the process began.
    pub fn surcharge(&mut self, fields: &HeaderMap, started: Instant) {
        for (at, charged) in self.charged.iter_mut().enumerate() {
            let Some(Charged { place, key, cost }) = charged else {
                break;
            };
            let policy = &*self.limits.limits[*place];
            let told = policy.cost_header.as_ref().and_then(|name| told(fields, name));
            let Some(more) = told.map(|told| told.saturating_sub(*cost)).filter(|more| *more > 0) else {
                continue;
            };
            let charge = Charge {
                policy,
                key: *key,
                cost: more,
            };
            let now = nanoseconds(started.elapsed());
            self.levels.replace(at, self.limits.store.surcharge(&charge, now));
            // An answer that is asked for twice is charged once.
            *cost += more;
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
