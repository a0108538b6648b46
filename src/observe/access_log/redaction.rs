//! Names whose values never reach a line.

use http::HeaderName;

/// What stands in place of a value.
pub(super) const MASK: &[u8] = b"***";

/// Names whose values never reach a line.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Query parameters, lower case.
    pub query: Vec<Box<str>>,
    /// Header fields, lower case.
    pub headers: Vec<Box<str>>,
}

impl Redaction {
    /// Adds `query:NAME` or `header:NAME`. Case does not matter.
    ///
    /// # Errors
    /// What is wrong with the entry, in words for the person who wrote it.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        let Some((kind, name)) = entry.split_once(':') else {
            return Err(format!(
                "`{entry}` does not say what it is: `query:{entry}` or `header:{entry}`"
            ));
        };
        let names = match kind {
            "query" => &mut self.query,
            "header" => {
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))?;
                &mut self.headers
            }
            _ => return Err(format!("`{kind}` is unknown here: `query:{name}` or `header:{name}`")),
        };
        if name.is_empty() {
            return Err(format!("`{entry}` lacks a name"));
        }
        let name = name.to_ascii_lowercase().into_boxed_str();
        if !names.contains(&name) {
            names.push(name);
        }
        Ok(())
    }

    /// Whether the value of this field, in lower case, is masked.
    pub(super) fn hides_header(&self, name: &str) -> bool {
        self.headers.iter().any(|hidden| **hidden == *name)
    }

    /// The value, or the mask in its place.
    #[must_use]
    pub fn header<'a>(&self, name: &str, value: Option<&'a [u8]>) -> Option<&'a [u8]> {
        value.map(|value| if self.hides_header(name) { MASK } else { value })
    }

    /// Gives a query in pieces, values of hidden names masked.
    ///
    /// Readers disagree about where a parameter begins, so this one is generous: `;`, `?` and `#` begin one as `&` does,
    /// an encoded separator does too (a URL within a value), and `a[name]` is a parameter `name` as much as `name[]` is.
    /// What is masked reaches up to the next `&` as it stands, whatever a value may contain.
    pub(super) fn query(&self, raw: &[u8], mut piece: impl FnMut(&[u8])) {
        if self.query.is_empty() {
            piece(raw);
            return;
        }
        let mut given = 0;
        let mut name = 0;
        let mut at = 0;
        let mut in_name = true;
        while let Some((byte, width)) = decoded(&raw[at..]) {
            let next = at + width;
            match byte {
                b'&' | b';' | b'?' | b'#' => {
                    name = next;
                    in_name = true;
                }
                b'=' if in_name => {
                    if self.hides_parameter(&raw[name..at]) {
                        piece(&raw[given..next]);
                        piece(MASK);
                        let Some(length) = raw[next..].iter().position(|&byte| byte == b'&') else {
                            return;
                        };
                        given = next + length;
                        at = given;
                        continue;
                    }
                    // An encoded one may be part of the name.
                    in_name = width > 1;
                }
                _ => {}
            }
            at = next;
        }
        piece(&raw[given..]);
    }

    /// Gives a URL in pieces, values of hidden names masked in its query and its fragment.
    pub(super) fn url(&self, raw: &[u8], mut piece: impl FnMut(&[u8])) {
        let query = raw.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let (before, query) = raw.split_at(query.map_or(raw.len(), |mark| mark + 1));
        piece(before);
        self.query(query, piece);
    }

    fn hides_parameter(&self, raw: &[u8]) -> bool {
        self.query.iter().any(|hidden| is_named(raw, hidden.as_bytes()))
    }
}

/// Whether a parameter's name, or one of its parts in brackets, reads as `hidden` once decoded.
fn is_named(mut raw: &[u8], hidden: &[u8]) -> bool {
    // How many bytes of `hidden` the whole and the current part agree with, as long as they do.
    let (mut whole, mut part) = (Some(0), Some(0));
    let step = |matched: Option<usize>, byte: u8| matched.filter(|&n| hidden.get(n) == Some(&byte)).map(|n| n + 1);
    while let Some((byte, width)) = decoded(raw) {
        let byte = byte.to_ascii_lowercase();
        whole = step(whole, byte);
        if matches!(byte, b'[' | b']') {
            if part == Some(hidden.len()) {
                return true;
            }
            part = Some(0);
        } else {
            part = step(part, byte);
        }
        raw = &raw[width..];
    }
    whole == Some(hidden.len()) || part == Some(hidden.len())
}

