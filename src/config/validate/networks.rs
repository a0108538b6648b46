//! Networks: those that are trusted, and those whose connections are announced.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::Checker;
use crate::config::file::net::{Announcers, NetworkFile, Proxies};
use crate::config::list::{List, OneOrMore};
use crate::config::model;
use crate::config::plain_file;
use crate::config::suggest::clip;
use crate::config::text::{FilePath, Written};
use crate::config::value::{Either, Field, Spanned};
use crate::country::{self, CountryFile};
use crate::networks::{self, Networks};

/// The largest file of networks: some million lines.
pub(super) const FILE_MAX: u64 = 64 << 20;

/// `trusted_proxies`: the networks, and the files that they are from.
pub(super) fn trusted(
    listed: &List<Either<Written<Proxies>, NetworkFile>>,
    checker: &mut Checker<'_>,
) -> (Networks, Vec<PathBuf>) {
    let (mut found, mut files) = (Vec::new(), Vec::new());
    for entry in &listed.0 {
        match &entry.value {
            Either::First(proxies) => {
                if matches!(proxies.value, Proxies::Network(network) if network.prefix_len() == 0) {
                    checker.warning(
                        entry.span,
                        format!("`{}` believes everybody's `X-Forwarded-For`", proxies.text),
                        "clients can then claim any address: list the networks of the proxies in front of the gateway"
                            .to_owned(),
                    );
                }
                found.extend(of(&proxies.value));
            }
            Either::Second(NetworkFile { file }) => {
                if let Some(file) = file.given()
                    && let Some((path, list)) = from_file(file, checker)
                {
                    found.extend(list);
                    files.push(path);
                }
            }
        }
    }
    (found.into_iter().collect(), files)
}

/// What a file of networks says, and its absolute path; `None`: it cannot be used, which has been reported.
pub(super) fn from_file(file: &Spanned<Written<FilePath>>, checker: &mut Checker<'_>) -> Option<(PathBuf, Vec<IpNet>)> {
    let path = checker.path(&file.text);
    let name = clip(&file.text);
    let (message, help) = match plain_file::read(&path, FILE_MAX) {
        Err(why) => (
            format!("`{name}` cannot be read: {why}"),
            "the path is relative to the directory of this file",
        ),
        Ok(text) => match networks::list(&text) {
            Ok(list) => return Some((path, list)),
            Err(why) => (
                format!("`{name}` cannot be used: {why}"),
                "a network or an address on each line; `#` begins a comment",
            ),
        },
    };
    checker.error(file.span, message, help.to_owned());
    None
}

/// `country_file`; `None`: it cannot be used, which has been reported.
pub(super) fn country_file(file: &Spanned<Written<FilePath>>, checker: &mut Checker<'_>) -> Option<PathBuf> {
    let path = checker.path(&file.text);
    let read = plain_file::bytes(&path, country::FILE_MAX);
    let why = match read.map(CountryFile::parse) {
        Err(why) => format!("cannot be read: {why}"),
        Ok(Err(why)) => format!("cannot be used: {why}"),
        Ok(Ok(_)) => return Some(path),
    };
    checker.error(
        file.span,
        format!("`{}` {why}", clip(&file.text)),
        "it is a file in MaxMind's format (`.mmdb`) with countries; the path is relative to the directory of this file"
            .to_owned(),
    );
    None
}

pub(super) fn of(proxies: &Proxies) -> Vec<IpNet> {
    match proxies {
        Proxies::Network(network) => vec![*network],
        Proxies::Preset(preset) => preset.networks(),
    }
}

/// `proxy_protocol`; `listen`: the addresses that there are.
pub(super) fn announcers(
    field: &Field<Either<OneOrMore<Written<Proxies>>, Announcers>>,
    listen: &List<Written<SocketAddr>>,
    checker: &mut Checker<'_>,
) -> Option<model::Announcers> {
    let (from, at) = match &field.given()?.value {
        Either::First(from) => (from, None),
        Either::Second(Announcers { from, listen }) => (&from.given()?.value, listen.given()),
    };
    if listen.0.is_empty()
        && let Some(field) = field.given()
    {
        checker.error(
            field.span,
            "`proxy_protocol` has no listener",
            "it goes with the addresses in `listen` beside it".to_owned(),
        );
    }
    for entry in &from.0 {
        if matches!(entry.value.value, Proxies::Network(network) if network.prefix_len() == 0) {
            checker.warning(
                entry.span,
                format!("`{}` lets everybody claim any address", entry.text),
                "list the balancers in front of the gateway".to_owned(),
            );
        }
    }
    let mut only = Vec::new();
    for address in at.into_iter().flat_map(|at| &at.value.0) {
        if !listen.0.iter().any(|known| known.value.value == address.value.value) {
            checker.error(
                address.span,
                format!("nothing listens on `{}`", clip(&address.text)),
                "write an address as `listen` has it".to_owned(),
            );
        }
        only.push(address.value.value);
    }
    Some(model::Announcers {
        from: from.0.iter().flat_map(|entry| of(&entry.value.value)).collect(),
        listen: only,
    })
}
