//! What was changed or purged a moment ago: an answer that was asked for before that must not be kept after it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::cache::UrlKey;

/// So many changes are remembered; who has been under way for longer counts as changed.
const MOST: usize = 256;

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One URL, hashed.
    Key(UrlKey),
    /// One URL: whole, or from its path on for every host.
    Url(String),
    /// All URLs that begin so, whole or from their path on.
    Prefix(String),
    /// All with this tag.
    Tag(String),
    /// All.
    All,
}

impl Target {
    /// Whether an answer is meant.
    #[must_use]
    pub fn means(&self, key: UrlKey, url: &str, tags: &[Box<str>]) -> bool {
        let path = || path_of(url);
        match self {
            Self::Key(other) => *other == key,
            Self::Url(other) if other.starts_with('/') => path() == other,
            Self::Url(other) => url == other,
            Self::Prefix(start) if start.starts_with('/') => path().starts_with(start.as_str()),
            Self::Prefix(start) => url.starts_with(start.as_str()),
            Self::Tag(tag) => tags.iter().any(|own| **own == **tag),
            Self::All => true,
        }
    }
}

/// A URL from its path on.
#[must_use]
pub fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// The last changes.
#[derive(Default)]
pub(super) struct Changes {
    count: AtomicU64,
    last: Mutex<VecDeque<(u64, Target)>>,
}

/// A point in the sequence of changes: what was asked for then is not kept if a change since is about it.
#[derive(Clone)]
pub struct Since {
    pub(super) changes: Arc<Changes>,
    pub(super) count: u64,
}

impl Since {
    /// Whether something was changed since then that is about this answer.
    #[must_use]
    pub fn changed(&self, key: UrlKey, url: &str, tags: &[Box<str>]) -> bool {
        self.changes.since(self.count, key, url, tags)
    }
}

impl Changes {
    /// How many there have been.
    pub(super) fn count(&self) -> u64 {
        self.count.load(SeqCst)
    }

    pub(super) fn note(&self, target: Target) {
        let mut last = self.last.lock();
        let count = self.count.fetch_add(1, SeqCst);
        last.push_back((count, target));
        if last.len() > MOST {
            last.pop_front();
        }
    }

    /// Whether one of the changes since that count is about this answer.
    pub(super) fn since(&self, count: u64, key: UrlKey, url: &str, tags: &[Box<str>]) -> bool {
        if self.count() == count {
            return false;
        }
        let last = self.last.lock();
        let forgotten = last.front().is_some_and(|(first, _)| *first > count);
        forgotten
            || last
                .iter()
                .any(|(number, target)| *number >= count && target.means(key, url, tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: UrlKey = UrlKey(7);
    const URL: &str = "http://site.test/api/deals?x=1";

    #[test]
    fn targets() {
        let tags = ["a".into()];
        for (target, expected) in [
            (Target::Key(KEY), true),
            (Target::Key(UrlKey(8)), false),
            (Target::Url(URL.into()), true),
            (Target::Url("/api/deals?x=1".into()), true),
            (Target::Url("/api/deals".into()), false),
            (Target::Prefix("/api/".into()), true),
            (Target::Prefix("http://site.test/api".into()), true),
            (Target::Prefix("/ap/".into()), false),
            (Target::Prefix("http://other.test/".into()), false),
            (Target::Tag("a".into()), true),
            (Target::Tag("b".into()), false),
            (Target::All, true),
        ] {
            assert_eq!(target.means(KEY, URL, &tags), expected, "{target:?}");
        }
    }

    #[test]
    fn who_was_under_way_is_told() {
        let changes = Changes::default();
        let before = changes.count();
        assert!(!changes.since(before, KEY, URL, &[]));
        changes.note(Target::Key(UrlKey(9)));
        assert!(!changes.since(before, KEY, URL, &[]));
        changes.note(Target::Prefix("/api".into()));
        assert!(changes.since(before, KEY, URL, &[]));
        assert!(!changes.since(changes.count(), KEY, URL, &[]));
        for _ in 0..MOST {
            changes.note(Target::Key(UrlKey(9)));
        }
        assert!(
            changes.since(before, KEY, URL, &[]),
            "longer under way than is remembered"
        );
    }
}
