//! Lists in header fields (RFC 9110 §5.6.1), read as bytes: a byte that is no text must not hide a `no-store`.

use http::{HeaderMap, HeaderName};

/// The elements of all lines of a field, without the white space around them; empty ones are left out.
pub(super) fn elements<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    fields.get_all(name).iter().flat_map(|line| split(line.as_bytes()))
}

/// The elements of one line. A comma inside a quoted string separates nothing; a quotation that never ends is none.
pub(super) fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let current = rest?;
        let (element, after) = match end_of_element(current) {
            Some(at) => (&current[..at], Some(&current[at + 1..])),
            None => (current, None),
        };
        rest = after;
        Some(element.trim_ascii())
    })
    .filter(|element| !element.is_empty())
}

fn end_of_element(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b',' => return Some(at),
            b'"' => at = end_of_quotation(line, at).unwrap_or(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The place of the quotation mark that closes the one at `open`.
fn end_of_quotation(line: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    while at < line.len() {
        match line[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// A name and its value, the quotation marks taken off.
pub(super) fn name_and_value(element: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = element.iter().position(|byte| *byte == b'=') else {
        return (element, None);
    };
    let value = &element[at + 1..];
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    (&element[..at], Some(inner.unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Vec<&str> {
        split(line.as_bytes())
            .map(|element| std::str::from_utf8(element).expect("text"))
            .collect()
    }

    #[test]
    fn lists_of_rfc_9110_5_6_1() {
        assert_eq!(texts("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(texts(", ,a,,"), ["a"]);
        assert_eq!(texts(r#"a="x, y", b"#), [r#"a="x, y""#, "b"]);
        assert_eq!(texts(r#"a="x\", y", b"#), [r#"a="x\", y""#, "b"]);
        assert_eq!(texts(r#"a="x, no-store"#), [r#"a="x"#, "no-store"]);
        assert_eq!(texts(""), [""; 0]);
        assert_eq!(name_and_value(b"a"), (&b"a"[..], None));
        assert_eq!(name_and_value(b"a=\"1\""), (&b"a"[..], Some(&b"1"[..])));
        assert_eq!(name_and_value(b"a=\""), (&b"a"[..], Some(&b"\""[..])));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            for element in split(&line) {
                prop_assert!(!element.is_empty());
                let _ = name_and_value(element);
            }
        }
    }
}
