//! The names that certificates are for: `site.test`, `*.site.test`.

use std::collections::HashMap;

/// Whether this can be the name of a certificate for clients, lower case: a host name, perhaps with `*.` before it.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label) && (name == text || name.contains('.'))
}

/// Which places a name leads to: the exact name before the wildcard one label above (RFC 9525 §6.3).
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Vec<usize>>);

impl Names {
    /// From now on `name` leads to `place`, after the places that it leads to already.
    pub(super) fn add(&mut self, name: &str, place: usize) {
        let places = self.0.entry(name.into()).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// The places of the name that fits best.
    pub(super) fn find(&self, host: &str) -> Option<&[usize]> {
        let mut lower = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(places) = self.0.get(lower.as_str()) {
            return Some(places);
        }
        let dot = lower.find('.').filter(|&dot| dot > 0)?;
        lower.replace_range(..dot, "*");
        self.0.get(lower.as_str()).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_wins_and_a_wildcard_is_one_label() {
        let mut names = Names::default();
        names.add("*.site.test", 0);
        names.add("a.site.test", 1);
        names.add("a.site.test", 2);
        for (host, places) in [
            ("a.site.test", Some([1, 2].as_slice())),
            ("A.SITE.test.", Some([1, 2].as_slice())),
            ("b.site.test", Some([0].as_slice())),
            ("a.b.site.test", None),
            ("site.test", None),
            (".site.test", None),
            ("*.site.test", Some([0].as_slice())),
            ("", None),
        ] {
            assert_eq!(names.find(host), places, "{host:?}");
        }
    }

    #[test]
    fn names_are_hosts_or_wildcards() {
        for good in ["a", "site.test", "*.site.test", "a-b.x1", "_acme.site.test"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "", "*", "*.", "*.test*", "A.test", "a..b", "-a", "a-", "a b", "a.*.b", "a:443", "*.a",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
