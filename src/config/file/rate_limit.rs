//! `[rate_limit.NAME]`

use ::http::HeaderName;

use crate::config::list::OneOrMore;
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Rate;
use crate::config::value::Integer;
use crate::config::words::words;

table! {
    /// How often somebody may ask. Beyond it the answer is 429 with `Retry-After`.
    @planned pub struct RateLimit {
        /// How many requests in which time: `10/s`, `5/min`, `100/h`, `1000/d`.
        required rate: Written<Rate>,
        /// How many requests may come at once beyond the first.
        optional burst: Integer<0, 1_000_000_000> => "the number in `rate`",
        /// Who is counted: `client-ip` (IPv6: by /64), `header:NAME`, `jwt:CLAIM`, `cookie:NAME`, or a list of these.
        default key: OneOrMore<Written<LimitKey>> = "\"client-ip\"",
        /// What is decided while the shared store cannot be asked.
        default on_store_error: OnStoreError = "\"local\"",
        /// Every decision is made in the shared store: no gateway admits one too many, and each one costs a round trip.
        default exact: bool = "false",
        /// Whether the limit refuses, or only tells what it would refuse.
        default mode: LimitMode = "\"enforce\"",
    }
}

words! {
    /// What is decided while the shared store cannot be asked.
    pub enum OnStoreError {
        /// This process counts by itself.
        Local = "local",
        /// Everything is admitted.
        Allow = "allow",
        /// Everything is refused.
        Deny = "deny",
    }
}

words! {
    /// Whether a limit refuses.
    pub enum LimitMode {
        /// It refuses.
        Enforce = "enforce",
        /// It counts and logs what it would refuse.
        Report = "report",
    }
}

/// Who is counted.
#[derive(Debug, Clone)]
pub(crate) struct LimitKey;

impl FromText for LimitKey {
    const KIND: Kind = Kind {
        what: "who is counted",
        pattern: Some("^(client-ip|(header|jwt|cookie):.+)$"),
        example: "client-ip",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const FORMS: &[&str] = &["client-ip", "header:NAME", "jwt:CLAIM", "cookie:NAME"];
        if text == "client-ip" {
            return Ok(Self);
        }
        let Some((kind, name)) = text.split_once(':') else {
            return Err(Fault {
                message: format!("`{}` cannot be counted by", clip(text)),
                help: did_you_mean(text, FORMS, "there are"),
            });
        };
        match kind {
            "header" => HeaderName::from_text(name).map(|_| Self),
            "cookie" => HeaderName::from_bytes(name.as_bytes())
                .map(|_| Self)
                .map_err(|_| Fault::new(format!("`{}` is not the name of a cookie", clip(name)))),
            "jwt" if !name.is_empty() => Ok(Self),
            "jwt" => Err(Fault::new("`jwt:` names no claim").help("write for example `\"jwt:sub\"`")),
            _ => Err(Fault {
                message: format!("`{}` cannot be counted by", clip(text)),
                help: did_you_mean(kind, FORMS, "there are"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for text in ["client-ip", "header:X-Api-Key", "jwt:sub", "cookie:session"] {
            assert!(LimitKey::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "ip",
            "header:",
            "header:a b",
            "jwt:",
            "cookie:",
            "cookie:a=b",
            "query:x",
        ] {
            assert!(LimitKey::from_text(text).is_err(), "{text}");
        }
    }
}
