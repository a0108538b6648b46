//! The one path rule: what routes match on, and what is refused because it cannot be normalised safely.

use std::borrow::Cow;

/// Why a request path is refused (always answered 400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// Does not begin with `/`.
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// A control byte, raw or encoded, `%00` among them.
    Control,
    /// An encoded slash or a backslash, raw or encoded: two readers would split the path differently.
    AmbiguousSeparator,
    /// `..` climbs above the root.
    AboveRoot,
}

/// Normalises the path of a request target (no query) for matching.
///
/// # Errors
/// [`PathError`] where two readers could disagree about the result.
pub fn normalise(_raw: &str) -> Result<Cow<'_, str>, PathError> {
    unimplemented!()
}
