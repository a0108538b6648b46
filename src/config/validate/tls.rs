//! `[tls]` and `[[certificate]]`: the files are read, so that a certificate that cannot be used is found before it is
//! needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::server::collisions;
use super::{Checker, count};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::certificate::ClientAuth;
use crate::config::file::tls::{ClientFact, MinVersion};
use crate::config::list::Tables;
use crate::config::model::{CertificateFiles, Tls};
use crate::config::suggest::clip;
use crate::config::text::{FilePath, Written};
use crate::config::value::{Field, Spanned};
use crate::tls;

/// A certificate that ends sooner than this is warned of, seconds.
const SOON: i64 = 14 * 86_400;

/// Makes the model; `None`: nothing is listened on for TLS.
pub(super) fn tls(
    tls: &Spanned<file::tls::Tls>,
    (certificates, acme): (
        &Spanned<Tables<file::certificate::Certificate>>,
        &Field<file::acme::Acme>,
    ),
    server: &file::server::Server,
    checker: &mut Checker<'_>,
) -> Option<Tls> {
    let file::tls::Tls {
        listen,
        proxy_protocol: _, // with that of `[server]`
        redirect_http,
        public_port,
        min_version,
        handshake_timeout,
        max_handshakes,
        handshake_rate,
        ticket_key,
        client_headers,
    } = &tls.value;
    let addresses: Vec<_> = server.listen.0.iter().chain(&listen.0).collect();
    collisions(&addresses, server.listen.0.len(), checker);
    let files: Vec<_> = certificates
        .0
        .iter()
        .filter_map(|certificate| self::certificate(certificate, checker))
        .collect();
    if listen.0.is_empty() && server.listen.0.is_empty() {
        checker.error(
            server.listen.span,
            "nothing is listened on",
            "write for example `listen = [\"0.0.0.0:8080\"]`".to_owned(),
        );
    }
    if listen.0.is_empty() {
        without_listener(tls, certificates, checker);
        return None;
    }
    if certificates.0.is_empty() && acme.is_absent() {
        checker.error(
            listen.span,
            "there is no certificate to listen with",
            "add one:\n\n[[certificate]]\ncert = \"tls/fullchain.pem\"\nkey = \"tls/privkey.pem\"\n\nor let the gateway obtain one: `[acme]`".to_owned(),
        );
    }
    let ticket_key = ticket_key.given().map(|file| self::ticket_key(file, checker));
    if let Some(unused) = public_port.given()
        && !redirect_http.value
    {
        checker.error(
            unused.span,
            "`public_port` is never used: nobody is sent to https",
            "add `redirect_http = true`, or remove it".to_owned(),
        );
    }
    if !client_headers.0.is_empty() && certificates.0.iter().all(|known| known.client_ca.is_absent()) {
        checker.warning(
            client_headers.span,
            "`client_headers` tells nothing: no client is asked for a certificate",
            "name the authority of your clients with `client_ca` in `[[certificate]]`".to_owned(),
        );
    }
    let port = public_port.given().and_then(|port| u16::try_from(port.value.0).ok());
    Some(Tls {
        redirect_http: redirect_http
            .value
            .then(|| port.unwrap_or_else(|| listen.0[0].value.value.port())),
        listen: listen.0.iter().map(|address| address.value.value).collect(),
        min_version: match min_version.value {
            MinVersion::Tls12 => tls::MinVersion::Tls12,
            MinVersion::Tls13 => tls::MinVersion::Tls13,
        },
        handshake_timeout: handshake_timeout.value.value.0,
        max_handshakes: count(max_handshakes.0),
        handshake_rate: handshake_rate.given().map(|rate| rate.value.value),
        ticket_key,
        client_headers: client_headers
            .0
            .iter()
            .map(|(name, fact)| (name.value.value.0.clone(), fact.value.into()))
            .collect(),
        certificates: files,
    })
}

fn without_listener(
    tls: &Spanned<file::tls::Tls>,
    certificates: &Spanned<Tables<file::certificate::Certificate>>,
    checker: &mut Checker<'_>,
) {
    const HELP: &str = "add `listen = [\"0.0.0.0:443\"]` to `[tls]`";
    let unused = if tls.redirect_http.value {
        Some((tls.redirect_http.span, "there is no https to send clients to"))
    } else if tls.given {
        Some((tls.span, "nothing is listened on for TLS"))
    } else {
        certificates.0.first().map(|certificate| {
            (
                certificate.span,
                "the certificate is never used: nothing is listened on for TLS",
            )
        })
    };
    if let Some((span, message)) = unused {
        checker.error(span, message, HELP.to_owned());
    }
}

fn certificate(
    certificate: &Spanned<file::certificate::Certificate>,
    checker: &mut Checker<'_>,
) -> Option<CertificateFiles> {
    let file::certificate::Certificate {
        cert,
        key,
        names,
        ocsp,
        client_ca,
        client_auth,
    } = &certificate.value;
    let required = client_auth.value == ClientAuth::Required;
    let asked = client_auth.given.then_some(client_auth.span);
    let client_ca = self::client_ca(client_ca, required, asked, checker);
    let ocsp = ocsp.given().map(|file| self::ocsp(file, checker));
    let (label, cert, key) = pair((cert, key), ocsp.is_some(), checker)?;
    Some(CertificateFiles {
        label,
        cert,
        key,
        names: names.0.iter().map(|name| name.value.value.0.clone()).collect(),
        ocsp,
        client_ca,
        ordered: false,
    })
}