/// The first byte of form-encoded text, decoded, and its length as it stands.
fn decoded(raw: &[u8]) -> Option<(u8, usize)> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    match *raw {
        [] => None,
        [b'%', high, low, ..] => match (hex(high), hex(low)) {
            (Some(high), Some(low)) => Some(((high * 16 + low) as u8, 3)),
            _ => Some((b'%', 1)),
        },
        [b'+', ..] => Some((b' ', 1)),
        [byte, ..] => Some((byte, 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redaction(entries: &[&str]) -> Redaction {
        let mut redaction = Redaction::default();
        for entry in entries {
            redaction.add(entry).unwrap();
        }
        redaction
    }

    fn query(redaction: &Redaction, raw: &str) -> String {
        let mut out = Vec::new();
        redaction.query(raw.as_bytes(), |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn entries() {
        let mut redaction = redaction(&["query:Firebase_UID", "header:Authorization", "header:authorization"]);
        assert_eq!(redaction.query, [Box::from("firebase_uid")]);
        assert_eq!(redaction.headers, [Box::from("authorization")]);
        for (entry, part) in [
            ("token", "`query:token`"),
            ("cookie:sid", "`cookie` is unknown"),
            ("header:a b", "not the name of a header"),
            ("header:", "not the name of a header"),
            ("query:", "lacks a name"),
        ] {
            let error = redaction.add(entry).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn values_of_hidden_parameters() {
        let redaction = redaction(&["query:uid", "query:a.b[c]"]);
        for (raw, expected) in [
            ("", ""),
            ("uid", "uid"),
            ("uid=1", "uid=***"),
            ("uid=", "uid=***"),
            ("UID=1&Uid=2", "UID=***&Uid=***"),
            ("a=1&uid=2&b=3", "a=1&uid=***&b=3"),
            ("xuid=1&uidx=2&ui=3", "xuid=1&uidx=2&ui=3"),
            ("a=uid&b=1", "a=uid&b=1"),
            ("%75i%64=1", "%75i%64=***"),
            ("%7=1&%zz=2&uid%=3", "%7=1&%zz=2&uid%=3"),
            ("uid%3D1", "uid%3D***"),
            ("uid=a=b;c?d#e%26f&g=1", "uid=***&g=1"),
            ("a=1;uid=2&b", "a=1;uid=***&b"),
            ("a=b=uid=1", "a=b=uid=1"),
            (
                "uid[]=1&uid%5B0%5D=2&a[uid]=3&[uid]=4",
                "uid[]=***&uid%5B0%5D=***&a[uid]=***&[uid]=***",
            ),
            ("a[xuid]=1&a[uid", "a[xuid]=1&a[uid"),
            ("a.b[c]=1&a.b[d]=2", "a.b[c]=***&a.b[d]=2"),
            ("next=%2Flogin%3Fuid%3Dx%26y%3Dz&a=1", "next=%2Flogin%3Fuid%3D***&a=1"),
            ("=1&&uid=2&", "=1&&uid=***&"),
        ] {
            assert_eq!(query(&redaction, raw), expected, "{raw}");
        }
    }

    #[test]
    fn values_in_a_url() {
        let redaction = redaction(&["query:uid"]);
        for (raw, expected) in [
            ("https://host/uid=1", "https://host/uid=1"),
            ("https://host/p?uid=1&b=2#uid=3", "https://host/p?uid=***&b=2#uid=***"),
            ("https://host/p#uid=1", "https://host/p#uid=***"),
            ("?", "?"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            redaction.url(raw.as_bytes(), |piece| out.extend_from_slice(piece));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn headers_are_masked_whole() {
        let redaction = redaction(&["header:User-Agent"]);
        assert_eq!(redaction.header("user-agent", Some(b"x")), Some(MASK));
        assert_eq!(redaction.header("user-agent", None), None);
        assert_eq!(redaction.header("referer", Some(b"x")), Some(&b"x"[..]));
    }

    /// A name as someone might write it who wants it to be overlooked.
    fn disguised(name: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(0u8..4, name.len()).prop_map(move |ways| {
            let write = |(byte, way): (u8, &u8)| match way {
                0 => char::from(byte).to_string(),
                1 => char::from(byte).to_ascii_uppercase().to_string(),
                2 => format!("%{byte:02x}"),
                _ => format!("%{:02X}", byte.to_ascii_uppercase()),
            };
            name.bytes().zip(&ways).map(write).collect()
        })
    }

    proptest! {
        #[test]
        fn a_hidden_value_is_never_given(
            before in "([a-z]{0,3}(=[a-z%+]{0,4})?[&;]){0,3}",
            name in disguised("firebase_uid"),
            brackets in prop::sample::select(vec!["", "[]", "%5b%5D"]),
            secret in "[A-Z]{8}",
            tail in "[;?#=%+a-z0-9]{0,8}",
            after in "(&[a-z=;]{0,6}){0,3}",
        ) {
            let redaction = redaction(&["query:firebase_uid"]);
            let raw = format!("{before}{name}{brackets}={tail}{secret}{tail}{after}");
            let given = query(&redaction, &raw);
            prop_assert!(!given.contains(&secret), "{raw} -> {given}");
            prop_assert!(given.starts_with(&before), "{raw} -> {given}");
            prop_assert!(given.ends_with(&after), "{raw} -> {given}");
        }

        #[test]
        fn without_a_hidden_name_everything_is_given(raw in prop::collection::vec(any::<u8>(), 0..80)) {
            let redaction = redaction(&["query:no-such-name"]);
            let mut out = Vec::new();
            redaction.url(&raw, |piece| out.extend_from_slice(piece));
            prop_assert_eq!(out, raw);
        }
    }
}
