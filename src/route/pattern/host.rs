//! Patterns of hosts.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::PatternError;
use crate::route::normalise_host;

/// The host of a route: `name`, `*.name`; absent means any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name only, lower case.
    Exact(Box<str>),
    /// One or more labels before this suffix; stored with its leading dot.
    Wildcard(Box<str>),
}

impl HostPattern {
    /// Reads a pattern as written in the file; upper case is folded. An IPv6 address is written in brackets.
    ///
    /// # Errors
    /// [`PatternError`] for a port, a path, a misplaced `*`, an empty name, a name that is not in ASCII.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if matches!(text, "" | "*" | "_" | "/" | "/*") {
            return Err(PatternError::with_help(
                format!("`{text}` is not a host name"),
                "leave `host` out to take every host",
            ));
        }
        if !text.is_ascii() {
            return Err(PatternError::with_help(
                "an international name must be given as it is sent: in ASCII",
                "write each label in its `xn--` form (punycode)",
            ));
        }
        if let Some((_, after)) = text.split_once("://") {
            let host = after.split('/').next().unwrap_or_default();
            return Err(PatternError::with_help(
                "a host has no scheme and no path",
                format!("`{host}`"),
            ));
        }
        if let Some((host, _)) = text.split_once('/') {
            return Err(PatternError::with_help(
                "a host has no path",
                format!("`{host}`, and the path into `path`"),
            ));
        }
        if let Some(name) = text.strip_prefix('.') {
            return Err(PatternError::with_help(
                "a host does not begin with a dot",
                format!("`*.{name}`"),
            ));
        }
        let (name, wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(PatternError::with_help(
                "`*` stands only for the first labels of a name",
                "`*.example.com`",
            ));
        }
        if name.parse::<Ipv6Addr>().is_ok() {
            return Err(PatternError::with_help(
                "an IPv6 address stands in brackets",
                format!("`[{name}]`"),
            ));
        }
        let (host, port) =
            normalise_host(name).map_err(|error| PatternError::new(format!("`{text}` is not a host name: {error}")))?;
        if port.is_some() || name.ends_with(':') {
            let star = if wildcard { "*." } else { "" };
            return Err(PatternError::with_help(
                "a host is matched without its port",
                format!("`{star}{host}`"),
            ));
        }
        if !wildcard {
            return Ok(Self::Exact(host.into()));
        }
        if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
            return Err(PatternError::with_help(
                "an address has no labels before it",
                format!("`{host}`"),
            ));
        }
        Ok(Self::Wildcard(format!(".{host}").into()))
    }

    /// Whether a host in normal form matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

impl fmt::Display for HostPattern {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_back() {
        let table = [
            ("example.com", "example.com"),
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::1]", "[::1]"),
            ("xn--caf-dma.example", "xn--caf-dma.example"),
        ];
        for (text, shown) in table {
            let pattern = HostPattern::parse(text).expect(text);
            assert_eq!(pattern.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn faults_are_explained() {
        let table = [
            ("", "leave `host` out"),
            ("*", "leave `host` out"),
            ("_", "leave `host` out"),
            ("caf\u{e9}.example", "xn--"),
            ("https://example.com/x", "`example.com`"),
            ("example.com/x", "`example.com`"),
            ("example.com:8080", "`example.com`"),
            ("example.com:", "`example.com`"),
            ("*.example.com:80", "`*.example.com`"),
            (".example.com", "`*.example.com`"),
            ("www.*", "`*.example.com`"),
            ("*.*.com", "`*.example.com`"),
            ("*example.com", "`*.example.com`"),
            ("::1", "`[::1]`"),
            ("*.127.0.0.1", "`127.0.0.1`"),
            ("*.[::1]", "`[::1]`"),
        ];
        for (text, help) in table {
            let error = HostPattern::parse(text).expect_err(text);
            assert!(
                error.help.as_deref().is_some_and(|given| given.contains(help)),
                "{text}: {error:?}"
            );
        }
        for text in ["a b", "a,b", "a..b", "~^www", "user@host", "*.", "[::1", "a:b"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_wants_a_label() {
        let pattern = HostPattern::parse("*.example.com").unwrap();
        for host in ["a.example.com", "a.b.example.com"] {
            assert!(pattern.matches(host), "{host}");
        }
        for host in ["example.com", ".example.com", "aexample.com", "example.com.evil", ""] {
            assert!(!pattern.matches(host), "{host}");
        }
        let name = HostPattern::parse("example.com").unwrap();
        assert!(name.matches("example.com") && !name.matches("a.example.com"));
    }
}
