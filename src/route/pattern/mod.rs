//! Patterns as people write them: of paths, of hosts and of values.

mod host;
mod path;
mod value;

use std::fmt;

use regex::{Regex, RegexBuilder};

pub use host::HostPattern;
pub(super) use path::PathKey;
pub use path::PathPattern;
pub use value::ValuePattern;

/// The most memory a compiled expression may take, bytes.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// A pattern that cannot be used, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong, without the place: the caller knows it.
    pub message: String,
    /// What to write instead, if that is known.
    pub help: Option<String>,
}

impl PatternError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: Some(help.into()),
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatternError {}

/// Alias kept separate so that conditions and patterns can differ later.
pub type ConditionError = PatternError;

/// Compiles an expression, of bounded size and linear time.
///
/// # Errors
/// [`PatternError`] where it cannot be read or would become larger than 1 MiB.
pub(crate) fn expression(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(text)
        .size_limit(REGEX_SIZE_LIMIT)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::with_help(
                "the expression would take more than 1 MiB",
                "repeat less: counted repetitions such as `{1000}` are written out",
            ),
            error => {
                // The crate draws the expression over several lines; the last one says what is wrong.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                PatternError::new(format!(
                    "the expression cannot be read: {}",
                    reason.trim_start_matches("error: ")
                ))
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_bounded_and_explained() {
        assert!(expression(r"^/a/(\d+)$").is_ok());
        let open = expression("(a").unwrap_err();
        assert_eq!(open.message, "the expression cannot be read: unclosed group");
        let large = expression(r"(\w{200}){200}").unwrap_err();
        assert!(large.message.contains("1 MiB") && large.help.is_some(), "{large:?}");
    }
}
