//! The generic cell rate algorithm (ITU-T I.371) as a pure function in whole nanoseconds.
//!
//! A bucket of `capacity` units drains one unit every `period`. Its whole state is one number, the *theoretical arrival
//! time* `tat`: the moment at which it will be empty of debts, which clients see as full of quota. So the state, the time
//! for which it must be kept and the time to wait after a refusal are the same number.
//!
//! # Why it is right
//! Write `T` for the period, `B` for the capacity, `R = 1/T`, and `W = max(tat - now, 0)` for the backlog. A charge of `c`
//! units is admitted only if `W + c·T <= B·T`, and then adds `c·T` to `W`; time takes away at most what passes. Take any
//! window of length `w`: the backlog at its end is at most `B·T` and at least what was charged in it less `w`. Hence at most
//! `B + R·w` units are charged in it.
//!
//! # It is nginx
//! `limit_req` keeps `excess = max(0, excess - rate·elapsed + 1)` and refuses if that exceeds `burst`. With
//! `excess = (tat' - now)/T - 1`, where `tat'` is the state after the charge, the recurrence is `tat' = max(tat, now) + T`
//! and the test is `tat' - now <= (burst + 1)·T`: this bucket, with `capacity = burst + 1`. What nginx delays, namely the
//! excess beyond `delay=`, is what lies beyond [`prompt`](Bucket::prompt) `= delay + 1` here. A refusal changes nothing in
//! either. nginx counts whole milliseconds and thousandths of a request; that shows at rates below one a second only.
//!
//! # Clocks
//! Times are nanoseconds since a fixed moment of the caller's choice. A step backwards finds a backlog that no real bucket
//! can have; it is cut to an empty bucket, the strictest state there is, so the bound holds and nobody is locked out for
//! longer than a bucket takes to fill. A step forwards forgives what the time would have forgiven.

use std::time::Duration;

/// Longest time that is told apart, about 146 years: with `now` and a full backlog each below it, no sum overflows.
const HORIZON: u64 = 1 << 62;

/// A rate and how much of it may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    period: u64,
    capacity: u32,
    prompt: u32,
}

/// What is left in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// Units that could be charged now.
    pub room: u32,
    /// Time until `room` is one more, nanoseconds; 0: the bucket is full.
    pub next_in: u64,
    /// Time until the bucket is full, nanoseconds.
    pub full_in: u64,
    /// Time after which what was refused would be admitted, nanoseconds; 0: it was not refused.
    pub retry_in: u64,
}

/// What becomes of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It passes at once.
    Allowed {
        /// The new state.
        tat: u64,
        /// What is left afterwards.
        level: Level,
    },
    /// It passes after a wait.
    Delayed {
        /// The new state.
        tat: u64,
        /// The wait, nanoseconds.
        wait: u64,
        /// What is left afterwards.
        level: Level,
    },
    /// It does not pass, and the state stays as it is.
    Denied {
        /// What there is; its `retry_in` is at least 1.
        level: Level,
    },
}

