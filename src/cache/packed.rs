//! An answer with its body in one piece of bytes, as gateways share them: under a checksum, with its own address, and the
//! place in the sequence of purges at which it was asked for.
//!
//! ```text
//! "GWSHARE" version · checksum of what follows · an answer, or the names of the fields that tell requests apart
//! ```

use bytes::Bytes;
use http::{HeaderName, header};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::record::{self, Record};
use super::store::{Body, Entry};
use super::{Address, Position, url_digest};

/// The last byte is the version, that of the record included: what is written otherwise is none of ours.
const MAGIC: [u8; 8] = *b"GWSHARE\x01";

const HEAD: usize = 16;

/// What an answer takes beside its body at most, bytes.
pub const MARGIN: usize = 64 << 10;

/// More fields than this tell no requests apart.
const MOST_NAMES: usize = 24;

/// What there is at an address, or at a place beside it.
pub enum Packed {
    /// An answer.
    Answer(Box<Unpacked>),
    /// Answers are kept beside it, at the places of the requests that they are for ([`place_of`](super::place_of)).
    Beside(Vec<HeaderName>),
}

/// An answer that was packed.
pub struct Unpacked {
    /// The answer with its body.
    pub entry: Entry,
    /// Up to where purges were known when it was asked for.
    pub asked: Position,
}

#[derive(Serialize, Deserialize)]
enum Written<'a> {
    Answer {
        epoch: &'a str,
        record: &'a [u8],
        body: &'a [u8],
    },
    Beside {
        address: (u128, u128),
        #[serde(borrow)]
        names: Vec<&'a str>,
    },
}

/// Packs an answer that was asked for at this position. `None`: its body is not in memory or longer than `most` bytes, or
/// the rest of it longer than [`MARGIN`].
#[must_use]
pub fn pack(entry: &Entry, address: Address, asked: &Position, most: u64) -> Option<Vec<u8>> {
    let length = entry.body.length().filter(|length| *length <= most)?;
    let mut body = Vec::with_capacity(usize::try_from(length).ok()?);
    entry
        .body
        .chunks()?
        .iter()
        .for_each(|chunk| body.extend_from_slice(chunk));
    let record = record::write(entry, address, asked.generation)?;
    let packed = written(&Written::Answer {
        epoch: &asked.epoch,
        record: &record,
        body: &body,
    })?;
    (packed.len() <= body.len() + MARGIN).then_some(packed)
}

/// Packs what tells the requests for an address apart.
#[must_use]
pub fn pack_names<'a>(names: impl Iterator<Item = &'a HeaderName>, address: Address) -> Option<Vec<u8>> {
    written(&Written::Beside {
        address: (address.url, address.extra),
        names: names.map(HeaderName::as_str).collect(),
    })
}

fn written(written: &Written<'_>) -> Option<Vec<u8>> {
    let mut packed = MAGIC.to_vec();
    packed.extend_from_slice(&[0; HEAD - MAGIC.len()]);
    let mut packed = postcard::to_extend(written, packed).ok()?;
    let sum = xxh3_64(&packed[HEAD..]);
    packed[MAGIC.len()..HEAD].copy_from_slice(&sum.to_le_bytes());
    Some(packed)
}

/// Unpacks what was found at an address. `None`: it is something else, or another one's.
#[must_use]
pub fn unpack(packed: &[u8], address: Address) -> Option<Packed> {
    let (head, rest) = packed.split_at_checked(HEAD)?;
    let (magic, sum) = head.split_at(MAGIC.len());
    if magic != MAGIC || sum != xxh3_64(rest).to_le_bytes() {
        return None;
    }
    let (written, nothing) = postcard::take_from_bytes::<Written<'_>>(rest).ok()?;
    if !nothing.is_empty() {
        return None;
    }
    match written {
        Written::Answer { epoch, record, body } => {
            let Record {
                mut entry,
                address: of,
                generation,
            } = record::read(record)?;
            // What it says of itself, and what its name is made of.
            let ours = of == address && url_digest(&entry.url) == address.url;
            if !ours || declared_length(&entry).is_some_and(|declared| declared != body.len()) {
                return None;
            }
            // A copy: the rest need not stay in memory as long as it does.
            entry.body = Body::whole(vec![Bytes::copy_from_slice(body)]);
            Some(Packed::Answer(Box::new(Unpacked {
                entry,
                asked: Position {
                    epoch: epoch.into(),
                    generation,
                },
            })))
        }
        Written::Beside { address: of, names } => {
            let ours = of == (address.url, address.extra) && !names.is_empty() && names.len() <= MOST_NAMES;
            let names = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            ours.then(|| names.collect::<Option<_>>().map(Packed::Beside)).flatten()
        }
    }
}

