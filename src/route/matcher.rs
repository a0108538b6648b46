//! What a route asks of a request: host, path and further conditions.

use std::fmt;

use http::Method;
use regex::Regex;

/// A pattern that cannot be used, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong, without the place: the caller knows it.
    pub message: String,
    /// What to write instead, if that is known.
    pub help: Option<String>,
}

/// Alias kept separate so that conditions and patterns can differ later.
pub type ConditionError = PatternError;

/// The path of a route: `/exact`, `/below/*` (at segment boundaries) or `~regex`.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// This path only.
    Exact(Box<str>),
    /// This path and everything below it; stored without the trailing slash (`""` is every path).
    Prefix(Box<str>),
    /// A regular expression, unanchored unless it says so; linear time.
    Regex(Regex),
}

impl PathPattern {
    /// Reads a pattern as written in the file.
    ///
    /// # Errors
    /// [`PatternError`] for a path without a leading slash, a `*` elsewhere than at the end, a bad regex.
    pub fn parse(_text: &str) -> Result<Self, PatternError> {
        unimplemented!()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}

/// The host of a route: `name`, `*.name`; absent means any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name only, lower case.
    Exact(Box<str>),
    /// Any number of labels before this suffix; stored with its leading dot.
    Wildcard(Box<str>),
}

impl HostPattern {
    /// Reads a pattern as written in the file; upper case is folded.
    ///
    /// # Errors
    /// [`PatternError`] for a port, a path, a misplaced `*`, an empty name.
    pub fn parse(_text: &str) -> Result<Self, PatternError> {
        unimplemented!()
    }
}

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
    pub fn parse(_text: &str) -> Result<Self, PatternError> {
        unimplemented!()
    }
}

/// One condition: a name and what its value must be.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Field name (lower case), parameter name or cookie name.
    pub name: Box<str>,
    /// What the value must be.
    pub value: ValuePattern,
}

/// Conditions beyond host and path; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Any of these methods; empty means every method.
    pub methods: Vec<Method>,
    /// Any of these extensions of the last path segment, lower case without the dot; empty means every path.
    pub extensions: Vec<Box<str>>,
    /// Header fields.
    pub headers: Vec<Condition>,
    /// Query parameters.
    pub query: Vec<Condition>,
    /// Cookies.
    pub cookies: Vec<Condition>,
}

/// Everything a route asks of a request.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Any of these hosts; empty means any host.
    pub hosts: Vec<HostPattern>,
    /// Any of these paths; never empty.
    pub paths: Vec<PathPattern>,
    /// Further conditions.
    pub conditions: Conditions,
}
