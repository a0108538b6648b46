//! A certificate with its key, from two files.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::names::is_name;
use super::pem::{self, TlsFault};

/// A certificate that can be shown to clients.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// The names that it is for, lower case.
    pub names: Vec<Box<str>>,
    /// From when on it is valid, seconds of Unix time.
    pub not_before: i64,
    /// Until when it is valid, seconds of Unix time.
    pub not_after: i64,
    /// Whether clients are to refuse it without an OCSP response (RFC 7633).
    pub demands_ocsp: bool,
}

/// Which of the two files is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificate's.
    Cert,
    /// The key's.
    Key,
}

/// Why two files are no certificate that can be shown.
#[derive(Debug)]
pub struct CertificateFault {
    /// Which of them is to blame.
    pub part: Part,
    /// What is wrong with it, without its name.
    pub cause: String,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for CertificateFault {}

impl Certificate {
    /// Reads and checks both files. One that is out of date is not at fault here.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate or key that can be used, or certificate and key are no pair.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, CertificateFault> {
        let blame = |part| {
            move |fault: TlsFault| CertificateFault {
                part,
                cause: fault.cause(),
            }
        };
        let chain = pem::certificates(cert).map_err(blame(Part::Cert))?;
        let private = pem::key(key).map_err(blame(Part::Key))?;
        Self::of(chain, private)
    }

    /// The same, from what is at hand.
    pub(super) fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateFault> {
        let blame = |part| move |cause| CertificateFault { part, cause };
        let cert = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let (_, parsed) = x509_parser::parse_x509_certificate(cert)
            .map_err(|error| blame(Part::Cert)(format!("it holds a certificate that cannot be used: {error}")))?;
        let (names, demands_ocsp, not_before, not_after) = (
            names(&parsed),
            demands_ocsp(&parsed),
            parsed.validity().not_before.timestamp(),
            parsed.validity().not_after.timestamp(),
        );
        let provider = super::server::provider();
        let key = pair(chain, key, &provider).map_err(blame(Part::Key))?;
        Ok(Self {
            key: Arc::new(key),
            names,
            not_before,
            not_after,
            demands_ocsp,
        })
    }

    /// The same with the authority's word that it has not been revoked, which clients get along with it.
    #[must_use]
    pub fn stapled(self, ocsp: Vec<u8>) -> Self {
        let mut key = (*self.key).clone();
        key.ocsp = Some(ocsp);
        Self {
            key: Arc::new(key),
            ..self
        }
    }

    /// Whether it is valid at `now`, seconds of Unix time.
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    match CertifiedKey::from_der(chain, key, provider) {
        Err(rustls::Error::InconsistentKeys(_)) => Err("it is not the key of the certificate".to_owned()),
        Err(error) => Err(format!("it holds a key that cannot be used: {error}")),
        Ok(key) => Ok(key),
    }
}

/// The names of a certificate; those of its subject only where there are no others (RFC 9525 §2).
fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<Box<str>> = match &alternative {
        Some(alternative) => alternative
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
                _ => None,
            })
            .collect(),
        None => certificate
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .map(|name| name.to_ascii_lowercase().into())
            .collect(),
    };
    names.retain(|name| is_name(name));
    names
}

/// The TLS feature `status_request` (RFC 7633 §4.2.3.1): a sequence of numbers, 5 among them.
fn demands_ocsp(certificate: &X509Certificate<'_>) -> bool {
    const FEATURES: &str = "1.3.6.1.5.5.7.1.24";
    let features = (certificate.iter_extensions()).find(|extension| extension.oid.to_id_string() == FEATURES);
    features.is_some_and(|features| features.value.windows(3).any(|number| number == [2, 1, 5]))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_pair_is_read_and_what_is_none_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let make = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let names = vec![format!("{name}.test"), format!("*.{name}.test"), "10.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            (
                write(&format!("{name}.pem"), &certificate.pem()),
                write(&format!("{name}.key"), &key.serialize_pem()),
            )
        };
        let (cert, key) = make("a");
        let (_, other) = make("b");
        let good = Certificate::load(&cert, &key).unwrap();
        assert_eq!(good.names, ["a.test", "*.a.test"].map(Box::<str>::from));
        assert!(good.is_valid_at(good.not_after) && !good.is_valid_at(good.not_after + 1));
        let locked = write(
            "locked",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        let missing = directory.path().join("missing");
        for (cert, key, part, cause) in [
            (&cert, &other, Part::Key, "it is not the key of the certificate"),
            (&key, &key, Part::Cert, "it holds no certificate"),
            (&cert, &cert, Part::Key, "it holds no private key"),
            (&cert, &locked, Part::Key, "protected by a passphrase"),
            (&missing, &key, Part::Cert, "cannot be read"),
        ] {
            let fault = Certificate::load(cert, key).unwrap_err();
            assert_eq!(fault.part, part, "{fault}");
            assert!(fault.cause.contains(cause), "{fault}");
        }
    }

    #[test]
    fn some_demand_a_word_of_their_authority() {
        let directory = tempfile::tempdir().unwrap();
        let [cert, key, ocsp] = ["cert", "key", "ocsp"].map(|name| directory.path().join(name));
        let pair = KeyPair::generate().unwrap();
        for (features, demands) in [
            (None, false),
            (Some(vec![0x30, 3, 2, 1, 5]), true),
            (Some(vec![0x30, 3, 2, 1, 17]), false),
        ] {
            let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
            params.custom_extensions = (features.into_iter())
                .map(|der| rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], der))
                .collect();
            std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
            std::fs::write(&key, pair.serialize_pem()).unwrap();
            assert_eq!(Certificate::load(&cert, &key).unwrap().demands_ocsp, demands);
        }
        for (der, good) in [
            (vec![0x30, 3, 0x0a, 1, 0], true),
            (vec![0x30, 0x82, 1, 0, 0x0a, 1, 0, 0xa0], true),
            (vec![0x30, 3, 0x0a, 1, 6], false), // unauthorized
            (vec![0x30, 0x84], false),
            (vec![], false),
        ] {
            std::fs::write(&ocsp, &der).unwrap();
            assert_eq!(pem::ocsp(&ocsp).is_ok(), good, "{der:?}");
        }
        let stapled = Certificate::load(&cert, &key).unwrap().stapled(vec![1, 2]);
        assert_eq!(stapled.key.ocsp.as_deref(), Some([1, 2].as_slice()));
    }
}
