//! Verified claims as header fields, and the fields of these names that nobody else may send.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::claims;

/// The longest value that is written, bytes.
const LONGEST: usize = 4096;

/// The names of all fields that the gateway speaks for: whoever sends one claims to be somebody.
#[derive(Debug, Clone, Default)]
pub struct ClaimedFields(Vec<HeaderName>);

impl ClaimedFields {
    /// These names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut unique: Vec<HeaderName> = Vec::new();
        for name in names {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        Self(unique)
    }

    /// Whether a request has none of these fields.
    #[must_use]
    pub fn are_absent(&self, headers: &HeaderMap) -> bool {
        self.0.is_empty() || !headers.keys().any(|name| self.claims(name))
    }

    /// Takes out every field of these names, and every field that an application could take for one: CGI, WSGI, Rack and
    /// PHP read `firebase_uid` and `firebase-uid` as one variable, some servers any other character as well.
    pub fn take_out(&self, headers: &mut HeaderMap) {
        let claimed: Vec<HeaderName> = headers.keys().filter(|name| self.claims(name)).cloned().collect();
        for name in claimed {
            headers.remove(name);
        }
    }

    fn claims(&self, name: &HeaderName) -> bool {
        let same = |own: &HeaderName| {
            let (own, name) = (own.as_str(), name.as_str());
            own.len() == name.len() && own.bytes().map(folded).eq(name.bytes().map(folded))
        };
        self.0.iter().any(same)
    }
}

/// As the environment of a program has it.
fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'_' }
}

/// The value of a field that says what a claim says; `None`: there is nothing to say, or it is an object or too long.
///
/// A list is joined with commas. What is no visible ASCII, spaces at either end, `%`, and commas within the elements of a
/// list are percent-encoded: no two claims look the same, and none can begin another field.
#[must_use]
pub fn header_value(claim: &Value) -> Option<HeaderValue> {
    let several = claim.is_array();
    let mut text = String::new();
    for element in claims::list(claim) {
        if !text.is_empty() {
            text.push(',');
        }
        let last = element.len() - 1;
        for (index, byte) in element.bytes().enumerate() {
            let edge = byte == b' ' && (index == 0 || index == last);
            let plain = (b' '..=b'~').contains(&byte) && byte != b'%' && !edge && !(several && byte == b',');
            if plain {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_safe() {
        for (claim, expected) in [
            (json!("abc-123"), Some("abc-123")),
            (json!("a b"), Some("a b")),
            (json!(" a "), Some("%20a%20")),
            (json!(" "), Some("%20")),
            (json!("a\r\nrole: admin"), Some("a%0D%0Arole: admin")),
            (json!("a\u{0}b\u{7f}"), Some("a%00b%7F")),
            (json!("Zoë"), Some("Zo%C3%AB")),
            (json!("50%"), Some("50%25")),
            (json!("a,b"), Some("a,b")),
            (json!(["a", "b,c", 1, true]), Some("a,b%2Cc,1,true")),
            (json!([]), None),
            (json!([""]), None),
            (json!(""), None),
            (json!(null), None),
            (json!({"a": 1}), None),
            (json!(17), Some("17")),
            (json!(false), Some("false")),
        ] {
            let got = header_value(&claim);
            assert_eq!(got.as_ref().map(|value| value.to_str().unwrap()), expected, "{claim}");
        }
        assert_eq!(header_value(&json!("x".repeat(LONGEST + 1))), None);
    }

    #[test]
    fn every_spelling_is_taken_out() {
        let fields = ClaimedFields::new([
            HeaderName::from_static("firebase-uid"),
            HeaderName::from_static("x_role"),
        ]);
        let mut headers = HeaderMap::new();
        for name in [
            "firebase-uid",
            "firebase_uid",
            "firebase.uid",
            "firebase~uid",
            "x-role",
            "x_role",
            "firebase-uid2",
            "xfirebase-uid",
            "firebaseuid",
            "role",
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("v"));
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("w"));
        }
        assert!(!fields.are_absent(&headers));
        fields.take_out(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["firebase-uid2", "firebaseuid", "role", "xfirebase-uid"]);
        assert!(fields.are_absent(&headers));
    }

    proptest! {
        #[test]
        fn no_two_claims_look_the_same(a in "\\PC*", b in "[ -~]*") {
            let (left, right) = (header_value(&json!(a)), header_value(&json!(b)));
            prop_assert!(a == b || left.is_none() || left != right);
        }
    }
}
