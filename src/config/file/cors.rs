//! `[cors.NAME]`

use ::http::{HeaderName, Method};

use crate::config::list::{List, Several};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Timeout;

table! {
    /// Which other sites' pages may call an application. Preflights are answered by the gateway.
    @planned pub struct Cors {
        /// The sites: `scheme://host`, with a port where it is not the usual one; or `*` for all of them.
        required origins: Several<Written<Origin>>,
        /// The methods they may use.
        default methods: Several<Written<Method>> = "[\"GET\", \"HEAD\", \"POST\"]",
        /// The request header fields they may send.
        default headers: List<Written<HeaderName>> = "[]",
        /// Whether they may send cookies and the like; not with the origin `*`.
        default credentials: bool = "false",
        /// How long a browser may keep the answer of a preflight.
        default max_age: Written<Timeout> = "\"10min\"",
    }
}

/// An origin as browsers write it (RFC 6454 §7), or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Any,
    Site,
}

impl FromText for Origin {
    const KIND: Kind = Kind {
        what: "an origin",
        pattern: Some("^(\\*|[a-z][a-z0-9+.-]*://[^/?#@ ]+)$"),
        example: "https://example.net",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let fault = || Fault::new(format!("`{}` is not an origin", clip(text)));
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(if text == "null" {
                fault().help(
                    "every sandboxed page of every site has the origin `null`: it cannot be told from an attacker's",
                )
            } else {
                fault().help(format!("the scheme is missing: `\"https://{}\"`", clip(text)))
            });
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.len() != rest.len() {
            return Err(fault().help(format!(
                "an origin has no path: `\"{}://{}\"`",
                clip(scheme),
                clip(host)
            )));
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(fault().help(format!(
                "browsers write it in lower case: `\"{}\"`",
                clip(&text.to_ascii_lowercase())
            )));
        }
        if host.contains('*') {
            return Err(fault().help("an origin has no wildcards: list the sites, or write `\"*\"` for all of them"));
        }
        let usual = match scheme {
            "http" => host.strip_suffix(":80"),
            "https" => host.strip_suffix(":443"),
            _ => None,
        };
        if let Some(host) = usual {
            return Err(fault().help(format!(
                "browsers leave the usual port away: `\"{scheme}://{}\"`",
                clip(host)
            )));
        }
        let scheme_fits = scheme.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        if !scheme_fits || super::net::Host::from_text(host).is_err() {
            return Err(fault()
                .help("write scheme, host and, where it is not the usual one, port: `\"http://localhost:5173\"`"));
        }
        Ok(Self::Site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for text in [
            "*",
            "https://deals247.online",
            "http://localhost:5173",
            "capacitor://localhost",
            "http://[::1]:3000",
        ] {
            assert!(Origin::from_text(text).is_ok(), "{text}");
        }
        for (text, help) in [
            ("deals247.online", "https://deals247.online"),
            ("https://deals247.online/", "no path"),
            ("https://Deals247.online", "https://deals247.online"),
            ("https://*.online", "no wildcards"),
            ("https://a:443", "https://a"),
            ("null", "sandboxed"),
            ("https://", "write scheme"),
            ("https://a b", "write scheme"),
            ("https://u@a", "write scheme"),
        ] {
            let fault = Origin::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }
}
