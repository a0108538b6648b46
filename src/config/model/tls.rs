//! `[tls]` and `[[certificate]]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::config::units::Rate;
use crate::tls::{ClientFact, MinVersion};

/// `[tls]`, with the certificates.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where clients connect with TLS; not empty.
    pub listen: Vec<SocketAddr>,
    /// The port that clients in clear text are sent to; `None`: they are served.
    pub redirect_http: Option<u16>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// A handshake must be complete within this time.
    pub handshake_timeout: Duration,
    /// Most handshakes at a time; of one client, half as many.
    pub max_handshakes: usize,
    /// Most handshakes of one client in a time.
    pub handshake_rate: Option<Rate>,
    /// The secret of session tickets; `None`: one of the process.
    pub ticket_key: Option<PathBuf>,
    /// Fields in which the application is told about certificates of clients.
    pub client_headers: Vec<(HeaderName, ClientFact)>,
    /// In file order; not empty.
    pub certificates: Vec<CertificateFiles>,
}

/// `[[certificate]]`
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// `cert` as the file has it: what logs and metrics call it.
    pub label: Arc<str>,
    /// The certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether the gateway obtains it by itself: until it is there, another one stands in for it.
    pub ordered: bool,
    /// The names for which clients get it; empty: those in it.
    pub names: Vec<Box<str>>,
    /// The authority's word that it has not been revoked.
    pub ocsp: Option<PathBuf>,
    /// The authorities that clients' certificates must come from, and whether a client must have one.
    pub client_ca: Option<(PathBuf, bool)>,
}
