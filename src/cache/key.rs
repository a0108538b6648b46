//! What an answer is found by: scheme, authority, path and query, framed so that no two requests can be taken for one
//! another, and what the operator adds.

use std::borrow::Cow;
use std::hash::Hasher;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use siphasher::sip128::{Hasher128, SipHasher13};

/// `key = { … }`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRules {
    /// The query parameters that count; `None`: all.
    pub query: Option<Vec<Box<str>>>,
    /// Query parameters that do not count; a `*` at the end stands for any ending.
    pub ignore: Vec<Box<str>>,
    /// Whether the order of parameters does not count.
    pub sort: bool,
    /// Request fields that tell answers apart.
    pub headers: Vec<HeaderName>,
    /// Cookies that tell answers apart.
    pub cookies: Vec<Box<str>>,
}

/// What is asked for, as far as the key goes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port in lower case, as the application is told.
    pub authority: &'a str,
    /// The path, as it is sent.
    pub path: &'a str,
    /// The query, by [`KeyRules::query`].
    pub query: Option<&'a str>,
}

/// Two secrets that make hashes unforeseeable.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub u64, pub u64);

/// The URL, hashed: what invalidation and purging go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UrlKey(pub u128);

/// The parts of the key beside the URL, hashed: the route, fields, cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extra(pub u64);

/// The key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The URL.
    pub url: UrlKey,
    /// The rest.
    pub extra: Extra,
}

impl KeyRules {
    /// The query that counts. The application is sent this one too: what is not in the key must not change the answer.
    #[must_use]
    pub fn query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        if self.query.is_none() && self.ignore.is_empty() && !self.sort {
            return Some(Cow::Borrowed(query));
        }
        let mut kept: Vec<&str> = query.split('&').filter(|pair| self.counts(name_of(pair))).collect();
        if self.sort {
            // Stable: several values of one parameter keep their order, which may matter.
            kept.sort_by(|a, b| name_of(a).cmp(name_of(b)));
        }
        (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
    }

    fn counts(&self, name: &str) -> bool {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        };
        self.query
            .as_ref()
            .is_none_or(|those| those.iter().any(|one| matches(one)))
            && !self.ignore.iter().any(|one| matches(one))
    }

    /// The key of a request that a route takes.
    #[must_use]
    pub fn key(&self, seed: Seed, asked: &Asked<'_>, route: &str, request: &HeaderMap) -> Key {
        Key {
            url: asked.url_key(seed),
            extra: self.extra(seed, route, request),
        }
    }

    /// The parts of the key beside the URL where they are the same for every request of a route.
    #[must_use]
    pub fn constant(&self, seed: Seed, route: &str) -> Option<Extra> {
        let constant = self.headers.is_empty() && self.cookies.is_empty();
        constant.then(|| self.extra(seed, route, &HeaderMap::new()))
    }

    /// The parts of the key beside the URL.
    #[must_use]
    pub fn extra(&self, seed: Seed, route: &str, request: &HeaderMap) -> Extra {
        let mut extra = Frame::new(seed);
        extra.part(Some(route.as_bytes()));
        for name in &self.headers {
            let mut lines = request.get_all(name).iter().peekable();
            if lines.peek().is_none() {
                extra.part(None);
            }
            for line in lines {
                extra.part(Some(line.as_bytes()));
            }
            extra.end();
        }
        for name in &self.cookies {
            extra.part(cookie(request, name));
        }
        Extra(extra.finish() as u64)
    }
}

impl<'a> Asked<'a> {
    /// What a whole URL asks for, as [`url`](Self::url) writes it.
    #[must_use]
    pub fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, target) = rest.split_at(rest.find('/')?);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Some(Self {
            scheme,
            authority,
            path,
            query,
        })
    }

    /// The URL, hashed.
    #[must_use]
    pub fn url_key(&self, seed: Seed) -> UrlKey {
        let mut frame = Frame::new(seed);
        frame.part(Some(self.scheme.as_bytes()));
        frame.part(Some(self.authority.as_bytes()));
        frame.part(Some(self.path.as_bytes()));
        frame.part(self.query.map(str::as_bytes));
        UrlKey(frame.finish())
    }

    /// The URL, as people read it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.target())
    }

    /// Path and query, as the application is asked for them.
    #[must_use]
    pub fn target(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_owned(),
        }
    }
}

/// Hashes parts so that their borders count: each is preceded by its length, an absent one differs from an empty one.
struct Frame(SipHasher13);

impl Frame {
    fn new(Seed(one, two): Seed) -> Self {
        Self(SipHasher13::new_with_keys(one, two))
    }

    fn part(&mut self, part: Option<&[u8]>) {
        match part {
            Some(part) => {
                self.0.write_u8(1);
                self.0.write_u64(part.len() as u64);
                self.0.write(part);
            }
            None => self.0.write_u8(0),
        }
    }

