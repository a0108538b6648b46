//! Content codings: which one the client gets, and the encoder.

mod encoder;
mod engine;
mod fields;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::{quality, vary};
pub use encoder::Encoder;

/// A content coding that the gateway can produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

/// `compress`, compiled.
#[derive(Debug, Clone)]
pub struct Compression {
    /// Codings on offer, in the order of the gateway's preference.
    pub codings: Vec<Coding>,
    /// Media types, lower case: `type/subtype`, `type/*`, or `type/*+suffix` for a structured syntax (RFC 6839).
    pub types: Vec<Box<str>>,
    /// Bodies known to be smaller stay as they are, bytes.
    pub min_length: u64,
    /// What a smaller body is worth.
    pub effort: Effort,
}

/// How much work is spent on making a body smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// As little as makes sense.
    Fast,
    /// As much as pays.
    #[default]
    Balanced,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            types: DEFAULT_TYPES.iter().map(|&media_type| media_type.into()).collect(),
            min_length: 1024,
            effort: Effort::default(),
        }
    }
}

/// What is text at heart. Images, video, archives and WOFF are compressed already.
const DEFAULT_TYPES: [&str; 18] = [
    "text/*",
    "application/json",
    "application/*+json",
    "application/xml",
    "application/*+xml",
    "application/javascript",
    "application/x-javascript",
    "application/x-ndjson",
    "application/wasm",
    "application/graphql",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "font/ttf",
    "font/otf",
    "image/svg+xml",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
];

/// What may happen to an answer, whoever asks.
enum Fate {
    /// Everybody gets it as it is.
    Untouched,
    /// It varies by `Accept-Encoding`, but this answer is not ours to encode.
    Varies,
    /// No body follows, but its fields are those of one that would be encoded.
    FieldsOnly,
    /// It is encoded for those who accept it.
    Encodable,
}

impl Compression {
    /// Decides on an answer and, where it will be encoded, changes its fields (Content-Encoding, Vary, ETag, no
    /// Content-Length, no Accept-Ranges). Adds `Vary: Accept-Encoding` wherever another client could get another coding.
    ///
    /// `accept_encoding`: all lines of the field, joined by commas. An answer to HEAD gets the fields that GET would get
    /// (RFC 9110 §9.3.2), but no coding: there is nothing to encode.
    pub fn negotiate(
        &self,
        accept_encoding: Option<&str>,
        head_request: bool,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) -> Option<Coding> {
        let fate = self.fate(head_request, status, headers);
        if matches!(fate, Fate::Untouched) {
            return None;
        }
        vary::by(headers, "Accept-Encoding");
        if matches!(fate, Fate::Varies) {
            return None;
        }
        let coding = self.choose(accept_encoding?)?;
        if status == StatusCode::NOT_MODIFIED {
            // The client's copy is the encoded one, with the weak tag (RFC 9111 §4.3.4).
            fields::weaken_etag(headers);
        } else {
            fields::describe_encoded(coding, headers);
        }
        matches!(fate, Fate::Encodable).then_some(coding)
    }

    /// Whether the answer varies by `Accept-Encoding`, and whether it is ours to encode.
    fn fate(&self, head_request: bool, status: StatusCode, headers: &HeaderMap) -> Fate {
        let without_content =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if without_content || self.codings.is_empty() {
            return Fate::Untouched;
        }
        if fields::is_encoded(headers) {
            // The application negotiated by itself, and may have forgotten to say so.
            return Fate::Varies;
        }
        if fields::has_directive(headers, CACHE_CONTROL, "no-transform") {
            return Fate::Untouched;
        }
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if status == StatusCode::NOT_MODIFIED {
            // A 304 says what its 200 would say (RFC 9110 §15.4.5), mostly without a Content-Type to judge by.
            return match media_type {
                Some(media_type) if !self.covers(media_type) => Fate::Untouched,
                _ => Fate::FieldsOnly,
            };
        }
        if !media_type.is_some_and(|media_type| self.covers(media_type)) {
            return Fate::Untouched;
        }
        if status == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE) {
            return Fate::Varies;
        }
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length == 0 || length < self.min_length) {
            return Fate::Untouched;
        }
        if head_request {
            Fate::FieldsOnly
        } else {
            Fate::Encodable
        }
    }

    /// Whether a `Content-Type` is on the list. Event streams never are: whoever reads them waits for every event.
    fn covers(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let Some((kind, subtype)) = essence.split_once('/') else {
            return false;
        };
        !essence.eq_ignore_ascii_case("text/event-stream")
            && self.types.iter().any(|pattern| {
                pattern.split_once('/').is_some_and(|(wanted_kind, wanted_subtype)| {
                    kind.eq_ignore_ascii_case(wanted_kind)
                        && match wanted_subtype.strip_prefix('*') {
                            Some(suffix) => ends_with_ignore_case(subtype, suffix),
                            None => subtype.eq_ignore_ascii_case(wanted_subtype),
                        }
                })
            })
    }

    /// RFC 9110 §12.5.3: what the client wants most; among equals what it names, then our own order.
    fn choose(&self, accept_encoding: &str) -> Option<Coding> {
        let mut named: [Option<u16>; 3] = [None; 3];
        let (mut identity, mut any) = (None, None);
        for preference in quality::preferences(accept_encoding) {
            let weight = if preference.value.eq_ignore_ascii_case("identity") {
                &mut identity
            } else if preference.value == "*" {
                &mut any
            } else if let Some(coding) = Coding::from_name(preference.value) {
                &mut named[coding as usize]
            } else {
                continue;
            };
            weight.get_or_insert(preference.weight);
        }
        let mut best = None;
        let mut highest = (0, false);
        for &coding in &self.codings {
            let own = named[coding as usize];
            let rank = (own.or(any).unwrap_or(0), own.is_some());
            if rank.0 > 0 && rank > highest {
                (best, highest) = (Some(coding), rank);
            }
        }
        best.filter(|_| identity.is_none_or(|identity| highest.0 >= identity))
    }
}

impl Coding {
    /// The name on the wire (RFC 9110 §8.4.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        // `x-gzip` is the same coding (RFC 9110 §8.4.1.3).
        [Self::Zstd, Self::Brotli, Self::Gzip]
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.name()))
            .or_else(|| name.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }
}

fn ends_with_ignore_case(text: &str, suffix: &str) -> bool {
    let (text, suffix) = (text.as_bytes(), suffix.as_bytes());
    text.len() >= suffix.len() && text[text.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests;
