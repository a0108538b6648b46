//! `[auth.NAME]`, and what routes say about it.

use std::net::IpAddr;

use ::http::{HeaderName, Uri, header};

use super::forward_auth::ForwardAuth;
use super::matching::{CookieName, ParameterName};
use super::sticky::SigningKey;
use crate::auth::jwt;
use crate::auth::{ClaimName, Source};
use crate::config::list::{OneOrMore, Several};
use crate::config::named::Pairs;
use crate::config::secret::Secret;
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Reference, Written};
use crate::config::units::{Rate, Timeout};
use crate::config::value::{Either, False};
use crate::config::words::words;
use crate::policy::HeaderPolicy;

table! {
    /// How it is found out who asks. A table has exactly one of `jwt`, `api_keys`, `basic` and `forward_auth`.
    ///
    /// Whoever is not known gets 401, whoever is known and may not gets 403, and 503 says that it cannot be found out now.
    /// Nothing of this is ever written to a log.
    pub struct Auth {
        /// JSON Web Tokens: `{ jwks_url = "https://…", issuer = "https://…", audience = "…" }`.
        optional jwt: Jwt,
        /// Keys of partners: `{ header = "x-api-key", file = "keys/partners.toml" }`.
        optional api_keys: ApiKeys,
        /// Names and passwords that browsers ask for (RFC 7617): `{ file = "users" }`.
        optional basic: Basic,
        /// The application decides: it is asked whether somebody may, for each request.
        optional forward_auth: ForwardAuth,
        /// Header fields that tell the application who asks, each with the claim that it says: `{ "firebase-uid" = "sub" }`.
        /// Whatever a client sends in a field of these names, or of one that an application could take for it (`firebase_uid`),
        /// is taken out first, on every route of the file. A query parameter of such a name is left alone.
        default forward: Pairs<IdentityField, Written<ClaimName>> = "{}",
        /// The claims that somebody must have, each with its values: `{ role = ["admin", "staff"] }` is either of them, `"*"` is
        /// any value. Of a claim that is a list one element counts, of `scope` one word. Dots lead into objects:
        /// `"realm_access.roles"`. Without them: 403.
        default require: Pairs<ClaimName, OneOrMore<Written<ClaimValue>>> = "{}",
        /// Whether requests without a credential pass, as nobody's. A credential that is not good is refused all the same.
        default optional: bool = "false",
        /// What becomes of the credential on the way to the application.
        default credentials: Credentials = "\"keep\"",
    }
}

table! {
    /// How tokens are verified. A table has exactly one of `secret`, `public_key` and `jwks_url`. A token needs `exp`; `nbf`
    /// and `iat` are judged where they are there.
    pub struct Jwt {
        /// The secret of HS256, HS384 and HS512, at least 32 bytes.
        optional secret: Secret<SigningKey>,
        /// The file with the public key, PEM: RSA, P-256, P-384 or Ed25519.
        optional public_key: Written<FilePath>,
        /// Where the keys are to be had (RFC 7517), over TLS. They are fetched in the background, and again as soon as a token
        /// names a key that is not among them. While they cannot be had those that are known stay good for a day; before the
        /// first ones are there the answer is 503.
        optional jwks_url: Written<KeysUrl>,
        /// The file with the authorities that the server at `jwks_url` is verified by, PEM.
        optional ca: Written<FilePath> => "those of the system",
        /// How often the keys at `jwks_url` are fetched.
        default refresh: Written<Timeout> = "\"10min\"",
        /// The algorithms that are accepted, none but those that the keys are for.
        optional algorithms: Several<Algorithm> => "`HS256` with a secret, else those that the keys are for",
        /// Who must have issued the token: `iss`, one of these.
        optional issuer: OneOrMore<Written<ClaimValue>> => "anybody",
        /// Whom the token must be for: `aud`, one of these.
        optional audience: OneOrMore<Written<ClaimValue>> => "anybody",
        /// How far the clocks of issuer and gateway may differ.
        default leeway: Written<Timeout> = "\"60s\"",
        /// Where the token stands: `header:NAME` (of `authorization` what follows `Bearer`), `cookie:NAME`, `query:NAME`, or a
        /// list of these, of which the first one with a value counts. The access log masks all of them.
        default from: OneOrMore<Written<Source>> = "\"header:authorization\"",
    }
}

