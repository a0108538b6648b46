//! `[admin]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{LogFile, Secret, Tls};

/// What the place of a socket in the file system begins with.
const UNIX: &str = "unix:";

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the admin listener is; `None`: switched off.
    pub listen: Option<AdminListen>,
    /// What who asks there must bear; `None`: nothing. Where other machines can ask, there is this, or certificates are
    /// asked for.
    pub token: Option<Secret>,
    /// What is said in its handshakes, with one certificate; `None`: it speaks clear text.
    pub tls: Option<Tls>,
    /// Where every change is noted; `None`: in the gateway's own log only.
    pub audit_log: Option<LogFile>,
}

impl Admin {
    /// The file with the certificate that its listener shows; `None`: it speaks clear text.
    #[must_use]
    pub fn certificate(&self) -> Option<&Path> {
        let files = self.tls.as_ref()?.certificates.first()?;
        Some(&files.cert)
    }
}

/// Where operators are listened to; as text: `127.0.0.1:9900` or `unix:/run/gateway/admin.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AdminListen {
    /// At an address.
    Tcp(SocketAddr),
    /// At a socket in the file system, the whole path.
    Unix(PathBuf),
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err("the whole path of a socket is needed: unix:/run/gateway/admin.sock".to_owned()),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                "neither an address with a port (127.0.0.1:9900) nor a socket (unix:/run/gateway/admin.sock)".to_owned()
            }),
        }
    }
}

impl TryFrom<String> for AdminListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AdminListen> for String {
    fn from(listen: AdminListen) -> Self {
        listen.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text() {
        for text in ["127.0.0.1:9900", "[::1]:9900", "unix:/run/gateway/admin.sock"] {
            assert_eq!(text.parse::<AdminListen>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "9900",
            "unix:",
            "unix:admin.sock",
            "/run/admin.sock",
            "localhost:9900",
        ] {
            assert!(text.parse::<AdminListen>().is_err(), "{text}");
        }
    }
}
