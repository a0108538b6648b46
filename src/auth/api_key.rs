//! Keys of partners: long random texts, of which only hashes are kept.

use std::collections::HashMap;
use std::fmt;

use ring::rand::SystemRandom;
use ring::{digest, hmac};
use serde_json::{Map, Value};

use super::Claims;

/// The most keys of a file.
const MOST: usize = 100_000;

/// The keys of a file: of each the SHA-256, which is enough for what nobody can guess.
///
/// Looked up by a hash of that hash under a key of this process, so that nothing about either can be learnt from how long
/// the look-up takes.
pub struct ApiKeys {
    blind: hmac::Key,
    owners: HashMap<[u8; 32], usize>,
    claims: Vec<Claims>,
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys of {} owners", self.owners.len(), self.claims.len())
    }
}

impl ApiKeys {
    /// Reads a file of keys, in TOML: a table for each owner, `sha256` in it, or several during a rotation. What else is in
    /// the table is known about the owner, as claims; `sub` is its name.
    ///
    /// # Errors
    /// What is wrong, in words, with the name of the owner; never a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        let blind = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| "the system has no random numbers".to_owned())?;
        let mut keys = Self {
            blind,
            owners: HashMap::new(),
            claims: Vec::new(),
        };
        for (owner, entry) in file {
            let toml::Value::Table(mut entry) = entry else {
                return Err(format!("`{owner}` is no table: write `[{owner}]` and `sha256` in it"));
            };
            let hashes = match entry.remove("sha256") {
                Some(toml::Value::String(hash)) => vec![hash],
                Some(toml::Value::Array(hashes)) => {
                    let text = |hash: toml::Value| hash.as_str().map(str::to_owned);
                    let texts: Option<Vec<String>> = hashes.into_iter().map(text).collect();
                    texts.ok_or_else(|| format!("`sha256` of `{owner}` is no list of texts"))?
                }
                _ => return Err(format!("`{owner}` has no `sha256`")),
            };
            for hash in hashes {
                let hash = hex(&hash).ok_or_else(|| {
                    format!("`sha256` of `{owner}` is not 64 hexadecimal digits: make it with `gateway hash api-key`")
                })?;
                if keys.owners.insert(keys.blinded(&hash), keys.claims.len()).is_some() {
                    return Err(format!("the key of `{owner}` is also another's"));
                }
            }
            let mut claims = Map::new();
            for (name, value) in entry {
                claims.insert(name, json(value));
            }
            claims.insert("sub".to_owned(), Value::String(owner));
            keys.claims.push(Claims::new(claims));
            if keys.owners.len() > MOST {
                return Err(format!("there are more than {MOST} keys"));
            }
        }
        Ok(keys)
    }

    /// Whose key this is.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&Claims> {
        let hash = digest::digest(&digest::SHA256, key.as_bytes());
        let owner = self.owners.get(&self.blinded(hash.as_ref()))?;
        self.claims.get(*owner)
    }

    fn blinded(&self, hash: &[u8]) -> [u8; 32] {
        let mut blinded = [0; 32];
        blinded.copy_from_slice(hmac::sign(&self.blind, hash).as_ref());
        blinded
    }

    /// What is written into the file for a key: its SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn hash(key: &str) -> String {
        let hash = digest::digest(&digest::SHA256, key.as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pair = |pair: &[u8]| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok();
    digits.chunks(2).map(pair).collect()
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_owners() {
        let file = format!(
            "[acme]\nsha256 = \"{}\"\nrole = \"partner\"\nplans = [\"gold\", 2]\n[other]\nsha256 = [\"{}\", \"{}\"]\n",
            ApiKeys::hash("key-of-acme"),
            ApiKeys::hash("old"),
            ApiKeys::hash("new").to_uppercase(),
        );
        let keys = ApiKeys::parse(&file).unwrap();
        let owner = |key: &str| {
            keys.owner(key)
                .and_then(|claims| claims.get("sub")?.as_str().map(str::to_owned))
        };
        for (key, expected) in [
            ("key-of-acme", Some("acme")),
            ("old", Some("other")),
            ("new", Some("other")),
            ("key-of-acme ", None),
            ("", None),
            (&ApiKeys::hash("key-of-acme"), None),
        ] {
            assert_eq!(owner(key).as_deref(), expected, "{key}");
        }
        let acme = keys.owner("key-of-acme").unwrap();
        assert_eq!(acme.texts("role"), ["partner"]);
        assert_eq!(acme.texts("plans"), ["gold", "2"]);
        assert_eq!(
            ApiKeys::hash("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn faults_name_the_owner_and_no_key() {
        let hash = ApiKeys::hash("k");
        for (text, expected) in [
            ("[acme]\nrole = \"x\"".to_owned(), "`acme` has no `sha256`"),
            (
                "[acme]\nsha256 = \"secret-key\"".to_owned(),
                "`acme` is not 64 hexadecimal digits",
            ),
            ("[acme]\nsha256 = [1]".to_owned(), "no list of texts"),
            ("acme = \"secret-key\"".to_owned(), "`acme` is no table"),
            (
                format!("[a]\nsha256 = \"{hash}\"\n[b]\nsha256 = \"{hash}\""),
                "another's",
            ),
            ("[acme".to_owned(), ""),
        ] {
            let fault = ApiKeys::parse(&text).unwrap_err();
            assert!(
                fault.contains(expected) && !fault.contains("secret-key"),
                "{text}: {fault}"
            );
        }
        assert!(ApiKeys::parse("").is_ok());
    }
}
