//! `[headers.NAME]`

use ::http::HeaderValue;

use super::http::FieldName;
use crate::config::list::{List, OneOrMore};
use crate::config::named::Pairs;
use crate::config::shape::Kind;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::words::words;
use crate::policy;

table! {
    /// What is done to the header fields of answers, the application's and the gateway's own. Every field leaves once.
    pub struct Headers {
        /// The set of security fields to begin with.
        default preset: Preset = "\"none\"",
        /// What to do about `Content-Security-Policy`: `upstream` keeps what the application sends, anything else is the
        /// policy and replaces the application's. There are never two.
        optional content_security_policy: Written<SecurityPolicy> => "what the preset says",
        /// Fields to set; they replace every field of that name.
        default set: Pairs<FieldName, Written<HeaderValue>> = "{}",
        /// Fields to add to those of the same name: one value, or a list of them.
        default append: Pairs<FieldName, OneOrMore<Written<HeaderValue>>> = "{}",
        /// Fields of the application's to remove.
        default remove: List<Written<FieldName>> = "[]",
    }
}

words! {
    /// A ready set of security fields.
    pub enum Preset {
        /// For pages: no sniffing of types, no foreign frames, a referrer policy, a permissions policy.
        Web = "web",
        /// For APIs, which no browser shows.
        Api = "api",
        /// For pages that embed nothing and are embedded nowhere.
        Strict = "strict",
        /// Nothing.
        None = "none",
    }
}

impl From<Preset> for policy::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Web => Self::Web,
            Preset::Api => Self::Api,
            Preset::Strict => Self::Strict,
            Preset::None => Self::None,
        }
    }
}

/// `content_security_policy`
#[derive(Debug, Clone)]
pub(crate) struct SecurityPolicy(pub(crate) policy::ContentSecurityPolicy);

impl FromText for SecurityPolicy {
    const KIND: Kind = Kind {
        what: "`\"upstream\"` or a policy",
        pattern: None,
        example: "upstream",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "upstream" {
            return Ok(Self(policy::ContentSecurityPolicy::Upstream));
        }
        if !text.contains([' ', ';', '-']) {
            return Err(Fault::new(format!(
                "`{}` is not a content security policy",
                crate::config::suggest::clip(text)
            ))
            .help("write `\"upstream\"` to keep the application's, or a policy: `\"default-src 'self'\"`"));
        }
        HeaderValue::from_text(text).map(|value| Self(policy::ContentSecurityPolicy::Set(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_policies() {
        for text in ["upstream", "default-src 'self'", "upgrade-insecure-requests"] {
            assert!(SecurityPolicy::from_text(text).is_ok(), "{text}");
        }
        for text in ["", "upstrem", "none", "default-src\n'self'"] {
            assert!(SecurityPolicy::from_text(text).is_err(), "{text}");
        }
    }
}
