//! `rewrite`: the path that the upstream sees.

mod replacement;

use std::borrow::Cow;

use regex::Regex;

use crate::route::{PatternError, expression, has_dot_or_empty_segments, merge_slashes, normalise};

/// Changes of the raw path, in the order of the fields.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    /// Takes this prefix away, at a segment boundary. No trailing slash.
    strip_prefix: Option<Box<str>>,
    /// Whether the prefix is taken away in upper and lower case alike, ASCII.
    any_case: bool,
    /// Replaces every match of the expression; `$1` and `${name}` stand for captures.
    regex: Option<(Regex, Box<str>)>,
    /// Puts this before the path. No trailing slash.
    add_prefix: Option<Box<str>>,
}

impl Rewrite {
    /// Checks and compiles: the prefix to strip, the expression with its replacement, the prefix to add. A trailing
    /// slash of a prefix is ignored.
    ///
    /// # Errors
    /// [`PatternError`] for a prefix that is no path in normal form, an expression that cannot be read, a replacement
    /// with a capture that does not exist or with text that cannot stand in a path.
    pub fn new(
        strip_prefix: Option<&str>,
        regex: Option<(&str, &str)>,
        add_prefix: Option<&str>,
    ) -> Result<Self, PatternError> {
        let compile = |(regex, replacement): (&str, &str)| {
            let regex = expression(regex)?;
            replacement::check(replacement, &regex)?;
            Ok((regex, replacement.into()))
        };
        Ok(Self {
            strip_prefix: strip_prefix.map(parse_prefix).transpose()?,
            any_case: false,
            regex: regex.map(compile).transpose()?,
            add_prefix: add_prefix.map(parse_prefix).transpose()?,
        })
    }

    /// For a route that ignores case: the prefix is taken away however it is spelled.
    #[must_use]
    pub fn ignoring_case(self) -> Self {
        Self { any_case: true, ..self }
    }

    /// The new path; always absolute, never beginning with `//`, without a query.
    ///
    /// The path is changed as it is spelled, so its escapes stay. In its normal form only where the prefix or the
    /// expression is spelled otherwise in it (`/%61pi`), or where it has dot segments: what is left of `/a/../b` without
    /// its `/a` would climb above the root. No escape is cut: a match that begins or ends inside one is left alone. And
    /// a replacement that would make dot segments (`^/~(.*)` → `/users/$1` of `/~../etc`) is not made at all.
    #[must_use]
    pub fn apply(&self, raw_path: &str) -> String {
        let normal = normalise(raw_path).unwrap_or(Cow::Borrowed(raw_path));
        let mut path: Cow<'_, str> = if has_dot_or_empty_segments(raw_path) {
            Cow::Borrowed(&normal)
        } else {
            Cow::Borrowed(raw_path)
        };
        if let Some(prefix) = &self.strip_prefix
            && let Some(rest) = self.below(&path, prefix).or_else(|| self.below(&normal, prefix))
        {
            path = Cow::Owned(rest.to_owned());
        }
        if let Some((regex, replacement)) = &self.regex {
            if path.is_empty() {
                path = Cow::Borrowed("/");
            }
            if let Some(replaced) = replace_spelled(regex, replacement, &path) {
                path = Cow::Owned(replaced);
            }
        }
        let mut out = String::with_capacity(path.len() + 1 + self.add_prefix.as_ref().map_or(0, |prefix| prefix.len()));
        out.push_str(self.add_prefix.as_deref().unwrap_or_default());
        // `/api` without `/api` is nothing: with `/v2` before it, `/v2` and not `/v2/`.
        if !path.is_empty() || out.is_empty() {
            out.push('/');
            out.push_str(path.trim_start_matches('/'));
        }
        out
    }

    /// What follows the prefix, if the path is the prefix or lies below it.
    fn below<'a>(&self, path: &'a str, prefix: &str) -> Option<&'a str> {
        let (head, rest) = path.split_at_checked(prefix.len())?;
        let is_it = head == prefix || (self.any_case && head.eq_ignore_ascii_case(prefix));
        (is_it && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
    }
}

