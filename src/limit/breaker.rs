//! When a store that fails is no longer asked.

/// So many failures in a row open it.
const IN_A_ROW: u32 = 5;

/// More than half of the last so many, if they came within [`WINDOW`], open it.
const LAST: usize = 20;

/// Nanoseconds.
const WINDOW: u64 = 1_000_000_000;

/// Watches over a store: it opens after five failures in a row, or when more than half of twenty answers within a second
/// were failures. What closes it again is for the caller to find out.
#[derive(Debug, Default)]
pub struct Breaker {
    open: bool,
    in_a_row: u32,
    /// When each of the last ones came, and whether it failed; a ring.
    last: [(u64, bool); LAST],
    next: usize,
}

impl Breaker {
    /// Whether the store should not be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Notes how a question ended; `true`: this one opened it.
    pub fn note(&mut self, failed: bool, now: u64) -> bool {
        if self.open {
            return false;
        }
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        self.last[self.next] = (now.max(1), failed);
        self.next = (self.next + 1) % LAST;
        let recent = self.last.iter().filter(|(at, _)| *at != 0 && at + WINDOW > now);
        let (seen, failures) = recent.fold((0, 0), |(seen, failures), (_, failed)| {
            (seen + 1, failures + usize::from(*failed))
        });
        self.open = self.in_a_row >= IN_A_ROW || seen == LAST && failures * 2 > LAST;
        self.open
    }

    /// Opens it: the store is known to be gone.
    pub fn open(&mut self) {
        self.open = true;
    }

    /// Closes it: the store answers.
    pub fn close(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Notes these outcomes a millisecond apart; how many were noted when it opened.
    fn opened_after(outcomes: impl IntoIterator<Item = bool>, apart: u64) -> Option<usize> {
        let mut breaker = Breaker::default();
        let mut now = 5 * MS;
        for (index, failed) in outcomes.into_iter().enumerate() {
            now += apart;
            if breaker.note(failed, now) {
                assert!(breaker.is_open() && !breaker.note(true, now), "it opens once");
                return Some(index + 1);
            }
        }
        assert!(!breaker.is_open());
        None
    }

    #[test]
    fn failures_in_a_row_open_it() {
        assert_eq!(opened_after([true; 9], 10_000 * MS), Some(5));
        assert_eq!(
            opened_after([true, true, true, true, false, true, true, true, true], MS),
            None
        );
    }

    #[test]
    fn more_than_half_within_a_second_open_it() {
        let half = (0..100).map(|n| n % 2 == 0);
        assert_eq!(opened_after(half.clone(), MS), None);
        let more = (0..100).map(|n| n % 5 < 3);
        assert_eq!(opened_after(more.clone(), MS), Some(20));
        assert_eq!(opened_after(more, 100 * MS), None, "they are too far apart");
    }

    #[test]
    fn closed_it_begins_anew() {
        let mut breaker = Breaker::default();
        breaker.open();
        assert!(breaker.is_open());
        breaker.close();
        for _ in 0..4 {
            assert!(!breaker.note(true, MS));
        }
        assert!(breaker.note(true, MS));
    }
}
