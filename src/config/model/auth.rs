//! `[auth.NAME]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::Secret;
use crate::auth::{ClaimName, Requirement, Source, jwt};
use crate::config::units::Rate;

/// `[auth.NAME]`: one way to be known.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Its name.
    pub name: Arc<str>,
    /// How.
    pub method: AuthMethod,
    /// Fields that tell the application who asks, each with its claim.
    pub forward: Vec<(HeaderName, ClaimName)>,
    /// What somebody must have.
    pub require: Vec<Requirement>,
    /// Whether requests without a credential pass.
    pub optional: bool,
    /// Whether the credential is taken out on the way to the application.
    pub removes_credential: bool,
}

/// How somebody is known.
#[derive(Debug, Clone)]
pub enum AuthMethod {
    /// By a token.
    Jwt(Jwt),
    /// By a key that a file has.
    ApiKeys {
        /// The field in which it is sent.
        header: HeaderName,
        /// The file, absolute.
        file: PathBuf,
        /// How many wrong ones a client may send; `None`: any number.
        max_failures: Option<Rate>,
    },
    /// By a name and a password that a file has.
    Basic {
        /// The file, absolute.
        file: PathBuf,
        /// How many wrong ones a client may send; `None`: any number.
        max_failures: Option<Rate>,
    },
    /// By the application's word.
    Asked(ForwardAuth),
}

/// `forward_auth = { … }`
#[derive(Debug, Clone)]
pub struct ForwardAuth {
    /// Whom to ask: an index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// The path that is asked for, with a query where there is one.
    pub target: Box<str>,
    /// The fields of the request that go with it.
    pub send: Vec<HeaderName>,
    /// When the answer must be there.
    pub timeout: Duration,
    /// How long verdicts are kept; `None`: they are not.
    pub cache: Option<VerdictCache>,
}

/// How long verdicts of an application are kept, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerdictCache {
    /// How long a verdict is good.
    pub ttl: Duration,
    /// Whether it is good whatever method and address are asked for.
    pub by_credentials: bool,
}

/// `jwt = { … }`
#[derive(Debug, Clone)]
pub struct Jwt {
    /// What it is verified with.
    pub keys: JwtKeys,
    /// What is asked of it.
    pub rules: jwt::Rules,
    /// Where it stands: the first place with a value counts.
    pub from: Vec<Source>,
}

/// What tokens are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// A secret.
    Secret(Secret),
    /// A file with a public key, absolute.
    File(PathBuf),
    /// A set that somebody publishes.
    Url(Jwks),
}

/// Where a set of keys is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// Where: `https`, or `http` to this machine.
    pub url: Uri,
    /// The file with the authorities that its server is verified by, absolute; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// How often it is fetched.
    pub refresh: Duration,
}

/// Who may use a route.
#[derive(Debug, Clone)]
pub struct RouteAuth {
    /// The ways to be known, any of them: indices into [`Config::auths`](super::Config::auths).
    pub by: Vec<usize>,
    /// What somebody must have beyond what these ask.
    pub require: Vec<Requirement>,
    /// Whether requests without a credential pass; `None`: where each of the ways says so.
    pub optional: Option<bool>,
}
