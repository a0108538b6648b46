//! An answer without its body, as tiers write it: everything but what is this process's own.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::store::{Body, Entry};
use super::{Address, Moment, Selector, Source, Terms};

/// A written answer, read again. Its body is empty, for the reader to fill in.
pub struct Record {
    /// The answer.
    pub entry: Entry,
    /// Its address.
    pub address: Address,
    /// What the tier said to [`Tier::generation`](super::Tier::generation) before it was asked for.
    pub generation: u64,
}

/// What is written. A change of it is another version of whatever it is written into.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    url: &'a str,
    address: (u128, u128),
    generation: u64,
    status: u16,
    fields: Vec<Field<'a>>,
    #[serde(borrow)]
    selector: Selecting<'a>,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    kept_until: Option<u64>,
    lifetime: Duration,
    source: u8,
    initial_age: Duration,
    since: u64,
    date: u64,
    no_cache: bool,
    #[serde(borrow)]
    no_cache_fields: Vec<&'a str>,
    must_revalidate: bool,
    stale_while_revalidate: Duration,
    stale_if_error: Option<Duration>,
    for_everybody: bool,
}

#[derive(Serialize, Deserialize)]
struct Field<'a>(&'a str, &'a [u8]);

#[derive(Serialize, Deserialize)]
struct Selecting<'a> {
    #[serde(borrow)]
    fields: Vec<(&'a str, Option<&'a [u8]>)>,
    coding: Option<&'a str>,
    only_plain: bool,
    language: Option<&'a str>,
}

const SOURCES: [Source; 5] = [
    Source::Ttl,
    Source::Application,
    Source::DefaultTtl,
    Source::Heuristic,
    Source::Nobody,
];

/// Writes an answer without its body. `None`: it cannot be written.
#[must_use]
pub fn write(entry: &Entry, address: Address, generation: u64) -> Option<Vec<u8>> {
    let terms = &entry.terms;
    let written = Written {
        url: &entry.url,
        address: (address.url, address.extra),
        generation,
        status: entry.status.as_u16(),
        fields: entry
            .fields
            .iter()
            .map(|(name, value)| Field(name.as_str(), value.as_bytes()))
            .collect(),
        selector: selecting(&entry.selector),
        tags: entry.tags.iter().map(|tag| &**tag).collect(),
        kept_until: entry.kept_until.map(|moment| moment.0),
        lifetime: terms.lifetime,
        source: SOURCES
            .iter()
            .position(|source| *source == terms.source)
            .and_then(|place| u8::try_from(place).ok())?,
        initial_age: terms.initial_age,
        since: terms.since.0,
        date: terms.date.0,
        no_cache: terms.no_cache,
        no_cache_fields: terms.no_cache_fields.iter().map(HeaderName::as_str).collect(),
        must_revalidate: terms.must_revalidate,
        stale_while_revalidate: terms.stale_while_revalidate,
        stale_if_error: terms.stale_if_error,
        for_everybody: terms.for_everybody,
    };
    postcard::to_allocvec(&written).ok()
}

/// Reads what [`write()`] wrote; `None`: it is something else.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Record> {
    let (written, rest) = postcard::take_from_bytes::<Written<'_>>(bytes).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut fields = HeaderMap::new();
    for Field(name, value) in &written.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        // More than a map holds is no answer of ours.
        fields.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    let names = |names: &[&str]| -> Option<Box<[HeaderName]>> {
        let names = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        names.collect()
    };
    let terms = Terms {
        lifetime: written.lifetime,
        source: *SOURCES.get(usize::from(written.source))?,
        initial_age: written.initial_age,
        since: Moment(written.since),
        date: Moment(written.date),
        no_cache: written.no_cache,
        no_cache_fields: names(&written.no_cache_fields)?,
        must_revalidate: written.must_revalidate,
        stale_while_revalidate: written.stale_while_revalidate,
        stale_if_error: written.stale_if_error,
        for_everybody: written.for_everybody,
    };
    let Selecting {
        fields: selecting,
        coding,
        only_plain,
        language,
    } = written.selector;
    let selecting = selecting.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, value.map(Into::into)))
    });
    let selector = Selector::from_parts(
        selecting.collect::<Option<_>>()?,
        coding.map(Into::into),
        only_plain,
        language.map(Into::into),
    );
    let status = StatusCode::from_u16(written.status)
        .ok()
        .filter(|status| !status.is_informational())?;
    let mut entry = Entry::new(status, &fields, terms, selector, Body::whole(Vec::new()));
    entry.url = written.url.into();
    entry.tags = written.tags.iter().map(|tag| Box::from(*tag)).collect();
    entry.kept_until = written.kept_until.map(Moment);
    Some(Record {
        entry,
        address: Address {
            url: written.address.0,
            extra: written.address.1,
        },
        generation: written.generation,
    })
}

/// A number that tells the answers of one address apart, by the requests that they are for: the same in every process.
#[must_use]
pub fn variant(selector: &Selector) -> u64 {
    let written = postcard::to_allocvec(&selecting(selector)).unwrap_or_default();
    let digest = digest(&SHA256, &written);
    digest
        .as_ref()
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn selecting(selector: &Selector) -> Selecting<'_> {
    let (fields, coding, only_plain, language) = selector.parts();
    Selecting {
        fields: fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect(),
        coding,
        only_plain,
        language,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{Exchanged, Policy, ResponseDirectives};

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    fn entry() -> Entry {
        let policy = Policy::new("c");
        let mut answer = map(&[
            ("cache-control", "max-age=60, stale-if-error=5, no-cache=\"x-secret\""),
            ("vary", "x-a, accept-language"),
            ("content-language", "de"),
            ("content-encoding", "gzip"),
            ("x-two", "1"),
            ("x-two", "2"),
        ]);
        answer.insert("x-raw", HeaderValue::from_bytes(b"\xe4").expect("a value"));
        let exchanged = Exchanged {
            asked: Moment(1000),
            answered: Moment(1010),
        };
        let directives = ResponseDirectives::of(&answer);
        let terms = Terms::new(&policy, &directives, StatusCode::OK, &answer, exchanged);
        let request = map(&[("accept-language", "de"), ("accept-encoding", "gzip")]);
        let selector = Selector::new(&policy, &request, &answer);
        let mut entry = Entry::new(StatusCode::OK, &answer, terms, selector, Body::whole(Vec::new()));
        entry.url = "http://site.test/a?x=1".into();
        entry.tags = Box::new(["deals".into(), "shop".into()]);
        entry.kept_until = Some(Moment(7));
        entry
    }

    const ADDRESS: Address = Address {
        url: 7 << 100,
        extra: 9,
    };

    #[test]
    fn what_is_written_is_read() {
        let before = entry();
        let written = write(&before, ADDRESS, 42).expect("can be written");
        let Record {
            entry,
            address,
            generation,
        } = read(&written).expect("can be read");
        assert_eq!((address, generation), (ADDRESS, 42));
        assert_eq!((entry.status, &entry.fields), (before.status, &before.fields));
        assert_eq!((&entry.terms, &entry.selector), (&before.terms, &before.selector));
        assert_eq!((&entry.url, &entry.tags), (&before.url, &before.tags));
        assert_eq!(entry.kept_until, before.kept_until);
        assert_eq!(variant(&entry.selector), variant(&before.selector));
        assert_ne!(variant(&entry.selector), variant(&Selector::default()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_piece_is_nothing(at in 0usize..1000) {
            let written = write(&entry(), ADDRESS, 42).expect("can be written");
            let at = at % written.len();
            prop_assert!(read(&written[..at]).is_none());
        }
    }
}
