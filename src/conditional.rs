//! Conditional requests (RFC 9110 §13) and byte ranges (§14), as an origin or a cache answers them.

use std::time::SystemTime;

use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What tells one state of a representation from another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// `ETag`, as it was or would be sent.
    pub etag: Option<&'a HeaderValue>,
    /// `Last-Modified`, as it was or would be sent.
    pub last_modified: Option<&'a HeaderValue>,
}

/// What the preconditions of a request make of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// None stands in the way.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client thought.
    Failed,
}

/// What a `Range` field makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// 200: the field is absent, not for this representation, or one that may be ignored.
    Full,
    /// 206: from the first to the last byte, both included; `first <= last < total`.
    Partial {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// 416: begins behind the end.
    Unsatisfiable,
}

impl<'a> Validators<'a> {
    /// The validators among the fields of an answer.
    #[must_use]
    pub fn from_headers(answer: &'a HeaderMap) -> Self {
        Self {
            etag: answer.get(ETAG),
            last_modified: answer.get(LAST_MODIFIED),
        }
    }
}

/// Judges the preconditions of a request in the order of RFC 9110 §13.2.2, for an answer that would be 2xx without them
/// (§13.2.1).
#[must_use]
pub fn evaluate(method: &Method, request: &HeaderMap, current: Validators<'_>) -> Precondition {
    if request.contains_key(IF_MATCH) {
        if !any_tag_matches(request, IF_MATCH, current.etag, Comparison::Strong) {
            return Precondition::Failed;
        }
    } else if let Some(limit) = single_date(request, IF_UNMODIFIED_SINCE)
        && date(current.last_modified).is_some_and(|modified| modified > limit)
    {
        return Precondition::Failed;
    }
    let reads = method == Method::GET || method == Method::HEAD;
    if reads {
        if not_modified(request, current) {
            return Precondition::NotModified;
        }
    } else if request.contains_key(IF_NONE_MATCH)
        && any_tag_matches(request, IF_NONE_MATCH, current.etag, Comparison::Weak)
    {
        return Precondition::Failed;
    }
    Precondition::Proceed
}

/// Whether a GET or HEAD is answered 304. This half is all that concerns a cache (RFC 9111 §4.3.2): `If-Match` and
/// `If-Unmodified-Since` are for the origin.
#[must_use]
pub fn not_modified(request: &HeaderMap, current: Validators<'_>) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return any_tag_matches(request, IF_NONE_MATCH, current.etag, Comparison::Weak);
    }
    single_date(request, IF_MODIFIED_SINCE)
        .is_some_and(|since| date(current.last_modified).is_some_and(|modified| modified <= since))
}

/// Reads `Range` for a representation of `total` bytes, `If-Range` considered. To be asked once the preconditions are
/// met and the answer would be 200.
///
/// A set of several ranges is answered in full, as RFC 9110 §14.2 allows: assembling many small or overlapping parts is
/// work that the client chooses and the server does (§17.15).
#[must_use]
pub fn byte_range(method: &Method, request: &HeaderMap, total: u64, current: Validators<'_>) -> ByteRange {
    if method != Method::GET {
        return ByteRange::Full;
    }
    let Some(range) = single(request, RANGE) else {
        return ByteRange::Full;
    };
    if request.contains_key(IF_RANGE)
        && !single(request, IF_RANGE).is_some_and(|validator| if_range_holds(validator, current))
    {
        return ByteRange::Full;
    }
    parse_range(range.as_bytes(), total)
}

/// RFC 9110 §13.1.5: the strong comparison of tags, or the very date.
fn if_range_holds(validator: &HeaderValue, current: Validators<'_>) -> bool {
    let bytes = validator.as_bytes();
    if bytes.starts_with(b"\"") || bytes.starts_with(b"W/") {
        let given = EntityTags(bytes).next();
        return match (given, current.etag.and_then(entity_tag)) {
            (Some(given), Some(own)) => Comparison::Strong.equal(given, own),
            _ => false,
        };
    }
    match (date(Some(validator)), date(current.last_modified)) {
        (Some(given), Some(own)) => given == own,
        _ => false,
    }
}

/// RFC 9110 §14.1.1 and §14.1.2; what breaks the grammar is ignored (§14.2).
fn parse_range(field: &[u8], total: u64) -> ByteRange {
    let Some((unit, set)) = split_once(field, b'=') else {
        return ByteRange::Full;
    };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return ByteRange::Full;
    }
    let Some((first, last)) = split_once(set.trim_ascii(), b'-') else {
        return ByteRange::Full;
    };
    match (first.is_empty(), last.is_empty()) {
        (true, true) => ByteRange::Full,
        (true, false) => match number(last) {
            None => ByteRange::Full,
            Some(0) => ByteRange::Unsatisfiable,
            // Satisfiable, but no Content-Range can say so.
            Some(_) if total == 0 => ByteRange::Full,
            Some(suffix) => ByteRange::Partial {
                first: total.saturating_sub(suffix),
                last: total - 1,
            },
        },
        (false, open_ended) => {
            let last = if open_ended { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first > last => ByteRange::Full,
                (Some(first), Some(_)) if first >= total => ByteRange::Unsatisfiable,
                (Some(first), Some(last)) => ByteRange::Partial {
                    first,
                    last: last.min(total - 1),
                },
                _ => ByteRange::Full,
            }
        }
    }
}

/// A decimal number; what is larger than any file is as large as can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// RFC 9110 §8.8.3.2.
#[derive(Clone, Copy)]
enum Comparison {
    /// Neither tag may be weak.
    Strong,
    /// Only the opaque parts count.
    Weak,
}

impl Comparison {
    fn equal(self, one: EntityTag<'_>, other: EntityTag<'_>) -> bool {
        one.opaque == other.opaque && (matches!(self, Self::Weak) || !(one.weak || other.weak))
    }
}

#[derive(Clone, Copy)]
struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// Whether `*` or one of the listed tags stands for the current representation, which exists.
fn any_tag_matches(
    request: &HeaderMap,
    name: HeaderName,
    current: Option<&HeaderValue>,
    comparison: Comparison,
) -> bool {
    let current = current.and_then(entity_tag);
    request.get_all(name).iter().any(|line| {
        line.as_bytes().trim_ascii() == b"*"
            || current.is_some_and(|own| EntityTags(line.as_bytes()).any(|given| comparison.equal(given, own)))
    })
}

fn entity_tag(field: &HeaderValue) -> Option<EntityTag<'_>> {
    EntityTags(field.as_bytes()).next()
}

/// The tags of a list, up to the first byte that belongs to none.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        let separators = self
            .0
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b','))
            .count();
        let rest = &self.0[separators..];
        let (weak, rest) = rest.strip_prefix(b"W/").map_or((false, rest), |rest| (true, rest));
        let opened = rest.strip_prefix(b"\"");
        let Some((opaque, rest)) = opened.and_then(|opened| split_once(opened, b'"')) else {
            self.0 = &[];
            return None;
        };
        self.0 = match rest.trim_ascii_start() {
            list @ ([] | [b',', ..]) => list,
            _ => &[],
        };
        Some(EntityTag { weak, opaque })
    }
}

/// The field, if it has exactly one line: these fields are no lists (RFC 9110 §5.3).
fn single(request: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut lines = request.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

fn single_date(request: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    date(single(request, name))
}

/// RFC 9110 §5.6.7, in whole seconds.
fn date(field: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(field?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests;
