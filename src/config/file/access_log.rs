//! `[access_log]`

use super::rotate::Rotate;
use crate::config::list::List;
use crate::config::shape::Kind;
use crate::config::table::table;
use crate::config::text::{Any, Fault, FromText, Written};
use crate::observe::access_log::{Format, Redaction};

table! {
    /// One line for every request. A route can leave itself out with `access_log = false`.
    pub struct AccessLog {
        /// Whether there is an access log at all.
        default enabled: bool = "true",
        /// Where lines go: `-` is standard output, anything else a file that is appended to, relative to the directory
        /// of this file.
        default path: Written<Any> = "\"-\"",
        /// When the file begins anew, and what is kept of it. Without it the file grows until somebody moves it away and
        /// sends SIGUSR1.
        optional rotate: Rotate => "it grows",
        /// What a line looks like: `json`, `combined` (as Apache and nginx write it), or a template of your own such as
        /// `${client} ${status}`. The placeholders are the log's: no environment variables here.
        default format: Written<Format> = "\"json\"",
        /// Whose values are masked: `query:NAME` for a parameter, `header:NAME` for a header field. A list of your own
        /// replaces the default.
        default redact: List<Written<Redacted>> = "[\"header:authorization\", \"header:cookie\"]",
    }
}

impl FromText for Format {
    const KIND: Kind = Kind {
        what: "a format",
        pattern: None,
        example: "json",
        substituted: false,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::parse(text).map_err(Fault::new)
    }
}

/// An entry of `redact`.
#[derive(Debug, Clone)]
pub(crate) struct Redacted;

impl FromText for Redacted {
    const KIND: Kind = Kind {
        what: "what is masked",
        pattern: Some("^(query|header):.+$"),
        example: "header:authorization",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Redaction::default().add(text).map(|()| Self).map_err(Fault::new)
    }
}
