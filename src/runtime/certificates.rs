//! TLS towards clients and operators: the certificates in force, and their files, watched.
//!
//! A file that changes is taken into use within a second or two, by the next handshake; connections stay as they are. New
//! files that cannot be used change nothing, and the log and a metric say so.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Registry;
use crate::config::model::{self, CertificateFiles};
use crate::observe::metrics::{CertificateMetrics, Metrics};
use crate::tls::{self, Certificate, ClientAuth, Host, Hosts, MinVersion, Tickets};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Looks for which new files may be faulty before anybody is told: who writes them writes one after the other.
const PATIENCE: u32 = 3;
/// A certificate that ends sooner than this is warned of, once a day; seconds.
const SOON: i64 = 21 * DAY;
const DAY: i64 = 86_400;

/// Why TLS cannot be put into force.
#[derive(Debug)]
pub struct ServerTlsFault(String);

impl fmt::Display for ServerTlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// TLS of the listeners of one kind of peers.
pub struct ServerTls {
    /// What the file says.
    pub settings: model::Tls,
    hosts: ArcSwap<Hosts>,
    terms: Terms,
    watched: Mutex<Vec<Watched>>,
}

/// What is said in every handshake, whichever certificate is shown.
struct Terms {
    oldest: MinVersion,
    /// ALPN, what is liked best first.
    protocols: &'static [&'static [u8]],
    tickets: Tickets,
}

/// One `[[certificate]]` and its files.
struct Watched {
    files: CertificateFiles,
    host: Arc<Host>,
    /// The files as they were when they were last read.
    seen: Stamps,
    /// Looks since then at which they could not be used.
    faulty: u32,
    /// The day on which its end was last warned of.
    warned: i64,
    metrics: CertificateMetrics,
}

/// What tells a file from one that took its place: size, place on the disk, time of the last change.
type Stamps = [Option<(u64, u64, i64, i64)>; 4];

impl ServerTls {
    /// TLS with clients; reads every file.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn load(settings: model::Tls, registry: &Registry) -> Result<Self, ServerTlsFault> {
        Self::speaking(&[b"h2", b"http/1.1"], settings, registry)
    }

    /// TLS with operators; the same.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn load_for_operators(settings: model::Tls, registry: &Registry) -> Result<Self, ServerTlsFault> {
        Self::speaking(&[b"http/1.1"], settings, registry)
    }

    fn speaking(
        protocols: &'static [&'static [u8]],
        settings: model::Tls,
        registry: &Registry,
    ) -> Result<Self, ServerTlsFault> {
        let terms = Terms {
            oldest: settings.min_version,
            protocols,
            tickets: registry.tickets(settings.ticket_key.as_deref())?,
        };
        let now = unix_now();
        let watched = settings.certificates.iter().map(|files| {
            let seen = stamps(files);
            let loaded = load(files, &terms);
            let is_there = loaded.is_ok();
            let host = match loaded {
                Err(_) if files.ordered => stand_in(files, &terms, now),
                loaded => loaded,
            };
            let host = host.map_err(ServerTlsFault)?;
            let mut watched = Watched {
                files: files.clone(),
                metrics: registry.metrics.certificate(&files.label),
                host: Arc::new(host),
                seen,
                faulty: 0,
                warned: i64::MIN,
            };
            watched.metrics.loaded(watched.host.certificate.not_after);
            if is_there {
                watched.warn(now);
            } else {
                watched.metrics.refused();
                watched.faulty = PATIENCE + 1;
                let certificate = &files.label;
                tracing::warn!(%certificate, "clients are shown a stand-in until the certificate is obtained");
            }
            Ok(watched)
        });
        let watched: Vec<Watched> = watched.collect::<Result<_, _>>()?;
        Ok(Self {
            hosts: ArcSwap::from_pointee(hosts(&watched)),
            settings,
            terms,
            watched: Mutex::new(watched),
        })
    }

    /// The certificates in force.
    #[must_use]
    pub fn hosts(&self) -> Arc<Hosts> {
        self.hosts.load_full()
    }

    /// Looks at the files and takes into use what has changed. Blocks for as long as files are read.
    pub fn look(&self) {
        let mut watched = self.watched.lock();
        let now = unix_now();
        let mut changed = false;
        for certificate in watched.iter_mut() {
            changed |= certificate.look(&self.terms, now);
            certificate.warn(now);
        }
        if changed {
            self.hosts.store(Arc::new(hosts(&watched)));
        }
    }
}

