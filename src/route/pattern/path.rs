//! Patterns of paths.

use std::borrow::Cow;
use std::fmt;

use regex::Regex;

use super::{PatternError, expression};
use crate::route::normalise;

/// The path of a route: `/exact`, `/below/*` (at segment boundaries) or `~regex`.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// This path only.
    Exact(Box<str>),
    /// This path and everything below it; stored without the trailing slash (`""` is every path).
    Prefix(Box<str>),
    /// A regular expression over the normalised path, unanchored unless it says so; linear time.
    Regex(Regex),
}

impl PathPattern {
    /// Reads a pattern as written in the file. `/api/*` takes `/api`, `/api/` and `/api/x`, never `/apix`; `/*` takes
    /// every path. A path must be written in the form in which [`normalise`] gives it, or it would never match.
    ///
    /// # Errors
    /// [`PatternError`] for a path without a leading slash or not in normal form, a `*` elsewhere than at the end, a
    /// bad regex.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if let Some(regex) = text.strip_prefix('~') {
            return parse_path_expression(regex);
        }
        if !text.starts_with('/') {
            return Err(not_a_path(text));
        }
        if let Some(head) = text.strip_suffix("/*") {
            if head.contains('*') {
                return Err(misplaced_star(text));
            }
            // With its slash, so that a doubled one is seen.
            let with_slash = &text[..text.len() - 1];
            let normal = normal_form(with_slash)?;
            if normal != with_slash {
                return Err(not_normal(&format!("{normal}*")));
            }
            return Ok(Self::Prefix(head.into()));
        }
        if text.contains('*') {
            return Err(misplaced_star(text));
        }
        let normal = normal_form(text)?;
        if normal != text {
            return Err(not_normal(&normal));
        }
        Ok(Self::Exact(text.into()))
    }

    /// Whether a path in normal form matches, whatever other routes there are.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// The pattern for routes that ignore case: in lower case, as the path must be that is compared with it; an expression
    /// takes paths as they are.
    ///
    /// # Errors
    /// [`PatternError`] for an expression that becomes larger than 1 MiB.
    pub fn ignoring_case(&self) -> Result<Self, PatternError> {
        Ok(match self {
            Self::Exact(path) => Self::Exact(path.to_ascii_lowercase().into()),
            Self::Prefix(path) => Self::Prefix(path.to_ascii_lowercase().into()),
            Self::Regex(regex) => Self::Regex(expression(&format!("(?i){regex}"))?),
        })
    }

    /// Where a format may stand behind the last segment of what the pattern fixes: not behind a slash.
    pub(in crate::route) fn format_key(&self) -> Option<PathKey<'_>> {
        match self {
            Self::Exact(path) | Self::Prefix(path) if !path.is_empty() && !path.ends_with('/') => {
                Some(PathKey::Format(path))
            }
            _ => None,
        }
    }

    /// What makes two patterns the same.
    pub(in crate::route) fn key(&self) -> PathKey<'_> {
        match self {
            Self::Exact(path) => PathKey::Exact(path),
            Self::Prefix(path) => PathKey::Prefix(path),
            Self::Regex(regex) => PathKey::Regex(regex.as_str()),
        }
    }
}

