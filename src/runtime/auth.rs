//! Who may use a route: the pure rules of `auth`, and what they need of the world: keys that are fetched, files that
//! change, the time.

mod remote;

pub use remote::RemoteKeys;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::watched::Watched;
use super::{LoadError, Registry};
use crate::answer::Answer;
use crate::auth::jwt::{Rules, TokenFault};
use crate::auth::{
    API_KEYS_MAX, ApiKeys, Challenge, ClaimName, ClaimedFields, Claims, Denial, Found, KEY_FILE_MAX, KeySet, Presented,
    Requirement, Source, Subject, header_value,
};
use crate::config::model::{self, AuthMethod, JwtKeys};
use crate::tls::TlsFault;

/// `[auth.NAME]`, compiled: one way to be known.
pub struct Way {
    name: Arc<str>,
    kind: Kind,
    forward: Vec<(HeaderName, ClaimName)>,
    require: Vec<Requirement>,
    optional: bool,
    removes_credential: bool,
}

enum Kind {
    Jwt {
        from: Vec<Source>,
        rules: Rules,
        keys: Keys,
    },
    ApiKeys {
        from: Source,
        keys: Arc<Watched<ApiKeys>>,
    },
}

enum Keys {
    Fixed(KeySet),
    Remote(Arc<RemoteKeys>),
}

/// `auth` of a route, compiled.
pub struct RouteAuth {
    ways: Vec<Arc<Way>>,
    require: Vec<Requirement>,
    optional: Option<bool>,
}

/// Somebody who is known, and how.
pub struct Known {
    /// Who.
    pub subject: Subject,
    way: Arc<Way>,
}

/// What became of the question who asks.
pub enum Identified {
    /// Somebody who may.
    Known(Box<Known>),
    /// Nobody in particular, who may.
    Nobody,
    /// The answer to who may not.
    Refused(Answer),
}

