//! Certificates of clients: whom they must come from, and what the application is told about them.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use ring::digest;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use x509_parser::extensions::GeneralName;

use super::pem::{self, Kind, TlsFault};

/// Longest text about a certificate that is sent on, bytes.
const TEXT_MAX: usize = 1024;

/// Whom the certificates of clients must come from.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Two with the same value ask for the same; never 0.
    pub fingerprint: u64,
}

impl ClientAuth {
    /// Reads the authorities.
    ///
    /// # Errors
    /// The file cannot be read or holds no authority that can be used.
    pub fn load(authorities: &Path, required: bool) -> Result<Self, TlsFault> {
        let bad = |error: String| TlsFault::new(authorities, Kind::BadCertificate(error));
        let certificates = pem::certificates(authorities)?;
        let mut hasher = DefaultHasher::new();
        (required, &certificates).hash(&mut hasher);
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::server::provider());
        let builder = if required {
            builder
        } else {
            builder.allow_unauthenticated()
        };
        Ok(Self {
            verifier: builder.build().map_err(|error| bad(error.to_string()))?,
            fingerprint: hasher.finish().max(1),
        })
    }
}

/// What can be told about a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientFact {
    /// Its subject, as RFC 4514 writes it.
    Subject,
    /// The common name of its subject.
    CommonName,
    /// The names and addresses that it is for, with commas between them.
    Names,
    /// The subject of its authority.
    Issuer,
    /// Its serial number, hexadecimal.
    Serial,
    /// SHA-256 of it, hexadecimal.
    Fingerprint,
}

/// Who a client has shown to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    subject: String,
    common_name: String,
    names: String,
    issuer: String,
    serial: String,
    fingerprint: String,
}

impl ClientIdentity {
    /// Of a certificate that was verified; `None`: it cannot be read.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let alternative = parsed.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|names| &names.value.general_names);
        let names: Vec<String> = names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                    Some(legible(name))
                }
                _ => None,
            })
            .collect();
        let common_name = parsed.subject().iter_common_name().next();
        Some(Self {
            subject: legible(&parsed.subject().to_string()),
            common_name: legible(common_name.and_then(|name| name.as_str().ok()).unwrap_or_default()),
            names: legible(&names.join(",")),
            issuer: legible(&parsed.issuer().to_string()),
            serial: hexadecimal(parsed.raw_serial()),
            fingerprint: hexadecimal(digest::digest(&digest::SHA256, certificate).as_ref()),
        })
    }

    /// One of the facts; visible ASCII and spaces only.
    #[must_use]
    pub fn fact(&self, fact: ClientFact) -> &str {
        match fact {
            ClientFact::Subject => &self.subject,
            ClientFact::CommonName => &self.common_name,
            ClientFact::Names => &self.names,
            ClientFact::Issuer => &self.issuer,
            ClientFact::Serial => &self.serial,
            ClientFact::Fingerprint => &self.fingerprint,
        }
    }
}

/// Text as the value of a header field: what is not ASCII is percent-encoded, and so is the percent sign.
fn legible(text: &str) -> String {
    let mut legible = String::with_capacity(text.len());
    for byte in text.bytes() {
        if legible.len() >= TEXT_MAX {
            break;
        }
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            legible.push(char::from(byte));
        } else {
            let _ = write!(legible, "%{byte:02X}");
        }
    }
    legible.trim().to_owned()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes.iter().take(64) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn facts_are_read_and_cannot_break_a_line() {
        let mut params = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Ann\r\nX: y é");
        params.serial_number = Some(vec![1, 0xab].into());
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = ClientIdentity::of(certificate.der()).unwrap();
        assert_eq!(identity.fact(ClientFact::CommonName), "Ann%0D%0AX: y %C3%A9");
        assert_eq!(identity.fact(ClientFact::Names), "a.test,b.test");
        assert_eq!(identity.fact(ClientFact::Serial), "01ab");
        assert_eq!(identity.fact(ClientFact::Fingerprint).len(), 64);
        assert!(identity.fact(ClientFact::Subject).contains("CN=Ann%0D"));
        assert!(ClientIdentity::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
