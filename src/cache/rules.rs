//! What the sequence of purges says of answers that are kept where other gateways write, too: each is compared with every
//! purge that has come since it was asked for. Nothing is searched for, and nothing deleted.

use std::collections::HashMap;

use super::sequence::Purge;
use super::store::{Entry, Target, path_of};
use super::{Moment, url_digest};

/// More purges than this are too many to remember: the older half is forgotten, and what was asked for before it counts as
/// purged.
const MOST: usize = 131_072;

/// More prefixes than this in one cache are one of everything: each of them is compared with every answer.
const MOST_PREFIXES: usize = 1024;

/// What purges say of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing.
    Stays,
    /// It is stale since then.
    Stale(Moment),
    /// It is gone.
    Gone,
}

/// The purges of a sequence after some number.
#[derive(Debug)]
pub struct Rules {
    /// What was asked for before this purge may have been purged by one that is not remembered.
    floor: u64,
    targets: usize,
    caches: HashMap<Box<str>, OfCache>,
}

/// The purges of one cache. URLs and tags by their digests: each takes the same memory.
#[derive(Debug, Default)]
struct OfCache {
    all: Last,
    /// Whole URLs, and paths of every host.
    urls: HashMap<u128, Last>,
    tags: HashMap<u128, Last>,
    prefixes: Vec<(Box<str>, Last)>,
}

/// The last purges of one target; zero: there was none.
#[derive(Debug, Default, Clone, Copy)]
struct Last {
    hard: u64,
    soft: u64,
    /// When the soft one was heard.
    at: Moment,
}

impl Last {
    fn note(&mut self, number: u64, soft: Option<Moment>) {
        match soft {
            None => self.hard = self.hard.max(number),
            Some(at) if number > self.soft => (self.soft, self.at) = (number, at),
            Some(_) => {}
        }
    }

    fn since(&self, asked: u64) -> Ruling {
        match () {
            () if self.hard > asked => Ruling::Gone,
            () if self.soft > asked => Ruling::Stale(self.at),
            () => Ruling::Stays,
        }
    }

    fn is_after(&self, number: u64) -> bool {
        self.hard.max(self.soft) > number
    }
}

impl Rules {
    /// None yet: the purges up to this number are not known.
    #[must_use]
    pub fn after(number: u64) -> Self {
        Self {
            floor: number,
            targets: 0,
            caches: HashMap::new(),
        }
    }

    /// A purge has this number.
    pub fn note(&mut self, purge: &Purge, number: u64, now: Moment) {
        let soft = purge.soft.then_some(now);
        if !self.caches.contains_key(&purge.cache) {
            self.caches.insert(purge.cache.clone(), OfCache::default());
        }
        let Some(of) = self.caches.get_mut(&purge.cache) else {
            return;
        };
        let before = of.targets();
        match &purge.target {
            Target::Url(url) => of.urls.entry(url_digest(url)).or_default().note(number, soft),
            Target::Tag(tag) => of.tags.entry(url_digest(tag)).or_default().note(number, soft),
            Target::Prefix(start) => of.prefix(start, number, soft),
            // A hash of memory's means nothing to others: rather too much.
            Target::All | Target::Key(_) => of.all.note(number, soft),
        }
        self.targets = (self.targets + of.targets()).saturating_sub(before);
        if self.targets > MOST {
            self.forget(number.saturating_sub(MOST as u64 / 2));
        }
    }

    /// Nobody knows what the purges up to this number were.
    pub fn forget(&mut self, number: u64) {
        self.floor = self.floor.max(number);
        let floor = self.floor;
        for of in self.caches.values_mut() {
            of.urls.retain(|_, last| last.is_after(floor));
            of.tags.retain(|_, last| last.is_after(floor));
            of.prefixes.retain(|(_, last)| last.is_after(floor));
        }
        self.targets = self.caches.values().map(OfCache::targets).sum();
    }

    /// What becomes of an answer of a cache that was asked for after so many purges.
    #[must_use]
    pub fn rule(&self, cache: &str, asked: u64, entry: &Entry) -> Ruling {
        if asked < self.floor {
            return Ruling::Gone;
        }
        let Some(of) = self.caches.get(cache) else {
            return Ruling::Stays;
        };
        let path = path_of(&entry.url);
        let url = |url: &str| of.urls.get(&url_digest(url));
        let tags = entry.tags.iter().filter_map(|tag| of.tags.get(&url_digest(tag)));
        let prefixes = of.prefixes.iter().filter_map(|(start, last)| {
            let means = if start.starts_with('/') { path } else { &*entry.url };
            means.starts_with(&**start).then_some(last)
        });
        let meant = [Some(&of.all), url(&entry.url), url(path)].into_iter().flatten();
        meant
            .chain(tags)
            .chain(prefixes)
            .map(|last| last.since(asked))
            .fold(Ruling::Stays, Ruling::and)
    }
}

