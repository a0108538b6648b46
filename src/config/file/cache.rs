//! `[cache.NAME]`

use std::time::Duration;

use ::http::{HeaderName, HeaderValue};

use crate::config::list::List;
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Timeout;

table! {
    /// What is kept of an application's answers, and for how long.
    @planned pub struct Cache {
        /// How long answers are fresh, whatever the application says.
        optional ttl: Written<Timeout> => "what the application says",
        /// How long answers are fresh where the application says nothing.
        optional default_ttl: Written<Timeout> => "such answers are not kept",
        /// The `Cache-Control` that browsers are sent with answers of status 2xx.
        optional browser: Written<HeaderValue> => "the application's",
        /// How long an answer may be used beyond its time while a new one is fetched.
        default stale_while_revalidate: Written<Duration> = "\"0s\"",
        /// How long an answer may be used beyond its time while the application fails.
        default stale_if_error: Written<Duration> = "\"0s\"",
        /// Requests that the cache neither answers nor keeps: `header:NAME`, `query:NAME`, `cookie:NAME`, `cookie:*`.
        default bypass: List<Written<Bypass>> = "[]",
    }
}

/// An entry of `bypass`.
#[derive(Debug, Clone)]
pub(crate) struct Bypass;

impl FromText for Bypass {
    const KIND: Kind = Kind {
        what: "what bypasses the cache",
        pattern: Some("^(header|query|cookie):.+$"),
        example: "header:authorization",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const FORMS: &[&str] = &["header:NAME", "query:NAME", "cookie:NAME", "cookie:*"];
        let fault = |kind: &str| Fault {
            message: format!("`{}` is not part of a request", clip(text)),
            help: did_you_mean(kind, FORMS, "there are"),
        };
        let (kind, name) = text.split_once(':').ok_or_else(|| fault(text))?;
        match kind {
            "header" => HeaderName::from_text(name).map(|_| Self),
            "cookie" if name == "*" => Ok(Self),
            "cookie" => HeaderName::from_bytes(name.as_bytes())
                .map(|_| Self)
                .map_err(|_| fault(text)),
            "query" if !name.is_empty() => Ok(Self),
            _ => Err(fault(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bypasses() {
        for text in [
            "header:authorization",
            "query:firebase_uid",
            "cookie:*",
            "cookie:session",
        ] {
            assert!(Bypass::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "authorization",
            "header:",
            "query:",
            "cookie:",
            "header:a b",
            "body:x",
        ] {
            assert!(Bypass::from_text(text).is_err(), "{text}");
        }
    }
}
