//! `[acme]`.

use std::path::PathBuf;

use http::Uri;

use super::Secret;

/// `[acme]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The authority's directory.
    pub directory: Uri,
    /// The authorities that its server is verified by; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The names that the certificate is for, lower case; not empty.
    pub domains: Vec<Box<str>>,
    /// Whom the authority may tell about problems.
    pub email: Option<Box<str>>,
    /// Where account and certificate of this authority are kept.
    pub storage: PathBuf,
    /// How it is shown that the names are ours, in this order; not empty.
    pub challenges: Vec<AcmeChallenge>,
    /// Identifier and key of an account that the authority knows already.
    pub external_account: Option<(Box<str>, ExternalKey)>,
    /// What seals that which gateways share; `None`: the gateway is alone.
    pub secret: Option<Secret>,
}

impl Acme {
    /// The file with key and certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.storage.join("certificate.pem")
    }
}

/// A key for message authentication codes; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalKey(pub Vec<u8>);

impl std::fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How an authority makes sure that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AcmeChallenge {
    /// RFC 8555 §8.3.
    Http01,
    /// RFC 8737.
    TlsAlpn01,
}

impl AcmeChallenge {
    /// As the file and the authority call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}
