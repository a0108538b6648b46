//! Keys that tokens are verified with: a secret, a public key in PEM, or a set of them (RFC 7517).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The most keys of a set that are kept.
const MOST: usize = 64;
/// The most that are tried on a token that does not say which.
const MOST_TRIED: usize = 8;
/// The longest name of a key, bytes.
const LONGEST_ID: usize = 256;

/// Keys, each for the algorithms that its kind allows: what a token says about itself cannot widen them.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    /// Its name; `None`: it has none, and is good for every token.
    id: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// No `PUBLIC KEY` in PEM.
    NoPublicKey,
    /// Of a kind that no algorithm here is for.
    Unsupported,
    /// An RSA key of less than 2048 bits or more than 8192.
    Size,
    /// No set of keys in JSON.
    NoSet,
    /// A set without a key that is good for anything here.
    EmptySet,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPublicKey => "it holds no `-----BEGIN PUBLIC KEY-----`",
            Self::Unsupported => "the key is none of RSA, P-256, P-384 and Ed25519",
            Self::Size => "the RSA key has less than 2048 bits or more than 8192",
            Self::NoSet => "it is no JSON object with `keys` (RFC 7517)",
            Self::EmptySet => "it has no key that tokens could be verified with",
        })
    }
}

impl fmt::Debug for KeySet {
    /// Without the keys: one may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl KeySet {
    /// A secret that both sides know.
    #[must_use]
    pub fn secret(secret: &[u8]) -> Self {
        let key = DecodingKey::from_secret(secret);
        Self::of(key.family().algorithms().to_vec(), key)
    }

    /// A public key (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn pem(text: &[u8]) -> Result<Self, KeyFault> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| KeyFault::NoPublicKey)?;
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| KeyFault::NoPublicKey)?;
        let (algorithms, key) = match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => return Ok(Self::of(rsa_algorithms(), self::rsa(rsa.modulus, rsa.exponent)?)),
            Ok(PublicKey::EC(point)) => match point.data().len() {
                65 => (vec![Algorithm::ES256], DecodingKey::from_ec_der(point.data())),
                97 => (vec![Algorithm::ES384], DecodingKey::from_ec_der(point.data())),
                _ => return Err(KeyFault::Unsupported),
            },
            _ if info.algorithm.algorithm.to_id_string() == ED25519 => {
                let point: &[u8] = &info.subject_public_key.data;
                (vec![Algorithm::EdDSA], DecodingKey::from_ed_der(point))
            }
            _ => return Err(KeyFault::Unsupported),
        };
        Ok(Self::of(algorithms, key))
    }

    /// A set as JSON (RFC 7517 §5). What is not for signatures, secret, or of an unknown kind is left out; no more than 64
    /// keys are kept.
    ///
    /// # Errors
    /// [`KeyFault::NoSet`], [`KeyFault::EmptySet`].
    pub fn json(text: &[u8]) -> Result<Self, KeyFault> {
        let set: Value = serde_json::from_slice(text).map_err(|_| KeyFault::NoSet)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyFault::NoSet)?;
        let keys: Vec<Key> = keys.iter().filter_map(jwk).take(MOST).collect();
        if keys.is_empty() {
            return Err(KeyFault::EmptySet);
        }
        Ok(Self { keys })
    }

    fn of(algorithms: Vec<Algorithm>, key: DecodingKey) -> Self {
        let id = None;
        Self {
            keys: vec![Key { id, algorithms, key }],
        }
    }

    /// The keys that a token with this header could have been signed with; `Err`: its key is not here.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<&DecodingKey>, NoKey> {
        let named = |key: &&Key| match (&key.id, id) {
            (Some(own), Some(asked)) => **own == *asked,
            _ => true,
        };
        let mut known = self.keys.iter().filter(named).peekable();
        if known.peek().is_none() {
            return Err(NoKey::UnknownId);
        }
        let fitting = known.filter(|key| key.algorithms.contains(&algorithm));
        let keys: Vec<_> = fitting.take(MOST_TRIED).map(|key| &key.key).collect();
        if keys.is_empty() {
            Err(NoKey::Algorithm)
        } else {
            Ok(keys)
        }
    }

    /// Every algorithm that a key of the set is for.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.keys
            .iter()
            .flat_map(|key| key.algorithms.iter().copied())
            .collect()
    }
}

/// Why there is no key for a token.
pub(super) enum NoKey {
    /// None has the name that the token says.
    UnknownId,
    /// None is for the algorithm that the token says.
    Algorithm,
}

/// RFC 8410 §3.
const ED25519: &str = "1.3.101.112";

fn rsa_algorithms() -> Vec<Algorithm> {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    vec![RS256, RS384, RS512, PS256, PS384, PS512]
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, KeyFault> {
    let bare = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    };
    let (modulus, exponent) = (bare(modulus), bare(exponent));
    if !(256..=1024).contains(&modulus.len()) {
        return Err(KeyFault::Size);
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// A key of a set; `None`: it is not for us.
fn jwk(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
    if text("use").is_some_and(|used| used != "sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
        && !operations.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    let (mut algorithms, key) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (rsa_algorithms(), rsa(&bytes("n")?, &bytes("e")?).ok()?),
        ("EC", Some(curve)) => {
            let (algorithm, size) = match curve {
                "P-256" => (Algorithm::ES256, 32),
                "P-384" => (Algorithm::ES384, 48),
                _ => return None,
            };
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != size || y.len() != size {
                return None;
            }
            let point = [&[4], &*x, &*y].concat();
            (vec![algorithm], DecodingKey::from_ec_der(&point))
        }
        ("OKP", Some("Ed25519")) => (
            vec![Algorithm::EdDSA],
            DecodingKey::from_ed_der(&bytes("x").filter(|x| x.len() == 32)?),
        ),
        // A secret that anybody can fetch is none.
        _ => return None,
    };
    if let Some(only) = text("alg") {
        let only: Algorithm = only.parse().ok()?;
        algorithms.retain(|algorithm| *algorithm == only);
    }
    let id = text("kid");
    if algorithms.is_empty() || id.is_some_and(|id| id.len() > LONGEST_ID) {
        return None;
    }
    let id = id.map(Box::from);
    Some(Key { id, algorithms, key })
}
