//! `[acme]`: nothing is asked over the network; what the authority would refuse is found before it is asked.

use super::{Checker, upstream_tls};
use crate::config::diagnostic::Diagnostic;
use crate::config::file;
use crate::config::file::acme::{Challenge, MacKey};
use crate::config::model::{Acme, AcmeChallenge, CertificateFiles, ExternalKey, Redis, RedisServers};
use crate::config::suggest::clip;
use crate::config::value::{Field, Spanned};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// What logs and metrics call the certificate.
const LABEL: &str = "acme";

/// The names in one certificate that authorities accept at most.
const MOST: usize = 100;

/// Makes the model; `None`: there is none, or something is wrong with it, which has been reported.
pub(super) fn acme(
    acme: &Field<file::acme::Acme>,
    server: &file::server::Server,
    tls: &file::tls::Tls,
    redis: (&Field<file::redis::Redis>, Option<&Redis>),
    checker: &mut Checker<'_>,
) -> Option<Acme> {
    let acme = acme.given()?;
    let file::acme::Acme {
        domains: _,
        storage,
        email,
        staging,
        directory,
        ca,
        challenges,
        external_account,
        secret,
    } = &acme.value;
    if tls.listen.0.is_empty() {
        checker.error(
            acme.span,
            "the certificate is never used: nothing is listened on for TLS",
            "add `[tls]` with `listen = [\"0.0.0.0:443\"]`".to_owned(),
        );
    }
    if let (true, Some(directory)) = (staging.value, directory.given()) {
        checker.report.push(
            Diagnostic::error(
                staging.span,
                "`staging` is Let's Encrypt's, `directory` another authority's",
            )
            .also(directory.span, "the other one")
            .help("remove one of them".to_owned()),
        );
    } else if staging.value {
        checker.warning(
            staging.span,
            "browsers do not believe certificates of the staging environment",
            "remove `staging` once certificates are issued".to_owned(),
        );
    }
    let domains = domains(&acme.value, checker);
    let challenges = self::challenges(challenges, server, checker);
    let secret = match secret {
        Field::Given(given) => {
            shareable(given.span, redis, checker);
            Some(given.value.text.clone())
        }
        Field::Absent | Field::Faulty => None,
    };
    let directory = match directory {
        Field::Given(url) => url.value.value.0.clone(),
        Field::Absent | Field::Faulty if staging.value => http::Uri::from_static(STAGING),
        Field::Absent | Field::Faulty => http::Uri::from_static(LETS_ENCRYPT),
    };
    let storage = storage.given()?;
    let root = checker.path(&storage.text);
    if root.exists() && !root.is_dir() {
        checker.error(
            storage.span,
            format!("`{}` is not a directory", clip(&storage.text)),
            "name a directory of the gateway's own: it is made where it is missing".to_owned(),
        );
    }
    let external_account = external_account.given().and_then(|account| {
        let (id, key) = (account.value.id.given()?, account.value.key.given()?);
        let key = MacKey::decode(key.value.text.expose())?;
        Some((id.text.as_str().into(), ExternalKey(key)))
    });
    Some(Acme {
        storage: root.join(folder(&directory)),
        directory,
        ca: upstream_tls::readable(ca, checker),
        domains: domains?,
        email: email.given().map(|email| email.value.value.0.clone()),
        challenges,
        external_account,
        secret,
    })
}

/// The certificate, as one of those for clients.
pub(super) fn certificate(acme: &Acme) -> CertificateFiles {
    CertificateFiles {
        label: LABEL.into(),
        cert: acme.certificate(),
        key: acme.certificate(),
        names: acme.domains.clone(),
        ocsp: None,
        client_ca: None,
        ordered: true,
    }
}

/// Certificates of different authorities do not mix: whoever leaves the staging environment needs a new one at once.
fn folder(directory: &http::Uri) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let place = format!(
        "{}{}",
        directory.authority().map_or("", |authority| authority.as_str()),
        directory.path()
    );
    place
        .chars()
        .map(plain)
        .collect::<String>()
        .trim_matches('-')
        .to_owned()
}

