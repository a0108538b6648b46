//! A configuration that is valid, and cannot be put into force on this machine.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::ServerTlsFault;
use crate::cache::disk::Unusable;
use crate::tls::TlsFault;

/// Why a configuration that is valid cannot be put into force.
#[derive(Debug)]
pub enum LoadError {
    /// The access log cannot be opened.
    AccessLog(io::Error),
    /// The audit log cannot be opened.
    AuditLog(io::Error),
    /// A key or a file of an `[auth.NAME]` cannot be used.
    Auth {
        /// Its name.
        name: Arc<str>,
        /// Why.
        why: String,
    },
    /// A file of an `[access.NAME]` cannot be used.
    Access {
        /// Its name.
        name: Arc<str>,
        /// Why.
        why: String,
    },
    /// The files of an upstream's `tls` cannot be used.
    Tls {
        /// Its name.
        upstream: Arc<str>,
        /// Why.
        fault: TlsFault,
    },
    /// The directory of a cache cannot be used.
    Disk {
        /// The cache.
        name: Arc<str>,
        /// The directory.
        path: PathBuf,
        /// Why.
        why: Unusable,
    },
    /// The files of a certificate cannot be used.
    ServerTls(ServerTlsFault),
    /// The files of `[redis] tls` or `[cache_redis] tls` cannot be used.
    RedisTls {
        /// Which of them.
        table: &'static str,
        /// Why.
        fault: TlsFault,
    },
    /// The file in `[acme] ca` cannot be used.
    Acme(TlsFault),
    /// The file in `[telemetry] ca` cannot be used.
    Telemetry(TlsFault),
}

impl LoadError {
    pub(super) fn tls(upstream: &Arc<str>, fault: TlsFault) -> Self {
        let upstream = Arc::clone(upstream);
        Self::Tls { upstream, fault }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessLog(error) => write!(
                f,
                "cannot open the access log: {error}\nhelp: [access_log] path must be a file that this user may write; \
                 \"-\" is standard output"
            ),
            Self::AuditLog(error) => write!(
                f,
                "cannot open the audit log: {error}\nhelp: [admin] audit_log must be a file that this user may write"
            ),
            Self::ServerTls(fault) => write!(
                f,
                "TLS cannot be offered: {fault}\nhelp: `gateway check` says where in the file that is"
            ),
            Self::RedisTls { table, fault } => write!(
                f,
                "{table}: {fault}\nhelp: `ca`, `cert` and `key` are PEM files that this user may read"
            ),
            Self::Disk { name, path, why } => {
                write!(f, "cache `{name}` cannot keep answers in {}: {why}", path.display())
            }
            Self::Access { name, why } => write!(f, "access `{name}`: {why}"),
            Self::Acme(fault) => write!(f, "[acme]: {fault}\nhelp: `ca` is a PEM file that this user may read"),
            Self::Telemetry(fault) => {
                write!(
                    f,
                    "[telemetry]: {fault}\nhelp: `ca` is a PEM file that this user may read"
                )
            }
            Self::Auth { name, why } => write!(f, "auth `{name}`: {why}"),
            Self::Tls { upstream, fault } => write!(
                f,
                "upstream `{upstream}`: {fault}\nhelp: `ca`, `cert` and `key` are PEM files that this user may read"
            ),
        }
    }
}

impl std::error::Error for LoadError {}
