//! `rewrite`: the path that the upstream sees.

use regex::Regex;

/// Changes of the raw path, in the order of the fields.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    /// Takes this prefix away, at a segment boundary.
    pub strip_prefix: Option<Box<str>>,
    /// Replaces what the expression matches; `$1` and `${name}` stand for captures.
    pub regex: Option<(Regex, Box<str>)>,
    /// Puts this before the path.
    pub add_prefix: Option<Box<str>>,
}

impl Rewrite {
    /// The new path; always absolute, without a query.
    #[must_use]
    pub fn apply(&self, _raw_path: &str) -> String {
        unimplemented!()
    }
}
