//! Response header fields: a preset, and what is set, appended and removed on top of it. Each field leaves once.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A ready set of security fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// For pages.
    Web,
    /// For APIs.
    Api,
    /// For pages that embed nothing and are embedded nowhere.
    Strict,
    /// No fields.
    None,
}

/// What to do about `Content-Security-Policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentSecurityPolicy {
    /// Keep the application's; where it sends none, none is added. Never two policies.
    Upstream,
    /// Replace the application's by this one.
    Set(HeaderValue),
}

/// `[headers.NAME]`, compiled.
#[derive(Debug, Clone)]
pub struct HeaderPolicy {
    /// The ready set to begin with.
    pub preset: Preset,
    /// What to do about the content security policy; `None`: what the preset says.
    pub content_security_policy: Option<ContentSecurityPolicy>,
    /// Replaces every field of that name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds a further field line.
    pub append: Vec<(HeaderName, HeaderValue)>,
    /// Removes every field of that name that the upstream sent.
    pub remove: Vec<HeaderName>,
}

impl HeaderPolicy {
    /// Applies the policy to the fields of a final answer, the application's or our own.
    pub fn apply(&self, _tls: bool, _headers: &mut HeaderMap) {
        unimplemented!()
    }
}