table! {
    /// Keys of partners.
    pub struct ApiKeys {
        /// The field in which the key is sent.
        default header: Written<HeaderName> = "\"x-api-key\"",
        /// The file with the hashes of the keys, TOML: `[NAME]` with `sha256 = "…"` (`gateway hash api-key` makes a key and its
        /// hash), or a list of them during a rotation. Whatever else stands in the table is a claim; `sub` is the name. Read
        /// again when it changes; a faulty file changes nothing.
        required file: Written<FilePath>,
        /// How many keys that are not known a client address (IPv6: one /64) may send in which time; `false`: any number.
        /// Beyond it whatever it sends is answered with 429.
        default max_failures: Either<False, Written<FailureRate>> = "\"100/min\"",
    }
}

table! {
    /// Users.
    pub struct Basic {
        /// The file with the users, as `htpasswd -B` writes it: `name:hash` on each line, the hash one of Argon2 or bcrypt
        /// (`gateway hash password NAME` makes one); `#` begins a comment. Read again when it changes; a faulty file changes
        /// nothing. `sub` is the name.
        required file: Written<FilePath>,
        /// How many wrong passwords a client address (IPv6: one /64) may send in which time; `false`: any number. Beyond it
        /// nothing that it sends is checked, but what it was let in with before: 429.
        default max_failures: Either<False, Written<FailureRate>> = "\"10/min\"",
    }
}

table! {
    /// Who may use a route, where it is more than a name.
    pub struct AuthRule {
        /// The ways to be known, any of them: names from `[auth.NAME]`.
        required by: OneOrMore<Written<Reference>>,
        /// What somebody must have beyond what these ask.
        default require: Pairs<ClaimName, OneOrMore<Written<ClaimValue>>> = "{}",
        /// Whether requests without a credential pass, as nobody's.
        optional optional: bool => "what `[auth.NAME]` says",
    }
}

words! {
    /// What becomes of a credential on the way to the application.
    pub enum Credentials {
        /// The application gets it, too.
        Keep = "keep",
        /// It is taken out.
        Remove = "remove",
    }
}

words! {
    /// How a token is signed (RFC 7518 §3.1).
    pub enum Algorithm {
        /// HMAC with SHA-256.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
        /// RSA with SHA-256, PKCS #1 v1.5.
        Rs256 = "RS256",
        /// RSA with SHA-384, PKCS #1 v1.5.
        Rs384 = "RS384",
        /// RSA with SHA-512, PKCS #1 v1.5.
        Rs512 = "RS512",
        /// RSA with SHA-256, PSS.
        Ps256 = "PS256",
        /// RSA with SHA-384, PSS.
        Ps384 = "PS384",
        /// RSA with SHA-512, PSS.
        Ps512 = "PS512",
        /// P-256 with SHA-256.
        Es256 = "ES256",
        /// P-384 with SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

impl From<Algorithm> for jwt::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Hs384 => Self::HS384,
            Algorithm::Hs512 => Self::HS512,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Rs384 => Self::RS384,
            Algorithm::Rs512 => Self::RS512,
            Algorithm::Ps256 => Self::PS256,
            Algorithm::Ps384 => Self::PS384,
            Algorithm::Ps512 => Self::PS512,
            Algorithm::Es256 => Self::ES256,
            Algorithm::Es384 => Self::ES384,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// How many failures in which time. There is a limit where nothing is said.
#[derive(Debug, Clone)]
pub(crate) struct FailureRate(pub(crate) Rate);

impl FromText for FailureRate {
    const KIND: Kind = Rate::KIND;

    fn from_text(text: &str) -> Result<Self, Fault> {
        Rate::parse(text, "write `max_failures = false`").map(Self)
    }
}

/// The name of a field that says who asks.
#[derive(Debug, Clone)]
pub(crate) struct IdentityField(pub(crate) HeaderName);

impl FromText for IdentityField {
    const KIND: Kind = HeaderName::KIND;

    fn from_text(text: &str) -> Result<Self, Fault> {
        const TAKEN: [HeaderName; 8] = [
            header::HOST,
            header::AUTHORIZATION,
            header::COOKIE,
            header::EXPECT,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::PROXY_AUTHORIZATION,
            header::FORWARDED,
        ];
        let name = HeaderName::from_text(text)?;
        if HeaderPolicy::is_reserved(&name) || TAKEN.contains(&name) || name.as_str().starts_with("x-forwarded") {
            return Err(Fault::new(format!("`{}` has another meaning", clip(text)))
                .help("take a name of your own: `\"x-user-id\"`"));
        }
        Ok(Self(name))
    }
}

impl FromText for ClaimName {
    const KIND: Kind = Kind {
        what: "the name of a claim",
        pattern: Some("^.+$"),
        example: "sub",
        substituted: false,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("a claim needs a name").help("write for example `\"sub\"`"));
        }
        Ok(Self(text.into()))
    }
}

