//! Which certificate a client gets.

use std::sync::Arc;

use tokio_rustls::rustls::{ServerConfig, SignatureScheme};

use super::Certificate;
use super::names::Names;

/// A certificate and what is said with it.
#[derive(Debug)]
pub struct Host {
    /// What the file calls it.
    pub label: Arc<str>,
    /// The certificate.
    pub certificate: Certificate,
    /// What is said in the handshake.
    pub config: Arc<ServerConfig>,
    /// What it asks of clients' certificates; 0: nothing.
    pub client_auth: u64,
}

/// All certificates of the gateway's listeners, in file order.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Arc<Host>>,
    names: Names,
    asks_clients: bool,
}

impl Hosts {
    /// `names`: those of the file, where it gives any, else the certificate's own.
    #[must_use]
    pub fn new(hosts: Vec<(Arc<Host>, Vec<Box<str>>)>) -> Self {
        let mut names = Names::default();
        for (place, (host, given)) in hosts.iter().enumerate() {
            let own = &host.certificate.names;
            for name in if given.is_empty() { own } else { given } {
                names.add(name, place);
            }
        }
        let hosts: Vec<_> = hosts.into_iter().map(|(host, _)| host).collect();
        Self {
            asks_clients: hosts.iter().any(|host| host.client_auth != 0),
            hosts,
            names,
        }
    }

    /// The certificate for this name (SNI): of those of the name that fits best, the first that the client can verify.
    /// Where no name fits, the first of all. `None`: there is none.
    #[must_use]
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Host>> {
        let places = name.and_then(|name| self.names.find(name)).unwrap_or(&[0]);
        let mut fitting = places.iter().filter_map(|&place| self.hosts.get(place));
        let first = fitting.clone().next()?;
        let verifiable = |host: &&Arc<Host>| host.certificate.key.key.choose_scheme(schemes).is_some();
        Some(if places.len() == 1 {
            first
        } else {
            fitting.find(verifiable).unwrap_or(first)
        })
    }

    /// Whether a request for this host may come over a connection whose handshake asked for `client_auth`: a host that
    /// asks its clients for certificates is not reached over the handshake of another (RFC 9110 §7.4).
    #[must_use]
    pub fn may_serve(&self, host: &str, client_auth: u64) -> bool {
        if !self.asks_clients {
            return true;
        }
        let asked = self.choose(Some(host), &[]).map_or(0, |host| host.client_auth);
        asked == 0 || asked == client_auth
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Host>] {
        &self.hosts
    }
}
