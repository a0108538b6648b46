//! How often a client may be wrong: who guesses passwords and keys is turned away before anything is computed for him.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::Denial;
use crate::config::units::Rate;
use crate::limit::{
    Asker, Bucket, Charge, Charges, Count, KeyHasher, Keyed, Local, Policy, PolicyHasher, Reservation, Verdict,
};

/// Most clients that are counted at a time; beyond it those are forgotten that were wrong least, and in a flood networks
/// are counted.
const CLIENTS: usize = 1 << 16;

/// Who was wrong, and how often: of all `[auth.NAME]` of the process, whatever is reloaded.
#[derive(Debug)]
pub(in crate::runtime) struct Guesses {
    started: Instant,
    store: Arc<Local>,
    hasher: KeyHasher,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            store: Arc::new(Local::new(CLIENTS)),
            hasher: KeyHasher::random(),
        }
    }
}

/// How often a client may be wrong with one `[auth.NAME]`.
#[derive(Debug)]
pub(super) struct GuessLimit {
    guesses: Arc<Guesses>,
    policy: Policy,
    hasher: PolicyHasher,
}

/// An attempt that is being checked. Let go of, it was wrong: guesses in parallel gain nothing, and neither does who leaves
/// before he is answered.
#[derive(Debug)]
pub(super) struct Attempt(Option<Reservation>);

impl GuessLimit {
    /// `name`: of the `[auth.NAME]`.
    pub(super) fn new(name: &str, rate: Rate, guesses: &Arc<Guesses>) -> Self {
        let most = u32::try_from(rate.count).unwrap_or(u32::MAX);
        let mut policy = Policy::new(name, Bucket::new(rate.count, rate.per, most));
        policy.count = Count::Failures;
        Self {
            hasher: guesses.hasher.of(name),
            guesses: Arc::clone(guesses),
            policy,
        }
    }

    /// One more attempt of this client, or how long it has to wait.
    pub(super) fn attempt(&self, client: IpAddr) -> Result<Attempt, Denial> {
        let Keyed::Counted(key) = self.policy.key.key(&self.hasher, &Asker::address(client)) else {
            return Ok(Attempt(None)); // everybody has an address
        };
        let charge = Charge {
            policy: &self.policy,
            key,
            cost: 1,
        };
        let charges: Charges<'_> = [charge].into_iter().collect();
        let now = u64::try_from(self.guesses.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let checked = self.guesses.store.check(&charges, now);
        match checked.verdict {
            Verdict::Denied { retry_after, .. } => Err(Denial::TooMany(retry_after)),
            _ => Ok(Attempt(checked.reservation)),
        }
    }
}

impl Attempt {
    /// It counts for nothing.
    pub(super) fn was_right(self) {
        if let Some(reservation) = self.0 {
            reservation.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(name: &str, guesses: &Arc<Guesses>) -> GuessLimit {
        let rate = Rate {
            count: 3,
            per: Duration::from_secs(3600),
        };
        GuessLimit::new(name, rate, guesses)
    }

    #[test]
    fn who_is_wrong_is_counted_by_network_and_by_name() {
        let guesses = Arc::default();
        let (staff, partners) = (limit("staff", &guesses), limit("partners", &guesses));
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for last in 1..=3 {
            drop(staff.attempt(ip(&format!("2001:db8::{last}"))).expect("admitted"));
        }
        let refused = staff.attempt(ip("2001:db8::4")).expect_err("refused");
        assert!(matches!(refused, Denial::TooMany(wait) if wait > Duration::from_secs(1000)));
        for client in ["2001:db8:0:1::1", "192.0.2.1"] {
            assert!(staff.attempt(ip(client)).is_ok(), "{client}");
        }
        assert!(partners.attempt(ip("2001:db8::1")).is_ok());
        // A reload makes the limit anew, and nobody begins anew.
        assert!(limit("staff", &guesses).attempt(ip("::ffff:192.0.2.1")).is_ok());
        assert!(limit("staff", &guesses).attempt(ip("2001:db8::1")).is_err());
    }

    #[test]
    fn who_is_right_is_not_counted_and_guesses_at_once_are() {
        let guesses = Arc::default();
        let (limit, client) = (limit("staff", &guesses), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..20 {
            limit.attempt(client).expect("admitted").was_right();
        }
        let at_once: Vec<_> = (0..3).map(|_| limit.attempt(client).expect("admitted")).collect();
        assert!(limit.attempt(client).is_err());
        at_once.into_iter().for_each(Attempt::was_right);
        assert!(limit.attempt(client).is_ok());
    }
}
