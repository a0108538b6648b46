//! The store, as those who use it see it.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::cache::{Asked, Exchanged, KeyRules, Policy, ResponseDirectives, Selector, Terms};

const NOW: Moment = Moment(1_700_000_000_000);

fn store(size: u64) -> Store {
    Store::new(size, Seed(1, 2))
}

fn key(store: &Store, path: &str) -> Key {
    let asked = Asked {
        scheme: "http",
        authority: "site.test",
        path,
        query: None,
    };
    KeyRules::default().key(store.seed(), &asked, "r", &HeaderMap::new())
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_static(value));
    }
    fields
}

fn entry(key: &Key, path: &str, request: &HeaderMap, vary: &'static str, body: usize) -> Entry {
    let answer = fields(&[("cache-control", "max-age=60"), ("vary", vary)]);
    let exchanged = Exchanged {
        asked: NOW,
        answered: NOW,
    };
    let policy = Policy::new("x");
    let terms = Terms::new(
        &policy,
        &ResponseDirectives::of(&answer),
        StatusCode::OK,
        &answer,
        exchanged,
    );
    let selector = Selector::new(&policy, request, &answer);
    let body = Body::whole(vec![Bytes::from(vec![b'x'; body])]);
    Entry {
        url: format!("http://site.test{path}").into(),
        extra: key.extra,
        ..Entry::new(StatusCode::OK, &answer, terms, selector, body)
    }
}

fn keep(store: &Store, path: &str, body: usize, asked: u8) -> Key {
    let key = key(store, path);
    let none = HeaderMap::new();
    assert!(store.keep(
        &key,
        &none,
        Arc::new(entry(&key, path, &none, "", body)),
        asked,
        &store.since()
    ));
    key
}

fn has(store: &Store, key: &Key) -> bool {
    matches!(store.find(key, &HeaderMap::new()), Found::Entry(_))
}

#[test]
fn variants_of_one_url() {
    let store = store(1 << 20);
    let key = key(&store, "/a");
    let (one, two) = (fields(&[("foo", "1")]), fields(&[("foo", "2")]));
    for request in [&one, &two, &one] {
        assert!(store.keep(
            &key,
            request,
            Arc::new(entry(&key, "/a", request, "foo", 10)),
            1,
            &store.since()
        ));
    }
    assert_eq!(
        store.holdings().entries,
        2,
        "the second answer for a request replaces the first"
    );
    assert!(matches!(store.find(&key, &one), Found::Entry(_)));
    assert!(matches!(store.find(&key, &HeaderMap::new()), Found::Others(_)));
    assert!(matches!(store.find(&self::key(&store, "/b"), &one), Found::Nothing));
}

#[test]
fn what_is_asked_for_again_stays() {
    let store = store(200_000);
    let loved = keep(&store, "/loved", 1000, 1);
    for number in 0..2000 {
        keep(&store, &format!("/{number}"), 1000, 1);
        assert!(has(&store, &loved), "after {number}");
        assert!(store.holdings().bytes <= 200_000);
    }
    let held = store.holdings();
    assert!(held.entries > 80 && held.evicted > 1800, "{held:?}");
}

#[test]
fn nothing_is_kept_that_would_empty_the_store() {
    let store = store(100_000);
    assert!(store.admits(1000, 1));
    assert!(!store.admits(60_000, 9));
    for number in 0..60 {
        keep(&store, &format!("/{number}"), 1000, 1);
    }
    assert!(!store.admits(1000, 1), "the first time, with little room left");
    assert!(store.admits(1000, 2));
    let key = key(&store, "/asked");
    assert_eq!((store.miss(&key), store.miss(&key)), (1, 2));
}

