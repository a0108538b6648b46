//! `[access.NAME]`, and `maintenance` of routes.

use ::http::Method;

use super::net::{NetworkFile, Proxies};
use super::policies::MediaType;
use crate::config::list::{List, OneOrMore, Several};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::units::Timeout;
use crate::config::value::Either;
use crate::config::words::words;
use crate::country;
use crate::policy::AgentPattern;
use crate::route::ValuePattern;

/// Networks, as they are listed.
pub(crate) type NetworkEntry = Either<Written<Proxies>, NetworkFile>;

table! {
    /// Who may use a route, and with what. Everything that a table says must hold; it is asked before identity, limits and the
    /// cache. Files are read again when they change; a faulty one changes nothing.
    pub struct Access {
        /// The only clients: networks, addresses, names as in `trusted_proxies`, or files, `{ file = "lists/staff.txt" }`.
        /// Answered with 403.
        optional allow: OneOrMore<NetworkEntry> => "everybody",
        /// Clients that may not, even where they are in `allow`. Answered with 403.
        optional deny: OneOrMore<NetworkEntry> => "nobody",
        /// The only countries, by `country_file` of `[server]`: two letters of ISO 3166-1, `DE`. An address without a country is
        /// in none of them. Answered with 403.
        optional allow_countries: Several<Written<Country>> => "all countries",
        /// Countries that may not. Answered with 403.
        optional deny_countries: Several<Written<Country>> => "none",
        /// The only programs, by `User-Agent`: all of it, its beginning (`curl/*`) or a regular expression (`~(?i)bot`); `""` is
        /// whoever sends none. Answered with 403.
        optional allow_agents: Several<Written<Agent>> => "all programs",
        /// Programs that may not. Answered with 403.
        optional deny_agents: Several<Written<Agent>> => "none",
        /// Refuses what only scanners ask for, by lists of the gateway: `true` for all of them, or their names. Answered with
        /// 404.
        default scanners: Either<bool, Several<ScannerList>> = "false",
        /// The only methods. Answered with 405.
        optional methods: Several<Written<Method>> => "any method",
        /// The only media types of bodies: `application/json`, `image/*`. Answered with 415.
        optional content_types: Several<Written<MediaType>> => "any media type",
    }
}

table! {
    /// A route that is closed for a while. Answered with 503.
    pub struct Maintenance {
        /// Who may in all the same: networks, addresses, names as in `trusted_proxies`.
        default allow: List<Written<Proxies>> = "[]",
        /// When the others are told to come back.
        default retry_after: Written<Timeout> = "\"5min\"",
    }
}

words! {
    /// What only scanners ask for.
    pub enum ScannerList {
        /// Files with keys and passwords that were put on a server by mistake: `.env`, `.git`, `id_rsa`.
        Secrets = "secrets",
        /// WordPress, for sites that have none.
        Wordpress = "wordpress",
        /// PHP, ASP, JSP and CGI, for sites that have none.
        Scripts = "scripts",
        /// Devices and programs with known holes.
        Exploits = "exploits",
    }
}

impl ScannerList {
    /// Its name, as the lists have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Wordpress => "wordpress",
            Self::Scripts => "scripts",
            Self::Exploits => "exploits",
        }
    }
}

/// A country.
#[derive(Debug, Clone)]
pub(crate) struct Country(pub(crate) country::Country);

impl FromText for Country {
    const KIND: Kind = Kind {
        what: "the code of a country",
        pattern: Some("^[A-Z]{2}$"),
        example: "DE",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        country::Country::new(text).map(Self).ok_or_else(|| {
            let fault = Fault::new(format!("`{}` is not the code of a country", clip(text)));
            match text.to_ascii_uppercase() {
                upper if country::Country::new(&upper).is_some() => fault.help(format!("write `\"{upper}\"`")),
                _ => fault.help("write two letters of ISO 3166-1: `\"DE\"`, `\"US\"`"),
            }
        })
    }
}

/// What a `User-Agent` is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Agent(pub(crate) AgentPattern);

impl FromText for Agent {
    const KIND: Kind = Kind {
        what: "a `User-Agent`, its beginning with `*`, or `~` and a regular expression",
        pattern: None,
        example: "curl/*",
        substituted: false,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some(expression) = text.strip_prefix('~') {
            // By the same rules as everywhere: of bounded size, and in linear time.
            ValuePattern::from_text(text)?;
            return Ok(Self(AgentPattern::Expression(expression.into())));
        }
        match text.strip_suffix('*') {
            Some("") => {
                Err(Fault::new("`*` is every program")
                    .help("leave the key out, or write `\"~.\"` for all that name one"))
            }
            Some(start) if start.contains('*') => Err(inner_star(text)),
            Some(start) => Ok(Self(AgentPattern::Prefix(start.into()))),
            None if text.contains('*') => Err(inner_star(text)),
            None => Ok(Self(AgentPattern::Exact(text.into()))),
        }
    }
}

fn inner_star(text: &str) -> Fault {
    Fault::new(format!("`{}` has a `*` before its end", clip(text)))
        .help("`*` stands at the end only; what is in the middle is found by an expression: `\"~bot\"`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents() {
        for text in ["", "Wget", "curl/*", "~(?i)bot", "~."] {
            assert!(Agent::from_text(text).is_ok(), "{text}");
        }
        for (text, help) in [
            ("*", "leave the key out"),
            ("*bot*", "~bot"),
            ("*bot", "~bot"),
            ("~(", ""),
        ] {
            let fault = Agent::from_text(text).expect_err(text);
            assert!(fault.help.unwrap_or_default().contains(help), "{text}");
        }
    }

    #[test]
    fn countries() {
        assert!(Country::from_text("DE").is_ok());
        for (text, help) in [
            ("de", "`\"DE\"`"),
            ("Germany", "two letters"),
            ("", "two letters"),
            ("D1", "two letters"),
        ] {
            let fault = Country::from_text(text).expect_err(text);
            assert!(fault.help.unwrap_or_default().contains(help), "{text}");
        }
    }

    #[test]
    fn every_list_has_its_name() {
        use crate::policy::SCANNER_LISTS;
        let names = [
            ScannerList::Secrets,
            ScannerList::Wordpress,
            ScannerList::Scripts,
            ScannerList::Exploits,
        ];
        assert_eq!(names.map(ScannerList::name), SCANNER_LISTS);
    }
}
