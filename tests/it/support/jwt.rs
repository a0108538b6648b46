//! Who signs tokens: keys for tests only, and tokens that are as good or as bad as somebody wants them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use ring::{hmac, signature};
use serde_json::{Value, json};

/// The public half of the RSA key, in PEM.
pub(crate) const RSA_PEM: &str = include_str!("keys/rsa.pub.pem");

/// A key that signs.
pub(crate) enum Signer {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Pss(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa() -> Box<RsaKeyPair> {
    Box::new(RsaKeyPair::from_pkcs8(include_bytes!("keys/rsa.pk8.der")).expect("an RSA key"))
}

impl Signer {
    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self::Secret(secret.to_vec())
    }

    /// Always the same key: to make one takes long.
    pub(crate) fn rsa() -> Self {
        Self::Rsa(rsa())
    }

    pub(crate) fn pss() -> Self {
        Self::Pss(rsa())
    }

    /// A new key.
    pub(crate) fn p256() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
        Self::P256(Box::new(pair.expect("a key")))
    }

    /// A new key.
    pub(crate) fn ed25519() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("a key")))
    }

    /// What its tokens say about their algorithm.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::Pss(_) => "PS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let by_rsa = |key: &RsaKeyPair, encoding: &'static dyn signature::RsaEncoding| {
            let mut made = vec![0; key.public().modulus_len()];
            key.sign(encoding, &random, message, &mut made).expect("a signature");
            made
        };
        match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Self::Rsa(key) => by_rsa(key, &RSA_PKCS1_SHA256),
            Self::Pss(key) => by_rsa(key, &RSA_PSS_SHA256),
            Self::P256(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, as they are written.
    pub(crate) fn raw(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token as it should be; `key`: the name of its key.
    pub(crate) fn token(&self, key: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "alg": self.algorithm(), "typ": "JWT" });
        if let Some(key) = key {
            header["kid"] = json!(key);
        }
        self.raw(&header.to_string(), &claims.to_string())
    }

    /// Its public half as an element of a set of keys (RFC 7517), with this name.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let mut jwk = match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": encode(secret) }),
            Self::Rsa(key) | Self::Pss(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": encode(public.n), "e": encode(public.e) })
            }
            Self::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) }),
        };
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }
}