/// Replaces in the path as it is spelled, else in its normal form; `None` where nothing is to be replaced.
fn replace_spelled(regex: &Regex, replacement: &str, path: &str) -> Option<String> {
    let replaced = replace(regex, replacement, path).or_else(|| match normalise(path) {
        Ok(Cow::Owned(normal)) => replace(regex, replacement, &normal),
        _ => None,
    });
    replaced
        .map(|mut replaced| {
            if !replaced.starts_with('/') {
                replaced.insert(0, '/');
            }
            merge_slashes(&mut replaced);
            replaced
        })
        .filter(|replaced| !has_dot_or_empty_segments(replaced) && normalise(replaced).is_ok())
}

fn replace(regex: &Regex, replacement: &str, path: &str) -> Option<String> {
    let mut out = None;
    let mut copied = 0;
    for captures in regex.captures_iter(path) {
        let mut groups = captures.iter().flatten();
        if groups.any(|group| is_inside_escape(path, group.start()) || is_inside_escape(path, group.end())) {
            continue;
        }
        let whole = captures.get_match();
        let out = out.get_or_insert_with(|| String::with_capacity(path.len() + replacement.len()));
        out.push_str(&path[copied..whole.start()]);
        captures.expand(replacement, out);
        copied = whole.end();
    }
    if let Some(out) = &mut out {
        out.push_str(&path[copied..]);
    }
    out
}

fn is_inside_escape(path: &str, at: usize) -> bool {
    let bytes = path.as_bytes();
    [1, 2]
        .iter()
        .any(|&back| at >= back && at < bytes.len() + back && bytes[at - back] == b'%')
}

