//! The name of an answer outside this process: the same after a restart, and in every gateway.

use http::HeaderMap;
use ring::digest::{Context, SHA256};

use super::key::{KeyRules, cookie};

/// What a kept answer is found by, outside memory. Nobody can choose requests that share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The URL, by [`url_digest`].
    pub url: u128,
    /// The parts of the key beside the URL.
    pub extra: u128,
}

/// The digest of a whole URL, as [`Asked::url`](super::Asked::url) writes it: no two requests write the same.
#[must_use]
pub fn url_digest(url: &str) -> u128 {
    let mut digest = Context::new(&SHA256);
    digest.update(url.as_bytes());
    finish(digest)
}

impl KeyRules {
    /// The address of the answers to a request for this URL that a route takes.
    #[must_use]
    pub fn address(&self, url: &str, route: &str, request: &HeaderMap) -> Address {
        let mut extra = Frame::new();
        extra.part(Some(route.as_bytes()));
        for name in &self.headers {
            let lines = request.get_all(name);
            extra.count(lines.iter().count());
            lines.iter().for_each(|line| extra.part(Some(line.as_bytes())));
        }
        for name in &self.cookies {
            extra.part(cookie(request, name));
        }
        Address {
            url: url_digest(url),
            extra: extra.finish(),
        }
    }
}

/// Parts with their borders: each is preceded by its length, an absent one differs from an empty one.
pub(super) struct Frame(Context);

impl Frame {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn finish(self) -> u128 {
        finish(self.0)
    }

    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    pub(super) fn part(&mut self, part: Option<&[u8]>) {
        self.0.update(&[u8::from(part.is_some())]);
        let part = part.unwrap_or_default();
        self.count(part.len());
        self.0.update(part);
    }
}

fn finish(digest: Context) -> u128 {
    let digest = digest.finish();
    digest
        .as_ref()
        .iter()
        .take(16)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::cache::Asked;

    fn address(rules: &KeyRules, query: Option<&str>, lines: &[(&'static str, &'static str)]) -> Address {
        let asked = Asked {
            scheme: "http",
            authority: "site.test",
            path: "/a",
            query,
        };
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        rules.address(&asked.url(), "route", &fields)
    }

    #[test]
    fn every_part_counts() {
        let rules = KeyRules {
            headers: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
            cookies: vec!["s".into()],
            ..KeyRules::default()
        };
        let all = [
            address(&rules, None, &[]),
            address(&rules, Some(""), &[]),
            address(&rules, None, &[("x-a", "")]),
            address(&rules, None, &[("x-a", "1"), ("x-a", "2")]),
            address(&rules, None, &[("x-a", "1"), ("x-b", "2")]),
            address(&rules, None, &[("x-b", "1"), ("x-b", "2")]),
            address(&rules, None, &[("cookie", "s=")]),
            address(&rules, None, &[("cookie", "t=1; s=2")]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        assert_eq!(address(&rules, None, &[("x-c", "1")]), all[0]);
    }

    #[test]
    fn it_is_the_same_in_every_process() {
        let one = address(&KeyRules::default(), Some("x=1"), &[]);
        assert_eq!(one.url, url_digest("http://site.test/a?x=1"));
        assert_eq!(url_digest(""), 0xe3b0_c442_98fc_1c14_9afb_f4c8_996f_b924);
    }
}
