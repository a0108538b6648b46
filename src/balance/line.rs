//! Who waits while every server is full, and who goes first.
//!
//! - The highest class goes first. A full line makes room for a newcomer by giving up somebody of a lower class.
//! - Within a class the oldest goes first, until the line has not been empty for as long as anybody may wait: then more
//!   comes than can be served, whoever is oldest has hardly any time left, and serving him would make everybody wait as
//!   long. From there on the youngest goes first, and newcomers wait for a quarter of the time only (adaptive LIFO with a
//!   controlled delay, as Facebook's "Fail at Scale" has it).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What of the time newcomers may wait when more comes than can be served.
const SHORTER: u32 = 4;

/// Who goes first: a later one wins (`High > Low`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Refused first.
    Low,
    /// Neither.
    #[default]
    Normal,
    /// Refused last.
    High,
}

impl Priority {
    /// All of them, the one that is refused first first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The word of the file, and of logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// A place in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    priority: Priority,
    number: u64,
}

/// There is no place, and nobody who would have to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineFull;

/// What somebody who joined a line is given.
#[derive(Debug)]
pub struct Joined<T> {
    /// The place.
    pub ticket: Ticket,
    /// How long it is good for.
    pub until: Instant,
    /// Who had to leave for it.
    pub evicted: Option<T>,
}

/// A bounded line of those who wait.
#[derive(Debug)]
pub struct Line<T> {
    size: usize,
    patience: Duration,
    /// By class; the oldest in front.
    places: [VecDeque<(u64, T)>; Priority::ALL.len()],
    count: usize,
    next: u64,
    /// Since when it has not been empty.
    busy_since: Option<Instant>,
}

impl<T> Line<T> {
    /// `size` wait at a time, each for `patience` at most.
    #[must_use]
    pub fn new(size: usize, patience: Duration) -> Self {
        Self {
            size,
            patience,
            places: Default::default(),
            count: 0,
            next: 0,
            busy_since: None,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether somebody waits who goes before a newcomer of this class.
    #[must_use]
    pub fn is_ahead_of(&self, priority: Priority) -> bool {
        self.places[priority as usize..].iter().any(|places| !places.is_empty())
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`LineFull`].
    pub fn join(&mut self, priority: Priority, who: T, now: Instant) -> Result<Joined<T>, LineFull> {
        let mut evicted = None;
        if self.count >= self.size {
            let mut lower = self.places[..priority as usize].iter_mut();
            // The youngest: whoever is older may be served soon.
            evicted = lower.find_map(VecDeque::pop_back).map(|(_, who)| who);
            if evicted.is_none() {
                return Err(LineFull);
            }
            self.count -= 1;
        }
        let until = if self.is_overrun(now) {
            now + self.patience / SHORTER
        } else {
            now + self.patience
        };
        self.busy_since.get_or_insert(now);
        let number = self.next;
        self.next += 1;
        self.places[priority as usize].push_back((number, who));
        self.count += 1;
        let ticket = Ticket { priority, number };
        Ok(Joined { ticket, until, evicted })
    }

    /// Whose turn it is.
    #[must_use]
    pub fn first(&self, now: Instant) -> Option<(Ticket, &T)> {
        let mut classes = Priority::ALL.into_iter().zip(&self.places).rev();
        let (priority, places) = classes.find(|(_, places)| !places.is_empty())?;
        let (number, who) = if self.is_overrun(now) {
            places.back()?
        } else {
            places.front()?
        };
        let number = *number;
        Some((Ticket { priority, number }, who))
    }

    /// Gives a place back: served, tired of waiting, or gone. A place that was taken away already is no mistake.
    pub fn leave(&mut self, ticket: Ticket) {
        let places = &mut self.places[ticket.priority as usize];
        // Numbers grow from front to back.
        if let Ok(index) = places.binary_search_by_key(&ticket.number, |(number, _)| *number) {
            places.remove(index);
            self.count -= 1;
        }
        if self.count == 0 {
            self.busy_since = None;
        }
    }

    /// More comes than can be served.
    fn is_overrun(&self, now: Instant) -> bool {
        self.busy_since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.patience)
    }
}

#[cfg(test)]
mod tests;
