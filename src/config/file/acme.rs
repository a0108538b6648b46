//! `[acme]`

use ::http::Uri;

use crate::config::file::certificate::Name;
use crate::config::list::{List, Several};
use crate::config::secret::{Secret, SecretText};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Any, Fault, FilePath, FromText, Written};
use crate::config::words::words;

table! {
    /// A certificate that the gateway obtains and renews by itself, from Let's Encrypt or another authority that speaks
    /// ACME (RFC 8555). Whoever writes this table agrees to the authority's terms of service.
    pub struct Acme {
        /// The names that the certificate is for. Each must lead clients of the internet to this gateway.
        required domains: Several<Written<Name>>,
        /// The directory where account, keys and certificates are kept, readable for nobody else.
        required storage: Written<FilePath>,
        /// Whom the authority may tell about problems.
        optional email: Written<Email> => "nobody",
        /// Whether Let's Encrypt's staging environment is asked: its certificates are not believed by browsers, its limits
        /// are generous.
        default staging: bool = "false",
        /// The directory URL of another authority.
        optional directory: Written<DirectoryUrl> => "that of Let's Encrypt",
        /// The file with the authorities that the server at `directory` is verified by, PEM.
        optional ca: Written<FilePath> => "those of the system",
        /// How the authority makes sure that the names are ours; from attempt to attempt the next one is tried.
        optional challenges: List<Challenge> => "`http-01` where there is a listener in clear text, then `tls-alpn-01`",
        /// The account at an authority that wants to know its customers.
        optional external_account: ExternalAccount,
        /// A secret that several gateways have in common, at least 32 characters: they share account, challenges and
        /// certificate through `[redis]`, where everything is sealed with it.
        optional secret: Secret<SharedSecret> => "the gateway is alone",
    }
}

table! {
    /// What an authority gives to its customers (RFC 8555 §7.3.4).
    pub struct ExternalAccount {
        /// The identifier of the key.
        required id: Written<Any>,
        /// The key, base64url.
        required key: Secret<MacKey>,
    }
}

words! {
    /// How an authority makes sure that a name is ours.
    pub enum Challenge {
        /// It asks for a file in clear text, on port 80 (RFC 8555 §8.3).
        Http01 = "http-01",
        /// It asks for a certificate in a TLS handshake, on port 443 (RFC 8737).
        TlsAlpn01 = "tls-alpn-01",
    }
}

/// An address of electronic mail.
#[derive(Debug, Clone)]
pub(crate) struct Email(pub(crate) Box<str>);

impl FromText for Email {
    const KIND: Kind = Kind {
        what: "an address of electronic mail",
        pattern: Some("^[^@ ,]+@[^@ ,]+$"),
        example: "ops@example.com",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        match text.split_once('@') {
            Some((user, host)) if plain(user) && plain(host) && !host.contains('@') => Ok(Self(text.into())),
            _ => Err(
                Fault::new(format!("`{}` is not an address of electronic mail", clip(text)))
                    .help("write one address: `\"ops@example.com\"`"),
            ),
        }
    }
}

/// Where an authority's directory is.
#[derive(Debug, Clone)]
pub(crate) struct DirectoryUrl(pub(crate) Uri);

impl FromText for DirectoryUrl {
    const KIND: Kind = Kind {
        what: "the URL of an ACME directory",
        pattern: Some("^https://[^ #]+$"),
        example: "https://ca.internal/acme/acme/directory",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(format!("`{}` is not the URL of an ACME directory", clip(text)))
                .help("write for example `\"https://ca.internal/acme/acme/directory\"`")
        };
        let uri: Uri = text.parse().map_err(|_| fault())?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.scheme_str() != Some("https") || authority.is_empty() || authority.contains('@') || text.contains('#') {
            return Err(fault());
        }
        Ok(Self(uri))
    }
}

/// A secret that gateways have in common.
#[derive(Debug, Clone)]
pub(crate) struct SharedSecret;

impl SecretText for SharedSecret {
    const EXAMPLE: &'static str = "${ACME_SECRET}";

    fn check(text: &str) -> Result<(), Fault> {
        if text.len() < 32 {
            return Err(Fault::new("it has fewer than 32 characters").help("make one with `openssl rand -hex 32`"));
        }
        Ok(())
    }

    fn mask(_: &str) -> String {
        "***".to_owned()
    }
}

/// A key for message authentication codes.
#[derive(Debug, Clone)]
pub(crate) struct MacKey;

impl MacKey {
    /// The bytes of the key.
    pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
        use base64::Engine as _;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD;

        let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        (!key.is_empty()).then_some(key)
    }
}

impl SecretText for MacKey {
    const EXAMPLE: &'static str = "${ACME_EAB_KEY}";

    fn check(text: &str) -> Result<(), Fault> {
        match Self::decode(text) {
            Some(_) => Ok(()),
            None => Err(Fault::new("it is not a key in base64url").help("take it as the authority shows it")),
        }
    }

    fn mask(_: &str) -> String {
        "***".to_owned()
    }
}
