//! Where a request carries its credential.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};

/// The longest credential that is looked at, bytes: heads are larger, tokens hardly are.
pub(super) const LONGEST: usize = 8 * 1024;

/// A place for a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header field: of `Authorization` the token behind `Bearer`, of others the whole value.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A query parameter. It stands in addresses, so in histories and in logs of others.
    Query(Box<str>),
}

/// What a request carries.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No credential.
    Nothing,
    /// This one.
    Credential(String),
    /// One that cannot be read: doubled, not text, or too long.
    Unreadable,
}

/// The facts of a request in which credentials are found.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// The client's address, as trusted proxies tell it.
    pub client: IpAddr,
}

impl Source {
    /// The bearer token or key at this place.
    #[must_use]
    pub fn find(&self, request: &Presented<'_>) -> Found {
        match self {
            Self::Header(name) if *name == AUTHORIZATION => authorization(request.headers, "bearer"),
            Self::Header(name) => only(request.headers.get_all(name).iter().map(|line| line.as_bytes())),
            Self::Cookie(name) => only(cookies(request.headers, name.as_bytes())),
            Self::Query(name) => parameter(request.query.unwrap_or_default(), name),
        }
    }

    /// The first place of a list that has something.
    #[must_use]
    pub fn first(sources: &[Self], request: &Presented<'_>) -> Found {
        let mut found = sources.iter().map(|source| source.find(request));
        found.find(|found| *found != Found::Nothing).unwrap_or(Found::Nothing)
    }
}

/// What stands behind a scheme in `Authorization` (RFC 9110 §11.4). Another scheme is somebody else's credential.
pub(super) fn authorization(headers: &HeaderMap, scheme: &str) -> Found {
    match only(headers.get_all(AUTHORIZATION).iter().map(|line| line.as_bytes())) {
        Found::Credential(value) => match value.split_once(' ') {
            Some((own, rest)) if own.eq_ignore_ascii_case(scheme) => match rest.trim() {
                "" => Found::Unreadable,
                credential => Found::Credential(credential.to_owned()),
            },
            None if value.eq_ignore_ascii_case(scheme) => Found::Unreadable,
            _ => Found::Nothing,
        },
        found => found,
    }
}

/// The only value there is.
fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Found {
    let Some(first) = values.next() else {
        return Found::Nothing;
    };
    if values.next().is_some() || first.len() > LONGEST {
        return Found::Unreadable;
    }
    match str::from_utf8(first) {
        Ok("") => Found::Nothing,
        Ok(text) => Found::Credential(text.to_owned()),
        Err(_) => Found::Unreadable,
    }
}

/// The values of a cookie, of all lines (RFC 6265 §5.4).
fn cookies<'a>(headers: &'a HeaderMap, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        (pair[..equals].trim_ascii() == name).then(|| pair[equals + 1..].trim_ascii())
    })
}

/// A query parameter. Tokens need no escapes, so a name or value that has some is not looked at further than that.
fn parameter(query: &str, name: &str) -> Found {
    let values = query.split('&').filter_map(|pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        (own == name).then_some(value.as_bytes())
    });
    only(values)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn given(text: &str) -> Found {
        Found::Credential(text.to_owned())
    }

    #[test]
    fn bearer_tokens() {
        for (lines, expected) in [
            (&[][..], Found::Nothing),
            (&["Bearer a.b.c"], given("a.b.c")),
            (&["bearer  a.b.c "], given("a.b.c")),
            (&["Bearer"], Found::Unreadable),
            (&["Bearer "], Found::Unreadable),
            (&["Basic YTpi"], Found::Nothing),
            (&["Bearera.b.c"], Found::Nothing),
            (&["a.b.c"], Found::Nothing),
            (&["Bearer a", "Bearer a"], Found::Unreadable),
            (&["Basic YTpi", "Bearer a"], Found::Unreadable),
        ] {
            let lines: Vec<_> = lines.iter().map(|value| ("authorization", *value)).collect();
            let headers = headers(&lines);
            let request = Presented {
                headers: &headers,
                query: None,
                client: IpAddr::from([192, 0, 2, 1]),
            };
            assert_eq!(Source::Header(AUTHORIZATION).find(&request), expected, "{lines:?}");
        }
    }

    #[test]
    fn other_places() {
        let headers = headers(&[
            ("x-api-key", "k1"),
            ("cookie", "a=1; session=tok ; b=2"),
            ("cookie", "twice=1"),
            ("cookie", "twice=1"),
            ("x-empty", ""),
        ]);
        let long = format!("t={}", "x".repeat(LONGEST + 1));
        let find = |source: &Source, query| {
            source.find(&Presented {
                headers: &headers,
                query,
                client: IpAddr::from([192, 0, 2, 1]),
            })
        };
        let cookie = |name: &str| Source::Cookie(name.into());
        let query = Source::Query("t".into());
        for (source, text, expected) in [
            (&Source::Header(HeaderName::from_static("x-api-key")), None, given("k1")),
            (
                &Source::Header(HeaderName::from_static("x-empty")),
                None,
                Found::Nothing,
            ),
            (&cookie("session"), None, given("tok")),
            (&cookie("twice"), None, Found::Unreadable),
            (&cookie("sess"), None, Found::Nothing),
            (&query, Some("a=1&t=tok"), given("tok")),
            (&query, Some("t=a&t=b"), Found::Unreadable),
            (&query, Some("tt=a"), Found::Nothing),
            (&query, Some(&*long), Found::Unreadable),
            (&query, None, Found::Nothing),
        ] {
            assert_eq!(find(source, text), expected, "{source:?}");
        }
        let both = [cookie("nothing"), query];
        let request = Presented {
            headers: &headers,
            query: Some("t=tok"),
            client: IpAddr::from([192, 0, 2, 1]),
        };
        assert_eq!(Source::first(&both, &request), given("tok"));
    }
}