/// Whom certificates of clients must come from, and whether a client must have one. `asked`: where the file says which.
pub(super) fn client_ca(
    client_ca: &Field<Written<FilePath>>,
    required: bool,
    asked: Option<Span>,
    checker: &mut Checker<'_>,
) -> Option<(PathBuf, bool)> {
    if let Some(span) = asked.filter(|_| client_ca.is_absent()) {
        checker.error(
            span,
            "`client_auth` needs a `client_ca`",
            "name the file with the authorities that certificates of clients must come from".to_owned(),
        );
    }
    let file = client_ca.given()?;
    let path = checker.path(&file.text);
    if regular(file, &path, checker)
        && let Err(fault) = tls::ClientAuth::load(&path, required)
    {
        unusable(file, &fault.cause(), checker);
    }
    Some((path, required))
}

/// A certificate and its key: what the file calls it, and where both are.
pub(super) fn pair(
    (cert, key): (&Field<Written<FilePath>>, &Field<Written<FilePath>>),
    stapled: bool,
    checker: &mut Checker<'_>,
) -> Option<(Arc<str>, PathBuf, PathBuf)> {
    let (cert, key) = (cert.given()?, key.given()?);
    let (cert_path, key_path) = (checker.path(&cert.text), checker.path(&key.text));
    // Both are looked at, so that everything wrong is reported.
    let (cert_there, key_there) = (regular(cert, &cert_path, checker), regular(key, &key_path, checker));
    if cert_there && key_there {
        judge(cert, key, &cert_path, &key_path, stapled, checker);
    }
    Some((cert.text.as_str().into(), cert_path, key_path))
}

fn judge(
    cert: &Spanned<Written<FilePath>>,
    key: &Spanned<Written<FilePath>>,
    cert_path: &Path,
    key_path: &Path,
    stapled: bool,
    checker: &mut Checker<'_>,
) {
    let loaded = match tls::Certificate::load(cert_path, key_path) {
        Ok(loaded) => loaded,
        Err(fault) => {
            let (blamed, other) = match fault.part {
                tls::Part::Cert => (cert, key),
                tls::Part::Key => (key, cert),
            };
            let message = format!("`{}` cannot be used: {fault}", clip(&blamed.text));
            checker.report.push(
                Diagnostic::error(blamed.span, message)
                    .also(other.span, "belongs to it")
                    .help(
                        "both are PEM files: the certificate with its chain, and its key without a passphrase"
                            .to_owned(),
                    ),
            );
            return;
        }
    };
    if loaded.demands_ocsp && !stapled {
        checker.warning(
            cert.span,
            format!(
                "the certificate in `{}` demands an OCSP response: some clients refuse it without",
                clip(&cert.text)
            ),
            "add `ocsp = \"…\"`, a file that somebody keeps fresh, or have the certificate issued without the demand"
                .to_owned(),
        );
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let name = clip(&cert.text);
    let message = if now > loaded.not_after {
        format!("the certificate in `{name}` has expired on {}", date(loaded.not_after))
    } else if now < loaded.not_before {
        format!(
            "the certificate in `{name}` is not valid before {}",
            date(loaded.not_before)
        )
    } else if loaded.not_after - now < SOON {
        format!("the certificate in `{name}` expires on {}", date(loaded.not_after))
    } else {
        return;
    };
    checker.warning(cert.span, message, "renew it: clients refuse it otherwise".to_owned());
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "an unknown day".to_owned(), |time| time.strftime("%F").to_string())
}

fn ocsp(file: &Spanned<Written<FilePath>>, checker: &mut Checker<'_>) -> PathBuf {
    let path = checker.path(&file.text);
    if regular(file, &path, checker)
        && let Err(fault) = tls::ocsp(&path)
    {
        checker.error(
            file.span,
            format!("`{}` cannot be used: {}", clip(&file.text), fault.cause()),
            "it is the answer of an OCSP responder in DER, as `openssl ocsp -respout FILE` writes it".to_owned(),
        );
    }
    path
}

fn ticket_key(file: &Spanned<Written<FilePath>>, checker: &mut Checker<'_>) -> PathBuf {
    let path = checker.path(&file.text);
    if regular(file, &path, checker)
        && let Err(fault) = tls::Tickets::load(&path)
    {
        checker.error(
            file.span,
            format!("`{}` cannot be used: {fault}", clip(&file.text)),
            "make one with `openssl rand -out FILE 48`".to_owned(),
        );
    }
    path
}

/// Whether it is a file that can be read; reports one that is not.
fn regular(file: &Spanned<Written<FilePath>>, path: &Path, checker: &mut Checker<'_>) -> bool {
    let why = crate::config::plain_file::check(path).err();
    if let Some(why) = &why {
        checker.error(
            file.span,
            format!("`{}` cannot be read: {why}", clip(&file.text)),
            "the path is relative to the directory of this file".to_owned(),
        );
    }
    why.is_none()
}

fn unusable(file: &Spanned<Written<FilePath>>, cause: &str, checker: &mut Checker<'_>) {
    checker.error(
        file.span,
        format!("`{}` cannot be used: {cause}", clip(&file.text)),
        "it is a PEM file with the certificates of authorities".to_owned(),
    );
}

impl From<ClientFact> for tls::ClientFact {
    fn from(fact: ClientFact) -> Self {
        match fact {
            ClientFact::Subject => Self::Subject,
            ClientFact::CommonName => Self::CommonName,
            ClientFact::Names => Self::Names,
            ClientFact::Issuer => Self::Issuer,
            ClientFact::Serial => Self::Serial,
            ClientFact::Fingerprint => Self::Fingerprint,
        }
    }
}
