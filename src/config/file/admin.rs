//! `[admin]`

use super::certificate::ClientAuth;
use super::rotate::Rotate;
use crate::config::model::AdminListen;
use crate::config::secret::{Secret, SecretText};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};
use crate::config::value::{Either, False};

table! {
    /// The listener for operators: `/livez`, `/readyz`, `/metrics`, `/upstreams` and the API. Never public.
    pub struct Admin {
        /// Where it listens: an address with a port, `unix:/path` for a socket in the file system that only the gateway's own
        /// user may open, or `false` for nowhere. An address that other machines can reach needs `token`, or `tls` with
        /// `client_ca`.
        default listen: Either<False, Written<AdminListen>> = "\"127.0.0.1:9900\"",
        /// What who asks there must bear, as `Authorization: Bearer TOKEN`: at least 16 visible characters; empty: nothing.
        /// `/livez` and a short `/readyz` answer without it.
        optional token: Secret<Token>,
        /// The certificate with which the listener speaks TLS. Changed files are taken into use by themselves.
        optional tls: AdminTls => "clear text",
        /// A file to which every change is added that somebody made or tried to make, by whatever way: when, who, from
        /// where, what, and how it went; or the file with more to say. Readable by its owner only.
        optional audit_log: Either<Written<FilePath>, AuditLog> => "changes are told in the gateway's own log only",
    }
}

table! {
    /// The file to which every change is added.
    pub struct AuditLog {
        /// Its name, relative to the directory of this file.
        required path: Written<FilePath>,
        /// When the file begins anew, and what is kept of it. Without it the file grows until somebody moves it away and
        /// sends SIGUSR1.
        optional rotate: Rotate => "it grows",
    }
}

table! {
    /// TLS of the listener for operators.
    pub struct AdminTls {
        /// The file with the certificate and those between it and its authority, PEM.
        required cert: Written<FilePath>,
        /// The file with its key, PEM.
        required key: Written<FilePath>,
        /// The file with the authorities that certificates of operators must come from, PEM. Who shows one needs no `token`
        /// where there is none; the audit log has its subject.
        optional client_ca: Written<FilePath> => "operators are not asked for one",
        /// Whether every connection must have one: the `token`, where there is one, is asked for as well then. With
        /// `optional` either will do, and `/livez` and a short `/readyz` answer without.
        optional client_auth: ClientAuth => "`required`",
    }
}

impl FromText for AdminListen {
    const KIND: Kind = Kind {
        what: "an address with a port, or a socket",
        pattern: Some("^(.+:[0-9]{1,5}|unix:/.+)$"),
        example: "127.0.0.1:9900",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        /// `sun_path` has 108 bytes, the last of which is zero; before it accepts, the socket has a longer name.
        const LONGEST: usize = 96;
        let fault = || Fault::new(format!("`{}` is not a place for operators", clip(text)));
        if text.starts_with('/') {
            return Err(fault().help(format!("a socket in the file system is `\"unix:{}\"`", clip(text))));
        }
        let Some(path) = text.strip_prefix("unix:") else {
            return std::net::SocketAddr::from_text(text).map(Self::Tcp);
        };
        if path.len() > LONGEST {
            return Err(fault().help(format!("the path of this socket has at most {LONGEST} bytes")));
        }
        if !path.starts_with('/') || path.ends_with('/') || path.chars().any(char::is_control) {
            return Err(fault().help("write the whole path: `\"unix:/run/gateway/admin.sock\"`"));
        }
        Ok(Self::Unix(path.into()))
    }
}

/// The operators' token.
#[derive(Debug, Clone)]
pub(crate) struct Token;

impl Token {
    /// Shorter ones can be guessed by asking.
    const SHORTEST: usize = 16;
    /// A field line must hold it.
    const LONGEST: usize = 1024;
}

impl SecretText for Token {
    const EXAMPLE: &'static str = "${GATEWAY_ADMIN_TOKEN}";

    fn check(text: &str) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::new("the token has characters that a header field cannot bring")
                .help("make one with `openssl rand -hex 24`"));
        }
        if !(Self::SHORTEST..=Self::LONGEST).contains(&text.len()) {
            return Err(Fault::new(format!(
                "the token has {} characters: it needs at least {} and at most {}",
                text.len(),
                Self::SHORTEST,
                Self::LONGEST
            ))
            .help("make one with `openssl rand -hex 24`"));
        }
        Ok(())
    }

    /// As long as a token must be, so that a printed file loads.
    fn mask(text: &str) -> String {
        if text.is_empty() {
            String::new()
        } else {
            "*".repeat(Self::SHORTEST)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for text in ["127.0.0.1:9900", "[::1]:9900", "unix:/run/gateway/admin.sock"] {
            let listen = AdminListen::from_text(text).unwrap_or_else(|fault| panic!("{fault:?}"));
            assert_eq!(listen.to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(96));
        for (text, help) in [
            ("/run/admin.sock", "`\"unix:/run/admin.sock\"`"),
            ("unix:admin.sock", "the whole path"),
            ("unix:/run/", "the whole path"),
            (&long, "at most 96 bytes"),
            ("9900", "the address is missing"),
        ] {
            let fault = AdminListen::from_text(text).expect_err(text);
            assert!(fault.help.as_deref().is_some_and(|has| has.contains(help)), "{fault:?}");
        }
    }

    #[test]
    fn tokens() {
        let long = "x".repeat(1025);
        for bad in [
            "x",
            "fifteen-letters",
            "with a space in it",
            "with\u{e9}accents-in-it",
            &long,
        ] {
            assert!(Token::check(bad).is_err(), "{bad}");
        }
        for good in ["", "sixteen-letters!", &Token::mask("x"), &Token::mask("")] {
            assert_eq!(Token::check(good), Ok(()), "{good}");
        }
    }
}
