//! Who may use a route, and with what: by address, country, program, method, media type; and what only scanners ask for.

mod agents;
mod allow;
mod maintenance;
mod scanners;

pub use agents::{AgentPattern, Agents};
pub use allow::AllowList;
pub use maintenance::Maintenance;
pub use scanners::{LISTS as SCANNER_LISTS, Scanners};

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, header};

use super::Asked;
use crate::answer::{Answer, Reason};
use crate::country::Country;
use crate::networks::Networks;

/// A set of addresses that may change at any time.
pub trait Addresses: fmt::Debug + Send + Sync {
    /// Whether this address is in it now.
    fn contains(&self, ip: IpAddr) -> bool;
}

impl Addresses for Networks {
    fn contains(&self, ip: IpAddr) -> bool {
        self.contains(ip)
    }
}

/// Knows where addresses are.
pub trait Countries: fmt::Debug + Send + Sync {
    /// The country of this address; `None`: it is in none, or nobody knows.
    fn of(&self, ip: IpAddr) -> Option<Country>;
}

/// `[access.NAME]`: everything in it must hold.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The only addresses; `None`: any.
    pub allow: Option<Arc<dyn Addresses>>,
    /// Addresses that may not.
    pub deny: Option<Arc<dyn Addresses>>,
    /// Where clients may be; `None`: anywhere.
    pub countries: Option<CountryRule>,
    /// The only programs, by `User-Agent`; `None`: any.
    pub allow_agents: Option<Arc<Agents>>,
    /// Programs that may not.
    pub deny_agents: Option<Arc<Agents>>,
    /// What only scanners ask for.
    pub scanners: Scanners,
    /// The only methods; empty: any.
    pub methods: Vec<Method>,
    /// The only media types of bodies, lower case: `type/subtype`, `type/*` or `type/*+suffix`; empty: any.
    pub content_types: Vec<Box<str>>,
}

/// Countries that may, or may not.
#[derive(Debug, Clone)]
pub struct CountryRule {
    /// Who knows.
    pub known: Arc<dyn Countries>,
    /// The only ones; empty: any.
    pub allow: Vec<Country>,
    /// Those that may not.
    pub deny: Vec<Country>,
}

impl CountryRule {
    fn admits(&self, client: IpAddr) -> bool {
        let country = self.known.of(client);
        let listed = |list: &[Country]| country.is_some_and(|country| list.contains(&country));
        (self.allow.is_empty() || listed(&self.allow)) && !listed(&self.deny)
    }
}

impl Access {
    /// Refuses who may not come in, whatever is asked.
    pub(super) fn refuse_client(&self, asked: &Asked<'_>) -> Option<Answer> {
        let listed = |list: &Option<Arc<dyn Addresses>>| list.as_ref().map(|list| list.contains(asked.client));
        if listed(&self.deny) == Some(true) || listed(&self.allow) == Some(false) {
            return Some(Answer::refuse(Reason::AddressNotAllowed));
        }
        // Cheaper than what follows, and mostly what it would be asked for.
        if self.scanners.know(asked.path) {
            return Some(Answer::refuse(Reason::ScannerPath));
        }
        if self.countries.as_ref().is_some_and(|rule| !rule.admits(asked.client)) {
            return Some(Answer::refuse(Reason::CountryNotAllowed));
        }
        if self.allow_agents.is_some() || self.deny_agents.is_some() {
            let agent = asked.headers.get(header::USER_AGENT);
            let agent = agent.map_or(&b""[..], HeaderValue::as_bytes);
            let matches = |agents: &Option<Arc<Agents>>| agents.as_ref().map(|agents| agents.match_one(agent));
            if matches(&self.deny_agents) == Some(true) || matches(&self.allow_agents) == Some(false) {
                return Some(Answer::refuse(Reason::AgentNotAllowed));
            }
        }
        None
    }

    /// Refuses what cannot be asked here.
    pub(super) fn refuse_request(&self, asked: &Asked<'_>) -> Option<Answer> {
        if !self.methods.is_empty() && !self.methods.contains(asked.method) {
            let names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            return Some(Answer::Refusal {
                reason: Reason::MethodNotAllowed,
                retry_after: None,
                fields: HeaderValue::from_str(&names.join(", "))
                    .map(|names| (header::ALLOW, names))
                    .into_iter()
                    .collect(),
                members: Vec::new(),
            });
        }
        if asked.has_body && !self.content_types.is_empty() {
            let written = asked
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let essence = written.and_then(|text| text.split(';').next()).unwrap_or_default();
            let essence = essence.trim().to_ascii_lowercase();
            // Two lines could be read as one or the other.
            let only = asked.headers.get_all(header::CONTENT_TYPE).iter().count() == 1;
            if !only || !self.content_types.iter().any(|pattern| is_of_type(pattern, &essence)) {
                return Some(Answer::refuse(Reason::UnsupportedMediaType));
            }
        }
        None
    }
}

fn is_of_type(pattern: &str, essence: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == essence,
        Some((kind, suffix)) => {
            let rest = essence.strip_prefix(kind);
            rest.is_some_and(|rest| rest.len() > suffix.len() && rest.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests;
