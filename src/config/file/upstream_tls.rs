//! `tls` of `[upstream.NAME]`

use std::net::IpAddr;

use super::net::is_host_name;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};

table! {
    /// TLS to the servers.
    pub struct UpstreamTls {
        /// The file with the certificates of the authorities that are believed, PEM.
        optional ca: Written<FilePath> => "those of the system",
        /// The file with the gateway's own certificate and those between it and its authority, PEM. Needs `key`.
        optional cert: Written<FilePath> => "none",
        /// The file with the key of `cert`, PEM.
        optional key: Written<FilePath> => "none",
        /// The name that is asked for (SNI) and that the server's certificate must have. Required where servers are given by
        /// address and there is no `host`.
        optional sni: Written<ServerName> => "`host`, else the server's name",
        /// Whether the server's certificate is verified. Without it, whoever is in between reads and changes everything.
        default verify: bool = "true",
    }
}

/// The name that a certificate is for.
#[derive(Debug, Clone)]
pub(crate) struct ServerName(pub(crate) Box<str>);

impl FromText for ServerName {
    const KIND: Kind = Kind {
        what: "the name of a server",
        pattern: Some("^[0-9A-Za-z._-]+$"),
        example: "api.internal",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("`{}` is not the name of a server", clip(text)));
        if text.parse::<IpAddr>().is_ok() {
            return Err(fault().help("an address cannot be asked for (RFC 6066 §3): write the name in the certificate"));
        }
        // RFC 6066 §3: without a trailing dot.
        if text.is_empty() || text.ends_with('.') || !is_host_name(text) {
            return Err(fault().help("write a name without port: `\"api.internal\"`"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            ServerName::from_text("API.internal").map(|name| name.0),
            Ok("api.internal".into())
        );
        for text in ["", "a.", "a:443", "10.0.0.1", "::1", "https://a", "a b", "-a", "*.a"] {
            assert!(ServerName::from_text(text).is_err(), "{text}");
        }
    }
}
