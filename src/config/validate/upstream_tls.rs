//! TLS to servers.

use std::net::IpAddr;
use std::path::PathBuf;

use ::http::HeaderValue;

use super::Checker;
use super::servers::Servers;
use crate::config::diagnostic::Span;
use crate::config::file;
use crate::config::model::{ClientCertificate, Target, UpstreamTls};
use crate::config::suggest::clip;
use crate::config::text::{FilePath, Written};
use crate::config::value::{Either, Field, Spanned};

/// What `tls` says; `None`: clear text.
pub(super) fn tls(
    tls: &Spanned<Either<bool, file::upstream_tls::UpstreamTls>>,
    host: Option<&HeaderValue>,
    servers: &Servers,
    checker: &mut Checker<'_>,
) -> Option<UpstreamTls> {
    let compiled = match &tls.value {
        Either::First(false) => return None,
        Either::First(true) => plain(host),
        Either::Second(tls) => {
            let compiled = detailed(tls, host, checker);
            if tls.sni.is_faulty() {
                return Some(compiled);
            }
            compiled
        }
    };
    named(&compiled, servers, tls.span, checker);
    Some(compiled)
}

/// `tls = true`
pub(super) fn plain(host: Option<&HeaderValue>) -> UpstreamTls {
    UpstreamTls {
        ca: None,
        certificate: None,
        sni: host.and_then(name_of),
        verify: true,
    }
}

fn detailed(
    tls: &file::upstream_tls::UpstreamTls,
    host: Option<&HeaderValue>,
    checker: &mut Checker<'_>,
) -> UpstreamTls {
    let file::upstream_tls::UpstreamTls {
        ca,
        cert,
        key,
        sni,
        verify,
    } = tls;
    if !verify.value {
        checker.warning(
            verify.span,
            "the certificates of the servers are not verified",
            "whoever is in between can read and change everything: name their authority with `ca = \"…\"` instead"
                .to_owned(),
        );
        if let Some(ca) = ca.given() {
            checker.error(
                ca.span,
                "`ca` is never used with `verify = false`",
                "remove one of them: `ca` is what makes certificates of your own verifiable".to_owned(),
            );
        }
    }
    UpstreamTls {
        ca: readable(ca, checker),
        certificate: pair(cert, key, checker),
        sni: match sni.given() {
            Some(sni) => Some(sni.value.value.0.clone()),
            None => host.and_then(name_of),
        },
        verify: verify.value,
    }
}

/// A certificate and its key, which belong together.
pub(super) fn pair(
    cert: &Field<Written<FilePath>>,
    key: &Field<Written<FilePath>>,
    checker: &mut Checker<'_>,
) -> Option<ClientCertificate> {
    for (there, missing, word) in [(cert, key, "key"), (key, cert, "cert")] {
        if let (Some(there), true) = (there.given(), missing.is_absent()) {
            checker.error(
                there.span,
                format!("there is no `{word}` to it"),
                format!("add `{word} = \"…\"`: the gateway's certificate and its key belong together"),
            );
        }
    }
    let certificate = readable(cert, checker).zip(readable(key, checker));
    certificate.map(|(cert, key)| ClientCertificate { cert, key })
}

/// The place of a file that can be read; reports one that cannot.
pub(super) fn readable(file: &Field<Written<FilePath>>, checker: &mut Checker<'_>) -> Option<PathBuf> {
    let file = file.given()?;
    let path = checker.path(&file.text);
    if let Err(why) = crate::config::plain_file::check(&path) {
        checker.error(
            file.span,
            format!("`{}` cannot be read: {why}", clip(&file.text)),
            "the path is relative to the directory of this file".to_owned(),
        );
    }
    Some(path)
}

/// Without a name there is nothing that a certificate could be verified against, and libraries then verify nothing.
pub(super) fn named(tls: &UpstreamTls, servers: &Servers, at: Span, checker: &mut Checker<'_>) {
    if tls.sni.is_some() || !tls.verify {
        return;
    }
    let nameless = |target: &Target| target.name().is_none() && !matches!(target, Target::Srv(_));
    if let Some((target, span)) = servers.known.iter().find(|(target, _)| nameless(target)) {
        let message = format!(
            "`{}` has no name that its certificate could be verified for",
            clip(&target.to_string())
        );
        checker.report.push(
            crate::config::diagnostic::Diagnostic::error(*span, message)
                .also(at, "TLS is asked for here")
                .help(
                    "write the name in its certificate: `tls = { sni = \"api.internal\" }`, or `host` of the upstream"
                        .to_owned(),
                ),
        );
    }
}

/// The name in a `Host`, where it has one that can be asked for.
fn name_of(host: &HeaderValue) -> Option<Box<str>> {
    let host = host.to_str().ok()?;
    if host.starts_with('[') {
        return None;
    }
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let usable = !name.is_empty() && name.parse::<IpAddr>().is_err();
    usable.then(|| name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_host() {
        for (host, name) in [
            ("API.example", Some("api.example")),
            ("api.example.:8443", Some("api.example")),
            ("10.0.0.1:443", None),
            ("[::1]:443", None),
        ] {
            assert_eq!(name_of(&HeaderValue::from_static(host)).as_deref(), name, "{host}");
        }
    }
}
