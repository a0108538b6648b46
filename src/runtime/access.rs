//! `[access.NAME]`, compiled: the pure rules, and the files that they go by.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LoadError;
use super::discovery::files;
use super::watched::Watched;
use crate::config::model::{self, NetworkList};
use crate::country::{self, Country, CountryFile};
use crate::networks::Networks;
use crate::policy::{Access, Addresses, Countries, CountryRule};

/// The largest file of networks.
const NETWORKS_MAX: u64 = 64 << 20;

/// The file that knows countries.
pub(super) type WatchedCountries = Arc<Watched<CountryFile>>;

pub(super) fn countries(file: &Path) -> Result<WatchedCountries, LoadError> {
    let read =
        |path: &Path| CountryFile::parse(files::bytes(path, country::FILE_MAX).map_err(|error| error.to_string())?);
    Watched::open(file.to_owned(), read).map_err(|why| LoadError::Access {
        name: "countries".into(),
        why,
    })
}

/// Compiles a table. `countries`: there wherever a table asks for them.
pub(super) fn compile(access: model::Access, countries: Option<&WatchedCountries>) -> Result<Access, LoadError> {
    let model::Access {
        name,
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
    let lists = |list: Option<NetworkList>| list.map(|list| open(&name, list)).transpose();
    let asks = !allow_countries.is_empty() || !deny_countries.is_empty();
    Ok(Access {
        allow: lists(allow)?,
        deny: lists(deny)?,
        countries: countries.filter(|_| asks).map(|known| CountryRule {
            known: Arc::new(Known(Arc::clone(known))),
            allow: allow_countries,
            deny: deny_countries,
        }),
        allow_agents,
        deny_agents,
        scanners,
        methods,
        content_types,
    })
}

fn open(name: &Arc<str>, list: NetworkList) -> Result<Arc<dyn Addresses>, LoadError> {
    if list.files.is_empty() {
        return Ok(Arc::new(list.inline));
    }
    let read = |path: &Path| {
        let text = files::text(path, NETWORKS_MAX).map_err(|error| error.to_string())?;
        Networks::parse(&text)
    };
    let open = |path: PathBuf| {
        Watched::open(path, read).map_err(|why| LoadError::Access {
            name: Arc::clone(name),
            why,
        })
    };
    Ok(Arc::new(Listed {
        inline: list.inline,
        files: list.files.into_iter().map(open).collect::<Result<_, _>>()?,
    }))
}

/// Networks of which some are in files.
struct Listed {
    inline: Networks,
    files: Vec<Arc<Watched<Networks>>>,
}

impl Addresses for Listed {
    fn contains(&self, ip: IpAddr) -> bool {
        self.inline.contains(ip) || self.files.iter().any(|file| file.current().contains(ip))
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

struct Known(WatchedCountries);

impl Countries for Known {
    fn of(&self, ip: IpAddr) -> Option<Country> {
        self.0.current().of(ip)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").finish_non_exhaustive()
    }
}
