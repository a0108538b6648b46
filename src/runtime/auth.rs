//! Who may use a route: the pure rules of `auth`, and what they need of the world: keys that are fetched, files that
//! change, the time.

mod asked;
mod guesses;
mod passwords;
mod remote;
mod verdicts;
mod way;

pub use asked::{Application, Asked, Question};
pub(super) use guesses::Guesses;
pub(super) use passwords::Checks;
pub use remote::RemoteKeys;
pub use verdicts::Circumstances;
pub use way::Way;

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Registry;
use crate::answer::Answer;
use crate::auth::{ClaimedFields, Denial, Presented, Requirement, Subject, header_value};
use crate::config::model;
use crate::tls::TlsFault;

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

impl Registry {
    /// The keys at a URL: those that are known, or new ones, of which the fetching begins.
    pub(super) fn remote_keys(&self, jwks: &model::Jwks) -> Result<Arc<RemoteKeys>, TlsFault> {
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
    pub async fn identify(&self, request: &Presented<'_>, application: &dyn Application) -> Identified {
        let mut denials = Vec::new();
        let mut told = None;
        for way in &self.ways {
            let denial = match way.known(request, application).await {
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
                Err(refusal) => {
                    told = told.or(refusal.answer);
                    refusal.denial
                }
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
        // Where the application was asked it says where to log in: nobody else knows that.
        Identified::Refused(told.map_or_else(|| Denial::answer(&denials), |answer| *answer))
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
