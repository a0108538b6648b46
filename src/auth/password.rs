//! Names and passwords (RFC 7617), the passwords as Argon2 or bcrypt hashes.

use std::collections::HashMap;
use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::credential::authorization;
use super::{Claims, Found};

/// The most users of a file.
const MOST: usize = 10_000;
/// The longest password, bytes: hashing takes time for each of them.
const LONGEST: usize = 1024;
/// The dearest hashes that are accepted: each try costs as much.
const MOST_MEMORY: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_BCRYPT: u32 = 14;

/// Users and the hashes of their passwords.
pub struct Users {
    hashes: HashMap<String, Hash>,
    /// What stands in for a user who does not exist, so that an answer takes as long.
    stand_in: Option<Hash>,
}

/// The hash of a password, as the file has it.
#[derive(Clone)]
enum Hash {
    Argon2(String),
    Bcrypt(String),
}

/// A name and a password as they were sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// The name.
    pub user: String,
    secret: String,
}

/// What was sent is no name and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password")
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.hashes.len())
    }
}

impl Password {
    /// What a request carries.
    ///
    /// # Errors
    /// It carries something that is no name and password.
    pub fn find(headers: &HeaderMap) -> Result<Option<Self>, Unreadable> {
        let encoded = match authorization(headers, "basic") {
            Found::Nothing => return Ok(None),
            Found::Credential(encoded) => encoded,
            Found::Unreadable => return Err(Unreadable),
        };
        let decoded = STANDARD.decode(encoded).map_err(|_| Unreadable)?;
        let decoded = Zeroizing::new(String::from_utf8(decoded).map_err(|_| Unreadable)?);
        let (user, secret) = decoded.split_once(':').ok_or(Unreadable)?;
        if secret.len() > LONGEST || decoded.chars().any(char::is_control) {
            return Err(Unreadable);
        }
        Ok(Some(Self {
            user: user.to_owned(),
            secret: secret.to_owned(),
        }))
    }

    /// The hash of a password, by Argon2id with the parameters that OWASP recommends; `None`: it is too long.
    #[must_use]
    pub fn hash(secret: &str, salt: &[u8; 16]) -> Option<String> {
        if secret.len() > LONGEST {
            return None;
        }
        let hash = Argon2::default().hash_password_with_salt(secret.as_bytes(), salt);
        hash.ok().map(|hash| hash.to_string())
    }

