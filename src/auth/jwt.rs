//! JSON Web Tokens (RFC 7519), verified as RFC 8725 wants it.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
pub use jsonwebtoken::{Algorithm, AlgorithmFamily as Family};
use jsonwebtoken::{Header, Validation};

use super::credential::LONGEST;
use super::keys::NoKey;
use super::{Claims, KeySet, crypto};

/// What is asked of a token, beyond a good signature.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The algorithms that are accepted; empty: those that the keys are for.
    pub algorithms: Vec<Algorithm>,
    /// Who must have issued it, one of these; empty: anybody.
    pub issuers: Vec<String>,
    /// Whom it must be for, one of these; empty: anybody.
    pub audiences: Vec<String>,
    /// How far clocks may differ, seconds.
    pub leeway: u64,
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It is no token.
    Malformed,
    /// It asks for something that nobody here understands (`crit`), or is of another type.
    Unsupported,
    /// It says an algorithm that is not accepted, or not for its key.
    Algorithm,
    /// It says a key that is not known.
    UnknownKey,
    /// Nobody who has a key signed this.
    Signature,
    /// It has no end, or its times are none.
    Times,
    /// Its end has passed.
    Expired,
    /// Its beginning has not come.
    Early,
    /// It is of another issuer.
    Issuer,
    /// It is for somebody else.
    Audience,
}

impl fmt::Display for TokenFault {
    /// For the client: `error_description` of RFC 6750 §3.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the token is malformed",
            Self::Unsupported => "the token is of a kind that is not accepted",
            Self::Algorithm => "the algorithm of the token is not accepted",
            Self::UnknownKey => "the key of the token is not known",
            Self::Signature => "the signature of the token is wrong",
            Self::Times => "the token has no end",
            Self::Expired => "the token is expired",
            Self::Early => "the token is not valid yet",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for another audience",
        })
    }
}

impl Rules {
    /// Verifies a token at a time (seconds since 1970).
    ///
    /// # Errors
    /// [`TokenFault`]; nothing of the token may be believed then.
    pub fn verify(&self, token: &str, keys: &KeySet, now: u64) -> Result<Claims, TokenFault> {
        if token.len() > LONGEST {
            return Err(TokenFault::Malformed);
        }
        crypto::install();
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
        understood(&header)?;
        if !self.algorithms.is_empty() && !self.algorithms.contains(&header.alg) {
            return Err(TokenFault::Algorithm);
        }
        let candidates = keys.candidates(header.kid.as_deref(), header.alg);
        let candidates = candidates.map_err(|none| match none {
            NoKey::UnknownId => TokenFault::UnknownKey,
            NoKey::Algorithm => TokenFault::Algorithm,
        })?;
        let asked = self.asked(header.alg);
        let mut fault = TokenFault::Signature;
        for key in candidates {
            match jsonwebtoken::decode::<Claims>(token, key, &asked) {
                Ok(token) => return self.in_time(&token.claims, now).map(|()| token.claims),
                Err(error) => fault = self::fault(error.kind()),
            }
            if fault != TokenFault::Signature {
                break; // the key was the right one
            }
        }
        Err(fault)
    }

    /// What the library checks: the signature by this algorithm only, issuer and audience. Times are judged below, by the
    /// time that the caller says.
    fn asked(&self, algorithm: Algorithm) -> Validation {
        let mut asked = Validation::new(algorithm);
        asked.validate_exp = false;
        asked.validate_nbf = false;
        let mut required = vec!["exp"];
        if !self.issuers.is_empty() {
            asked.set_issuer(&self.issuers);
            required.push("iss");
        }
        if self.audiences.is_empty() {
            asked.validate_aud = false;
        } else {
            asked.set_audience(&self.audiences);
            required.push("aud");
        }
        asked.set_required_spec_claims(&required);
        asked
    }

    fn in_time(&self, claims: &Claims, now: u64) -> Result<(), TokenFault> {
        let time = |name| claims.time(name).map_err(|()| TokenFault::Times);
        // RFC 7519 §4.1.4: at its end it is over.
        let end = time("exp")?.ok_or(TokenFault::Times)?;
        if now >= end.saturating_add(self.leeway) {
            return Err(TokenFault::Expired);
        }
        let latest = now.saturating_add(self.leeway);
        if time("nbf")?.is_some_and(|begin| begin > latest) || time("iat")?.is_some_and(|made| made > latest) {
            return Err(TokenFault::Early);
        }
        Ok(())
    }
}

/// RFC 7515 §4.1.11: what is critical must be understood, and none of it is. RFC 8725 §3.11: a token for another purpose,
/// signed with the same key, says so in its type.
fn understood(header: &Header) -> Result<(), TokenFault> {
    let accepted = |typ: &str| ["jwt", "at+jwt", "application/at+jwt"].contains(&&*typ.to_ascii_lowercase());
    let critical = header.crit.is_some() || header.enc.is_some() || header.zip.is_some();
    if critical || header.extras.inner().contains_key("b64") || !header.typ.as_deref().is_none_or(accepted) {
        return Err(TokenFault::Unsupported);
    }
    Ok(())
}

fn fault(error: &ErrorKind) -> TokenFault {
    match error {
        ErrorKind::InvalidSignature => TokenFault::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat | ErrorKind::UnsupportedAlgorithm => {
            TokenFault::Algorithm
        }
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::InvalidAudience => TokenFault::Audience,
        ErrorKind::MissingRequiredClaim(claim) => match &**claim {
            "iss" => TokenFault::Issuer,
            "aud" => TokenFault::Audience,
            _ => TokenFault::Times,
        },
        _ => TokenFault::Malformed,
    }
}

#[cfg(test)]
mod tests;