impl fmt::Display for PathPattern {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(path) => write!(f, "{path}/*"),
            Self::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

/// Identity of a path pattern; expressions are the same when they are spelled the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::route) enum PathKey<'a> {
    Exact(&'a str),
    /// This path with a format behind it.
    Format(&'a str),
    Prefix(&'a str),
    Regex(&'a str),
}

fn parse_path_expression(regex: &str) -> Result<PathPattern, PatternError> {
    if regex.is_empty() {
        return Err(PatternError::with_help(
            "the expression is empty",
            "`/*` takes every path",
        ));
    }
    // nginx: `~* \.js$`. No expression can begin with a repetition, and no path holds a space.
    if let Some(insensitive) = regex.strip_prefix('*') {
        return Err(PatternError::with_help(
            "`~*` is not known here",
            format!("`~(?i){}` ignores case", insensitive.trim_start()),
        ));
    }
    if regex.starts_with(' ') {
        return Err(PatternError::with_help(
            "the expression begins with a space, which no path holds",
            format!("`~{}`", regex.trim_start()),
        ));
    }
    expression(regex).map(PathPattern::Regex)
}

fn not_a_path(text: &str) -> PatternError {
    const MESSAGE: &str = "a path begins with `/`";
    if let Some(path) = text.strip_prefix("^~") {
        let path = path.trim();
        return PatternError::with_help(
            "`^~` is not known here: the longest prefix wins over every expression anyway",
            format!("`{}/*`", path.trim_end_matches('/')),
        );
    }
    if let Some(path) = text.strip_prefix('=') {
        return PatternError::with_help(
            "`=` is not known here: a path without `*` is exact",
            format!("`{}`", path.trim()),
        );
    }
    if text.contains("://") {
        return PatternError::with_help(MESSAGE, "the host belongs into `host`");
    }
    match text.trim() {
        "" | "*" => PatternError::with_help(MESSAGE, "`/*` takes every path"),
        text if text.starts_with('/') => PatternError::with_help(MESSAGE, format!("`{text}`")),
        text => PatternError::with_help(MESSAGE, format!("`/{text}`")),
    }
}

fn misplaced_star(text: &str) -> PatternError {
    const MESSAGE: &str = "`*` stands only at the end, after a slash";
    if let Some(extension) = text.strip_prefix("/*.")
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return PatternError::with_help(
            MESSAGE,
            format!("`extensions = [\"{extension}\"]` beside `path = \"/*\"`"),
        );
    }
    if let Some(head) = text.strip_suffix('*')
        && !head.contains('*')
    {
        return PatternError::with_help(
            MESSAGE,
            format!(
                "`{head}/*` takes `{head}` and everything below it, `~^{}` what begins like it",
                regex::escape(head)
            ),
        );
    }
    let segments = regex::escape(text).replace("\\*", "[^/]+");
    PatternError::with_help(MESSAGE, format!("`~^{segments}$`"))
}

fn not_normal(normal: &str) -> PatternError {
    PatternError::with_help(
        "the path is not in the form in which requests are matched, so it would never match",
        format!("`{normal}`"),
    )
}

fn normal_form(path: &str) -> Result<Cow<'_, str>, PatternError> {
    normalise(path).map_err(|error| {
        if let Some((before, _)) = path.split_once('?') {
            return PatternError::with_help(
                "a path has no query",
                format!("`{before}`, and the parameters into `query`"),
            );
        }
        let escaped = escape_what_is_not_allowed(path);
        let message = format!("no request can match: {error}");
        match normalise(&escaped) {
            Ok(normal) => PatternError::with_help(message, format!("`{normal}`")),
            Err(_) => PatternError::new(message),
        }
    })
}

/// Percent-encodes the bytes that a path cannot have raw; nothing else.
fn escape_what_is_not_allowed(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte == b' ' || byte == b'#' || !byte.is_ascii() {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_and_read_back() {
        for text in [
            "/",
            "/*",
            "/health",
            "/api/*",
            "/api/",
            "/a%20b/*",
            "/.well-known/*",
            r"~^/deal/(\d+)$",
            "/a;x",
        ] {
            assert_eq!(PathPattern::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn segment_boundaries() {
        let table: [(&str, &[&str], &[&str]); 5] = [
            (
                "/api/*",
                &["/api", "/api/", "/api/x", "/api/x/y"],
                &["/apix", "/ap", "/", "/x/api", "/API"],
            ),
            ("/s/*", &["/s/abc"], &["/search", "/submit-deal", "/sw.js"]),
            ("/*", &["/", "/x", "/x/y/"], &[]),
            ("/health", &["/health"], &["/health/", "/healthz", "/health/x"]),
            (r"~\.js$", &["/a.js", "/x/y.js"], &["/a.jsx", "/js"]),
        ];
        for (pattern, taken, left) in table {
            let pattern = PathPattern::parse(pattern).unwrap();
            for path in taken {
                assert!(pattern.matches(path), "{pattern} {path}");
            }
            for path in left {
                assert!(!pattern.matches(path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn faults_are_explained() {
        let table = [
            ("", "`/*`"),
            ("*", "`/*`"),
            ("api/*", "`/api/*`"),
            (" /api", "`/api`"),
            ("https://h/x", "`host`"),
            ("^~ /assets/", "`/assets/*`"),
            ("= /health", "`/health`"),
            (r"~* \.(js|css)$", r"`~(?i)\.(js|css)$`"),
            ("~ ^/x", "`~^/x`"),
            ("~", "`/*`"),
            ("/api*", "`/api/*`"),
            ("/*.js", "extensions = [\"js\"]"),
            ("/users/*/posts", "`~^/users/[^/]+/posts$`"),
            ("/*/x/*", "`~^/[^/]+/x/[^/]+$`"),
            ("/api//*", "`/api/*`"),
            ("//api", "`/api`"),
            ("/%61pi/*", "`/api/*`"),
            ("/a/../b", "`/b`"),
            ("/a/./*", "`/a/*`"),
            ("/%c3%a9", "`/%C3%A9`"),
            ("/caf\u{e9}", "`/caf%C3%A9`"),
            ("/a b/*", "`/a%20b/"),
            ("/search?q=x", "`/search`"),
        ];
        for (text, help) in table {
            let error = PathPattern::parse(text).expect_err(text);
            assert!(
                error.help.as_deref().is_some_and(|given| given.contains(help)),
                "{text}: {error:?}"
            );
        }
        for text in ["/../x", "/a\\b", "/%zz", "/..;/x", "/a%2fb", "~(", "~(?<x"] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_shown_as_written(text in "[/a-c.*~%2e;]{0,12}") {
            if let Ok(pattern) = PathPattern::parse(&text) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = PathPattern::parse(&text);
        }
    }
}
