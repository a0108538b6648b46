//! `[cors.NAME]`

use std::net::Ipv4Addr;

use ::http::{HeaderName, Method};

use crate::config::list::{List, Several};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Timeout;
use crate::config::words::words;
use crate::policy::OriginPattern;

table! {
    /// Which other sites' pages may call an application and read what it answers. The gateway answers preflights, before
    /// identity and limits; every answer of the route says who may read it, refusals too.
    pub struct Cors {
        /// The sites: `https://deals247.online`, with a port where it is not the usual one; `https://*.deals247.online` for
        /// every name below it, but not for the name itself; `*` for all of them.
        required origins: Several<Written<Origin>>,
        /// The methods they may use.
        default methods: Several<Written<Method>> = "[\"GET\", \"HEAD\", \"POST\"]",
        /// The request header fields they may send; `*`: whichever they ask for.
        default headers: List<Written<HeaderName>> = "[]",
        /// The response header fields they may read, beyond the few that are always free.
        default expose: List<Written<HeaderName>> = "[]",
        /// Whether they may send cookies and the like; not with the origin `*`.
        default credentials: bool = "false",
        /// How long a browser may keep the answer of a preflight.
        default max_age: Written<Timeout> = "\"10min\"",
        /// Whether pages of public sites may reach this one in a private network (Private Network Access).
        default private_network: bool = "false",
        /// What is done with fields of this kind that the application sends itself. There are never two of one kind.
        default upstream_fields: UpstreamFields = "\"replace\"",
    }
}

words! {
    /// What is done with the application's own fields.
    pub enum UpstreamFields {
        /// They are taken out, whoever asks: this table alone says who may read.
        Replace = "replace",
        /// They stay where the application says `Access-Control-Allow-Origin`, once; elsewhere this table says it.
        Keep = "keep",
    }
}

/// An origin as browsers write it (RFC 6454 §7), all those below a domain, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Any,
    Site(OriginPattern),
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
        let below = host.strip_prefix("*.");
        if !scheme_fits || super::net::Host::from_text(below.unwrap_or(host)).is_err() {
            return Err(fault().help(if host.contains('*') {
                "one `*` may stand for everything before the first dot: `\"https://*.deals247.online\"`"
            } else {
                "write scheme, host and, where it is not the usual one, port: `\"http://localhost:5173\"`"
            }));
        }
        let Some(domain) = below else {
            return Ok(Self::Site(OriginPattern::Exact(text.into())));
        };
        let name = domain.split(':').next().unwrap_or_default();
        if domain.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
            return Err(fault().help("there is nothing below an address: list the origins"));
        }
        if !name.contains('.') && name != "localhost" {
            return Err(fault().help(format!(
                "anybody can have a name below `.{}`: write a domain of your own",
                clip(name)
            )));
        }
        Ok(Self::Site(OriginPattern::Below {
            scheme: format!("{scheme}://").into(),
            rest: format!(".{domain}").into(),
        }))
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
            "https://*.deals247.online",
            "http://*.localhost:5173",
        ] {
            assert!(Origin::from_text(text).is_ok(), "{text}");
        }
        for (text, help) in [
            ("deals247.online", "https://deals247.online"),
            ("https://deals247.online/", "no path"),
            ("https://Deals247.online", "https://deals247.online"),
            ("https://*.online", "anybody can have a name"),
            ("https://*.online:8443", "anybody can have a name"),
            ("https://*", "before the first dot"),
            ("https://a.*.online", "before the first dot"),
            ("https://a*.deals247.online", "before the first dot"),
            ("https://*.*.deals247.online", "before the first dot"),
            ("https://*.127.0.0.1", "below an address"),
            ("https://*.[::1]", "below an address"),
            ("https://*.deals247.online:443", "https://*.deals247.online"),
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
