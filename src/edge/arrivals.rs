//! How often clients connect: `connection_rate_per_client`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::units::Rate;
use crate::limit::{Asker, Bucket, Charge, Charges, KeyHasher, Keyed, Local, Policy, PolicyHasher, Verdict};

/// Most clients that are counted at a time; beyond it those are forgotten that connected least, and in a flood networks
/// are counted.
const CLIENTS: usize = 1 << 17;

/// What the limit is called; nobody is told.
const NAME: &str = "connections";

/// Counts the connections of each client (IPv6: of a /64).
#[derive(Debug)]
pub(super) struct Arrivals {
    started: Instant,
    store: Arc<Local>,
    hasher: PolicyHasher,
    /// Made anew when the file says another rate.
    policy: Mutex<Option<(Rate, Arc<Policy>)>>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            store: Arc::new(Local::new(CLIENTS)),
            hasher: KeyHasher::random().of(NAME),
            policy: Mutex::default(),
        }
    }
}

impl Arrivals {
    /// Whether one more connection of this client is within the rate; as many as it says may come at once.
    pub(super) fn admit(&self, client: IpAddr, rate: Rate, now: Instant) -> bool {
        let policy = self.policy(rate);
        let Keyed::Counted(key) = policy.key.key(&self.hasher, &Asker::address(client)) else {
            return true; // everybody has an address
        };
        let charge = Charge {
            policy: &policy,
            key,
            cost: 1,
        };
        let charges: Charges<'_> = [charge].into_iter().collect();
        let now = now.saturating_duration_since(self.started).as_nanos();
        let checked = self.store.check(&charges, u64::try_from(now).unwrap_or(u64::MAX));
        !matches!(checked.verdict, Verdict::Denied { .. })
    }

    fn policy(&self, rate: Rate) -> Arc<Policy> {
        let mut policy = self.policy.lock();
        match &*policy {
            Some((same, policy)) if *same == rate => Arc::clone(policy),
            _ => {
                let capacity = u32::try_from(rate.count).unwrap_or(u32::MAX);
                let new = Policy::new(NAME, Bucket::new(rate.count, rate.per, capacity));
                Arc::clone(&policy.insert((rate, Arc::new(new))).1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_client_has_a_rate_of_its_own() {
        let arrivals = Arrivals::default();
        let rate = Rate {
            count: 2,
            per: Duration::from_secs(1),
        };
        let now = Instant::now();
        let admit = |client: &str, later: u64| {
            let client = client.parse().expect("address");
            arrivals.admit(client, rate, now + Duration::from_millis(later))
        };
        for (client, later, expected) in [
            ("192.0.2.1", 0, true),
            ("192.0.2.1", 0, true),
            ("192.0.2.1", 0, false),
            ("::ffff:192.0.2.1", 0, false),
            ("192.0.2.2", 0, true),
            ("2001:db8::1", 0, true),
            ("2001:db8::2", 0, true),
            ("2001:db8::3", 0, false),
            ("2001:db8:0:1::3", 0, true),
            ("192.0.2.1", 499, false),
            ("192.0.2.1", 500, true),
            ("192.0.2.1", 501, false),
        ] {
            assert_eq!(admit(client, later), expected, "{client} {later}");
        }
    }
}
