//! Where lines of the access log go.

use crate::config::model;
use crate::observe::access_log::{AccessLog, Format, Redaction};

/// The access log with its format.
pub struct LogSink {
    /// The writer.
    pub log: AccessLog,
    /// Where it writes.
    pub target: model::LogTarget,
    /// What a line looks like.
    pub format: Format,
    /// What is masked.
    pub redact: Redaction,
}
