//! `Cache-Control` (RFC 9111 §5.2) and its targeted siblings (RFC 9213).

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, ListEntry};

use super::list::{elements, name_and_value, split};

/// `CDN-Cache-Control`: what caches of the operator are told, where browsers are told something else (RFC 9213 §2).
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The longest time that is distinguished, seconds (RFC 9111 §1.2.2).
const MOST: u32 = 1 << 31;

/// Most field names that a qualified `no-cache` or `private` is read for; beyond it the directive counts unqualified.
const MOST_FIELDS: usize = 32;

/// `no-cache` and `private`: of the whole answer, or of some fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// The directive is absent.
    #[default]
    None,
    /// Of these fields only.
    Fields(Vec<HeaderName>),
    /// Of the whole answer.
    All,
}

/// What an answer says about its storing and reuse. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    missing_docs,
    reason = "named after the directives of RFC 9111 §5.2.2, RFC 5861 and RFC 8246"
)]
pub struct ResponseDirectives {
    /// They came from a targeted field: `Expires` says nothing then.
    pub targeted: bool,
    pub no_store: bool,
    pub no_cache: Scope,
    pub private: Scope,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub immutable: bool,
    pub max_age: Option<u32>,
    pub s_maxage: Option<u32>,
    pub stale_while_revalidate: Option<u32>,
    pub stale_if_error: Option<u32>,
}

impl ResponseDirectives {
    /// Reads the targeted field if there is a valid one, `Cache-Control` otherwise (RFC 9213 §2.2).
    #[must_use]
    pub fn of(answer: &HeaderMap) -> Self {
        Self::targeted(answer).unwrap_or_else(|| Self::untargeted(answer))
    }

    fn untargeted(answer: &HeaderMap) -> Self {
        let mut read = Self::default();
        for element in elements(answer, &CACHE_CONTROL) {
            let (name, value) = name_and_value(element);
            read.take(name, value);
        }
        read
    }

    /// A dictionary of structured fields; one that is not well formed, or empty, is ignored as a whole, a member of the
    /// wrong type by itself (RFC 9213 §2.1).
    fn targeted(answer: &HeaderMap) -> Option<Self> {
        let mut lines = answer.get_all(CDN_CACHE_CONTROL).iter();
        let mut text = lines.next()?.as_bytes().to_vec();
        for line in lines {
            text.extend_from_slice(b", ");
            text.extend_from_slice(line.as_bytes());
        }
        let members = sfv::Parser::parse_dictionary(&text).ok()?;
        if members.is_empty() {
            return None;
        }
        let mut read = Self {
            targeted: true,
            ..Self::default()
        };
        for (name, member) in &members {
            let ListEntry::Item(Item { bare_item, .. }) = member else {
                continue;
            };
            match bare_item {
                BareItem::Boolean(true) => read.take(name.as_str().as_bytes(), None),
                BareItem::Integer(number) => {
                    read.take(name.as_str().as_bytes(), Some(number.to_string().as_bytes()));
                }
                BareItem::String(fields) if matches!(name.as_str(), "no-cache" | "private") => {
                    read.take(name.as_str().as_bytes(), Some(fields.as_str().as_bytes()));
                }
                _ => {}
            }
        }
        Some(read)
    }

    /// Takes one directive. Said twice, the shorter time counts: what is reused too early costs a request, what is reused
    /// too late is wrong.
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let shorter = |time: &mut Option<u32>| {
            let given = value.and_then(seconds).unwrap_or(0);
            *time = Some(time.map_or(given, |time| time.min(given)));
        };
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            widen(&mut self.no_cache, value);
        } else if is("private") {
            widen(&mut self.private, value);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("no-transform") {
            self.no_transform = true;
        } else if is("immutable") {
            self.immutable = true;
        } else if is("max-age") {
            shorter(&mut self.max_age);
        } else if is("s-maxage") {
            shorter(&mut self.s_maxage);
        } else if is("stale-while-revalidate") {
            shorter(&mut self.stale_while_revalidate);
        } else if is("stale-if-error") {
            shorter(&mut self.stale_if_error);
        }
    }
}

fn widen(scope: &mut Scope, fields: Option<&[u8]>) {
    let names: Option<Vec<HeaderName>> = fields.map(|fields| {
        split(fields)
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .collect()
    });
    *scope = match (std::mem::take(scope), names) {
        (Scope::None, Some(names)) if !names.is_empty() && names.len() <= MOST_FIELDS => Scope::Fields(names),
        (Scope::Fields(mut before), Some(names)) if before.len() + names.len() <= MOST_FIELDS => {
            before.extend(names);
            Scope::Fields(before)
        }
        _ => Scope::All,
    };
}

/// How much stale an answer may be that a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxStale {
    /// Not at all.
    #[default]
    None,
    /// By this many seconds.
    By(u32),
    /// As much as it is.
    Any,
}

/// What a request says about answers from a cache (RFC 9111 §5.2.1). Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "named after the directives of RFC 9111 §5.2.1")]
pub struct RequestDirectives {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age: Option<u32>,
    pub min_fresh: Option<u32>,
    pub max_stale: MaxStale,
}

impl RequestDirectives {
    /// Reads `Cache-Control`, or `Pragma` where that is absent (RFC 9111 §5.4).
    #[must_use]
    pub fn of(request: &HeaderMap) -> Self {
        let mut read = Self::default();
        if !request.contains_key(CACHE_CONTROL) {
            read.no_cache = elements(request, &PRAGMA).any(|element| element.eq_ignore_ascii_case(b"no-cache"));
            return read;
        }
        for element in elements(request, &CACHE_CONTROL) {
            let (name, value) = name_and_value(element);
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let time = value.and_then(seconds);
            if is("no-store") {
                read.no_store = true;
            } else if is("no-cache") {
                read.no_cache = true;
            } else if is("only-if-cached") {
                read.only_if_cached = true;
            } else if is("max-age") {
                let given = time.unwrap_or(0);
                read.max_age = Some(read.max_age.map_or(given, |before| before.min(given)));
            } else if is("min-fresh") {
                read.min_fresh = read.min_fresh.max(time);
            } else if is("max-stale") {
                read.max_stale = match (value, time) {
                    (None, _) => MaxStale::Any,
                    (Some(_), Some(time)) => MaxStale::By(time),
                    (Some(_), None) => MaxStale::None,
                };
            }
        }
        read
    }
}

/// A number of seconds (RFC 9111 §1.2.2): digits only; what is larger than can be told apart is as large as can be.
pub(super) fn seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    Some(number.unwrap_or(MOST).min(MOST))
}

#[cfg(test)]
mod tests;