/// A value that a claim must have.
#[derive(Debug, Clone)]
pub(crate) struct ClaimValue;

impl FromText for ClaimValue {
    const KIND: Kind = Kind {
        what: "a value",
        pattern: Some("^.+$"),
        example: "admin",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("nothing is no value").help("write for example `\"admin\"`"));
        }
        Ok(Self)
    }
}

impl FromText for Source {
    const KIND: Kind = Kind {
        what: "where a token stands",
        pattern: Some("^(header|cookie|query):.+$"),
        example: "header:authorization",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "header" => HeaderName::from_text(name).map(Self::Header),
            "cookie" => CookieName::from_text(name).map(|_| Self::Cookie(name.into())),
            "query" => ParameterName::from_text(name).map(|_| Self::Query(name.into())),
            _ => Err(Fault {
                message: format!("`{}` is no place for a token", clip(text)),
                help: did_you_mean(kind, &["header:NAME", "cookie:NAME", "query:NAME"], "there are"),
            }),
        }
    }
}

/// Where keys are to be had.
#[derive(Debug, Clone)]
pub(crate) struct KeysUrl(pub(crate) Uri);

impl FromText for KeysUrl {
    const KIND: Kind = Kind {
        what: "the URL of a set of keys",
        pattern: Some("^https?://[^ #]+$"),
        example: "https://login.example.net/keys",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("`{}` is not the URL of a set of keys", clip(text)));
        let uri: Uri = text
            .parse()
            .map_err(|_| fault().help("write for example `\"https://login.example.net/keys\"`"))?;
        let host = uri.host().unwrap_or_default();
        let user = uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        if host.is_empty() || user || text.contains('#') {
            return Err(fault().help("write scheme, host and path: `\"https://login.example.net/keys\"`"));
        }
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if here => Ok(Self(uri)),
            Some("http") => Err(fault().help(
                "whoever is in between could put keys of their own there: `https`, or `http` to this machine only",
            )),
            _ => Err(fault().help("write `https://`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_keys() {
        for text in [
            "https://a.example/keys",
            "https://a.example:8443/k?x=1",
            "https://a.example/a@b",
            "http://127.0.0.1:9/k",
            "http://[::1]/k",
            "http://localhost/k",
        ] {
            assert!(KeysUrl::from_text(text).is_ok(), "{text}");
        }
        for (text, help) in [
            ("http://a.example/keys", "in between"),
            ("http://127.0.0.1.example/keys", "in between"),
            ("ftp://a.example/keys", "https://"),
            ("a.example/keys", "https://"),
            ("/keys", "scheme, host"),
            ("https://user@a.example/keys", "scheme, host"),
            ("", "for example"),
        ] {
            let fault = KeysUrl::from_text(text).expect_err(text);
            assert!(
                fault.help.as_deref().is_some_and(|has| has.contains(help)),
                "{text}: {fault:?}"
            );
        }
    }

    #[test]
    fn fields_of_ones_own() {
        for text in ["firebase-uid", "X-User", "x_user"] {
            assert!(IdentityField::from_text(text).is_ok(), "{text}");
        }
        for text in ["Host", "authorization", "Connection", "X-Forwarded-User", "a b", ""] {
            assert!(IdentityField::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places() {
        for text in ["header:authorization", "cookie:session", "query:access_token"] {
            assert!(Source::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "authorization",
            "header:",
            "header:a b",
            "cookie:",
            "query:",
            "body:token",
        ] {
            assert!(Source::from_text(text).is_err(), "{text}");
        }
    }
}