fn domains(acme: &file::acme::Acme, checker: &mut Checker<'_>) -> Option<Vec<Box<str>>> {
    let list = acme.domains.given()?;
    if list.value.0.len() > MOST {
        checker.error(
            list.span,
            format!("there are more than {MOST} names: authorities refuse so many in one certificate"),
            "let another gateway serve some of them".to_owned(),
        );
    }
    let mut domains: Vec<Box<str>> = Vec::new();
    for domain in &list.value.0 {
        let name = &domain.value.value.0;
        let public = acme.directory.is_absent();
        if name.starts_with("*.") {
            checker.error(
                domain.span,
                format!("no certificate can be obtained for `{}`", clip(name)),
                "for wildcards an authority looks into the DNS, which the gateway does not write: name each host"
                    .to_owned(),
            );
        } else if public && (!name.contains('.') || name.ends_with(".localhost") || name.ends_with(".internal")) {
            checker.error(
                domain.span,
                format!(
                    "`{}` is no name of the internet: Let's Encrypt has no certificates for it",
                    clip(name)
                ),
                "name an authority of your own with `directory`, or files in `[[certificate]]`".to_owned(),
            );
        } else if domains.contains(name) {
            checker.error(
                domain.span,
                format!("`{}` is there already", clip(name)),
                "remove it".to_owned(),
            );
        }
        domains.push(name.clone());
    }
    Some(domains)
}

fn challenges(
    challenges: &Field<crate::config::list::List<Challenge>>,
    server: &file::server::Server,
    checker: &mut Checker<'_>,
) -> Vec<AcmeChallenge> {
    let clear = !server.listen.0.is_empty();
    let Some(given) = challenges.given().filter(|given| !given.value.0.is_empty()) else {
        let both = [AcmeChallenge::Http01, AcmeChallenge::TlsAlpn01];
        return both[usize::from(!clear)..].to_vec();
    };
    for challenge in &given.value.0 {
        if challenge.value == Challenge::Http01 && !clear {
            checker.error(
                challenge.span,
                "`http-01` needs a listener in clear text, and `[server] listen` is empty",
                "listen on port 80, or leave `tls-alpn-01` only".to_owned(),
            );
        }
    }
    let chosen = given
        .value
        .0
        .iter()
        .map(|challenge: &Spanned<Challenge>| match challenge.value {
            Challenge::Http01 => AcmeChallenge::Http01,
            Challenge::TlsAlpn01 => AcmeChallenge::TlsAlpn01,
        });
    chosen.collect()
}

fn shareable(
    span: crate::config::diagnostic::Span,
    (written, redis): (&Field<file::redis::Redis>, Option<&Redis>),
    checker: &mut Checker<'_>,
) {
    if written.is_absent() {
        checker.error(
            span,
            "`secret` is for gateways that share a certificate, and there is no `[redis]` to share it through",
            "add `[redis]`, or remove `secret`".to_owned(),
        );
    } else if redis.is_some_and(|redis| matches!(redis.servers, RedisServers::Cluster(_))) {
        checker.error(
            span,
            "a certificate cannot be shared through a Redis Cluster",
            "share it through a single Redis or through sentinels, or let each gateway order for itself".to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_authority_has_its_folder() {
        let of = |url: &str| folder(&url.parse().unwrap());
        assert_eq!(of(LETS_ENCRYPT), "acme-v02.api.letsencrypt.org-directory");
        assert_eq!(of("https://ca.internal:9000/acme/x"), "ca.internal-9000-acme-x");
        assert_ne!(of(LETS_ENCRYPT), of(STAGING));
        assert!(
            !Path::new(&of("https://[::1]:1/../.."))
                .components()
                .any(|part| part.as_os_str() == "..")
        );
    }
}
