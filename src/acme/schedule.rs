//! When a certificate is to be obtained.

use std::time::Duration;

/// The first pause after a failure; the next ones are twice as long each.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// No pause is longer. Authorities allow some failures an hour (Let's Encrypt: five for each name).
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// What is left of a certificate's time when it is renewed, where the authority does not say: a third, and up to this
/// part of it sooner, so that not everybody comes at the same time.
const JITTER: f64 = 0.1;

/// When the authority would like a certificate to be renewed (RFC 9773 §4.2); seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The earliest moment.
    pub start: i64,
    /// The latest moment.
    pub end: i64,
}

/// What is known of the certificate that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// From when on it is valid, seconds of Unix time.
    pub not_before: i64,
    /// Until when it is valid, seconds of Unix time.
    pub not_after: i64,
    /// Whether it is for all the names.
    pub complete: bool,
    /// What it draws, once for its life: a number from 0 to 1.
    pub lot: f64,
}

impl Standing {
    /// When it is to be replaced, seconds of Unix time. Always the same for one certificate, however often it is asked:
    /// a process that restarts does not draw again, and gateways that share a certificate agree.
    #[must_use]
    pub fn due(&self, window: Option<Window>) -> i64 {
        if !self.complete {
            return i64::MIN;
        }
        let part = |of: i64, share: f64| (of.max(0) as f64 * share) as i64;
        match window {
            // Not later than the end of its life, whatever the authority says.
            Some(window) if window.start <= window.end => {
                let chosen = window
                    .start
                    .saturating_add(part(window.end.saturating_sub(window.start), self.lot));
                chosen.min(self.not_after)
            }
            _ => {
                let life = self.not_after.saturating_sub(self.not_before);
                let soonest = self.not_before.saturating_add(part(life, 2.0 / 3.0 - JITTER / 3.0));
                soonest.saturating_add(part(life, self.lot * JITTER / 3.0))
            }
        }
    }
}

/// How long to wait after so many failures in a row; `lot`: a number from 0 to 1.
#[must_use]
pub fn pause(failures: u32, lot: f64) -> Duration {
    let whole = FIRST_PAUSE
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE);
    whole.mul_f64(lot.clamp(0.0, 1.0).mul_add(0.25, 0.75))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    fn standing(days: i64, lot: f64) -> Standing {
        Standing {
            not_before: 1_800_000_000,
            not_after: 1_800_000_000 + days * DAY,
            complete: true,
            lot,
        }
    }

    #[test]
    fn a_third_is_left_and_the_authority_may_say_otherwise() {
        for (days, lot, earliest, latest) in [(90, 0.0, 57, 57), (90, 1.0, 59, 60), (6, 0.5, 3, 4)] {
            let standing = standing(days, lot);
            let day = (standing.due(None) - standing.not_before) / DAY;
            assert!((earliest..=latest).contains(&day), "{days} {lot}: day {day}");
        }
        let ninety = standing(90, 0.5);
        let (start, end) = (ninety.not_before + 10 * DAY, ninety.not_before + 20 * DAY);
        assert_eq!(ninety.due(Some(Window { start, end })), ninety.not_before + 15 * DAY);
        let late = Window {
            start: ninety.not_after + DAY,
            end: ninety.not_after + 2 * DAY,
        };
        assert_eq!(ninety.due(Some(late)), ninety.not_after);
        let nonsense = Window { start: end, end: start };
        assert_eq!(ninety.due(Some(nonsense)), ninety.due(None));
        let other_names = Standing {
            complete: false,
            ..ninety
        };
        assert_eq!(other_names.due(None), i64::MIN, "at once");
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let full = |failures| pause(failures, 1.0).as_secs();
        assert_eq!([1, 2, 3, 4].map(full), [60, 120, 240, 480]);
        assert_eq!(full(u32::MAX), 6 * 3600);
        assert_eq!(pause(1, 0.0).as_secs(), 45);
    }

    proptest! {
        #[test]
        fn it_is_due_within_its_life(days in 1_i64..4000, lot in 0.0..=1.0, start in any::<i64>(), end in any::<i64>()) {
            let standing = standing(days, lot);
            let due = standing.due(None);
            prop_assert!(due > standing.not_before && due < standing.not_after);
            let window = Window { start, end };
            prop_assert!(standing.due(Some(window)) <= standing.not_after.max(due));
        }
    }
}