impl Watched {
    /// Whether it has changed.
    fn look(&mut self, terms: &Terms, now: i64) -> bool {
        let stamps = stamps(&self.files);
        if stamps == self.seen && self.faulty == 0 {
            return false;
        }
        if stamps == self.seen && self.faulty > PATIENCE {
            return false; // told already: only another change helps
        }
        self.faulty = if stamps == self.seen { self.faulty } else { 0 };
        self.seen = stamps;
        let label = &self.files.label;
        let fault = match load(&self.files, terms) {
            Ok(host) if !host.certificate.is_valid_at(now) && self.host.certificate.is_valid_at(now) => {
                "it is not valid at this time, the one in force is".to_owned()
            }
            Ok(host) => {
                let names = host.certificate.names.join(", ");
                tracing::info!(certificate = %label, %names, "a new certificate is in force");
                self.metrics.loaded(host.certificate.not_after);
                self.host = Arc::new(host);
                self.faulty = 0;
                self.warned = i64::MIN;
                return true;
            }
            Err(fault) => fault,
        };
        self.faulty += 1;
        if self.faulty == PATIENCE + 1 {
            tracing::error!(certificate = %label, %fault, "the new certificate cannot be used: the old one stays in force");
            self.metrics.refused();
        }
        false
    }

    fn warn(&mut self, now: i64) {
        let certificate = &self.host.certificate;
        let left = certificate.not_after - now;
        let day = now.div_euclid(DAY);
        // Some authorities issue for a few days only.
        let soon = SOON.min((certificate.not_after - certificate.not_before) / 4);
        if left >= soon || self.warned == day {
            return;
        }
        self.warned = day;
        let (certificate, days) = (&self.files.label, left.div_euclid(DAY));
        if left < 0 {
            tracing::error!(%certificate, "a certificate has expired: clients refuse it");
        } else {
            tracing::warn!(%certificate, days, "a certificate expires soon");
        }
    }
}

fn hosts(watched: &[Watched]) -> Hosts {
    let named = |watched: &Watched| (Arc::clone(&watched.host), watched.files.names.clone());
    Hosts::new(watched.iter().map(named).collect())
}

fn load(files: &CertificateFiles, terms: &Terms) -> Result<Host, String> {
    let blame = |path: &Path, cause: &dyn fmt::Display| format!("{}: {cause}", path.display());
    let certificate = Certificate::load(&files.cert, &files.key).map_err(|fault| match fault.part {
        tls::Part::Cert => blame(&files.cert, &fault),
        tls::Part::Key => blame(&files.key, &fault),
    })?;
    let certificate = match &files.ocsp {
        Some(path) => certificate.stapled(tls::ocsp(path).map_err(|fault| fault.to_string())?),
        None => certificate,
    };
    let client_auth = match &files.client_ca {
        Some((path, required)) => Some(ClientAuth::load(path, *required).map_err(|fault| fault.to_string())?),
        None => None,
    };
    spoken(files, certificate, client_auth.as_ref(), terms)
}

/// What clients are shown until a certificate is obtained: browsers warn of it, but whoever looks past that finds a site
/// that works, health checks among them.
fn stand_in(files: &CertificateFiles, terms: &Terms, now: i64) -> Result<Host, String> {
    let certificate = tls::stand_in(&files.names, now)?;
    spoken(files, certificate, None, terms)
}

fn spoken(
    files: &CertificateFiles,
    certificate: Certificate,
    client_auth: Option<&ClientAuth>,
    terms: &Terms,
) -> Result<Host, String> {
    tls::host(
        Arc::clone(&files.label),
        certificate,
        client_auth,
        terms.oldest,
        terms.protocols,
        &terms.tickets,
    )
}

fn stamps(files: &CertificateFiles) -> Stamps {
    let stamp = |path: &Path| -> io::Result<_> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.len(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    };
    let client_ca = files.client_ca.as_ref().map(|(path, _)| path.as_path());
    [
        Some(files.cert.as_path()),
        Some(&files.key),
        files.ocsp.as_deref(),
        client_ca,
    ]
    .map(|path| stamp(path?).ok())
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Watches the files of the certificates until they are no longer in force.
pub async fn watch(tls: Arc<ServerTls>, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let tls = Arc::clone(&tls);
        let _ = tokio::task::spawn_blocking(move || tls.look()).await;
    }
}

impl Registry {
    /// What tickets are sealed with: as long as the process lives, unless there is a file for it.
    fn tickets(&self, file: Option<&Path>) -> Result<Tickets, ServerTlsFault> {
        let mut own = self.tickets.lock();
        match (file, &*own) {
            (Some(path), _) => {
                Tickets::load(path).map_err(|fault| ServerTlsFault(format!("{}: {fault}", path.display())))
            }
            (None, Some(tickets)) => Ok(tickets.clone()),
            (None, None) => {
                let tickets = Tickets::random().map_err(|fault| ServerTlsFault(fault.to_string()))?;
                Ok(own.insert(tickets).clone())
            }
        }
    }
}

impl Metrics {
    fn certificate(&self, label: &str) -> CertificateMetrics {
        self.tls().certificate(label)
    }
}
