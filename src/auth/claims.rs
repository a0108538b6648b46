//! What a token says about its subject.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// Claims by name, none of them twice: who reads the token after us might take the other one.
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

/// The name of a claim: of the token, or with dots the way into its objects (`realm_access.roles`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimName(pub Box<str>);

impl Claims {
    /// These claims.
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// One claim: a claim of exactly that name, else the way that its dots describe.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(name) {
            return Some(value);
        }
        let (first, rest) = name.split_once('.')?;
        rest.split('.')
            .try_fold(self.0.get(first)?, |value, step| value.get(step))
    }

    /// When a token with these is over, seconds since 1970.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.time("exp").ok().flatten()
    }

    /// A claim that must be a time: seconds since 1970 (RFC 7519 §2, NumericDate). `Err`: it is something else.
    pub(super) fn time(&self, name: &str) -> Result<Option<u64>, ()> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match (value.as_u64(), value.as_f64()) {
                (Some(seconds), _) => Ok(Some(seconds)),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked: not negative, and `as` saturates"
                )]
                (None, Some(seconds)) if value.is_f64() && seconds.is_finite() && seconds >= 0.0 => {
                    Ok(Some(seconds as u64))
                }
                _ => Err(()),
            },
        }
    }

    /// The texts that a claim has: itself, the elements of a list, or the words of a scope (RFC 8693 §4.2).
    pub(super) fn texts<'a>(&'a self, name: &'a str) -> Vec<Cow<'a, str>> {
        match self.get(name) {
            Some(Value::String(words)) if matches!(name, "scope" | "scp") => {
                words.split_ascii_whitespace().map(Cow::Borrowed).collect()
            }
            Some(Value::Array(values)) => values.iter().filter_map(scalar).collect(),
            Some(value) => scalar(value).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

impl fmt::Debug for Claims {
    /// Without what they say: it is somebody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} claims", self.0.len())
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text of a value that is one; empty ones are none.
pub(super) fn text(value: &Value) -> Option<String> {
    scalar(value).filter(|text| !text.is_empty()).map(Cow::into_owned)
}

/// The text of a value, or of each element of a list; empty ones are none.
pub(super) fn list(value: &Value) -> Vec<Cow<'_, str>> {
    let scalars: Vec<_> = match value {
        Value::Array(values) => values.iter().filter_map(scalar).collect(),
        value => scalar(value).into_iter().collect(),
    };
    scalars.into_iter().filter(|text| !text.is_empty()).collect()
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = entries.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn names_and_ways() {
        let claims =
            claims(r#"{"a": {"b": {"c": 1}}, "a.b": 2, "https://x.example/roles": ["r"], "scope": "read  write"}"#);
        for (name, expected) in [
            ("a.b", Some("2")),
            ("a.b.c", Some("1")),
            ("a.c", None),
            ("a.b.c.d", None),
            ("b", None),
            ("https://x.example/roles", Some(r#"["r"]"#)),
            ("", None),
            (".", None),
        ] {
            assert_eq!(claims.get(name).map(Value::to_string).as_deref(), expected, "{name}");
        }
        assert_eq!(claims.texts("scope"), ["read", "write"]);
        assert_eq!(claims.texts("https://x.example/roles"), ["r"]);
        assert!(claims.texts("a").is_empty());
    }

    #[test]
    fn times_are_numbers() {
        let claims = claims(r#"{"i": 5, "f": 5.9, "n": -1, "s": "5", "t": true, "z": null, "h": 1e300, "l": [5]}"#);
        assert_eq!(claims.time("i"), Ok(Some(5)));
        assert_eq!(claims.time("f"), Ok(Some(5)));
        assert_eq!(claims.time("h"), Ok(Some(u64::MAX)));
        assert_eq!(claims.time("absent"), Ok(None));
        for name in ["n", "s", "t", "z", "l"] {
            assert_eq!(claims.time(name), Err(()), "{name}");
        }
    }

    #[test]
    fn doubled_claims_are_none() {
        assert!(serde_json::from_str::<Claims>(r#"{"sub": "a", "sub": "b"}"#).is_err());
        assert!(serde_json::from_str::<Claims>("[]").is_err());
    }
}