    fn end(&mut self) {
        self.0.write_u8(2);
    }

    fn finish(self) -> u128 {
        self.0.finish128().as_u128()
    }
}

/// Whether a query has a parameter of that name as applications read names: percent-decoded, and `name[…]` is a part of
/// `name`.
pub(super) fn has_parameter(query: &str, name: &str) -> bool {
    query.split('&').map(name_of).any(|written| {
        let decoded = decoded(written);
        let rest = decoded.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"["))
    })
}

/// `+` and `%XX` decoded; what is no encoding stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// The value of a cookie (RFC 6265 §4.2), the first of that name.
pub(super) fn cookie<'a>(request: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    request.get_all(COOKIE).iter().find_map(|line| {
        line.as_bytes().split(|byte| *byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            (&pair[..at] == name.as_bytes()).then(|| &pair[at + 1..])
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const SEED: Seed = Seed(1, 2);

    fn asked<'a>(authority: &'a str, path: &'a str, query: Option<&'a str>) -> Asked<'a> {
        Asked {
            scheme: "http",
            authority,
            path,
            query,
        }
    }

    #[test]
    fn queries_by_rule() {
        let all = KeyRules::default();
        assert_eq!(all.query(Some("b=1&a=2")).as_deref(), Some("b=1&a=2"));
        assert_eq!(all.query(Some("")).as_deref(), Some(""));
        assert_eq!(all.query(None), None);
        let sorted = KeyRules {
            sort: true,
            ..KeyRules::default()
        };
        assert_eq!(sorted.query(Some("b=1&a=2&b=0")).as_deref(), Some("a=2&b=1&b=0"));
        let without = KeyRules {
            ignore: vec!["utm_*".into(), "gclid".into()],
            ..KeyRules::default()
        };
        assert_eq!(
            without.query(Some("a=1&utm_source=x&gclid=2&gclidx=3")).as_deref(),
            Some("a=1&gclidx=3")
        );
        assert_eq!(without.query(Some("gclid=2")), None);
        let only = KeyRules {
            query: Some(vec!["page".into()]),
            ..KeyRules::default()
        };
        assert_eq!(only.query(Some("page=1&x=2")).as_deref(), Some("page=1"));
    }

    #[test]
    fn parameters_as_applications_read_them() {
        for (query, expected) in [
            ("firebase_uid=x", true),
            ("a=1&firebase_uid", true),
            ("firebase%5Fuid=x", true),
            ("firebase_ui%64=x", true),
            ("firebase_uid[]=x", true),
            ("firebase_uid%5B0%5D=x", true),
            ("firebase_uidx=x", false),
            ("a=firebase_uid", false),
            ("firebase%5", false),
            ("", false),
        ] {
            assert_eq!(has_parameter(query, "firebase_uid"), expected, "{query}");
        }
    }

    #[test]
    fn an_absent_part_is_not_an_empty_one() {
        let key = |query| asked("a", "/", query).url_key(SEED);
        assert_ne!(key(None), key(Some("")));
        let rules = KeyRules {
            headers: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
            cookies: vec!["s".into()],
            ..KeyRules::default()
        };
        let of = |lines: &[(&'static str, &'static str)]| {
            let mut fields = HeaderMap::new();
            for (name, value) in lines {
                fields.append(*name, HeaderValue::from_static(value));
            }
            rules.key(SEED, &asked("a", "/", None), "r", &fields)
        };
        let keys = [
            of(&[]),
            of(&[("x-a", "")]),
            of(&[("x-a", "1"), ("x-a", "2")]),
            of(&[("x-a", "1"), ("x-b", "2")]),
            of(&[("x-b", "1"), ("x-b", "2")]),
            of(&[("cookie", "s=")]),
            of(&[("cookie", "t=1; s=2")]),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{place}");
        }
    }

    proptest! {
        #[test]
        fn no_two_urls_have_one_key(one in "[a/?&=.:]{0,8}", two in "[a/?&=.:]{0,8}", a in "[a/?&=.:]{0,8}", b in "[a/?&=.:]{0,8}") {
            let (first, second) = (asked(&one, &two, None), asked(&a, &b, None));
            prop_assert_eq!(
                first.url_key(SEED) == second.url_key(SEED),
                one == a && two == b
            );
            prop_assert_ne!(asked(&one, &two, Some(&a)).url_key(SEED), first.url_key(SEED));
        }

        #[test]
        fn any_query_is_read(query in "\\PC{0,40}") {
            let rules = KeyRules { ignore: vec!["a*".into()], sort: true, ..KeyRules::default() };
            let once = rules.query(Some(&query)).map(Cow::into_owned);
            let twice = once.as_deref().and_then(|query| rules.query(Some(query))).map(Cow::into_owned);
            prop_assert_eq!(twice, once);
        }
    }
}