fn parse_prefix(text: &str) -> Result<Box<str>, PatternError> {
    if let Some(path) = text.strip_suffix("/*") {
        return Err(PatternError::with_help(
            "a prefix is written without `/*`: it always ends at a segment boundary",
            format!("`{path}`"),
        ));
    }
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.is_empty() {
        return Err(PatternError::with_help(
            "an empty prefix changes nothing",
            "leave it out",
        ));
    }
    match normalise(path) {
        Ok(normal) if normal == path => Ok(path.into()),
        Ok(normal) => Err(PatternError::with_help(
            "the prefix is not in the form in which requests are matched",
            format!("`{normal}`"),
        )),
        Err(_) if !path.starts_with('/') => Err(PatternError::with_help(
            "a prefix begins with `/`",
            format!("`/{path}`"),
        )),
        Err(error) => Err(PatternError::new(format!("the prefix cannot be used: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::escaped_byte;
    use proptest::prelude::*;

    type Parts<'a> = (Option<&'a str>, Option<(&'a str, &'a str)>, Option<&'a str>);

    fn apply((strip, regex, add): Parts<'_>, path: &str) -> String {
        Rewrite::new(strip, regex, add).expect("a good rewrite").apply(path)
    }

    #[test]
    fn prefixes() {
        let strip = (Some("/api"), None, None);
        let swap = (Some("/api/"), None, Some("/v2/"));
        let add = (None, None, Some("/v2"));
        let table = [
            (strip, "/api/deals", "/deals"),
            (strip, "/api/", "/"),
            (strip, "/api", "/"),
            (strip, "/apix", "/apix"),
            (strip, "/x/api", "/x/api"),
            (strip, "/api/%7Euser/a%20b", "/%7Euser/a%20b"),
            (strip, "/%61pi/%7Euser", "/~user"),
            (strip, "/api//evil.example/x", "/evil.example/x"),
            (strip, "//api/x", "/x"),
            (strip, "/api/../api/x", "/x"),
            (strip, "/api/x/../../admin", "/admin"),
            (strip, "/x/%2e%2e/api/y", "/y"),
            (swap, "/api/deals", "/v2/deals"),
            (swap, "/api/", "/v2/"),
            (swap, "/api", "/v2"),
            (add, "/", "/v2/"),
            (add, "/a%2b", "/v2/a%2b"),
        ];
        for (rewrite, path, wanted) in table {
            assert_eq!(apply(rewrite, path), wanted, "{rewrite:?} {path}");
        }
    }

    #[test]
    fn expressions() {
        let old = Some((r"^/old/(?<id>\d+)(/.*)?$", "/new/${id}$2"));
        let home = Some(("^/~(.*)$", "/users/$1"));
        let table = [
            ((None, old, None), "/old/7/x", "/new/7/x"),
            ((None, old, None), "/old/7", "/new/7"),
            ((None, old, None), "/old/x", "/old/x"),
            ((None, old, None), "/%6fld/7", "/new/7"),
            ((Some("/a"), old, Some("/b")), "/a/old/7", "/b/new/7"),
            ((None, Some(("_", "-")), None), "/a_b_c", "/a-b-c"),
            ((None, Some(("^/a", "")), None), "/a//evil", "/evil"),
            ((None, Some(("^/a", "")), None), "/ab", "/b"),
            ((None, Some(("^/old(.*)", "/new/$1")), None), "/old/x", "/new/x"),
            ((None, Some(("^", "$$")), None), "/x", "/$/x"),
            ((Some("/a"), Some(("^/$", "/index")), None), "/a", "/index"),
            // No escape is made or cut.
            ((None, Some(("2", "")), None), "/a%20b2", "/a%20b"),
            ((None, Some(("25", "")), None), "/%2541", "/%2541"),
            ((None, Some(("^/%(.)", "/$1")), None), "/%20", "/%20"),
            // Nobody climbs through a capture.
            ((None, home, None), "/~joe/x", "/users/joe/x"),
            ((None, home, None), "/~../etc/passwd", "/~../etc/passwd"),
            ((None, home, None), "/~%2e%2e/etc", "/~%2e%2e/etc"),
            ((None, home, None), "/~..;/etc", "/~..;/etc"),
        ];
        for (rewrite, path, wanted) in table {
            assert_eq!(apply(rewrite, path), wanted, "{rewrite:?} {path}");
        }
    }

    #[test]
    fn faults_are_explained() {
        let prefix = |text| Rewrite::new(Some(text), None, None).expect_err(text);
        for (text, help) in [
            ("api", "`/api`"),
            ("/", "leave it out"),
            ("", "leave it out"),
            ("/api/*", "`/api`"),
            ("/a//b", "`/a/b`"),
            ("/%61", "`/a`"),
        ] {
            assert!(prefix(text).help.is_some_and(|given| given.contains(help)), "{text}");
        }
        assert!(prefix("/a/../..").message.contains("climbs"));
        assert!(Rewrite::new(None, Some(("(", "")), None).is_err());
        assert!(Rewrite::new(None, Some(("a", "$0$$")), None).is_ok());
    }

    proptest! {
        #[test]
        fn always_a_path_that_means_what_it_says(
            raw in "/([a-c/.;~]|%2e|%2E|%41|%25|%C3|25|41){0,12}",
            strip in prop::option::of(prop::sample::select(vec!["/a", "/a/b", "/A"])),
            regex in prop::option::of(prop::sample::select(vec![
                (".", "$0"), ("b", ""), ("2", ""), ("^/(.*)$", "/x/$1"), ("~(.*)", "/$1"), ("(.)(.)", "$2$1"), ("[^/]*", "x/"),
                ("%(..)", "%25$1"), ("^/a", ""), ("/", ""),
            ])),
            add in prop::option::of(prop::sample::select(vec!["/v", "/v/w"])),
        ) {
            let rewritten = apply((strip, regex, add), &raw);
            if normalise(&raw).is_ok() {
                prop_assert!(rewritten.starts_with('/') && !rewritten.starts_with("//"), "{rewritten}");
                prop_assert!(!has_dot_or_empty_segments(&rewritten), "{rewritten}");
                for (at, _) in rewritten.match_indices('%') {
                    prop_assert!(escaped_byte(rewritten.as_bytes(), at).is_some(), "{rewritten}");
                }
                prop_assert!(rewritten.starts_with(add.unwrap_or_default()));
            }
        }

        #[test]
        fn never_panics(raw in any::<String>()) {
            let _ = apply((Some("/a"), Some(("(.)(.)?", "$2$1")), Some("/b")), &raw);
        }
    }
}
