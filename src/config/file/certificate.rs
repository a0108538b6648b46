//! `[[certificate]]`

use crate::config::list::List;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};
use crate::config::words::words;
use crate::tls;

table! {
    /// A certificate for clients. Clients get the one whose name fits best, exact before wildcard, and the first one where
    /// no name fits. Changed files are taken into use by themselves.
    pub struct Certificate {
        /// The file with the certificate and those between it and its authority, PEM.
        required cert: Written<FilePath>,
        /// The file with its key, PEM.
        required key: Written<FilePath>,
        /// The names for which clients get it; by default those in the certificate.
        default names: List<Written<Name>> = "[]",
        /// The file with the authority's word that the certificate has not been revoked (an OCSP response, DER), which is
        /// sent along; for certificates that demand it. Somebody must keep it fresh.
        optional ocsp: Written<FilePath> => "none",
        /// The file with the authorities that certificates of clients must come from, PEM. Without it clients are not asked
        /// for one.
        optional client_ca: Written<FilePath> => "none",
        /// Whether a client must have a certificate.
        default client_auth: ClientAuth = "\"required\"",
    }
}

words! {
    /// Whether a client must have a certificate.
    pub enum ClientAuth {
        /// A handshake without one fails.
        Required = "required",
        /// A client may do without; one that shows a certificate must show a good one.
        Optional = "optional",
    }
}

/// A name, perhaps with a wildcard.
#[derive(Debug, Clone)]
pub(crate) struct Name(pub(crate) Box<str>);

impl FromText for Name {
    const KIND: Kind = Kind {
        what: "a name, perhaps with `*.` before it",
        pattern: Some("^(\\*\\.)?[0-9A-Za-z._-]+$"),
        example: "*.example.com",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let name = text.to_ascii_lowercase();
        if tls::is_name(&name) && name.parse::<std::net::IpAddr>().is_err() {
            return Ok(Self(name.into()));
        }
        Err(
            Fault::new(format!("`{}` is not a name that a client can ask for", clip(text)))
                .help("write a name without port, `\"example.com\"` or `\"*.example.com\"`"),
        )
    }
}
