//! TLS towards servers: the files that the configuration names, read and checked once a snapshot.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::LoadError;
use crate::config::model;
use crate::tls::{self, Kind, TlsFault};

/// The name that a server is asked for whose entry has none: a socket in the file system.
const LOCAL_NAME: &str = "localhost";

/// TLS of an upstream, and of its probes.
pub(super) type Profiles = (Option<Arc<ClientTls>>, Option<Arc<ClientTls>>);

/// Reads the files of an upstream.
pub(super) fn profiles(upstream: &model::Upstream) -> Result<Profiles, LoadError> {
    let load = |tls: &Option<model::UpstreamTls>| {
        let loaded = tls.as_ref().map(ClientTls::load).transpose();
        loaded
            .map(|tls| tls.map(Arc::new))
            .map_err(|fault| LoadError::tls(&upstream.name, fault))
    };
    let tls = load(&upstream.tls)?;
    let probe_tls = match &upstream.health_check {
        Some(check) if check.tls == upstream.tls => tls.clone(),
        Some(check) => load(&check.tls)?,
        None => None,
    };
    Ok((tls, probe_tls))
}

/// What one `tls = { … }` table stands for.
pub struct ClientTls {
    /// The authorities that are believed, in DER; `None`: those of the system.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// The gateway's own certificate.
    pub identity: Option<Identity>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
    /// Two profiles with the same value are the same, contents of the files included: connections of one may serve the
    /// other.
    pub fingerprint: u64,
    sni: Option<Box<str>>,
    config: ClientConfig,
}

/// A certificate with its chain, and its key.
pub struct Identity {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

impl ClientTls {
    /// The TLS to a Redis that this table of the file names.
    pub(super) fn of_redis(table: &'static str, redis: &model::Redis) -> Result<Option<Arc<Self>>, LoadError> {
        let loaded = redis.tls.as_ref().map(Self::load).transpose();
        let loaded = loaded.map_err(|fault| LoadError::RedisTls { table, fault })?;
        Ok(loaded.map(Arc::new))
    }

    /// Reads and checks the files of a profile.
    ///
    /// # Errors
    /// A file cannot be read, or holds no certificate or key that can be used, or certificate and key are no pair.
    pub fn load(settings: &model::UpstreamTls) -> Result<Self, TlsFault> {
        let authorities = match &settings.ca {
            Some(path) => Some(certificates(path)?),
            None => None,
        };
        let identity = match &settings.certificate {
            Some(files) => Some(Identity {
                chain: certificates(&files.cert)?,
                key: tls::key(&files.key)?,
            }),
            None => None,
        };
        let mut hasher = DefaultHasher::new();
        (settings.verify, &settings.sni, &authorities).hash(&mut hasher);
        if let Some(identity) = &identity {
            (&identity.chain, identity.key.secret_der()).hash(&mut hasher);
        }
        Ok(Self {
            config: client_config(settings, authorities.as_deref(), identity.as_ref())?,
            fingerprint: hasher.finish(),
            verify: settings.verify,
            sni: settings.sni.clone(),
            authorities,
            identity,
        })
    }

    /// The name that is sent to a server and that its certificate must have; never empty, for without a name nothing
    /// would be verified. `server` is as the file names it: `host:port`, `[::1]:port`, `unix:/path`.
    #[must_use]
    pub fn name<'a>(&'a self, server: &'a str) -> &'a str {
        if let Some(sni) = self.sni.as_deref().filter(|sni| !sni.is_empty()) {
            return sni;
        }
        let host = match server.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => "",
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host) {
            "" => LOCAL_NAME,
            host => host,
        }
    }

    /// For connections of our own that offer these protocols (ALPN).
    #[must_use]
    pub fn config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

fn client_config(
    settings: &model::UpstreamTls,
    authorities: Option<&[CertificateDer<'static>]>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, TlsFault> {
    let place = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    let provider = Arc::new(ring::default_provider());
    let roots = match authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots
                    .add(authority.clone())
                    .map_err(|error| TlsFault::new(&place(&settings.ca), Kind::BadCertificate(error.to_string())))?;
            }
            Arc::new(roots)
        }
        None => Arc::clone(&system_authorities().roots),
    };
    let unusable = |path: PathBuf| move |error: rustls::Error| TlsFault::new(&path, Kind::Unusable(error.to_string()));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable(PathBuf::new()))?;
    let builder = if settings.verify {
        builder.with_root_certificates(roots)
    } else {
        let verifier = Arc::new(Unverified(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    match (identity, &settings.certificate) {
        (Some(identity), Some(files)) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable(files.key.clone())),
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities of the system.
pub struct SystemAuthorities {
    /// Those that can be used, in DER.
    pub usable: Vec<CertificateDer<'static>>,
    /// Whether they could be read and all of them can be used.
    pub sound: bool,
    roots: Arc<RootCertStore>,
}

/// The authorities of the system, read when they are first needed. Without any, servers fail verification, and say so.
#[must_use]
pub fn system_authorities() -> &'static SystemAuthorities {
    static SYSTEM: LazyLock<SystemAuthorities> = LazyLock::new(|| {
        let certificates = rustls_native_certs::load_native_certs();
        if let Err(error) = &certificates {
            tracing::warn!(%error, "the system's certificate authorities cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let mut sound = certificates.is_ok();
        let mut usable = certificates.unwrap_or_default();
        usable.retain(|certificate| {
            // Old stores hold certificates that nothing modern can parse.
            let parsed = x509_parser::parse_x509_certificate(certificate).is_ok();
            let taken = parsed && roots.add(certificate.clone()).is_ok();
            sound &= taken;
            taken
        });
        SystemAuthorities {
            usable,
            sound,
            roots: Arc::new(roots),
        }
    });
    &SYSTEM
}

/// The certificates of a file; says so where one of them is not valid now.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let certificates = tls::certificates(path)?;
    for certificate in &certificates {
        if let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate)
            && !parsed.validity().is_valid()
        {
            let (path, until) = (path.display(), parsed.validity().not_after);
            tracing::warn!(%path, %until, "a certificate is not valid at this time");
        }
    }
    Ok(certificates)
}

/// `verify = false`: any certificate will do, but who shows it must have its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
