//! Whether a configuration makes things worse: the share of 5xx before and after it.

use std::collections::VecDeque;

/// How many samples are looked back at.
const WINDOW: usize = 60;
/// Fewer failures than this say nothing.
const LEAST: u64 = 10;
/// A share below this is no reason, however small it was before.
const FLOOR: f64 = 0.02;

/// Answers given so far, and how many of them were 5xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answers {
    pub(super) all: u64,
    pub(super) failed: u64,
}

impl Answers {
    fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            failed: self.failed.saturating_sub(before.failed),
        }
    }

    fn share(self) -> f64 {
        if self.all == 0 {
            return 0.0;
        }
        self.failed as f64 / self.all as f64
    }
}

/// What was counted, sample after sample.
#[derive(Debug, Default)]
pub(super) struct Samples(VecDeque<Answers>);

impl Samples {
    pub(super) fn take(&mut self, now: Answers) {
        if self.0.len() >= WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// What was usual until `now`.
    pub(super) fn usual(&self, now: Answers) -> Usual {
        let oldest = self.0.front().copied().unwrap_or(now);
        Usual {
            share: now.since(oldest).share(),
            from: now,
        }
    }
}

/// The share of failures that was usual, up to a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    share: f64,
    from: Answers,
}

impl Usual {
    /// Whether failures have at least doubled since that moment.
    pub(super) fn is_exceeded(&self, now: Answers) -> bool {
        let since = now.since(self.from);
        since.failed >= LEAST && since.share() >= (2.0 * self.share).max(FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(all: u64, failed: u64) -> Answers {
        Answers { all, failed }
    }

    #[test]
    fn failures_that_double_are_noticed_and_chance_is_not() {
        for (before, after, expected) in [
            ((0, 0), (9, 9), false),
            ((0, 0), (10, 10), true),
            ((1000, 0), (1000, 15), false),
            ((1000, 0), (1000, 20), true),
            ((1000, 100), (1000, 199), false),
            ((1000, 100), (1000, 200), true),
            ((1000, 600), (1000, 1000), false),
        ] {
            let mut samples = Samples::default();
            samples.take(answers(5000, 50));
            let moment = answers(5000 + before.0, 50 + before.1);
            let now = answers(moment.all + after.0, moment.failed + after.1);
            assert_eq!(samples.usual(moment).is_exceeded(now), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn only_the_last_samples_count() {
        let mut samples = Samples::default();
        samples.take(answers(0, 0));
        for _ in 0..WINDOW {
            samples.take(answers(1000, 1000));
        }
        assert!(samples.usual(answers(2000, 1000)).share < f64::EPSILON);
    }
}
