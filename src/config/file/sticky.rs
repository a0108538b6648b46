//! `sticky` of `[upstream.NAME]`

use super::matching::CookieName;
use crate::config::model;
use crate::config::secret::{Secret, SecretText};
use crate::config::table::table;
use crate::config::text::{Fault, Written};
use crate::config::units::Timeout;
use crate::config::words::words;

table! {
    /// A client stays with its server: a signed cookie names it. While that server is not fit, another one is chosen.
    pub struct Sticky {
        /// The cookie's name.
        default cookie: Written<CookieName> = "\"gateway_server\"",
        /// How long it is good for.
        default ttl: Written<Timeout> = "\"1d\"",
        /// What it is signed with: at least 32 bytes, the same on every gateway.
        required secret: Secret<SigningKey>,
        /// With which requests of other sites browsers send it.
        default same_site: SameSite = "\"lax\"",
    }
}

words! {
    /// With which requests of other sites a cookie is sent.
    pub enum SameSite {
        /// With none.
        Strict = "strict",
        /// With links only.
        Lax = "lax",
        /// With all of them; browsers want TLS then.
        None = "none",
    }
}

impl From<SameSite> for model::SameSite {
    fn from(same_site: SameSite) -> Self {
        match same_site {
            SameSite::Strict => Self::Strict,
            SameSite::Lax => Self::Lax,
            SameSite::None => Self::None,
        }
    }
}

/// What something is signed with.
#[derive(Debug, Clone)]
pub(crate) struct SigningKey;

impl SigningKey {
    /// Shorter ones can be guessed from one cookie.
    const SHORTEST: usize = 32;
}

impl SecretText for SigningKey {
    const EXAMPLE: &'static str = "${STICKY_SECRET}";

    fn check(text: &str) -> Result<(), Fault> {
        if text.len() < Self::SHORTEST {
            return Err(Fault::new(format!(
                "the secret is too short: {} bytes, at least {} are needed",
                text.len(),
                Self::SHORTEST
            ))
            .help("make one with `openssl rand -base64 32`"));
        }
        Ok(())
    }

    /// As long as a secret must be, so that a printed file loads.
    fn mask(_: &str) -> String {
        "*".repeat(Self::SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_not_shown() {
        assert!(SigningKey::check(&"x".repeat(31)).is_err());
        assert_eq!(SigningKey::check(&"x".repeat(32)), Ok(()));
        assert_eq!(SigningKey::check(&SigningKey::mask("x")), Ok(()));
    }
}
