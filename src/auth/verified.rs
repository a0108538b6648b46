//! What has been found good lately, so that it need not be found good again: signatures and hashes of passwords take long.
//! Credentials themselves are not kept, only keyed digests of them.

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

/// Half of the credentials that are remembered.
const GENERATION: usize = 5_000;

/// Bounded: what was not asked for lately goes first.
pub struct Verified<T> {
    key: Option<hmac::Key>,
    known: Mutex<Known<T>>,
}

/// Those of the present, and those before: whoever is found among these is of the present again.
struct Known<T> {
    young: HashMap<Digest, (T, u64)>,
    old: HashMap<Digest, (T, u64)>,
}

/// A credential, as it is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl<T: Clone> Default for Verified<T> {
    fn default() -> Self {
        // A key of the process: digests mean nothing to anybody else, and nobody can choose two that collide. Without random
        // numbers nothing is remembered.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        let known = Mutex::new(Known {
            young: HashMap::new(),
            old: HashMap::new(),
        });
        Self { key, known }
    }
}

impl<T: Clone> Verified<T> {
    /// The digest of a credential, of all its parts; `None`: nothing is remembered here.
    #[must_use]
    pub fn digest(&self, parts: &[&[u8]]) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().map(Digest).ok()
    }

    /// What was found of it, where that is still good. `now`: of any clock that goes on, in any unit.
    #[must_use]
    pub fn get(&self, digest: &Digest, now: u64) -> Option<T> {
        let mut known = self.known.lock();
        if let Some((value, until)) = known.young.get(digest) {
            return (now < *until).then(|| value.clone());
        }
        let (value, until) = known.old.remove(digest)?;
        if now >= until {
            return None;
        }
        known.add(*digest, value.clone(), until);
        Some(value)
    }

    /// Remembers it until then.
    pub fn put(&self, digest: Digest, value: T, until: u64) {
        self.known.lock().add(digest, value, until);
    }
}

impl<T> Known<T> {
    fn add(&mut self, digest: Digest, value: T, until: u64) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&digest) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, (value, until));
    }
}

impl<T> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_is_remembered_until_its_end() {
        let verified = Verified::default();
        let digest = |text: &str| verified.digest(&[text.as_bytes()]).expect("random numbers");
        verified.put(digest("a"), 1, 100);
        assert_eq!(verified.get(&digest("a"), 99), Some(1));
        assert_eq!(verified.get(&digest("a"), 100), None);
        assert_eq!(verified.get(&digest("b"), 0), None);
        let split = |parts: &[&[u8]]| verified.digest(parts).expect("random numbers").0;
        assert_ne!(split(&[b"ab", b"c"]), split(&[b"a", b"bc"]));
        let other = Verified::<u8>::default();
        assert_ne!(
            other.digest(&[b"a"]).expect("random numbers").0,
            digest("a").0,
            "another key"
        );
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let verified = Verified::default();
        let digest = |number: usize| verified.digest(&[&number.to_be_bytes()]).expect("random numbers");
        for number in 0..GENERATION * 4 {
            verified.put(digest(number), number, u64::MAX);
            assert_eq!(verified.get(&digest(0), 0), Some(0), "in use, at {number}");
        }
        let known = verified.known.lock();
        assert!(known.young.len() <= GENERATION && known.old.len() <= GENERATION);
        drop(known);
        assert_eq!(verified.get(&digest(1), 0), None);
        assert!(verified.get(&digest(GENERATION * 4 - 1), 0).is_some());
    }
}
