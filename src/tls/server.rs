//! What a listener says in a handshake.

use std::sync::{Arc, LazyLock};

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::hybrid::X25519MlKem768;
use super::{Certificate, ClientAuth, Host, Tickets};

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// TLS 1.2, with forward secrecy and AEAD only.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Cipher suites in our order: what processors do fastest first, and nothing that has no forward secrecy or no AEAD; keys
/// exchanged so that nobody can open later what was recorded, where the client can.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        use ring::cipher_suite::*;
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                TLS13_AES_128_GCM_SHA256,
                TLS13_AES_256_GCM_SHA384,
                TLS13_CHACHA20_POLY1305_SHA256,
                TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![
                &X25519MlKem768,
                ring::kx_group::X25519,
                ring::kx_group::SECP256R1,
                ring::kx_group::SECP384R1,
            ],
            ..ring::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// What is said for one certificate. `label`: what the file calls it; `protocols`: ALPN, what is liked best first.
///
/// # Errors
/// The versions do not go with the suites, which cannot be.
pub fn host(
    label: Arc<str>,
    certificate: Certificate,
    client_auth: Option<&ClientAuth>,
    oldest: MinVersion,
    protocols: &[&[u8]],
    tickets: &Tickets,
) -> Result<Host, String> {
    const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    let versions = match oldest {
        MinVersion::Tls12 => BOTH,
        MinVersion::Tls13 => &BOTH[..1],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match client_auth {
        Some(client_auth) => builder.with_client_cert_verifier(Arc::clone(&client_auth.verifier)),
        None => builder.with_no_client_auth(),
    };
    let fingerprint = client_auth.map_or(0, |client_auth| client_auth.fingerprint);
    let mut config = builder.with_cert_resolver(Arc::new(Only(Arc::clone(&certificate.key))));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.ignore_client_order = true;
    // Tickets only: what the gateway keeps for clients that went away would have to be bounded.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets.kind(fingerprint);
    Ok(Host {
        label,
        certificate,
        config: Arc::new(config),
        client_auth: fingerprint,
    })
}

/// The certificate was chosen before.
#[derive(Debug)]
pub(super) struct Only(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
