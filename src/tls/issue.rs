//! What the gateway signs by itself: requests to an authority, answers to its challenges, and what stands in for a
//! certificate until there is one.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, date_time_ymd};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::extensions::ParsedExtension;

use super::Certificate;
use super::server::{Only, provider};

/// The protocol that an authority asks for when it looks for the answer to its challenge (RFC 8737 §4).
pub const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

/// Days that a stand-in is valid for: it is made anew with every process.
const STAND_IN_DAYS: i64 = 30;

/// A key, and the request to certify it.
pub struct Requested {
    /// The request (RFC 2986), in DER.
    pub csr: Vec<u8>,
    /// The key, in PEM.
    pub key: String,
}

/// Makes a key for these names, and the request.
///
/// # Errors
/// A name cannot be in a certificate, or there is no randomness.
pub fn request(names: &[Box<str>]) -> Result<Requested, String> {
    let words = |error: rcgen::Error| error.to_string();
    let mut params = params(names)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().map_err(words)?;
    let csr = params.serialize_request(&key).map_err(words)?;
    Ok(Requested {
        csr: csr.der().to_vec(),
        key: key.serialize_pem(),
    })
}

/// A certificate for these names that nobody has signed but the gateway; `now`: seconds of Unix time.
///
/// # Errors
/// A name cannot be in a certificate, or there is no randomness.
pub fn stand_in(names: &[Box<str>], now: i64) -> Result<Certificate, String> {
    let mut params = params(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "the certificate is being obtained");
    let day = |days: i64| {
        let day = Timestamp::from_second(now.saturating_add(days * 86_400)).unwrap_or(Timestamp::UNIX_EPOCH);
        let day = day.to_zoned(TimeZone::UTC).date();
        date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-1), day(STAND_IN_DAYS));
    let (chain, key) = signed(&params)?;
    Certificate::of(chain, key).map_err(|fault| fault.to_string())
}

/// What is said in the handshake of an authority that asks whether `name` is ours; `digest`: SHA-256 of the key
/// authorization (RFC 8737 §3).
///
/// # Errors
/// The name cannot be in a certificate, or there is no randomness.
pub fn answer_challenge(name: &str, digest: &[u8; 32]) -> Result<Arc<ServerConfig>, String> {
    let mut params = params(&[name.into()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let (chain, key) = signed(&params)?;
    // Not compared with the certificate: what checks that refuses the critical extension, which it does not know.
    let key = provider().key_provider.load_private_key(key);
    let key = CertifiedKey::new(chain, key.map_err(|error| error.to_string())?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(Arc::new(key))));
    config.alpn_protocols = vec![ACME_PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn params(names: &[Box<str>]) -> Result<CertificateParams, String> {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    CertificateParams::new(names).map_err(|error| error.to_string())
}

fn signed(params: &CertificateParams) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let words = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(words)?;
    let certificate = params.self_signed(&key).map_err(words)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], key.into()))
}

/// A certificate that an authority has issued, with its key, as it is stored: both in one file, so that it is replaced
/// in one step.
pub struct AuthorityAnswer {
    /// What can be shown to clients.
    pub certificate: Certificate,
    /// What the authority calls it when it is asked when to renew it (RFC 9773 §4.1): the identifier of its own key, and
    /// the serial number, both as they are in the certificate.
    pub identifier: Option<(Vec<u8>, Vec<u8>)>,
}

impl AuthorityAnswer {
    /// Reads and checks it.
    ///
    /// # Errors
    /// It is not as it should be.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        let identifier = chain.first().and_then(|certificate| identifier(certificate));
        let certificate = Certificate::of(chain, key).map_err(|fault| fault.to_string())?;
        Ok(Self {
            certificate,
            identifier,
        })
    }

    /// Whether it is for all of these names.
    #[must_use]
    pub fn covers(&self, names: &[Box<str>]) -> bool {
        names.iter().all(|name| self.certificate.names.contains(name))
    }
}

fn identifier(certificate: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let authority = parsed
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref(),
            _ => None,
        })?;
    Some((authority.0.to_vec(), parsed.raw_serial().to_vec()))
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn a_stand_in_is_for_all_names_and_says_what_it_is() {
        let certificate = stand_in(&names(&["a.test", "b.test"]), 1_800_000_000).unwrap();
        assert!(certificate.is_valid_at(1_800_000_000));
        assert_eq!(certificate.names, names(&["a.test", "b.test"]));
        let left = certificate.not_after - certificate.not_before;
        assert_eq!(left, (STAND_IN_DAYS + 1) * 86_400);
        let text = String::from_utf8_lossy(&certificate.key.cert[0]).into_owned();
        assert!(text.contains("the certificate is being obtained"));
    }

    #[test]
    fn a_challenge_can_be_answered() {
        let config = answer_challenge("a.test", &[7; 32]).unwrap();
        assert_eq!(config.alpn_protocols, [ACME_PROTOCOL.to_vec()]);
    }

    #[test]
    fn a_request_has_the_names_and_a_key_of_its_own() {
        let one = request(&names(&["a.test"])).unwrap();
        let (_, parsed) = X509CertificationRequest::from_der(&one.csr).unwrap();
        let extensions = parsed.requested_extensions().unwrap();
        let named = |extension: &ParsedExtension<'_>| matches!(extension, ParsedExtension::SubjectAlternativeName(names) if names.general_names == [GeneralName::DNSName("a.test")]);
        assert!(extensions.into_iter().any(named));
        assert_ne!(one.key, request(&names(&["a.test"])).unwrap().key);
    }

    #[test]
    fn what_was_issued_is_read_back() {
        let mut params = params(&names(&["a.test", "b.test"])).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(vec![0x87, 1].into());
        let key = KeyPair::generate().unwrap();
        let pem = format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem());
        let read = AuthorityAnswer::read(pem.as_bytes()).unwrap();
        assert!(read.covers(&names(&["b.test"])) && !read.covers(&names(&["a.test", "c.test"])));
        let (authority, serial) = read.identifier.unwrap();
        assert_eq!(authority.len(), 20);
        assert_eq!(
            serial,
            [0, 0x87, 1],
            "with the zero that makes it positive (RFC 9773 §4.1)"
        );
        assert!(AuthorityAnswer::read(b"").is_err());
    }
}
