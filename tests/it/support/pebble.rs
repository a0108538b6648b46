//! Pebble, the small authority that Let's Encrypt tests clients with: it validates for real, against the gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::dns::NameServer;
use super::tls::Authority;
use super::{eventually, port};
use crate::support::client::Connection;

/// A running Pebble. It believes its own name server only, which leads every name to this machine.
pub(crate) struct Pebble {
    api: SocketAddr,
    management: SocketAddr,
    /// Where it looks for answers in clear text, and over TLS.
    pub(crate) clear: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) names: NameServer,
    servers: Authority,
    _child: Child,
    _directory: TempDir,
}

impl Pebble {
    /// Knows these names.
    pub(crate) async fn start(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let servers = Authority::new();
        let (cert, key) = servers.site("pebble", &["localhost"]);
        let [api, management, clear, tls] = std::array::from_fn(|_| port::free());
        let config = json!({ "pebble": {
            "listenAddress": api.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": cert,
            "privateKey": key,
            "httpPort": clear.port(),
            "tlsPort": tls.port(),
        } });
        let file = directory.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("written");
        let resolver = NameServer::start().await;
        for name in names {
            resolver.addresses(name, 1, &["127.0.0.1"]);
        }
        let child = Command::new("pebble")
            .arg("-config")
            .arg(&file)
            .args(["-strict", "-dnsserver", &resolver.address.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            // Some are refused by default, to try clients. The library asks three times, and a certificate takes ten
            // requests: of the tests some would fail by chance.
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pebble (Debian package `pebble`)");
        let pebble = Self {
            api,
            management,
            clear,
            tls,
            names: resolver,
            servers,
            _child: child,
            _directory: directory,
        };
        eventually("pebble listens", async || {
            tokio::net::TcpStream::connect(api).await.is_ok()
                && tokio::net::TcpStream::connect(management).await.is_ok()
        })
        .await;
        pebble
    }

    /// The lines of `[acme]` that lead to it.
    pub(crate) fn directory(&self) -> String {
        format!(
            "directory = \"https://localhost:{}/dir\"\nca = {:?}",
            self.api.port(),
            self.servers.file()
        )
    }

    /// The folder below `storage` where what it issues is kept.
    pub(crate) fn folder(&self, storage: &Path) -> PathBuf {
        storage.join(format!("localhost-{}-dir", self.api.port()))
    }

    /// The authority that its certificates come from.
    pub(crate) async fn root(&self) -> CertificateDer<'static> {
        let config = std::sync::Arc::new(self.servers.trusting(&["http/1.1"], None));
        let tcp = tokio::net::TcpStream::connect(self.management).await.expect("pebble");
        let name = "localhost".to_owned().try_into().expect("a name");
        let stream = tokio_rustls::TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .expect("a handshake");
        let answer = Connection::over(stream)
            .ask("GET /roots/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        CertificateDer::from_pem_slice(answer.text().as_bytes()).expect("a root")
    }
}