#[test]
fn purges_soft_and_hard() {
    let store = store(1 << 20);
    let (a, b, c) = (
        keep(&store, "/api/a", 1, 1),
        keep(&store, "/api/b", 1, 1),
        keep(&store, "/c", 1, 1),
    );
    assert_eq!(store.purge(&Target::Prefix("/api/".into()), None), 2);
    assert!(!has(&store, &a) && !has(&store, &b) && has(&store, &c));
    assert_eq!(store.purge(&Target::Url("http://site.test/c".into()), Some(NOW)), 1);
    let Found::Entry(stale) = store.find(&c, &HeaderMap::new()) else {
        panic!("still there")
    };
    assert!(stale.terms.fresh_for(NOW).is_err());
    assert_eq!(store.purge(&Target::All, None), 1);
    assert_eq!(store.holdings().entries, 0);
    assert_eq!(store.holdings().bytes, 0);
}

#[test]
fn tags_are_forgotten_with_their_entries() {
    let store = store(1 << 20);
    let key = key(&store, "/a");
    let none = HeaderMap::new();
    let tagged = Entry {
        tags: Box::new(["t".into()]),
        ..entry(&key, "/a", &none, "", 1)
    };
    let before = store.since();
    assert!(store.keep(&key, &none, Arc::new(tagged), 1, &before));
    assert_eq!(store.purge(&Target::Tag("u".into()), None), 0);
    assert_eq!(store.purge(&Target::Tag("t".into()), None), 1);
    assert_eq!(store.purge(&Target::Tag("t".into()), None), 0);
    // An answer that was under way while its tag was purged is not kept.
    let late = Entry {
        tags: Box::new(["t".into()]),
        ..entry(&key, "/a", &none, "", 1)
    };
    assert!(!store.keep(&key, &none, Arc::new(late), 1, &before));
}

#[test]
fn reminders_that_nothing_is_kept() {
    let store = store(1 << 20);
    let key = key(&store, "/a");
    assert!(!store.passes(&key, NOW));
    store.let_pass(&key, NOW);
    assert!(store.passes(&key, NOW));
    assert!(!store.passes(&key, NOW.plus(PASS)));
    keep(&store, "/a", 1, 1);
    assert!(!store.passes(&key, NOW), "an answer that is kept ends it");
}

#[test]
fn an_update_keeps_the_body() {
    let store = store(1 << 20);
    let key = keep(&store, "/a", 100, 1);
    let Found::Entry(old) = store.find(&key, &HeaderMap::new()) else {
        panic!("there")
    };
    let new = Arc::new(old.updated(&fields(&[("x-a", "2")]), old.terms.clone(), old.selector.clone()));
    assert!(Arc::ptr_eq(&old.body, &new.body));
    assert!(store.exchange(&key, &old, Arc::clone(&new), &store.since()));
    assert!(!store.exchange(&key, &old, new, &store.since()), "the old one is gone");
    let Found::Entry(found) = store.find(&key, &HeaderMap::new()) else {
        panic!("there")
    };
    assert_eq!(found.fields.to_map()["x-a"], "2");
    store.forget(&key, &found);
    assert_eq!(
        store.holdings(),
        Holdings {
            entries: 0,
            bytes: 0,
            evicted: 0
        }
    );
}

proptest! {
    /// Whatever is done, the totals are those of what is there, and within the size.
    #[test]
    fn totals_are_kept(steps in proptest::collection::vec((0_u8..6, 0_u8..20, 0_usize..3000), 1..200)) {
        let store = store(20_000);
        for (step, number, body) in steps {
            let path = format!("/{number}");
            match step {
                0..=2 => drop(keep(&store, &path, body, 1 + step)),
                3 => drop(has(&store, &key(&store, &path))),
                4 => drop(store.purge(&Target::Url(path), (body % 2 == 0).then_some(NOW))),
                _ => store.let_pass(&key(&store, &path), NOW),
            }
            prop_assert!(store.holdings().bytes <= 20_000);
        }
        let there = (0..20).filter(|number| has(&store, &key(&store, &format!("/{number}")))).count();
        prop_assert_eq!(store.holdings().entries, there as u64);
        store.purge(&Target::All, None);
        prop_assert_eq!(store.holdings().bytes, 0);
    }
}