    /// What tells two of them apart, for a cache that must not hold them: name and password.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.user.as_bytes(), self.secret.as_bytes()]
    }

    /// Who that is.
    #[must_use]
    pub fn claims(&self) -> Claims {
        let name = Value::String(self.user.clone());
        Claims::new(Map::from_iter([("sub".to_owned(), name)]))
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Users {
    /// Reads a file of users: lines `name:hash` as `htpasswd -B` writes them, with an Argon2 hash (`$argon2id$…`) or a bcrypt
    /// hash (`$2y$…`); empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// What is wrong, in words, with the line; never a hash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut hashes = HashMap::new();
        let mut stand_in = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |what: &str| format!("line {number}: {what}");
            let (user, hash) = line.split_once(':').ok_or_else(|| fault("it is not `name:hash`"))?;
            let hash = Hash::parse(hash).map_err(fault)?;
            stand_in.get_or_insert_with(|| hash.clone());
            if user.is_empty() || hashes.insert(user.to_owned(), hash).is_some() {
                return Err(fault("the name is empty or there twice"));
            }
            if hashes.len() > MOST {
                return Err(format!("there are more than {MOST} users"));
            }
        }
        Ok(Self { hashes, stand_in })
    }

    /// Whether the password is the user's. Takes long, the same for users who do not exist: not for a thread that has others
    /// to serve.
    #[must_use]
    pub fn admits(&self, password: &Password) -> Option<Claims> {
        let known = self.hashes.get(&password.user);
        let hash = known.or(self.stand_in.as_ref())?;
        let fits = hash.fits(&password.secret);
        (fits && known.is_some()).then(|| password.claims())
    }

    /// The hash of a user's password, as the file has it: whoever remembers that a password fitted remembers to what.
    #[must_use]
    pub fn hash_of(&self, user: &str) -> Option<&str> {
        self.hashes.get(user).map(|hash| match hash {
            Hash::Argon2(text) | Hash::Bcrypt(text) => text.as_str(),
        })
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const DEAR: &str = "checking this hash takes too much memory or time";
        if text.starts_with("$argon2") {
            let hash = PasswordHash::new(text).map_err(|_| "it is no Argon2 hash")?;
            let params = Params::try_from(&hash).map_err(|_| "it is no Argon2 hash")?;
            let dear = params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_PASSES;
            return if dear {
                Err(DEAR)
            } else {
                Ok(Self::Argon2(text.to_owned()))
            };
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|kind| text.starts_with(kind)) {
            let hash: bcrypt::HashParts = text.parse().map_err(|_| "it is no bcrypt hash")?;
            return if hash.get_cost() > MOST_BCRYPT {
                Err(DEAR)
            } else {
                Ok(Self::Bcrypt(text.to_owned()))
            };
        }
        Err("the password is hashed by neither Argon2 nor bcrypt: make it with `gateway hash password NAME`")
    }

    fn fits(&self, secret: &str) -> bool {
        match self {
            Self::Argon2(hash) => Argon2::default()
                .verify_password(secret.as_bytes(), hash.as_str())
                .is_ok(),
            // bcrypt reads 72 bytes; a longer password would be as good as its beginning.
            Self::Bcrypt(hash) => bcrypt::non_truncating_verify(secret, hash).unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::*;

    // As cheap as they can be, both of "secret".
    const BCRYPT: &str = "$2y$04$b/h30aruktzRGKvOmf4KyeXw147OyCS6Xc/y6z68AhCW2sN9UIM/O";
    const ARGON2: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$+RsCrdHrAKGEJIDLM0Esow";

    fn sent(text: &str) -> Result<Option<Password>, Unreadable> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(text).unwrap());
        Password::find(&headers)
    }

    fn password(user: &str, secret: &str) -> Password {
        Password {
            user: user.to_owned(),
            secret: secret.to_owned(),
        }
    }

    #[test]
    fn passwords_are_checked_by_either_hash() {
        let users = Users::parse(&format!("# staff\n\nann:{BCRYPT}\nbob:{ARGON2}\n")).unwrap();
        for (user, secret, admitted) in [
            ("ann", "secret", true),
            ("bob", "secret", true),
            ("ann", "Secret", false),
            ("bob", "", false),
            ("eve", "secret", false),
            ("", "secret", false),
        ] {
            let claims = users.admits(&password(user, secret));
            assert_eq!(claims.is_some(), admitted, "{user} {secret}");
            assert!(claims.is_none_or(|claims| claims.texts("sub") == [user]));
        }
        let nobody = Users::parse("").unwrap();
        assert!(nobody.admits(&password("ann", "secret")).is_none());
    }

    #[test]
    fn what_is_sent() {
        for (text, expected) in [
            ("Basic YW5uOnNlY3JldA==", Ok(Some(password("ann", "secret")))),
            ("basic YW5uOnM6ZWNyZXQ=", Ok(Some(password("ann", "s:ecret")))),
            ("Basic OnNlY3JldA==", Ok(Some(password("", "secret")))),
            ("Bearer YW5uOnNlY3JldA==", Ok(None)),
            ("Basic YW5u", Err(Unreadable)),
            ("Basic", Err(Unreadable)),
            ("Basic !!!", Err(Unreadable)),
            ("Basic YW5uOnNlY3JldA", Err(Unreadable)),
            ("Basic YW5uCjpzZWNyZXQ=", Err(Unreadable)),
            ("Basic /zp4", Err(Unreadable)),
        ] {
            assert_eq!(sent(text), expected, "{text}");
        }
    }

    #[test]
    fn faults_name_the_line_and_no_hash() {
        for (text, expected) in [
            ("ann", "line 1: it is not"),
            ("\nann:plain", "line 2: the password is hashed by neither"),
            ("ann:$apr1$x$y", "neither"),
            ("ann:$2y$04$short", "no bcrypt"),
            (
                "ann:$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
                "too much",
            ),
            (
                "ann:$2y$31$.....................................................",
                "too much",
            ),
            (&format!("ann:{BCRYPT}\nann:{BCRYPT}"), "twice"),
            (&format!(":{BCRYPT}"), "empty"),
        ] {
            let fault = Users::parse(text).unwrap_err();
            assert!(fault.contains(expected) && !fault.contains("AAAA"), "{text}: {fault}");
        }
    }
}
