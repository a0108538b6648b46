//! Why the store could not be asked, in words for whoever must see to it.

use std::fmt;
use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why the store could not be asked.
#[derive(Debug, Clone)]
pub(in crate::runtime) enum Failure {
    /// It did not answer in time.
    Slow,
    /// It could not be connected to, or the connection was lost.
    Unreachable(String),
    /// It answers, and will not serve us as it is.
    Refused(Refusal, String),
    /// More questions wait for it than it answers.
    Full,
}

/// What kind of a refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Refusal {
    /// User, password or rights.
    Credentials,
    /// It does not serve at the moment, or no longer: another server may.
    NotServing,
    /// Another node of the Cluster has the key.
    Moved,
    /// Something else: out of memory, for example.
    Other,
}

impl Failure {
    pub(super) fn io(error: &io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }

    pub(in crate::runtime) fn of(error: &RedisError) -> Self {
        let text = || match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            _ => error.to_string(),
        };
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Refused(Refusal::Credentials, text()),
            ErrorKind::Server(kind) => {
                // An old server tells what a script met in the words of its own message.
                let demoted = error.detail().is_some_and(|detail| detail.contains("READONLY"));
                let refusal = match kind {
                    _ if demoted => Refusal::NotServing,
                    ServerErrorKind::NoPerm => Refusal::Credentials,
                    ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::ClusterDown => Refusal::NotServing,
                    ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain => Refusal::Moved,
                    _ => Refusal::Other,
                };
                Self::Refused(refusal, text())
            }
            _ if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) => Self::Refused(Refusal::Credentials, text()),
            _ if error.code().is_some() => Self::Refused(Refusal::Other, text()),
            _ if error.is_timeout() => Self::Slow,
            _ => Self::Unreachable(error.to_string()),
        }
    }

    /// Whether another connection may help, and this one will not.
    pub(in crate::runtime) fn ends_connection(&self) -> bool {
        match self {
            Self::Slow | Self::Unreachable(_) => true,
            Self::Refused(refusal, _) => matches!(refusal, Refusal::Credentials | Refusal::NotServing),
            Self::Full => false,
        }
    }

    /// Whether the server has forgotten the scripts, which is nobody's fault.
    pub(super) fn is_forgotten(&self) -> bool {
        matches!(self, Self::Refused(_, why) if why.starts_with("NOSCRIPT"))
    }

    /// Whether somebody must change something, or it will never end.
    pub(super) fn needs_people(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Credentials, _))
    }

    /// A word for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Slow => "timeout",
            Self::Unreachable(_) => "connection",
            Self::Refused(..) => "refused",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow => f.write_str("it does not answer in time"),
            Self::Unreachable(why) => f.write_str(why),
            Self::Refused(Refusal::Credentials, why) => {
                write!(
                    f,
                    "it refuses the user, the password or what the user may do ({why}): see `username` and `password` of \
                     [redis], and the rights in docs/shared-limits.md"
                )
            }
            Self::Refused(_, why) => write!(f, "it answers {why}"),
            Self::Full => f.write_str("more questions wait for it than it answers"),
        }
    }
}
