//! One way to be known: by a token, a key, a password, or the application's word.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::asked::{Application, Asked};
use super::guesses::GuessLimit;
use super::passwords::Passwords;
use super::remote::RemoteKeys;
use crate::answer::Answer;
use crate::auth::jwt::{Rules, TokenFault};
use crate::auth::{
    API_KEYS_MAX, ApiKeys, Challenge, ClaimName, Claims, Denial, Found, KEY_FILE_MAX, KeySet, Password, Presented,
    Requirement, Source, Verified,
};
use crate::config::model::{self, AuthMethod, JwtKeys};
use crate::config::units::Rate;
use crate::runtime::discovery::files;
use crate::runtime::watched::Watched;
use crate::runtime::{LoadError, Registry, Upstream};

/// `[auth.NAME]`, compiled: one way to be known.
pub struct Way {
    pub(super) name: Arc<str>,
    kind: Kind,
    pub(super) forward: Vec<(HeaderName, ClaimName)>,
    pub(super) require: Vec<Requirement>,
    pub(super) optional: bool,
    pub(super) removes_credential: bool,
}

enum Kind {
    Jwt {
        from: Vec<Source>,
        rules: Rules,
        keys: Keys,
        /// What was found good, with the keys by which it was.
        verified: Box<Verified<(Arc<KeySet>, Claims)>>,
    },
    ApiKeys {
        from: Source,
        keys: Arc<Watched<ApiKeys>>,
        limit: Option<GuessLimit>,
    },
    Basic(Passwords),
    Asked(Asked),
}

/// Why one way does not know who asks, and what the application wants the client to be told, where it was asked.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) denial: Denial,
    pub(super) answer: Option<Box<Answer>>,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self { denial, answer: None }
    }
}

enum Keys {
    Fixed(Arc<KeySet>),
    Remote(Arc<RemoteKeys>),
}

impl Way {
    pub(in crate::runtime) fn compile(auth: model::Auth, registry: &Registry) -> Result<Self, LoadError> {
        let fault = |why: String| LoadError::Auth {
            name: Arc::clone(&auth.name),
            why,
        };
        let limit = |most: Option<Rate>| most.map(|most| GuessLimit::new(&auth.name, most, &registry.guesses));
        let kind = match auth.method {
            AuthMethod::Jwt(jwt) => Kind::Jwt {
                verified: Box::default(),
                from: jwt.from,
                rules: jwt.rules,
                keys: match jwt.keys {
                    JwtKeys::Secret(secret) => Keys::Fixed(Arc::new(KeySet::secret(secret.expose().as_bytes()))),
                    JwtKeys::File(path) => {
                        let text = files::text(&path, KEY_FILE_MAX);
                        let text = text.map_err(|error| fault(format!("{}: {error}", path.display())))?;
                        let keys = KeySet::pem(text.as_bytes());
                        Keys::Fixed(Arc::new(
                            keys.map_err(|why| fault(format!("{}: {why}", path.display())))?,
                        ))
                    }
                    JwtKeys::Url(jwks) => {
                        Keys::Remote(registry.remote_keys(&jwks).map_err(|tls| fault(tls.to_string()))?)
                    }
                },
            },
            AuthMethod::ApiKeys {
                header,
                file,
                max_failures,
            } => Kind::ApiKeys {
                from: Source::Header(header),
                keys: Watched::open(file, api_keys).map_err(fault)?,
                limit: limit(max_failures),
            },
            AuthMethod::Basic { file, max_failures } => {
                let passwords = Passwords::open(file, &registry.password_checks, limit(max_failures));
                Kind::Basic(passwords.map_err(fault)?)
            }
            AuthMethod::Asked(asked) => Kind::Asked(Asked::new(&auth.name, asked)),
        };
        Ok(Self {
            name: auth.name,
            kind,
            forward: auth.forward,
            require: auth.require,
            optional: auth.optional,
            removes_credential: auth.removes_credential,
        })
    }

    /// Finds what it needs of the upstreams that there are now.
    pub(in crate::runtime) fn reach(&self, upstreams: &[Arc<Upstream>], registry: &Registry) {
        if let Kind::Asked(asked) = &self.kind {
            asked.reach(upstreams, registry);
        }
    }

    pub(super) fn challenge(&self) -> Challenge {
        match &self.kind {
            // Where the application refuses, its own challenge is passed on.
            Kind::Jwt { .. } | Kind::Asked(_) => Challenge::Bearer,
            Kind::ApiKeys { .. } => Challenge::ApiKey,
            Kind::Basic(_) => Challenge::Basic,
        }
    }

