//! `[admin]`

use std::net::SocketAddr;

use crate::config::secret::{Secret, SecretText};
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, Written};
use crate::config::value::{Either, False};

table! {
    /// The listener for operators: `/livez`, `/readyz`, `/metrics`, `/upstreams` and the API. Never public.
    pub struct Admin {
        /// Where it listens, or `false` for nowhere. An address that other machines can reach needs `token`.
        default listen: Either<False, Written<SocketAddr>> = "\"127.0.0.1:9900\"",
        /// What who asks there must bear, as `Authorization: Bearer TOKEN`: at least 16 visible characters; empty: nothing.
        /// `/livez` and a short `/readyz` answer without it.
        optional token: Secret<Token>,
        /// A file to which every change is added that somebody made or tried to make, by whatever way: when, who, from
        /// where, what, and how it went. Readable by its owner only.
        optional audit_log: Written<FilePath> => "changes are told in the gateway's own log only",
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
