//! `servers` and `servers_file` of `[upstream.NAME]`

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Checker, small};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::model::{Address, Target};
use crate::config::servers_file::{self, MAX_SERVERS, Unusable};
use crate::config::suggest::clip;
use crate::config::value::{Either, Spanned};

/// The servers of an upstream.
pub(super) struct Servers {
    pub(super) addresses: Vec<Address>,
    pub(super) file: Option<PathBuf>,
    /// Every server that is known now, those of the file too, with its place.
    pub(super) known: Vec<(Target, Span)>,
}

pub(super) fn servers(
    name: &Spanned<String>,
    upstream: &file::upstream::Upstream,
    checker: &mut Checker<'_>,
) -> Option<Servers> {
    let file::upstream::Upstream {
        servers, servers_file, ..
    } = upstream;
    if servers.is_absent() && servers_file.is_absent() {
        checker.error(
            name.span,
            format!("`[upstream.{}]` has no `servers`", clip(&name.value)),
            "add for example `servers = [\"127.0.0.1:3000\"]`, or `servers_file = \"servers.txt\"`".to_owned(),
        );
        return None;
    }
    let mut addresses = Vec::new();
    let mut seen: HashMap<Target, Span> = HashMap::new();
    for server in servers.given().into_iter().flat_map(|servers| &servers.value.0) {
        let address = address(server, checker)?;
        if seen.insert(address.target.clone(), server.span).is_some() {
            checker.error(
                server.span,
                format!("`{}` is there twice", clip(&address.to_string())),
                "a server that shall get more requests has a weight: `{ address = \"…\", weight = 2 }`".to_owned(),
            );
        }
        addresses.push(address);
    }
    if let Some(servers) = servers.given() {
        if addresses.len() > MAX_SERVERS {
            let message = format!(
                "there are {} servers: more than {MAX_SERVERS} are not supported",
                addresses.len()
            );
            checker.error(servers.span, message, None);
        }
        if servers_file.is_absent() && addresses.iter().all(|address| address.backup) {
            checker.error(
                servers.span,
                "every server is a backup",
                "a backup stands in for the others: leave `backup` away from one of them".to_owned(),
            );
        }
    }
    let mut known: Vec<(Target, Span)> = Vec::new();
    if let Some(file) = servers_file.given() {
        known = self::file(&checker.dir.join(&file.text), file, &seen, checker)?;
        if known.is_empty() && addresses.is_empty() {
            let message = format!("there is no server in `{}`", clip(&file.text));
            let help = "until there is, requests are answered with 503".to_owned();
            checker.warning(file.span, message, help);
        }
    }
    // A key that is there but faulty: what it means is not known.
    if servers.is_faulty() || servers_file.is_faulty() {
        return None;
    }
    known.extend(seen);
    known.sort_by_key(|(_, span)| span.start);
    Some(Servers {
        addresses,
        file: servers_file.given().map(|file| checker.path(&file.text)),
        known,
    })
}

fn address(
    server: &Spanned<Either<crate::config::text::Written<Target>, file::servers::Server>>,
    checker: &mut Checker<'_>,
) -> Option<Address> {
    let server = match &server.value {
        Either::First(target) => {
            return Some(Address {
                target: target.value.clone(),
                weight: 1,
                backup: false,
                max_requests: None,
            });
        }
        Either::Second(server) => server,
    };
    let file::servers::Server {
        address,
        weight,
        backup,
        max_requests,
    } = server;
    let target = address.given()?.value.value.clone();
    if matches!(target, Target::Srv(_)) && weight.0 != 1 {
        checker.error(
            weight.span,
            "an SRV name has no weight of its own",
            "DNS has those of its servers: leave `weight` away".to_owned(),
        );
    }
    Some(Address {
        target,
        weight: small(weight.0),
        backup: backup.value,
        max_requests: max_requests.given().map(|max_requests| small(max_requests.0)),
    })
}

/// What the file has now; reports what is there already.
fn file(
    path: &std::path::Path,
    written: &Spanned<crate::config::text::Written<crate::config::text::FilePath>>,
    seen: &HashMap<Target, Span>,
    checker: &mut Checker<'_>,
) -> Option<Vec<(Target, Span)>> {
    let addresses = match servers_file::read(path) {
        Ok(addresses) => addresses,
        Err(Unusable::File(why)) => {
            checker.error(
                written.span,
                format!("`{}` cannot be read: {why}", clip(&written.text)),
                "the path is relative to the directory of this file".to_owned(),
            );
            return None;
        }
        Err(Unusable::Line(number, fault)) => {
            let message = format!("`{}`, line {number}: {}", clip(&written.text), fault.message);
            checker.error(written.span, message, fault.help);
            return None;
        }
    };
    for address in &addresses {
        if let Some(first) = seen.get(&address.target) {
            let message = format!(
                "`{}` is there twice: in `{}` too",
                clip(&address.to_string()),
                clip(&written.text)
            );
            checker.report.push(
                Diagnostic::error(written.span, message)
                    .also(*first, "here")
                    .help("remove one of them".to_owned()),
            );
        }
    }
    Some(
        addresses
            .into_iter()
            .map(|address| (address.target, written.span))
            .collect(),
    )
}
