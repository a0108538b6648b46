//! Which request an answer is for (RFC 9111 §4.1): the fields that `Vary` names, compared by what they mean.

use std::borrow::Cow;
use std::hash::{Hash as _, Hasher as _};

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName};

use super::address::Frame;
use super::list::{elements, split};
use super::policy::Policy;
use super::storable::content_length;
use crate::quality::preferences;

/// The content codings that are told apart.
const CODINGS: [&str; 3] = ["br", "gzip", "zstd"];

/// The codings of an answer that not every client takes; what is none is no matter of the cache.
const TOLD_APART: [&str; 6] = ["br", "gzip", "zstd", "x-gzip", "deflate", "compress"];

/// More fields than this in `Vary` are more than anybody means: the answer is as if for every request another one.
const MOST_FIELDS: usize = 24;

/// Below this an application does not encode, whatever the client takes.
const WORTH_ENCODING: u64 = 256;

/// A field and its value; `None`: absent.
pub(super) type Compared = (HeaderName, Option<Box<[u8]>>);

/// What a request must have for an answer to be for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    fields: Box<[Compared]>,
    /// The client must take this coding, though `Vary` does not say so.
    coding: Option<Box<str>>,
    /// The client must take no coding at all.
    only_plain: bool,
    /// The language of the answer, where there is exactly one.
    language: Option<Box<str>>,
}

/// Whether `Vary` says that no other request can be answered with this.
pub(super) fn is_star(answer: &HeaderMap) -> bool {
    elements(answer, &VARY).any(|element| element == b"*") || elements(answer, &VARY).count() > MOST_FIELDS
}

impl Selector {
    /// The selector of an answer to a request.
    #[must_use]
    pub fn new(policy: &Policy, request: &HeaderMap, answer: &HeaderMap) -> Self {
        let mut names: Vec<HeaderName> = match &policy.vary {
            Some(names) => names.clone(),
            None => elements(answer, &VARY)
                .filter_map(|name| HeaderName::from_bytes(name).ok())
                .collect(),
        };
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let mut coding = None;
        let mut only_plain = false;
        if !names.contains(&ACCEPT_ENCODING) {
            // Some applications encode by what the client takes and do not say so in `Vary`.
            coding = encoded(answer).map(Into::into);
            only_plain = coding.is_none() && might_be_encoded(answer) && codings(request).is_empty();
        }
        let language = names
            .contains(&ACCEPT_LANGUAGE)
            .then(|| only_language(answer))
            .flatten();
        let value = |name: &HeaderName| normalised(name, request).map(|value| value.into_owned().into_boxed_slice());
        Self {
            fields: names.into_iter().map(|name| (name.clone(), value(&name))).collect(),
            coding,
            only_plain,
            language,
        }
    }

    /// Whether the answer is for this request too.
    #[must_use]
    pub fn selects(&self, request: &HeaderMap) -> bool {
        let Self {
            fields,
            coding,
            only_plain,
            language,
        } = self;
        if let Some(coding) = coding.as_deref()
            && !codings(request).contains(&coding.trim_start_matches("x-"))
        {
            return false;
        }
        if *only_plain && !codings(request).is_empty() {
            return false;
        }
        let wanted = |language: &str| prefers(request, language);
        fields.iter().all(|(name, value)| {
            value.as_deref() == normalised(name, request).as_deref()
                || (*name == ACCEPT_LANGUAGE && language.as_deref().is_some_and(wanted))
        })
    }

    /// Whether the answer is encoded as only some clients can read it: better for them than a plain one.
    pub(super) fn is_encoded(&self) -> bool {
        self.coding.is_some()
    }

    /// The fields that tell requests apart.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// A number that two requests share if they are told apart by nothing that this answer is selected by.
    #[must_use]
    pub fn group(&self, request: &HeaderMap) -> u64 {
        let mut hash = std::hash::DefaultHasher::new();
        for (name, _) in &self.fields {
            normalised(name, request).hash(&mut hash);
        }
        if self.coding.is_some() || self.only_plain {
            codings(request).hash(&mut hash);
        }
        hash.finish()
    }

    /// Where an answer is kept beside others of its address: the same number in every process. `None`: no field tells
    /// requests apart.
    #[must_use]
    pub fn place(&self) -> Option<u128> {
        let values = self.fields.iter().map(|(name, value)| (name, value.as_deref()));
        (!self.fields.is_empty()).then(|| place(values))
    }

    /// What it is made of: fields, coding, whether it must take none, language.
    pub(super) fn parts(&self) -> (&[Compared], Option<&str>, bool, Option<&str>) {
        let Self {
            fields,
            coding,
            only_plain,
            language,
        } = self;
        (fields, coding.as_deref(), *only_plain, language.as_deref())
    }

