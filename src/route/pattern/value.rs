//! Patterns of values: of header fields, query parameters and cookies.

use regex::Regex;

use super::{PatternError, expression};

/// What a field's, parameter's or cookie's value must be: `*` (present), `~regex`, or the text itself.
#[derive(Debug, Clone)]
pub enum ValuePattern {
    /// There, with any value.
    Present,
    /// Exactly this.
    Exact(Box<str>),
    /// Matches this expression.
    Regex(Regex),
}

impl ValuePattern {
    /// Reads a pattern as written in the file.
    ///
    /// # Errors
    /// [`PatternError`] for a bad regex.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Present);
        }
        match text.strip_prefix('~') {
            Some("") => Err(PatternError::with_help(
                "the expression is empty",
                "`*` takes every value",
            )),
            Some(regex) => expression(regex).map(Self::Regex),
            None => Ok(Self::Exact(text.into())),
        }
    }

    /// Whether this value is taken. Bytes that are not UTF-8 match no expression.
    pub(in crate::route) fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(text) => text.as_bytes() == value,
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kinds() {
        let present = ValuePattern::parse("*").unwrap();
        assert!(present.takes(b"") && present.takes(b"\xff"));
        let exact = ValuePattern::parse("beta").unwrap();
        assert!(exact.takes(b"beta") && !exact.takes(b"Beta") && !exact.takes(b"beta2"));
        let regex = ValuePattern::parse("~^b.t").unwrap();
        assert!(regex.takes(b"beta") && !regex.takes(b"abeta") && !regex.takes(b"bet\xff"));
        assert!(ValuePattern::parse("").unwrap().takes(b""));
    }

    #[test]
    fn faults_are_explained() {
        assert!(ValuePattern::parse("~").unwrap_err().help.is_some());
        assert!(ValuePattern::parse("~[").is_err());
    }
}
