//! `Vary` (RFC 9110 §12.5.5): which fields of a request an answer depends on, each of them named once.

use http::header::VARY;
use http::{HeaderMap, HeaderValue};

/// Says that the answer depends on this field of the request. The list stays one line, and what is in it stays.
pub(crate) fn by(headers: &mut HeaderMap, field: &'static str) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static(field));
        return;
    }
    let lines = || headers.get_all(VARY).iter().map(HeaderValue::as_bytes);
    let named = |element: &[u8]| element == b"*" || element.eq_ignore_ascii_case(field.as_bytes());
    if lines().any(|line| {
        line.split(|byte| *byte == b',')
            .any(|element| named(element.trim_ascii()))
    }) {
        return;
    }
    let mut joined = Vec::with_capacity(64);
    for line in lines().filter(|line| !line.is_empty()) {
        joined.extend_from_slice(line);
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(field.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_named_once() {
        for (lines, expected) in [
            (&[][..], "Origin"),
            (&["Accept"], "Accept, Origin"),
            (&["Accept", "Cookie"], "Accept, Cookie, Origin"),
            (&["", "Accept"], "Accept, Origin"),
            (&["accept, origin"], "accept, origin"),
            (&["Accept , ORIGIN "], "Accept , ORIGIN "),
            (&["*"], "*"),
            (&["Original"], "Original, Origin"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            by(&mut headers, "Origin");
            by(&mut headers, "Origin");
            let mut values = headers.get_all(VARY).iter();
            assert_eq!(values.next().map(HeaderValue::as_bytes), Some(expected.as_bytes()));
            assert_eq!(values.next(), None, "{lines:?}");
        }
    }
}
