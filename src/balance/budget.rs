//! How many requests may be sent a second time: a share of the first ones and a few besides, so that retries cannot pile
//! onto an application that is sick already.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::BudgetSettings;
use super::clock::tick;

/// Length of the sliding window, seconds.
const WINDOW: u32 = 10;
const SECOND: u64 = 1_000_000_000;

/// A budget over the last ten seconds. Lock-free; of two withdrawals for one token only one is granted.
#[derive(Debug)]
pub struct Budget {
    settings: BudgetSettings,
    deposits: Counter,
    withdrawals: Counter,
}

impl Budget {
    /// A budget without deposits: the floor is there from the beginning.
    #[must_use]
    pub fn new(settings: BudgetSettings) -> Self {
        Self {
            settings,
            deposits: Counter::default(),
            withdrawals: Counter::default(),
        }
    }

    /// What it allows.
    #[must_use]
    pub fn settings(&self) -> BudgetSettings {
        self.settings
    }

    /// A request begins: earns its share. To be called once a request, not once an attempt.
    pub fn deposit(&self, now: Instant) {
        self.deposits.increment(second(now), |_| true);
    }

    /// Takes one attempt from the budget. `false`: it is spent.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        let second = second(now);
        let allowed = self.allowed(second);
        self.withdrawals.increment(second, |spent| spent < allowed)
    }

    /// How many attempts are left.
    #[must_use]
    pub fn left(&self, now: Instant) -> u64 {
        let second = second(now);
        self.allowed(second).saturating_sub(self.withdrawals.sum(second))
    }

    fn allowed(&self, second: u32) -> u64 {
        let ratio = self.settings.ratio.max(0.0); // not a number counts as nothing, too
        let earned = (self.deposits.sum(second) as f64 * ratio) as u64;
        earned.saturating_add(u64::from(self.settings.floor) * u64::from(WINDOW))
    }
}

/// Events of the last ten seconds, a slot for each: its second in the upper half, the count in the lower.
#[derive(Debug, Default)]
struct Counter([AtomicU64; WINDOW as usize]);

impl Counter {
    /// Counts one, if that is right for the sum so far.
    fn increment(&self, second: u32, right: impl Fn(u64) -> bool) -> bool {
        let slot = &self.0[(second % WINDOW) as usize];
        let count = |packed: u64| {
            let own = if of(packed) == second { packed } else { fresh(second) };
            let others = self.sum_without(second);
            (right(others + u64::from(own as u32)) && own as u32 != u32::MAX).then(|| own + 1)
        };
        slot.fetch_update(Relaxed, Relaxed, count).is_ok()
    }

    fn sum(&self, second: u32) -> u64 {
        let own = self.0[(second % WINDOW) as usize].load(Relaxed);
        let own = if of(own) == second { u64::from(own as u32) } else { 0 };
        own + self.sum_without(second)
    }

    /// The sum of the seconds before this one.
    fn sum_without(&self, second: u32) -> u64 {
        let slots = self.0.iter().map(|slot| slot.load(Relaxed));
        let before = slots.filter(|&packed| (1..WINDOW).contains(&second.wrapping_sub(of(packed))));
        before.map(|packed| u64::from(packed as u32)).sum()
    }
}

fn of(packed: u64) -> u32 {
    (packed >> 32) as u32
}

fn fresh(second: u32) -> u64 {
    u64::from(second) << 32
}

fn second(now: Instant) -> u32 {
    // So far from 0 that an empty slot is old; wraps after a century.
    (tick(now) / SECOND) as u32 + WINDOW
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn withdrawn(budget: &Budget, tries: usize, now: Instant) -> usize {
        (0..tries).filter(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_share_and_a_floor() {
        let now = Instant::now();
        for (ratio, floor, deposits, granted) in [
            (0.2, 10, 0, 100),
            (0.2, 10, 1000, 300),
            (0.2, 0, 1000, 200),
            (0.0, 0, 1000, 0),
            (1.0, 0, 5, 5),
            (f64::NAN, 1, 1000, 10),
            (-1.0, 0, 1000, 0),
            (0.02, 0, 49, 0),
            (0.02, 0, 50, 1),
        ] {
            let budget = Budget::new(BudgetSettings { ratio, floor });
            for _ in 0..deposits {
                budget.deposit(now);
            }
            assert_eq!(budget.left(now), granted as u64, "{ratio} {floor} {deposits}");
            assert_eq!(withdrawn(&budget, 2000, now), granted, "{ratio} {floor} {deposits}");
            assert_eq!(budget.left(now), 0);
        }
    }

    #[test]
    fn the_window_slides() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let budget = Budget::new(BudgetSettings { ratio: 0.1, floor: 0 });
        (0..100).for_each(|_| budget.deposit(start));
        assert_eq!(withdrawn(&budget, 6, at(5)), 6);
        assert_eq!(budget.left(at(9)), 4);
        assert_eq!(budget.left(at(11)), 0, "what was earned is forgotten");
        (0..100).for_each(|_| budget.deposit(at(12)));
        assert_eq!(budget.left(at(12)), 4, "what was spent is not yet");
        assert_eq!(budget.left(at(16)), 10);
        assert_eq!(budget.left(at(100_000)), 0);
    }

    #[test]
    fn threads_share_one_budget() {
        let now = Instant::now();
        let budget = Budget::new(BudgetSettings { ratio: 0.0, floor: 7 });
        let granted: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| withdrawn(&budget, 500, now))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 70);
    }
}
