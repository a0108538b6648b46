//! PEM files: certificates and keys.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Largest PEM file, bytes.
pub const FILE_MAX: u64 = 4 << 20;

/// Why files cannot be used for TLS.
#[derive(Debug)]
pub struct TlsFault {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Unreadable(io::Error),
    TooLarge,
    Pem(PemError),
    NoCertificate,
    NoKey,
    Locked,
    BadCertificate(String),
    BadKey(String),
    Unusable(String),
    NoOcsp,
}

impl TlsFault {
    pub(crate) fn new(path: &Path, kind: Kind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
        }
    }

    /// What is wrong, without the file's name.
    pub(crate) fn cause(&self) -> String {
        match &self.kind {
            Kind::Unreadable(error) => format!("it cannot be read: {error}"),
            Kind::TooLarge => format!("it is larger than {} MiB", FILE_MAX >> 20),
            Kind::Pem(error) => format!("it is not as PEM files are: {error}"),
            Kind::NoCertificate => "it holds no certificate".to_owned(),
            Kind::NoKey => "it holds no private key".to_owned(),
            Kind::Locked => "its key is protected by a passphrase".to_owned(),
            Kind::BadCertificate(error) => format!("it holds a certificate that cannot be used: {error}"),
            Kind::BadKey(error) => format!("it holds a key that cannot be used: {error}"),
            Kind::Unusable(error) => format!("certificate and key cannot be used: {error}"),
            Kind::NoOcsp => "it is not a good answer of an OCSP responder".to_owned(),
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            Kind::Unreadable(error) => write!(f, "cannot read {path}: {error}"),
            Kind::TooLarge => write!(f, "{path} is larger than {} MiB", FILE_MAX >> 20),
            Kind::Pem(error) => write!(f, "{path} is not as PEM files are: {error}"),
            Kind::NoCertificate => write!(f, "{path} holds no certificate"),
            Kind::NoKey => write!(f, "{path} holds no private key"),
            Kind::Locked => write!(f, "the key in {path} is protected by a passphrase"),
            Kind::BadCertificate(error) => write!(f, "{path} holds a certificate that cannot be used: {error}"),
            Kind::BadKey(error) => write!(f, "{path} holds a key that cannot be used: {error}"),
            Kind::Unusable(error) => write!(f, "certificate and key ({path}) cannot be used: {error}"),
            Kind::NoOcsp => write!(f, "{path} is not a good answer of an OCSP responder"),
        }
    }
}

impl std::error::Error for TlsFault {}

/// Reads a file that is not too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| TlsFault::new(path, Kind::Unreadable(error)))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(TlsFault::new(path, Kind::TooLarge));
    }
    Ok(bytes)
}

/// Reads the certificates of a file, at least one; each can be parsed.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsFault::new(path, Kind::Pem(error)))?;
    if certificates.is_empty() {
        return Err(TlsFault::new(path, Kind::NoCertificate));
    }
    for certificate in &certificates {
        // By the same parser as Pingora's, which does not expect to fail later.
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| TlsFault::new(path, Kind::BadCertificate(error.to_string())))?;
    }
    Ok(certificates)
}

/// Reads an OCSP response (RFC 6960 §4.2.1) that says something: its status is `successful`.
pub(crate) fn ocsp(path: &Path) -> Result<Vec<u8>, TlsFault> {
    const SUCCESSFUL: &[u8] = &[0x0a, 1, 0];
    let der = read(path)?;
    let inside = match der.as_slice() {
        [0x30, length, rest @ ..] if *length < 0x80 => rest,
        [0x30, length @ 0x81..=0x84, rest @ ..] => rest.get(usize::from(length - 0x80)..).unwrap_or_default(),
        _ => &[],
    };
    match inside.starts_with(SUCCESSFUL) {
        true => Ok(der),
        false => Err(TlsFault::new(path, Kind::NoOcsp)),
    }
}

/// Reads the first private key of a file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let pem = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let locked = pem.windows(LOCKED.len()).any(|part| part == LOCKED);
        let kind = match error {
            PemError::NoItemsFound if locked => Kind::Locked,
            PemError::NoItemsFound => Kind::NoKey,
            error => Kind::Pem(error),
        };
        TlsFault::new(path, kind)
    })?;
    // Pingora gets the bytes and guesses the format again: it must arrive at a key.
    PrivateKeyDer::try_from(key.secret_der()).map_err(|error| TlsFault::new(path, Kind::BadKey(error.to_owned())))?;
    Ok(key)
}

const LOCKED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