impl Ruling {
    /// What both say.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gone, _) | (_, Self::Gone) => Self::Gone,
            (Self::Stale(one), Self::Stale(other)) => Self::Stale(one.min(other)),
            (Self::Stale(at), Self::Stays) | (Self::Stays, Self::Stale(at)) => Self::Stale(at),
            (Self::Stays, Self::Stays) => Self::Stays,
        }
    }
}

impl OfCache {
    fn targets(&self) -> usize {
        self.urls.len() + self.tags.len() + self.prefixes.len()
    }

    fn prefix(&mut self, start: &str, number: u64, soft: Option<Moment>) {
        if let Some((_, last)) = self.prefixes.iter_mut().find(|(known, _)| **known == *start) {
            return last.note(number, soft);
        }
        if self.prefixes.len() < MOST_PREFIXES {
            let mut last = Last::default();
            last.note(number, soft);
            self.prefixes.push((start.into(), last));
        } else {
            self.prefixes.clear();
            self.all.note(number, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::cache::store::Body;
    use crate::cache::{Exchanged, Policy, ResponseDirectives, Selector, Terms};

    const NOW: Moment = Moment(7);

    fn entry() -> Entry {
        let none = HeaderMap::new();
        let exchanged = Exchanged {
            asked: Moment(0),
            answered: Moment(0),
        };
        let directives = ResponseDirectives::of(&none);
        let terms = Terms::new(&Policy::new("c"), &directives, StatusCode::OK, &none, exchanged);
        let body = Body::whole(Vec::new());
        let mut entry = Entry::new(StatusCode::OK, &none, terms, Selector::default(), body);
        entry.url = "http://site.test/api/a?x=1".into();
        entry.tags = Box::new(["t".into()]);
        entry
    }

    fn purge(target: Target, soft: bool) -> Purge {
        Purge {
            cache: "c".into(),
            target,
            soft,
        }
    }

    #[test]
    fn what_was_asked_for_before_is_meant() {
        let url = |url: &str| Target::Url(url.into());
        let prefix = |start: &str| Target::Prefix(start.into());
        for (target, means) in [
            (url("http://site.test/api/a?x=1"), true),
            (url("/api/a?x=1"), true),
            (url("/api/a"), false),
            (url("http://other.test/api/a?x=1"), false),
            (prefix("/api/"), true),
            (prefix("http://site.test/api"), true),
            (prefix("/other"), false),
            (Target::Tag("t".into()), true),
            (Target::Tag("u".into()), false),
            (Target::All, true),
        ] {
            for (soft, ruling) in [(false, Ruling::Gone), (true, Ruling::Stale(NOW))] {
                let mut rules = Rules::after(3);
                rules.note(&purge(target.clone(), soft), 5, NOW);
                let expected = if means { ruling } else { Ruling::Stays };
                assert_eq!(rules.rule("c", 4, &entry()), expected, "{target:?}");
                assert_eq!(rules.rule("c", 5, &entry()), Ruling::Stays, "asked for since");
                assert_eq!(rules.rule("d", 4, &entry()), Ruling::Stays, "another cache");
                assert_eq!(rules.rule("c", 2, &entry()), Ruling::Gone, "nobody knows");
            }
        }
    }

    #[test]
    fn a_soft_purge_brings_nothing_back() {
        let mut rules = Rules::after(0);
        rules.note(&purge(Target::All, false), 5, NOW);
        rules.note(&purge(Target::All, true), 9, NOW);
        assert_eq!(rules.rule("c", 4, &entry()), Ruling::Gone);
        assert_eq!(rules.rule("c", 5, &entry()), Ruling::Stale(NOW));
        assert_eq!(rules.rule("c", 9, &entry()), Ruling::Stays);
        // Told twice, by who tells and by the sequence.
        rules.note(&purge(Target::All, true), 9, Moment(8));
        assert_eq!(rules.rule("c", 5, &entry()), Ruling::Stale(NOW));
    }

    #[test]
    fn memory_is_bounded() {
        let mut rules = Rules::after(0);
        for number in 1..=MOST as u64 + 1 {
            rules.note(&purge(Target::Url(number.to_string()), false), number, NOW);
        }
        assert!(rules.targets <= MOST / 2 + 1, "{}", rules.targets);
        assert_eq!(
            rules.rule("c", 1, &entry()),
            Ruling::Gone,
            "what is forgotten may have meant it"
        );
        assert_eq!(rules.rule("c", MOST as u64, &entry()), Ruling::Stays);

        let mut rules = Rules::after(0);
        for number in 1..=MOST_PREFIXES as u64 + 1 {
            rules.note(&purge(Target::Prefix(format!("/{number}/")), true), number, NOW);
        }
        assert_eq!(rules.targets, 0);
        assert_eq!(rules.rule("c", 1, &entry()), Ruling::Gone);
    }
}
