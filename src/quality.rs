//! Quality values of `Accept` and `Accept-Encoding` (RFC 9110 §12.4.2), read in one pass and without allocation.

/// The weight of what is wanted as much as can be: `q=1`.
pub(crate) const FULL: u16 = 1000;

/// One element of a list of preferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preference<'a> {
    /// What is preferred, without its parameters.
    pub(crate) value: &'a str,
    /// How much, in thousandths; 0: not at all.
    pub(crate) weight: u16,
}

/// The elements of a list of preferences; one whose weight cannot be read is left out.
pub(crate) fn preferences(list: &str) -> impl Iterator<Item = Preference<'_>> {
    split_unquoted(list, b',').filter_map(|element| {
        let mut parts = split_unquoted(element, b';');
        let value = parts.next().map(str::trim).filter(|value| !value.is_empty())?;
        let mut weight = FULL;
        for parameter in parts {
            let (name, number) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name.trim().eq_ignore_ascii_case("q") {
                weight = thousandths(number.trim())?;
            }
        }
        Some(Preference { value, weight })
    })
}

/// How much an `Accept` field wants a media type, in thousandths: the most specific range decides (RFC 9110 §12.5.1).
pub(crate) fn of_media_type(accept: &str, media_type: &str) -> u16 {
    let kind = media_type.split_once('/').map_or(media_type, |(kind, _)| kind);
    let mut best = (0_u8, 0_u16);
    for preference in preferences(accept) {
        let specificity = if preference.value.eq_ignore_ascii_case(media_type) {
            3
        } else if matches!(preference.value.split_once('/'), Some((k, "*")) if k.eq_ignore_ascii_case(kind)) {
            2
        } else if preference.value == "*/*" {
            1
        } else {
            continue;
        };
        best = best.max((specificity, preference.weight));
    }
    best.1
}

/// `0`, `0.5`, `1.000`; digits beyond the third are of no weight.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut value = 0;
    for place in 0..3 {
        value = value * 10 + u16::from(fraction.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    }
    match whole {
        "0" => Some(value),
        "1" if fraction.bytes().all(|digit| digit == b'0') => Some(FULL),
        _ => None,
    }
}

/// Splits at a separator that is not inside a quoted string.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character: char| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        } else {
            return !quoted && character == char::from(separator);
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_follow_rfc_9110_12_4_2() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("1.000", Some(1000)),
            ("1.", Some(1000)),
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.001", Some(1)),
            ("0.9999", Some(999)),
            ("1.001", None),
            ("2", None),
            (".5", None),
            ("-1", None),
            ("0.x", None),
            ("0.5.5", None),
            ("", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lists_are_split_outside_of_quotes() {
        let list = r#"a;x="1,2\";q=0" ;Q=0.5 , ,b;q=oops, c"#;
        let read: Vec<_> = preferences(list).map(|p| (p.value, p.weight)).collect();
        assert_eq!(read, [("a", 500), ("c", 1000)]);
    }

    #[test]
    fn the_most_specific_range_decides() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, media_type, expected) in [
            (browser, "text/html", 1000),
            (browser, "application/json", 800),
            ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "text/html", 700),
            ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "text/plain", 300),
            ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "image/png", 500),
            ("*/*, text/html;q=0", "text/html", 0),
            ("TEXT/HTML", "text/html", 1000),
            ("text/html;level=1", "text/html", 1000),
            ("", "text/html", 0),
            ("text", "text/html", 0),
        ] {
            assert_eq!(of_media_type(accept, media_type), expected, "{accept:?} {media_type}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            for preference in preferences(&text) {
                prop_assert!(preference.weight <= FULL);
                prop_assert!(!preference.value.is_empty());
            }
        }
    }
}
