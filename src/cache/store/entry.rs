//! A stored answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::Body;
use crate::cache::{Extra, Moment, Selector, Terms};

/// What an entry takes beside its fields and its body, bytes: measured with a million small ones.
const OVERHEAD: u64 = 640;

/// How often an entry can have been used before it is put to the test again.
const MOST_USES: u8 = 3;

/// A stored answer. What changes is replaced by another entry with the same body.
pub struct Entry {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: Fields,
    /// What it may be used for.
    pub terms: Terms,
    /// Which requests it is for.
    pub selector: Selector,
    /// Its body.
    pub body: Arc<Body>,
    /// The names under which it is forgotten together with others.
    pub tags: Box<[Box<str>]>,
    /// Its URL, for people and prefixes.
    pub url: Box<str>,
    /// The parts of its key beside the URL.
    pub extra: Extra,
    /// The application no longer has it: it is kept for those who still ask.
    pub kept_until: Option<Moment>,
    pub(super) uses: AtomicU8,
}

impl Entry {
    /// An entry that nobody has used yet.
    #[must_use]
    pub fn new(status: StatusCode, fields: &HeaderMap, terms: Terms, selector: Selector, body: Arc<Body>) -> Self {
        Self {
            status,
            fields: Fields::new(fields),
            terms,
            selector,
            body,
            tags: Box::default(),
            url: Box::default(),
            extra: Extra(0),
            kept_until: None,
            uses: AtomicU8::new(0),
        }
    }

    /// The same answer, with other fields and other terms.
    #[must_use]
    pub fn updated(&self, fields: &HeaderMap, terms: Terms, selector: Selector) -> Self {
        Self {
            status: self.status,
            fields: Fields::new(fields),
            terms,
            selector,
            body: Arc::clone(&self.body),
            tags: self.tags.clone(),
            url: self.url.clone(),
            extra: self.extra,
            kept_until: self.kept_until,
            uses: AtomicU8::new(self.uses.load(Relaxed)),
        }
    }

    /// The same answer, stale from now on.
    #[must_use]
    pub fn expired(&self, now: Moment) -> Self {
        let mut terms = self.terms.clone();
        terms.lifetime = terms.lifetime.min(terms.age(now));
        Self {
            fields: self.fields.clone(),
            ..self.updated(&HeaderMap::new(), terms, self.selector.clone())
        }
    }

    /// The same answer, which is asked about before it is used again, whatever happens.
    #[must_use]
    pub fn doubted(&self, now: Moment) -> Self {
        let mut doubted = self.expired(now);
        doubted.terms.must_revalidate = true;
        doubted
    }

    /// The memory that it takes, bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum();
        let own = self.fields.weight() + self.selector.weight() + self.url.len() + tags;
        OVERHEAD + own as u64 + self.body.in_memory()
    }

    /// It was used.
    pub(super) fn touch(&self) {
        if self.uses.load(Relaxed) < MOST_USES {
            self.uses.fetch_add(1, Relaxed);
        }
    }
}

/// The fields of an answer: their values side by side in one piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(Box<[(HeaderName, HeaderValue)]>);

impl Fields {
    /// Packs them.
    #[must_use]
    pub fn new(fields: &HeaderMap) -> Self {
        let mut text = BytesMut::with_capacity(fields.values().map(HeaderValue::len).sum());
        fields
            .values()
            .for_each(|value| text.extend_from_slice(value.as_bytes()));
        let mut text = text.freeze();
        let pack = |(name, value): (&HeaderName, &HeaderValue)| {
            let bytes = text.split_to(value.len());
            (
                name.clone(),
                HeaderValue::from_maybe_shared(bytes).unwrap_or_else(|_| value.clone()),
            )
        };
        Self(fields.iter().map(pack).collect())
    }

    /// Unpacks them.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(self.0.len() + 6);
        for (name, value) in &self.0 {
            fields.append(name.clone(), value.clone());
        }
        fields
    }

    /// The first of that name.
    #[must_use]
    pub fn first(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    fn weight(&self) -> usize {
        let own = |(name, value): &(HeaderName, HeaderValue)| {
            size_of::<(HeaderName, HeaderValue)>() + name.as_str().len() + value.len()
        };
        self.0.iter().map(own).sum()
    }
}