impl Way {
    pub(super) fn compile(auth: model::Auth, registry: &Registry) -> Result<Self, LoadError> {
        let fault = |why: String| LoadError::Auth {
            name: Arc::clone(&auth.name),
            why,
        };
        let kind = match auth.method {
            AuthMethod::Jwt(jwt) => Kind::Jwt {
                from: jwt.from,
                rules: jwt.rules,
                keys: match jwt.keys {
                    JwtKeys::Secret(secret) => Keys::Fixed(KeySet::secret(secret.expose().as_bytes())),
                    JwtKeys::File(path) => {
                        let text = super::discovery::files::text(&path, KEY_FILE_MAX);
                        let text = text.map_err(|error| fault(format!("{}: {error}", path.display())))?;
                        let keys = KeySet::pem(text.as_bytes());
                        Keys::Fixed(keys.map_err(|why| fault(format!("{}: {why}", path.display())))?)
                    }
                    JwtKeys::Url(jwks) => {
                        Keys::Remote(registry.remote_keys(&jwks).map_err(|tls| fault(tls.to_string()))?)
                    }
                },
            },
            AuthMethod::ApiKeys { header, file } => Kind::ApiKeys {
                from: Source::Header(header),
                keys: Watched::open(file, API_KEYS_MAX, ApiKeys::parse).map_err(fault)?,
            },
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

    fn challenge(&self) -> Challenge {
        match &self.kind {
            Kind::Jwt { .. } => Challenge::Bearer,
            Kind::ApiKeys { .. } => Challenge::ApiKey,
        }
    }

    /// Whose request this is by this way.
    async fn known(&self, request: &Presented<'_>) -> Result<Claims, Denial> {
        match &self.kind {
            Kind::Jwt { from, rules, keys } => {
                let token = credential(Source::first(from, request), "the token cannot be read")?;
                let verified = match keys {
                    Keys::Fixed(keys) => rules.verify(&token, keys, now()),
                    Keys::Remote(remote) => {
                        let keys = remote.current().await.ok_or(Denial::Unavailable)?;
                        match rules.verify(&token, &keys, now()) {
                            // Perhaps it is newer than the keys are.
                            Err(TokenFault::UnknownKey) => match remote.newer().await {
                                Some(keys) => rules.verify(&token, &keys, now()),
                                None => Err(TokenFault::UnknownKey),
                            },
                            verified => verified,
                        }
                    }
                };
                verified.map_err(|fault| Denial::Invalid(fault.to_string()))
            }
            Kind::ApiKeys { from, keys } => {
                let key = credential(from.find(request), "the key cannot be read")?;
                let owner = keys.current().owner(&key).cloned();
                owner.ok_or_else(|| Denial::Invalid("the key is not known".to_owned()))
            }
        }
    }

    /// The places of its credential, to be taken out.
    fn take_out(&self, headers: &mut HeaderMap) {
        let places = match &self.kind {
            Kind::Jwt { from, .. } => from.as_slice(),
            Kind::ApiKeys { from, .. } => std::slice::from_ref(from),
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

impl Registry {
    /// The keys at a URL: those that are known, or new ones, of which the fetching begins.
    fn remote_keys(&self, jwks: &model::Jwks) -> Result<Arc<RemoteKeys>, TlsFault> {
        let mut keys = self.keys.lock();
        keys.retain(|(_, known)| known.strong_count() > 0);
        let known = keys.iter().find(|(known, _)| known == jwks);
        if let Some(known) = known.and_then(|(_, known)| known.upgrade()) {
            return Ok(known);
        }
        let fetched = Arc::new(RemoteKeys::new(jwks.clone())?);
        fetched.start();
        keys.push((jwks.clone(), Arc::downgrade(&fetched)));
        Ok(fetched)
    }
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

impl RouteAuth {
    pub(super) fn compile(auth: &model::RouteAuth, ways: &[Arc<Way>]) -> Self {
        Self {
            ways: auth.by.iter().map(|&index| Arc::clone(&ways[index])).collect(),
            require: auth.require.clone(),
            optional: auth.optional,
        }
    }

    /// Finds out who asks: the first way that knows somebody who may. A credential that is not good is never taken for
    /// none.
    pub async fn identify(&self, request: &Presented<'_>) -> Identified {
        let mut denials = Vec::new();
        for way in &self.ways {
            let denial = match way.known(request).await {
                Ok(claims) => {
                    let mut required = way.require.iter().chain(&self.require);
                    if required.all(|requirement| requirement.holds(&claims)) {
                        let method = Arc::clone(&way.name);
                        return Identified::Known(Box::new(Known {
                            subject: Subject { method, claims },
                            way: Arc::clone(way),
                        }));
                    }
                    Denial::Forbidden
                }
                Err(denial) => denial,
            };
            denials.push((Arc::clone(&way.name), way.challenge(), denial));
        }
        let nothing = denials.iter().all(|(.., denial)| *denial == Denial::Nothing);
        if nothing
            && self
                .optional
                .unwrap_or_else(|| self.ways.iter().any(|way| way.optional))
        {
            return Identified::Nobody;
        }
        Identified::Refused(Denial::answer(&denials))
    }
}

impl Known {
    /// Whether it changes what the application is sent.
    #[must_use]
    pub fn discloses(&self) -> bool {
        !self.way.forward.is_empty() || self.way.removes_credential
    }

    /// Tells the application who asks.
    pub fn disclose(&self, headers: &mut HeaderMap) {
        if self.way.removes_credential {
            self.way.take_out(headers);
        }
        for (field, claim) in &self.way.forward {
            if let Some(value) = self.subject.claims.get(&claim.0).and_then(header_value) {
                headers.insert(field, value);
            }
        }
    }
}

/// The fields of all ways: no client may speak for the gateway, whatever the route.
pub(super) fn claimed_fields(auths: &[model::Auth]) -> ClaimedFields {
    let fields = auths
        .iter()
        .flat_map(|auth| auth.forward.iter().map(|(field, _)| field.clone()));
    ClaimedFields::new(fields.filter(|field| *field != AUTHORIZATION))
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