    /// The one that is made of these.
    pub(super) fn from_parts(
        fields: Box<[Compared]>,
        coding: Option<Box<str>>,
        only_plain: bool,
        language: Option<Box<str>>,
    ) -> Self {
        Self {
            fields,
            coding,
            only_plain,
            language,
        }
    }

    /// The memory it takes, bytes.
    pub(super) fn weight(&self) -> usize {
        self.fields
            .iter()
            .map(|(_, value)| size_of::<Compared>() + value.as_ref().map_or(0, |value| value.len()))
            .sum()
    }
}

/// Where the answer to a request is kept, if these fields tell requests apart: [`Selector::place`] of that answer.
#[must_use]
pub fn place_of(names: &[HeaderName], request: &HeaderMap) -> u128 {
    let values: Vec<_> = names.iter().map(|name| (name, normalised(name, request))).collect();
    place(values.iter().map(|(name, value)| (*name, value.as_deref())))
}

fn place<'a>(values: impl Iterator<Item = (&'a HeaderName, Option<&'a [u8]>)>) -> u128 {
    let mut frame = Frame::new();
    for (name, value) in values {
        frame.part(Some(name.as_str().as_bytes()));
        frame.part(value);
    }
    frame.finish()
}

/// The value that `Accept-Encoding` is replaced by on the way to the application: what is compared is what it sees.
#[must_use]
pub fn accept_encoding(request: &HeaderMap) -> String {
    codings(request).join(", ")
}

/// A field as it is compared: the lines joined, without the white space between elements; preferences in one order.
/// `None`: absent.
fn normalised<'a>(name: &HeaderName, request: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
    if *name == ACCEPT_ENCODING {
        return Some(Cow::Owned(codings(request).join(",").into_bytes()));
    }
    let mut lines = request.get_all(name).iter();
    let first = lines.next()?;
    if *name == ACCEPT_LANGUAGE {
        let mut read = languages(request);
        read.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        let text: Vec<String> = read
            .iter()
            .map(|(language, weight)| format!("{language};{weight}"))
            .collect();
        return Some(Cow::Owned(text.join(",").into_bytes()));
    }
    if lines.next().is_none() && !first.as_bytes().contains(&b',') {
        return Some(Cow::Borrowed(first.as_bytes().trim_ascii()));
    }
    let all: Vec<&[u8]> = request
        .get_all(name)
        .iter()
        .flat_map(|line| split(line.as_bytes()))
        .collect();
    Some(Cow::Owned(all.join(&b','))) // what is no list is compared as one: it cannot become another's
}

/// The codings that a client takes, of those that are told apart, in alphabetical order.
fn codings(request: &HeaderMap) -> Vec<&'static str> {
    let mut taken = [None; CODINGS.len()];
    let mut any = 0;
    for line in request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|line| line.to_str().ok())
    {
        for preference in preferences(line) {
            let coding = preference.value.to_ascii_lowercase();
            let coding = coding.strip_prefix("x-").unwrap_or(&coding);
            if preference.value == "*" {
                any = preference.weight;
            } else if let Some(place) = CODINGS.iter().position(|known| *known == coding) {
                taken[place] = Some(preference.weight);
            }
        }
    }
    CODINGS
        .into_iter()
        .zip(taken)
        .filter_map(|(coding, weight)| (weight.unwrap_or(any) > 0).then_some(coding))
        .collect()
}

/// The one coding of an answer that is told apart.
fn encoded(answer: &HeaderMap) -> Option<String> {
    let coding = answer.get(CONTENT_ENCODING)?.to_str().ok()?.trim().to_ascii_lowercase();
    TOLD_APART.contains(&coding.as_str()).then_some(coding)
}

/// Whether an application might have encoded this answer for another client.
fn might_be_encoded(answer: &HeaderMap) -> bool {
    let media = answer
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let text = ["text/", "application/json", "application/javascript", "image/svg"];
    text.iter().any(|start| media.starts_with(start))
        && content_length(answer).is_none_or(|length| length >= WORTH_ENCODING)
}

fn languages(request: &HeaderMap) -> Vec<(String, u16)> {
    let lines = request
        .get_all(ACCEPT_LANGUAGE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(preferences)
        .map(|preference| (preference.value.to_ascii_lowercase(), preference.weight))
        .collect()
}

fn only_language(answer: &HeaderMap) -> Option<Box<str>> {
    let mut languages = elements(answer, &CONTENT_LANGUAGE);
    let language = std::str::from_utf8(languages.next()?).ok()?.to_ascii_lowercase();
    languages.next().is_none().then(|| language.into())
}

/// Whether a client wants this language more than any other.
fn prefers(request: &HeaderMap, language: &str) -> bool {
    let all = languages(request);
    let most = all.iter().map(|(_, weight)| *weight).max().unwrap_or(0);
    let mut best = all.iter().filter(|(_, weight)| *weight == most && most > 0);
    best.next().is_some_and(|(best, _)| best == language) && best.next().is_none()
}

#[cfg(test)]
mod tests;
