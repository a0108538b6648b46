//! `redirect`: another place, with captures.

use http::StatusCode;

use crate::client::Scheme;

/// A target with placeholders: `${scheme}`, `${host}`, `${path}`, `${query}`, `$1`, `${name}` (captures of the route's regex).
#[derive(Debug, Clone)]
pub struct Template {}

/// A template that cannot be used, in words for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Template {
    /// Reads a target as written in the file. `captures`: the route's path expression, whose names and numbers may be used.
    ///
    /// # Errors
    /// [`TemplateError`] for a placeholder that does not exist.
    pub fn parse(_text: &str, _captures: Option<&regex::Regex>) -> Result<Self, TemplateError> {
        unimplemented!()
    }
}

/// `redirect = { to, status }`, compiled.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// Where to.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The route's path expression, for captures.
    pub captures: Option<regex::Regex>,
}

impl Redirect {
    /// The `Location` of a request. `path` and `query` are the raw ones; bytes that do not belong into a field or URI are
    /// percent-encoded; a path that begins with `//` cannot become another host.
    #[must_use]
    pub fn location(&self, _scheme: Scheme, _host: &str, _path: &str, _query: Option<&str>) -> String {
        unimplemented!()
    }
}
