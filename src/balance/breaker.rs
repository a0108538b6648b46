//! The circuit breaker of an upstream: when most of what it is sent fails, it is sent nothing for a while, then a few
//! attempts that test it.
//!
//! | state | what passes | leaves it |
//! |---|---|---|
//! | closed | everything | too many failures: open |
//! | open | nothing | its time is over: half open |
//! | half open | some attempts at once | so many succeed: closed; one fails: open |

use std::time::Duration;

use parking_lot::Mutex;

use super::BreakerSettings;
use super::clock::{Tick, between, ticks};
use super::dice::Dice;

/// Slots of the sliding window and the length of each: ten seconds together.
const SLOTS: usize = 10;
const SLOT: u64 = 1_000_000_000;
/// What a client is told while others test the upstream.
const MEANWHILE: Duration = Duration::from_secs(1);

/// Where a breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing does.
    Open,
    /// A few attempts test the upstream.
    HalfOpen,
}

impl BreakerState {
    /// The word for logs and the admin API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What an attempt was let through as. Results count only in the period in which the attempt began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    /// Counts changes of state.
    period: u64,
    until: Tick,
    in_a_row: u32,
    slots: [Slot; SLOTS],
    testing: u32,
    passed: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    number: u64,
    attempts: u32,
    failures: u32,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            inner: Mutex::new(Inner {
                state: BreakerState::Closed,
                period: 0,
                until: 0,
                in_a_row: 0,
                slots: [Slot::default(); SLOTS],
                testing: 0,
                passed: 0,
            }),
        }
    }

    pub(super) fn settings(&self) -> BreakerSettings {
        self.settings
    }

    /// Lets an attempt through; it must then be given back with [`Breaker::record`] or [`Breaker::cancel`].
    ///
    /// # Errors
    /// The time after which it is worth asking again.
    pub(super) fn admit(&self, now: Tick) -> Result<Ticket, Duration> {
        let mut inner = self.inner.lock();
        match inner.state {
            BreakerState::Open if now < inner.until => return Err(between(now, inner.until)),
            BreakerState::Open => inner.turn(BreakerState::HalfOpen),
            BreakerState::Closed | BreakerState::HalfOpen => {}
        }
        if inner.state == BreakerState::HalfOpen {
            if inner.testing >= self.probes() {
                return Err(MEANWHILE);
            }
            inner.testing += 1;
        }
        Ok(Ticket(inner.period))
    }

    /// Takes in how an attempt ended.
    pub(super) fn record(&self, ticket: Ticket, success: bool, now: Tick, dice: &Dice) {
        let mut inner = self.inner.lock();
        if inner.period != ticket.0 {
            return;
        }
        let opens = match inner.state {
            BreakerState::Open => false,
            BreakerState::Closed => inner.count(success, now, &self.settings),
            BreakerState::HalfOpen => {
                inner.testing = inner.testing.saturating_sub(1);
                inner.passed += u32::from(success);
                if success && inner.passed >= self.probes() {
                    inner.turn(BreakerState::Closed);
                }
                !success
            }
        };
        if opens {
            inner.turn(BreakerState::Open);
            let pause = dice.jitter(ticks(self.settings.open_for) as f64) as u64;
            inner.until = now.saturating_add(pause);
        }
    }

    /// An attempt ended without telling anything.
    pub(super) fn cancel(&self, ticket: Ticket) {
        let mut inner = self.inner.lock();
        if inner.period == ticket.0 && inner.state == BreakerState::HalfOpen {
            inner.testing = inner.testing.saturating_sub(1);
        }
    }

    pub(super) fn state(&self, now: Tick) -> BreakerState {
        let inner = self.inner.lock();
        match inner.state {
            BreakerState::Open if now >= inner.until => BreakerState::HalfOpen,
            state => state,
        }
    }

    fn probes(&self) -> u32 {
        self.settings.probes.max(1)
    }
}

impl Inner {
    fn turn(&mut self, state: BreakerState) {
        *self = Self {
            state,
            period: self.period + 1,
            until: 0,
            in_a_row: 0,
            slots: [Slot::default(); SLOTS],
            testing: 0,
            passed: 0,
        };
    }

