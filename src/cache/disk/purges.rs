//! What was purged and may still be on disk: each answer that is read is compared with it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use super::journal::Purge;
use crate::cache::store::{Entry, Target};
use crate::cache::{Moment, Ruling, UrlKey};

/// More purges than this at a time are one of everything.
const MOST: usize = 1024;

/// The purges that are not carried out to the last file.
pub(super) struct Purges {
    number: AtomicU64,
    waiting: Mutex<Vec<Purge>>,
}

impl Purges {
    pub(super) fn new(number: u64, waiting: Vec<Purge>) -> Self {
        Self {
            number: AtomicU64::new(number),
            waiting: Mutex::new(waiting),
        }
    }

    /// How many there have been.
    pub(super) fn number(&self) -> u64 {
        self.number.load(SeqCst)
    }

    /// From now on this is purged.
    pub(super) fn add(&self, target: Target, soft: Option<Moment>) -> Purge {
        let mut waiting = self.waiting.lock();
        let number = self.number.fetch_add(1, SeqCst) + 1;
        let purge = Purge { number, target, soft };
        // The same again takes the place of what it was before.
        waiting.retain(|other| other.target != purge.target || (other.soft.is_none() && purge.soft.is_some()));
        if waiting.len() >= MOST {
            waiting.clear();
            waiting.push(Purge {
                number,
                target: Target::All,
                soft: None,
            });
        } else {
            waiting.push(purge.clone());
        }
        purge
    }

    /// What becomes of an answer that was asked for after so many purges.
    pub(super) fn rule(&self, generation: u64, entry: &Entry) -> Ruling {
        let waiting = self.waiting.lock();
        let later = waiting.iter().filter(|purge| purge.number > generation);
        // Its URL is compared as text: no hash of memory's is among the targets.
        let meant = later.filter(|purge| purge.target.means(UrlKey(0), &entry.url, &entry.tags));
        meant
            .map(|purge| purge.soft.map_or(Ruling::Gone, Ruling::Stale))
            .fold(Ruling::Stays, Ruling::and)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Purge> {
        self.waiting.lock().clone()
    }

    /// Nothing that these mean is left; of those that were there up to this number.
    pub(super) fn done(&self, is_done: impl Fn(&Purge) -> bool) {
        self.waiting.lock().retain(|purge| !is_done(purge));
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::cache::store::Body;
    use crate::cache::{Exchanged, Policy, ResponseDirectives, Selector, Terms};

    fn entry() -> Entry {
        let none = HeaderMap::new();
        let exchanged = Exchanged {
            asked: Moment(0),
            answered: Moment(0),
        };
        let directives = ResponseDirectives::of(&none);
        let terms = Terms::new(&Policy::new("c"), &directives, StatusCode::OK, &none, exchanged);
        let mut entry = Entry::new(
            StatusCode::OK,
            &none,
            terms,
            Selector::default(),
            Body::whole(Vec::new()),
        );
        entry.url = "http://site.test/a".into();
        entry.tags = Box::new(["t".into()]);
        entry
    }

    #[test]
    fn what_was_asked_for_before_is_meant() {
        let purges = Purges::new(10, Vec::new());
        let before = purges.number();
        purges.add(Target::Tag("other".into()), None);
        assert_eq!(purges.rule(before, &entry()), Ruling::Stays);
        purges.add(Target::Prefix("/a".into()), Some(Moment(9)));
        purges.add(Target::Tag("t".into()), Some(Moment(7)));
        assert_eq!(purges.rule(before, &entry()), Ruling::Stale(Moment(7)));
        purges.add(Target::Url("http://site.test/a".into()), None);
        assert_eq!(purges.rule(before, &entry()), Ruling::Gone);
        assert_eq!(purges.rule(purges.number(), &entry()), Ruling::Stays);
    }

    #[test]
    fn the_same_again_is_one() {
        let purges = Purges::new(0, Vec::new());
        for at in 1..=5 {
            purges.add(Target::Tag("t".into()), Some(Moment(at)));
        }
        assert_eq!(purges.all().len(), 1);
        purges.add(Target::Tag("t".into()), None);
        assert_eq!(purges.all().len(), 1);
        purges.add(Target::Tag("t".into()), Some(Moment(6)));
        assert_eq!(
            purges.rule(0, &entry()),
            Ruling::Gone,
            "a soft one does not bring back what is gone"
        );
        purges.done(|purge| purge.number <= 7);
        assert_eq!(purges.rule(0, &entry()), Ruling::Stays);
    }

    #[test]
    fn too_many_are_one_of_everything() {
        let purges = Purges::new(0, Vec::new());
        for number in 0..MOST + 1 {
            purges.add(Target::Tag(number.to_string()), Some(Moment(1)));
        }
        assert_eq!(purges.all().len(), 1);
        assert_eq!(purges.rule(0, &entry()), Ruling::Gone);
        assert_eq!(purges.rule(MOST as u64 + 1, &entry()), Ruling::Stays);
    }
}