impl Bucket {
    /// `count` units per `interval`, at most `capacity` at once. nginx's `burst=b` is `capacity = b + 1`.
    ///
    /// The period is rounded up to whole nanoseconds, so the rate is never exceeded; the most is one unit a nanosecond.
    /// `count` and `capacity` are at least 1. A bucket that would take longer than 146 years to fill is made smaller.
    #[must_use]
    pub fn new(count: u64, interval: Duration, capacity: u32) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(HORIZON).clamp(1, HORIZON);
        let period = interval.div_ceil(count.max(1));
        let most = u32::try_from(HORIZON / period).unwrap_or(u32::MAX);
        let capacity = capacity.clamp(1, most);
        Self {
            period,
            capacity,
            prompt: capacity,
        }
    }

    /// Lets only the first unit and `delay` more pass at once; what lies beyond waits for its turn. nginx's `delay=`;
    /// 0 is nginx without `nodelay`.
    #[must_use]
    pub fn delaying_beyond(self, delay: u32) -> Self {
        Self {
            prompt: delay.saturating_add(1).min(self.capacity),
            ..self
        }
    }

    /// One of so many equal parts of the bucket: a part of the rate, and a part of what may come at once, at least 1.
    ///
    /// The time in which a bucket is full again stays the same, so the state of the whole is the state of each part.
    #[must_use]
    pub fn share(self, parts: u32) -> Self {
        if parts <= 1 {
            return self;
        }
        let capacity = (self.capacity / parts).max(1);
        let period = self.period.saturating_mul(u64::from(parts));
        Self {
            period: period.min(HORIZON / u64::from(capacity)),
            capacity,
            prompt: (self.prompt / parts).clamp(1, capacity),
        }
    }

    /// The same bucket with the period rounded up to whole microseconds, unless it is so short that this would be felt.
    #[must_use]
    pub fn in_microseconds(self) -> Self {
        const MICROSECOND: u64 = 1_000;
        const LONG: u64 = 1_000 * MICROSECOND;
        if self.period < LONG {
            return self;
        }
        let period = self.period.next_multiple_of(MICROSECOND);
        let most = u32::try_from(HORIZON / period).unwrap_or(u32::MAX);
        Self {
            period,
            capacity: self.capacity.min(most),
            prompt: self.prompt.min(most),
        }
    }

    /// The same rate, with so much less that may come at once; at least 1 is left.
    #[must_use]
    pub fn less(self, units: u32) -> Self {
        let capacity = self.capacity.saturating_sub(units).max(1);
        Self {
            capacity,
            prompt: self.prompt.min(capacity),
            ..self
        }
    }

    /// How long a charge waits that makes the backlog this long, nanoseconds.
    #[must_use]
    pub fn wait(self, backlog: u64) -> u64 {
        backlog.saturating_sub(self.span(self.prompt))
    }

    /// Time that one unit takes, nanoseconds; at least 1.
    #[must_use]
    pub fn period(self) -> u64 {
        self.period
    }

    /// How many units may come at once; at least 1.
    #[must_use]
    pub fn capacity(self) -> u32 {
        self.capacity
    }

    /// How many units may come at once and not wait; at least 1, at most the capacity.
    #[must_use]
    pub fn prompt(self) -> u32 {
        self.prompt
    }

    /// Time in which an empty bucket fills, nanoseconds.
    #[must_use]
    pub fn fill_time(self) -> u64 {
        self.span(self.capacity)
    }

    /// Decides about a charge of `cost` units at `now`. `tat`: the state, 0 for a key that was never seen.
    ///
    /// A cost above the capacity takes the whole bucket: otherwise no wait would ever help.
    #[must_use]
    pub fn decide(self, tat: u64, now: u64, cost: u32) -> Decision {
        let now = now.min(HORIZON);
        let backlog = self.backlog(tat, now);
        let charged = backlog + self.span(cost.min(self.capacity));
        let most = self.fill_time();
        if charged > most {
            let mut level = self.level(backlog);
            level.retry_in = charged - most;
            return Decision::Denied { level };
        }
        let tat = now + charged;
        let level = self.level(charged);
        let wait = charged.saturating_sub(self.span(self.prompt));
        if wait == 0 {
            Decision::Allowed { tat, level }
        } else {
            Decision::Delayed { tat, wait, level }
        }
    }

    /// The state after a charge that nobody can refuse any more: the bucket is empty at worst.
    #[must_use]
    pub fn charge(self, tat: u64, now: u64, cost: u32) -> u64 {
        let now = now.min(HORIZON);
        let charged = self.backlog(tat, now) + self.span(cost.min(self.capacity));
        now + charged.min(self.fill_time())
    }

    /// The state after a charge that was admitted at the moment `admitted`, but is made only now. Other charges may have
    /// been made meanwhile.
    #[must_use]
    pub fn charge_late(self, tat: u64, admitted: u64, cost: u32) -> u64 {
        let from = tat.max(admitted.min(HORIZON));
        from.saturating_add(self.span(cost.min(self.capacity)))
    }

    /// What is left at `now` in a bucket of this state.
    #[must_use]
    pub fn look(self, tat: u64, now: u64) -> Level {
        self.level(self.backlog(tat, now.min(HORIZON)))
    }

    /// What is charged and not yet drained, nanoseconds; at most the time in which the bucket fills.
    fn backlog(self, tat: u64, now: u64) -> u64 {
        tat.saturating_sub(now).min(self.fill_time())
    }

    fn level(self, backlog: u64) -> Level {
        // Not more than the capacity, for the backlog is not longer than the capacity takes.
        let used = u32::try_from(backlog.div_ceil(self.period)).unwrap_or(u32::MAX);
        Level {
            room: self.capacity.saturating_sub(used),
            next_in: backlog - self.span(used.saturating_sub(1)),
            full_in: backlog,
            retry_in: 0,
        }
    }

    /// Time that so many units take, nanoseconds; `units` is at most the capacity, which keeps the product below
    /// `HORIZON`.
    #[must_use]
    pub fn span(self, units: u32) -> u64 {
        self.period * u64::from(units)
    }
}

#[cfg(test)]
mod tests;