    /// Counts an attempt; whether that is one failure too many.
    fn count(&mut self, success: bool, now: Tick, settings: &BreakerSettings) -> bool {
        let number = now / SLOT;
        let slot = &mut self.slots[(number % SLOTS as u64) as usize];
        if slot.number != number {
            *slot = Slot {
                number,
                ..Slot::default()
            };
        }
        slot.attempts = slot.attempts.saturating_add(1);
        if success {
            self.in_a_row = 0;
            return false;
        }
        slot.failures = slot.failures.saturating_add(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if settings.consecutive_failures > 0 && self.in_a_row >= settings.consecutive_failures {
            return true;
        }
        let recent = self
            .slots
            .iter()
            .filter(|slot| number - slot.number.min(number) < SLOTS as u64);
        let (attempts, failures) = recent.fold((0, 0), |(attempts, failures), slot| {
            (attempts + u64::from(slot.attempts), failures + u64::from(slot.failures))
        });
        attempts >= u64::from(settings.min_requests) && failures as f64 >= attempts as f64 * settings.failure_share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = SLOT;

    fn breaker(settings: BreakerSettings) -> (Breaker, Dice) {
        (Breaker::new(settings), Dice::seeded(1))
    }

    /// `+` an attempt succeeds, `-` one fails, each in a millisecond of its own; the state afterwards.
    fn play(breaker: &Breaker, dice: &Dice, events: &str, mut now: Tick) -> BreakerState {
        for event in events.chars() {
            now += 1_000_000;
            if let Ok(ticket) = breaker.admit(now) {
                breaker.record(ticket, event == '+', now, dice);
            }
        }
        breaker.state(now)
    }

    #[test]
    fn opens_by_share_and_by_failures_in_a_row() {
        use BreakerState::{Closed, Open};
        let share = BreakerSettings {
            min_requests: 4,
            ..BreakerSettings::default()
        };
        let row = BreakerSettings {
            failure_share: 2.0,
            consecutive_failures: 3,
            ..BreakerSettings::default()
        };
        for (settings, events, state) in [
            (share, "---", Closed),
            (share, "----", Open),
            (share, "++--", Open),
            (share, "+++--+", Closed),
            (row, "+-+--+--", Closed),
            (row, "--+---", Open),
            (BreakerSettings::default(), "-------------------", Closed),
            (BreakerSettings::default(), "--------------------", Open),
        ] {
            let (breaker, dice) = breaker(settings);
            assert_eq!(play(&breaker, &dice, events, SECOND), state, "{events}");
        }
    }

    #[test]
    fn old_failures_are_forgotten() {
        let settings = BreakerSettings {
            min_requests: 4,
            ..BreakerSettings::default()
        };
        let (breaker, dice) = breaker(settings);
        assert_eq!(play(&breaker, &dice, "---", SECOND), BreakerState::Closed);
        assert_eq!(play(&breaker, &dice, "+++-", 20 * SECOND), BreakerState::Closed);
    }

    #[test]
    fn half_open_lets_a_few_through_and_closes_again() {
        let settings = BreakerSettings {
            consecutive_failures: 1,
            probes: 2,
            ..BreakerSettings::default()
        };
        let (breaker, dice) = breaker(settings);
        let late = breaker.admit(SECOND).unwrap();
        assert_eq!(play(&breaker, &dice, "-", SECOND), BreakerState::Open);
        let pause = breaker.admit(SECOND).unwrap_err();
        assert!(
            (4.0..6.1).contains(&pause.as_secs_f64()),
            "5 s, a fifth more or less: {pause:?}"
        );

        let now = 10 * SECOND;
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        let (one, two) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        assert_eq!(breaker.admit(now), Err(MEANWHILE), "two at once");
        breaker.cancel(one);
        let three = breaker.admit(now).unwrap();
        breaker.record(late, false, now, &dice);
        breaker.record(two, true, now, &dice);
        assert_eq!(
            breaker.state(now),
            BreakerState::HalfOpen,
            "what began before does not count"
        );
        breaker.record(three, true, now, &dice);
        assert_eq!(breaker.state(now), BreakerState::Closed);

        assert_eq!(play(&breaker, &dice, "-", now), BreakerState::Open);
        let now = 20 * SECOND;
        assert_eq!(
            play(&breaker, &dice, "+-", now),
            BreakerState::Open,
            "one failure opens it again"
        );
        assert_eq!(play(&breaker, &dice, "++", 40 * SECOND), BreakerState::Closed);
    }
}
