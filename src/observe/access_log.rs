//! One line a request, written by a thread of its own behind a bounded queue.

/// What a line looks like.
#[derive(Debug, Clone)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
    /// Text with `${field}` placeholders.
    Template(Template),
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {}

impl Format {
    /// Reads `json`, `combined` or a template, e.g. `"${client} ${status}"`.
    ///
    /// # Errors
    /// What is wrong with the template, in words for the person who wrote it.
    pub fn parse(_text: &str) -> Result<Self, String> {
        unimplemented!()
    }
}

/// Names whose values never reach a line.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Query parameters, lower case.
    pub query: Vec<Box<str>>,
    /// Header fields, lower case.
    pub headers: Vec<Box<str>>,
}

impl Redaction {
    /// Adds `query:NAME` or `header:NAME`.
    ///
    /// # Errors
    /// What is wrong with the entry, in words for the person who wrote it.
    pub fn add(&mut self, _entry: &str) -> Result<(), String> {
        unimplemented!()
    }
}
