//! Certificates of our own making, and what listens with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

/// Who signs certificates; its files go away with it.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key.
pub(crate) struct Signed {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each by a name of its own: it is by name that issuers are found.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("written");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    /// The file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub(crate) fn sign(&self, name: &str) -> Signed {
        self.sign_with(name, |_| ())
    }

    /// A certificate that is long past its end.
    pub(crate) fn sign_expired(&self, name: &str) -> Signed {
        self.sign_with(name, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    /// A certificate whose subject is this common name.
    pub(crate) fn sign_for(&self, common_name: &str) -> Signed {
        self.sign_with("somebody", |params| {
            params.distinguished_name.push(DnType::CommonName, common_name);
        })
    }

    fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Signed { certificate, key }
    }

    /// Files with a certificate for these names and its key, in the authority's directory as `FILE.pem` and `FILE.key`.
    pub(crate) fn site(&self, file: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let Signed { certificate, key } = self.sign_with(names[0], |params| {
            let names = names.iter().map(|&name| name.to_owned());
            params.subject_alt_names = CertificateParams::new(names.collect::<Vec<_>>())
                .expect("names")
                .subject_alt_names;
            params.distinguished_name.push(DnType::CommonName, file);
        });
        let place = |ending: &str| self.directory.path().join(format!("{file}.{ending}"));
        let (cert_file, key_file) = (place("pem"), place("key"));
        write(&cert_file, &certificate.pem());
        write(&key_file, &key.serialize_pem());
        (cert_file, key_file)
    }

    /// What a client needs that believes this authority. `identity`: its own certificate.
    pub(crate) fn trusting(&self, protocols: &[&str], identity: Option<&Signed>) -> ClientConfig {
        self.trusting_version(&[&TLS13, &TLS12], protocols, identity)
    }

    /// The same, for these versions of TLS.
    pub(crate) fn trusting_version(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
        identity: Option<&Signed>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(Signed { certificate, key }) => builder
                .with_client_auth_cert(
                    vec![certificate.der().clone()],
                    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
                )
                .expect("a pair"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// Files with a certificate for the gateway and its key.
    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        let Signed { certificate, key } = self.sign("gateway");
        let place = |name: &str| self.directory.path().join(name);
        let (cert_file, key_file) = (place("client.pem"), place("client.key"));
        write(&cert_file, &certificate.pem());
        write(&key_file, &key.serialize_pem());
        (cert_file, key_file)
    }

    /// What a server needs that wants certificates of clients signed by this authority.
    pub(crate) fn demanding(&self, signed: &Signed, protocols: &[&str]) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        signed.acceptor_with(protocols, Some(verifier))
    }
}

impl Signed {
    /// One that nobody signed.
    pub(crate) fn by_itself(name: &str) -> Self {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, key }
    }

    /// What a server needs that speaks these protocols.
    pub(crate) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        self.acceptor_with(protocols, None)
    }

    fn acceptor_with(
        &self,
        protocols: &[&str],
        clients: Option<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>>,
    ) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

/// A client that takes any certificate, for tests that only look at which one it is.
#[derive(Debug)]
pub(crate) struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
