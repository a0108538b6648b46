//! Key exchange that a quantum computer does not undo (X25519MLKEM768, draft-ietf-tls-ecdhe-mlkem): what is recorded today
//! stays secret. As strong as the stronger of its halves.

use ml_kem::ml_kem_768::EncapsulationKey;
use ml_kem::{B32, TryKeyInit as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_rustls::rustls::crypto::ring::kx_group::X25519;
use tokio_rustls::rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use tokio_rustls::rustls::ffdhe_groups::FfdheGroup;
use tokio_rustls::rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// Length of a client's ML-KEM-768 key (FIPS 203 §8), bytes.
const KEY: usize = 1184;

/// For servers only: it answers, and does not begin.
#[derive(Debug)]
pub(super) struct X25519MlKem768;

impl SupportedKxGroup for X25519MlKem768 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Err(Error::General("only servers exchange keys like this here".to_owned()))
    }

    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        const BAD: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        let (key, point) = share.split_at_checked(KEY).ok_or(BAD)?;
        let key = EncapsulationKey::new_from_slice(key).map_err(|_| BAD)?;
        let mut seed = B32::default();
        SystemRandom::new()
            .fill(seed.as_mut_slice())
            .map_err(|_| Error::FailedToGetRandomBytes)?;
        let (sealed, secret) = key.encapsulate_deterministic(&seed);
        let classical = X25519.start_and_complete(point)?;
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: [sealed.as_slice(), &classical.pub_key].concat(),
            secret: SharedSecret::from([secret.as_slice(), classical.secret.secret_bytes()].concat()),
        })
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

#[cfg(test)]
mod tests {
    use ml_kem::kem::Decapsulate as _;
    use ml_kem::ml_kem_768::DecapsulationKey;
    use ml_kem::{KeyExport as _, Seed};

    use super::*;

    #[test]
    fn both_sides_arrive_at_the_same_secret() {
        let mut seed = Seed::default();
        SystemRandom::new().fill(seed.as_mut_slice()).unwrap();
        let lattice = DecapsulationKey::from_seed(seed);
        let classical = X25519.start().unwrap();
        let share = [lattice.encapsulation_key().to_bytes().as_slice(), classical.pub_key()].concat();
        let server = X25519MlKem768.start_and_complete(&share).unwrap();
        assert_eq!((share.len(), server.pub_key.len()), (1216, 1120));
        let (sealed, point) = server.pub_key.split_at(1088);
        let secret = lattice.decapsulate_slice(sealed).unwrap();
        let rest = classical.complete(point).unwrap();
        assert_eq!(
            server.secret.secret_bytes(),
            [secret.as_slice(), rest.secret_bytes()].concat()
        );
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for share in [vec![], vec![0; KEY], vec![0xff; KEY + 32], vec![0; KEY + 31]] {
            assert!(X25519MlKem768.start_and_complete(&share).is_err(), "{}", share.len());
        }
    }
}
