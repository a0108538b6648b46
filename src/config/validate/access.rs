//! `[access.NAME]`, and `maintenance` of routes.

use std::sync::Arc;

use super::{Checker, networks};
use crate::config::file;
use crate::config::file::access::{Agent, Country, NetworkEntry, ScannerList};
use crate::config::file::net::NetworkFile;
use crate::config::list::{OneOrMore, Several};
use crate::config::model::{Access, NetworkList};
use crate::config::text::Written;
use crate::config::value::{Either, Field, Spanned};
use crate::networks::Networks;
use crate::policy::{Agents, Maintenance, SCANNER_LISTS, Scanners};

/// Makes the model of a table; `None`: something of it is wrong and has been reported. `countries`: whether addresses have
/// countries here.
pub(super) fn access(
    name: &Spanned<String>,
    access: &file::access::Access,
    countries: bool,
    checker: &mut Checker<'_>,
) -> Option<Access> {
    let file::access::Access {
        allow,
        deny,
        allow_countries,
        deny_countries,
        allow_agents,
        deny_agents,
        scanners,
        methods,
        content_types,
    } = access;
    for list in [allow_countries, deny_countries] {
        if let Some(list) = list.given()
            && !countries
        {
            checker.error(
                list.span,
                "nobody knows in which country an address is",
                "name a file in MaxMind's format in `[server]`: `country_file = \"GeoLite2-Country.mmdb\"`".to_owned(),
            );
        }
    }
    Some(Access {
        name: name.value.as_str().into(),
        allow: allow.given().map(|list| self::list(&list.value, checker)),
        deny: deny.given().map(|list| self::list(&list.value, checker)),
        allow_countries: codes(allow_countries),
        deny_countries: codes(deny_countries),
        allow_agents: agents(allow_agents, checker),
        deny_agents: agents(deny_agents, checker),
        scanners: match &scanners.value {
            Either::First(true) => Scanners::all(),
            Either::First(false) => Scanners::default(),
            Either::Second(lists) => self::scanners(lists),
        },
        methods: methods
            .given()
            .into_iter()
            .flat_map(|methods| &methods.value.0)
            .map(|method| method.value.value.clone())
            .collect(),
        content_types: content_types
            .given()
            .into_iter()
            .flat_map(|types| &types.value.0)
            .map(|media_type| media_type.value.value.0.clone())
            .collect(),
    })
}

fn list(entries: &OneOrMore<NetworkEntry>, checker: &mut Checker<'_>) -> NetworkList {
    let (mut found, mut files) = (Vec::new(), Vec::new());
    for entry in &entries.0 {
        match &entry.value {
            Either::First(named) => found.extend(networks::of(&named.value)),
            Either::Second(NetworkFile { file }) => {
                if let Some(file) = file.given()
                    && let Some((path, _)) = networks::from_file(file, checker)
                {
                    files.push(path);
                }
            }
        }
    }
    NetworkList {
        inline: found.into_iter().collect(),
        files,
    }
}

fn codes(list: &Field<Several<Written<Country>>>) -> Vec<crate::country::Country> {
    let listed = list.given().into_iter().flat_map(|list| &list.value.0);
    listed.map(|country| country.value.value.0).collect()
}

fn agents(list: &Field<Several<Written<Agent>>>, checker: &mut Checker<'_>) -> Option<Arc<Agents>> {
    let list = list.given()?;
    let patterns: Vec<_> = list.value.0.iter().map(|agent| agent.value.value.0.clone()).collect();
    match Agents::new(&patterns) {
        Ok(agents) => Some(Arc::new(agents)),
        Err(_) => {
            checker.error(
                list.span,
                "all expressions of this list together are too large",
                "repeat less, or put them into several tables".to_owned(),
            );
            None
        }
    }
}

fn scanners(lists: &Several<ScannerList>) -> Scanners {
    let place = |list: ScannerList| SCANNER_LISTS.iter().position(|name| *name == list.name());
    let places = lists.0.iter().filter_map(|list| place(list.value));
    places.fold(Scanners::default(), Scanners::with)
}

/// `maintenance` of a route or of `[defaults]`.
pub(super) fn maintenance(maintenance: &file::access::Maintenance) -> Maintenance {
    let file::access::Maintenance { allow, retry_after } = maintenance;
    Maintenance {
        allow: allow
            .0
            .iter()
            .flat_map(|entry| networks::of(&entry.value.value))
            .collect(),
        retry_after: retry_after.value.value.0,
    }
}

/// `maintenance = true`; a test compares it with the defaults of the table.
pub(super) fn closed() -> Maintenance {
    Maintenance {
        allow: Networks::default(),
        retry_after: std::time::Duration::from_secs(300),
    }
}
