//! `[admin]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::server::collide;
use super::tables::rotation;
use super::{Checker, tls};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file::certificate::ClientAuth;
use crate::config::file::{self, File};
use crate::config::model::{Admin, AdminListen, CertificateFiles, LogFile, Tls};
use crate::config::text::{FilePath, Written};
use crate::config::value::{Either, Field, Spanned};
use crate::tls::MinVersion;

/// A handshake of an operator must be complete within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most handshakes of operators at a time.
const HANDSHAKES: usize = 100;

pub(super) fn admin(file: &File, checker: &mut Checker<'_>) -> Admin {
    let admin = &file.admin.value;
    let file::admin::Admin {
        listen,
        token,
        tls,
        audit_log,
    } = admin;
    let token = token.given().map(|token| token.value.text.clone());
    let token = token.filter(|token| !token.expose().is_empty());
    let place = match &listen.value {
        Either::First(_) => None,
        Either::Second(place) => Some(place.value.clone()),
    };
    let handshakes = tls
        .given()
        .and_then(|tls| self::handshakes(tls, place.as_ref(), checker));
    if let Some(AdminListen::Tcp(address)) = place {
        if !address.ip().to_canonical().is_loopback() && token.is_none() && !may_ask(admin) {
            checker.error(
                listen.span,
                format!("`{address}` would show the admin listener to other machines, and there is no token"),
                "set `token = \"${GATEWAY_ADMIN_TOKEN}\"` (`openssl rand -hex 24` makes one), or ask operators for \
                 certificates (`tls` with `client_ca`), or use `\"127.0.0.1:9900\"`, or a route with \
                 `serve = \"metrics\"` and `allow`"
                    .to_owned(),
            );
        }
        taken(address, listen.given.then_some(listen.span), file, checker);
    }
    Admin {
        listen: place,
        token,
        tls: handshakes,
        audit_log: audit_log.given().and_then(|log| self::audit_log(log, file, checker)),
    }
}

fn audit_log(
    log: &Spanned<Either<Written<FilePath>, file::admin::AuditLog>>,
    file: &File,
    checker: &mut Checker<'_>,
) -> Option<LogFile> {
    let (span, path, rotate) = match &log.value {
        Either::First(path) => (log.span, path, None),
        Either::Second(log) => {
            let path = log.path.given()?;
            (path.span, &path.value, log.rotate.given())
        }
    };
    let place = checker.path(&path.text);
    let requests = file.access_log.enabled.value.then_some(&file.access_log.path);
    let errors = file.log.error_path.given();
    for other in requests.into_iter().chain([&file.log.path]).chain(errors) {
        if other.text != "-" && checker.path(&other.text) == place {
            let fault = Diagnostic::error(span, "the audit log has no file of its own");
            let help = "give each log a file of its own: both would write it, and others may read it".to_owned();
            checker
                .report
                .push(fault.also(other.span, "this log has it").help(help));
        }
    }
    Some(LogFile {
        path: place,
        rotation: rotate.map(|rotate| rotation(rotate.span, &rotate.value, checker)),
    })
}

/// Whether operators are asked for certificates, or what would be asked of them is wrong, which has been reported.
fn may_ask(admin: &file::admin::Admin) -> bool {
    let asks = |tls: &Spanned<file::admin::AdminTls>| !tls.client_ca.is_absent();
    admin.token.is_faulty() || admin.tls.is_faulty() || admin.tls.given().is_some_and(asks)
}

/// Reports a listener of clients at the address of the admin listener.
fn taken(address: SocketAddr, given: Option<Span>, file: &File, checker: &mut Checker<'_>) {
    let mut listen_on = file.server.listen.0.iter().chain(&file.tls.listen.0);
    if let Some(taken) = listen_on.find(|taken| collide(taken.value.value, address)) {
        let message = format!("`{}` takes the address of the admin listener, `{address}`", taken.text);
        let help = "give one of them another port, or write `listen = false` in `[admin]`".to_owned();
        let fault = Diagnostic::error(taken.span, message).help(help);
        // Where the file says nothing about the admin listener, there is nothing to show.
        checker.report.push(match given {
            Some(span) => fault.also(span, "the admin listener"),
            None => fault,
        });
    }
}

/// What is said in its handshakes; `None`: what is wrong has been reported.
fn handshakes(
    tls: &Spanned<file::admin::AdminTls>,
    place: Option<&AdminListen>,
    checker: &mut Checker<'_>,
) -> Option<Tls> {
    let file::admin::AdminTls {
        cert,
        key,
        client_ca,
        client_auth,
    } = &tls.value;
    let client_auth = match client_auth {
        Field::Given(client_auth) => Some(client_auth),
        Field::Absent | Field::Faulty => None,
    };
    let required = client_auth.is_none_or(|client_auth| client_auth.value == ClientAuth::Required);
    let client_ca = tls::client_ca(client_ca, required, client_auth.map(|known| known.span), checker);
    let (label, cert, key) = tls::pair((cert, key), false, checker)?;
    let Some(AdminListen::Tcp(address)) = place else {
        checker.error(
            tls.span,
            "`tls` is for an address, and the admin listener has none",
            "remove it, or `listen` on an address: a socket in the file system is this machine's alone".to_owned(),
        );
        return None;
    };
    Some(Tls {
        listen: vec![*address],
        redirect_http: None,
        min_version: MinVersion::default(),
        handshake_timeout: HANDSHAKE,
        max_handshakes: HANDSHAKES,
        handshake_rate: None,
        ticket_key: None,
        client_headers: Vec::new(),
        certificates: vec![CertificateFiles {
            label,
            cert,
            key,
            ordered: false,
            names: Vec::new(),
            ocsp: None,
            client_ca,
        }],
    })
}