/// The length that clients would be told.
fn declared_length(entry: &Entry) -> Option<usize> {
    let text = entry.fields.first(&header::CONTENT_LENGTH)?.to_str().ok();
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    Some(digits.and_then(|text| text.parse().ok()).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::{Exchanged, Moment, Policy, ResponseDirectives, Selector, Terms, place_of};

    const URL: &str = "http://site.test/a?x=1";
    const BODY: &[u8] = b"\0\r\n\xff body";

    fn address() -> Address {
        Address {
            url: url_digest(URL),
            extra: 9,
        }
    }

    fn asked() -> Position {
        Position {
            epoch: "e".into(),
            generation: 42,
        }
    }

    fn entry(fields: &[(&'static str, &'static str)], request: &HeaderMap) -> Entry {
        let fields: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let exchanged = Exchanged {
            asked: Moment(1000),
            answered: Moment(1010),
        };
        let (policy, directives) = (Policy::new("c"), ResponseDirectives::of(&fields));
        let terms = Terms::new(&policy, &directives, StatusCode::OK, &fields, exchanged);
        let selector = Selector::new(&policy, request, &fields);
        let body = Body::whole(BODY.chunks(3).map(Bytes::copy_from_slice).collect());
        let mut entry = Entry::new(StatusCode::OK, &fields, terms, selector, body);
        entry.url = URL.into();
        entry
    }

    fn packed() -> Vec<u8> {
        let entry = entry(&[("cache-control", "max-age=60")], &HeaderMap::new());
        pack(&entry, address(), &asked(), 100).expect("can be packed")
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let Some(Packed::Answer(answer)) = unpack(&packed(), address()) else {
            panic!("an answer")
        };
        assert_eq!(answer.asked, asked());
        assert_eq!(&*answer.entry.url, URL);
        assert_eq!(answer.entry.body.chunks().expect("here").concat(), BODY);
    }

    #[test]
    fn a_body_may_be_empty() {
        let mut empty = entry(&[], &HeaderMap::new());
        empty.body = Body::whole(Vec::new());
        let packed = pack(&empty, address(), &asked(), 0).expect("can be packed");
        let Some(Packed::Answer(answer)) = unpack(&packed, address()) else {
            panic!("an answer")
        };
        assert_eq!(answer.entry.body.length(), Some(0));
    }

    #[test]
    fn another_ones_is_nothing() {
        let other = Address { extra: 8, ..address() };
        assert!(unpack(&packed(), other).is_none());
        // Under the right address, an answer whose URL is not what the address was made of.
        let mut foreign = entry(&[], &HeaderMap::new());
        foreign.url = "http://site.test/b".into();
        let foreign = pack(&foreign, address(), &asked(), 100).expect("can be packed");
        assert!(unpack(&foreign, address()).is_none());
        let names = [header::ACCEPT_LANGUAGE];
        let beside = pack_names(names.iter(), address()).expect("can be packed");
        assert!(unpack(&beside, other).is_none());
        assert!(matches!(unpack(&beside, address()), Some(Packed::Beside(read)) if read == names));
    }

    #[test]
    fn a_length_that_is_wrong_is_nothing() {
        for (declared, good) in [("9", true), ("8", false), ("+9", false), ("x", false)] {
            let entry = entry(&[("content-length", declared)], &HeaderMap::new());
            let packed = pack(&entry, address(), &asked(), 100).expect("can be packed");
            assert_eq!(unpack(&packed, address()).is_some(), good, "{declared}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_packed() {
        let small = entry(&[], &HeaderMap::new());
        assert!(pack(&small, address(), &asked(), BODY.len() as u64).is_some());
        assert!(pack(&small, address(), &asked(), BODY.len() as u64 - 1).is_none());
        let mut tagged = entry(&[], &HeaderMap::new());
        tagged.tags = Box::new(["t".repeat(MARGIN).into()]);
        assert!(pack(&tagged, address(), &asked(), 100).is_none());
    }

    #[test]
    fn a_request_finds_the_answer_that_is_for_it() {
        let request = |language: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
            fields
        };
        let kept = entry(&[("vary", "Accept-Language")], &request("de, en;q=0.5"));
        let names: Vec<HeaderName> = kept.selector.names().cloned().collect();
        assert_eq!(kept.selector.place(), Some(place_of(&names, &request("en;q=0.5,de"))));
        assert_ne!(kept.selector.place(), Some(place_of(&names, &request("en"))));
        assert_ne!(kept.selector.place(), Some(place_of(&names, &HeaderMap::new())));
        assert_eq!(entry(&[], &HeaderMap::new()).selector.place(), None);
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_seen(at in 0usize..1000, change in 1u8..) {
            let mut packed = packed();
            let at = at % packed.len();
            packed[at] ^= change;
            prop_assert!(unpack(&packed, address()).is_none());
        }

        #[test]
        fn any_bytes_under_a_good_checksum_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut packed = MAGIC.to_vec();
            packed.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
            packed.extend_from_slice(&bytes);
            let _ = unpack(&packed, address());
        }
    }
}
