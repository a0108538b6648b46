//! A request as a handler of the application sees it: path, query, body, identity.

use std::borrow::Cow;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};

use super::answer::Reply;
use super::refusal;
use crate::demo::data::{Database, Role, User};

/// What came of the body.
#[derive(Debug)]
pub(super) enum Body {
    /// None, or of a type that is not parsed.
    Absent,
    /// Parsed.
    Parsed(Value),
    /// Too large or malformed.
    Broken,
}

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    /// The method; HEAD counts as GET.
    pub(super) method: Method,
    /// The method as it was sent.
    pub(super) sent_method: Method,
    /// The path as it was sent.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Body,
}

impl Call {
    pub(super) fn new(head: Parts, body: Body) -> Self {
        Self {
            method: if head.method == Method::HEAD {
                Method::GET
            } else {
                head.method.clone()
            },
            sent_method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
            body,
        }
    }

    /// Whether the body was too large or malformed.
    pub(super) fn body_is_broken(&self) -> bool {
        matches!(self.body, Body::Broken)
    }

    /// The value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A whole number from the query. Express hands anything else to the database, which refuses it.
    pub(super) fn count(&self, name: &str, default: usize) -> Result<usize, Reply> {
        self.query(name)
            .map_or(Ok(default), |text| text.trim().parse().map_err(|_| Reply::broken()))
    }

    /// A segment of the path, decoded; 0 is the first.
    pub(super) fn segment(&self, index: usize) -> Result<String, Reply> {
        let raw = self.path.split('/').nth(index + 1).unwrap_or_default();
        decode(raw.as_bytes(), false).ok_or_else(Reply::broken)
    }

    /// A segment of the path that is the number of a row; `None` where no row can have it.
    pub(super) fn id(&self, index: usize) -> Result<Option<u32>, Reply> {
        Ok(self.segment(index)?.parse().ok())
    }

    /// The parsed body. A handler that takes one apart breaks where there is none.
    pub(super) fn body(&self) -> Result<&Value, Reply> {
        match &self.body {
            Body::Parsed(body) => Ok(body),
            Body::Absent | Body::Broken => Err(Reply::broken()),
        }
    }

    /// A text of the body, where there is one.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        match &self.body {
            Body::Parsed(body) => body[field].as_str().filter(|text| !text.is_empty()),
            Body::Absent | Body::Broken => None,
        }
    }

    /// The `Host`, as it goes into absolute URLs.
    pub(super) fn host(&self) -> &str {
        self.headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
    }

    /// Who is calling, by nothing but a uid that nobody verifies.
    pub(super) fn user(&self, database: &Database) -> Result<User, Reply> {
        let header = || {
            self.headers
                .get("firebase-uid")
                .and_then(|uid| uid.to_str().ok())
                .filter(|uid| !uid.is_empty())
        };
        let uid = self
            .query("firebase_uid")
            .filter(|uid| !uid.is_empty())
            .or_else(|| self.text("firebase_uid"))
            .or_else(header);
        let uid = uid.ok_or_else(|| refusal(StatusCode::UNAUTHORIZED, "Authentication required"))?;
        let found = database.people.read().find(uid).cloned();
        found.ok_or_else(|| refusal(StatusCode::UNAUTHORIZED, "User not found"))
    }

    /// Who is calling, an administrator.
    pub(super) fn admin(&self, database: &Database) -> Result<User, Reply> {
        let user = self.user(database)?;
        match user.role {
            Role::Admin => Ok(user),
            Role::User => Err(refusal(StatusCode::FORBIDDEN, "Admin access required")),
        }
    }
}

/// How the body of this request is parsed; `None`: there is none, or it is left where it is.
pub(super) fn parser(headers: &HeaderMap) -> Option<fn(&[u8]) -> Body> {
    let sent =
        headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let coded = headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if !sent {
        None
    } else if media_type.eq_ignore_ascii_case("application/json") {
        Some(if coded { |_| Body::Broken } else { json })
    } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(if coded { |_| Body::Broken } else { form })
    } else {
        None
    }
}

/// Objects and arrays only, as the parser is strict.
fn json(bytes: &[u8]) -> Body {
    if bytes.is_empty() {
        return Body::Absent;
    }
    match serde_json::from_slice(bytes) {
        Ok(body @ (Value::Object(_) | Value::Array(_))) => Body::Parsed(body),
        _ => Body::Broken,
    }
}

fn form(bytes: &[u8]) -> Body {
    let fields: Map<String, Value> = pairs(bytes)
        .into_iter()
        .map(|(key, value)| (key, Value::String(value)))
        .collect();
    Body::Parsed(Value::Object(fields))
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let lenient = |bytes: &[u8]| decode(bytes, true).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
    let pair = |pair: &[u8]| {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (
            lenient(&pair[..equals]),
            lenient(pair.get(equals + 1..).unwrap_or_default()),
        )
    };
    text.split(|byte| *byte == b'&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

/// Percent-decoding; `None` where it is malformed or no UTF-8. `plus`: `+` is a space.
fn decode(text: &[u8], plus: bool) -> Option<String> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut decoded = Cow::Borrowed(text);
    if text.iter().any(|byte| *byte == b'%' || *byte == b'+') {
        let mut bytes = text.iter();
        let mut plain = Vec::with_capacity(text.len());
        while let Some(byte) = bytes.next() {
            plain.push(match byte {
                b'%' => u8::try_from(digit(bytes.next())? << 4 | digit(bytes.next())?).ok()?,
                b'+' if plus => b' ',
                other => *other,
            });
        }
        decoded = Cow::Owned(plain);
    }
    String::from_utf8(decoded.into_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes() {
        for (text, plus, expected) in [
            ("", false, Some("")),
            ("a%20b+c", false, Some("a b+c")),
            ("a%20b+c", true, Some("a b c")),
            ("%c3%A9", false, Some("é")),
            ("%", false, None),
            ("%4", false, None),
            ("%zz", false, None),
            ("%ff", false, None),
        ] {
            assert_eq!(decode(text.as_bytes(), plus).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn takes_queries_apart() {
        let expected =
            [("a", "1"), ("b", ""), ("c", "x=y"), ("d", "%zz")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pairs(b"a=1&b&&c=x%3Dy&d=%zz"), expected);
    }

    #[test]
    fn json_is_an_object_or_an_array() {
        for (text, parsed) in [("{}", true), ("[1]", true), ("1", false), ("{", false), ("null", false)] {
            assert_eq!(matches!(json(text.as_bytes()), Body::Parsed(_)), parsed, "{text}");
        }
        assert!(matches!(json(b""), Body::Absent));
    }

    #[test]
    fn parses_two_types_of_bodies_that_were_sent() {
        let parses = |length: &'static str, media_type: &'static str| {
            let fields = [(CONTENT_LENGTH, length), (CONTENT_TYPE, media_type)];
            parser(
                &fields
                    .into_iter()
                    .map(|(name, value)| (name, value.parse().unwrap()))
                    .collect(),
            )
            .is_some()
        };
        assert!(parses("2", "application/json; charset=utf-8"));
        assert!(parses("2", "Application/X-WWW-Form-Urlencoded"));
        assert!(!parses("0", "application/json"));
        assert!(!parses("2", "multipart/form-data; boundary=x"));
        assert!(!parses("2", "text/plain"));
    }
}
