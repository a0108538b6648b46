//! The fields that a content coding concerns.

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Coding;

/// The fields of an answer that will be encoded: nothing stays that is true of the plain bytes only.
pub(super) fn describe_encoded(coding: Coding, headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    for digest in &DIGESTS {
        headers.remove(digest);
    }
    weaken_etag(headers);
}

/// RFC 9110 §8.8.1: one strong tag may not stand for two byte sequences. What is no entity tag is removed.
pub(super) fn weaken_etag(headers: &mut HeaderMap) {
    let Some(etag) = headers.get(ETAG) else {
        return;
    };
    let bytes = etag.as_bytes();
    if bytes.starts_with(b"W/\"") {
        return;
    }
    let weak = bytes
        .starts_with(b"\"")
        .then(|| HeaderValue::from_bytes(&[b"W/", bytes].concat()).ok())
        .flatten();
    match weak {
        Some(weak) => headers.insert(ETAG, weak),
        None => headers.remove(ETAG),
    };
}

/// Whether a coding other than `identity` has been applied.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    })
}

/// Whether a comma-separated list has this word.
pub(super) fn has_directive(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|element| element.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// RFC 9530, and its forerunners RFC 3230 and RFC 1864.
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];