    /// Whose request this is by this way.
    pub(super) async fn known(
        &self,
        request: &Presented<'_>,
        application: &dyn Application,
    ) -> Result<Claims, Refusal> {
        match &self.kind {
            Kind::Jwt {
                from,
                rules,
                keys,
                verified,
            } => {
                let token = credential(Source::first(from, request), "the token cannot be read")?;
                let known = match keys {
                    Keys::Fixed(keys) => verify(rules, &token, keys, verified),
                    Keys::Remote(remote) => {
                        let keys = remote.current().await.ok_or(Denial::Unavailable)?;
                        match verify(rules, &token, &keys, verified) {
                            // Perhaps it is newer than the keys are.
                            Err(TokenFault::UnknownKey) => match remote.newer().await {
                                Some(keys) => verify(rules, &token, &keys, verified),
                                None => Err(TokenFault::UnknownKey),
                            },
                            known => known,
                        }
                    }
                };
                Ok(known.map_err(|fault| Denial::Invalid(fault.to_string()))?)
            }
            Kind::ApiKeys { from, keys, limit } => {
                let key = credential(from.find(request), "the key cannot be read")?;
                let attempt = limit.as_ref().map(|limit| limit.attempt(request.client)).transpose()?;
                let owner = keys.current().owner(&key).cloned();
                let owner = owner.ok_or_else(|| Denial::Invalid("the key is not known".to_owned()))?;
                if let Some(attempt) = attempt {
                    attempt.was_right();
                }
                Ok(owner)
            }
            Kind::Basic(passwords) => {
                let password = Password::find(request.headers);
                let password = password.map_err(|_| Denial::Invalid("name and password cannot be read".to_owned()))?;
                Ok(passwords
                    .known(password.ok_or(Denial::Nothing)?, request.client)
                    .await?)
            }
            Kind::Asked(asked) => asked.known(request, application).await,
        }
    }

    /// The places of its credential, to be taken out.
    pub(super) fn take_out(&self, headers: &mut HeaderMap) {
        let places = match &self.kind {
            Kind::Jwt { from, .. } => from.as_slice(),
            Kind::ApiKeys { from, .. } => std::slice::from_ref(from),
            Kind::Basic(_) => return drop(headers.remove(AUTHORIZATION)),
            Kind::Asked(_) => return, // refused by validation: which of its fields it is only the application knows
        };
        for place in places {
            match place {
                Source::Header(name) => drop(headers.remove(name)),
                Source::Cookie(name) => without_cookie(headers, name),
                Source::Query(_) => {} // refused by validation
            }
        }
    }
}

/// Verifies a token, or remembers that it was good by the same keys. A signature takes tens of microseconds, and a client
/// sends the same token with every request.
fn verify(
    rules: &Rules,
    token: &str,
    keys: &Arc<KeySet>,
    verified: &Verified<(Arc<KeySet>, Claims)>,
) -> Result<Claims, TokenFault> {
    let now = now();
    let digest = verified.digest(&[token.as_bytes()]);
    if let Some((by, claims)) = digest.as_ref().and_then(|digest| verified.get(digest, now))
        && Arc::ptr_eq(&by, keys)
    {
        return Ok(claims);
    }
    let claims = rules.verify(token, keys, now)?;
    if let (Some(digest), Some(end)) = (digest, claims.end()) {
        let until = end.saturating_add(rules.leeway);
        verified.put(digest, (Arc::clone(keys), claims.clone()), until);
    }
    Ok(claims)
}

fn api_keys(file: &Path) -> Result<ApiKeys, String> {
    let text = files::text(file, API_KEYS_MAX).map_err(|error| error.to_string())?;
    ApiKeys::parse(&text)
}

fn credential(found: Found, unreadable: &str) -> Result<String, Denial> {
    match found {
        Found::Credential(credential) => Ok(credential),
        Found::Nothing => Err(Denial::Nothing),
        Found::Unreadable => Err(Denial::Invalid(unreadable.to_owned())),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Takes one cookie out of all lines.
fn without_cookie(headers: &mut HeaderMap, name: &str) {
    let named = |pair: &[u8]| pair.split(|&byte| byte == b'=').next().map(<[u8]>::trim_ascii) == Some(name.as_bytes());
    let kept: Vec<Vec<u8>> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'))
        .filter(|pair| !named(pair))
        .map(|pair| pair.trim_ascii().to_vec())
        .filter(|pair| !pair.is_empty())
        .collect();
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(line) = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
    {
        headers.insert(COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_of_many_is_taken_out() {
        for (lines, expected) in [
            (&["a=1; session=x; b=2"][..], Some("a=1; b=2")),
            (&["session=x"], None),
            (&["session=x", "a=1"], Some("a=1")),
            (&["session=x; session = y;a=1"], Some("a=1")),
            (&["sessions=x"], Some("sessions=x")),
            (&["session"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            without_cookie(&mut headers, "session");
            assert_eq!(
                headers.get(COOKIE).map(|line| line.to_str().unwrap()),
                expected,
                "{lines:?}"
            );
        }
    }
}
