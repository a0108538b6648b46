//! What gateways share is sealed: whoever may read or write the store between them learns no key and can put none in.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};

/// The secret that gateways have in common.
pub struct Seal(LessSafeKey);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Of a secret; `None`: it cannot be made a key of, which cannot be.
    #[must_use]
    pub fn of(secret: &str) -> Option<Self> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"gateway acme").extract(secret.as_bytes());
        let okm = prk.expand(&[b"seal"], &AES_256_GCM).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(okm))))
    }

    /// Seals a value for one place: it opens nowhere else. `None`: the system has no randomness.
    #[must_use]
    pub fn seal(&self, place: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(place.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        sealed.splice(0..0, nonce);
        Some(sealed)
    }

    /// Opens it; `None`: it was not sealed with this secret for this place.
    #[must_use]
    pub fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let aad = Aad::from(place.as_bytes());
        let length = self.0.open_in_place(nonce, aad, &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_opens_it_and_only_in_its_place() {
        let (one, other) = (Seal::of("one").unwrap(), Seal::of("other").unwrap());
        let sealed = one.seal("here", b"a key").unwrap();
        assert_eq!(one.open("here", &sealed).as_deref(), Some(b"a key".as_slice()));
        assert_eq!(one.open("there", &sealed), None);
        assert_eq!(other.open("here", &sealed), None);
        assert_eq!(one.open("here", &sealed[..10]), None);
        let mut changed = sealed.clone();
        changed[NONCE_LEN] ^= 1;
        assert_eq!(one.open("here", &changed), None);
        assert_ne!(one.seal("here", b"a key").unwrap(), sealed);
    }
}
