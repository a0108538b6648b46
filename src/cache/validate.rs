//! Asking whether a stored answer is still good, and what the answer to that changes (RFC 9111 §4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, StatusCode};

/// Takes the conditions and the range of a client out of a request: the application is asked for all of it.
pub fn unconditional(request: &mut HeaderMap) {
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
        RANGE,
    ] {
        request.remove(name);
    }
}

/// Makes a request ask whether a stored answer is still good (RFC 9111 §4.3.1); `false`: there is no way to ask.
pub fn conditional(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    unconditional(request);
    if let Some(tag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Whether a 304 is about this stored answer (RFC 9111 §4.3.4): its validators are none other.
#[must_use]
pub fn confirms(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    match (stored.get(ETAG), not_modified.get(ETAG)) {
        (Some(old), Some(new)) => opaque(old.as_bytes()) == opaque(new.as_bytes()),
        _ => match (stored.get(LAST_MODIFIED), not_modified.get(LAST_MODIFIED)) {
            (Some(old), Some(new)) if !stored.contains_key(ETAG) => old == new,
            _ => true,
        },
    }
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The fields of a stored answer after a 304 (RFC 9111 §3.2): every field of the 304 replaces the stored one, but for
/// those that describe the body, which is the stored one.
#[must_use]
pub fn merged(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let describes_the_body =
        |name: &HeaderName| [CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE, CONTENT_LENGTH].contains(name);
    let mut fields = stored.clone();
    // An `Age` or a mistaken `Date` of the old exchange would age the new one.
    fields.remove(http::header::AGE);
    for name in not_modified.keys().filter(|name| !describes_the_body(name)) {
        fields.remove(name);
        for value in not_modified.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// What an answer to a HEAD says of the stored answer to a GET (RFC 9111 §4.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadSays {
    /// It is the same: its fields may be updated.
    Same,
    /// It has changed.
    Changed,
    /// Nothing.
    Nothing,
}

/// Compares the answer to a HEAD with a stored one.
#[must_use]
pub fn head_says(stored: &HeaderMap, status: StatusCode, head: &HeaderMap) -> HeadSays {
    if status != StatusCode::OK {
        return HeadSays::Nothing;
    }
    for name in [ETAG, LAST_MODIFIED, CONTENT_LENGTH] {
        if let Some(new) = head.get(&name)
            && stored.get(&name).is_some_and(|old| old != new)
        {
            return HeadSays::Changed;
        }
    }
    HeadSays::Same
}

#[cfg(test)]
mod tests;
