//! Who asks, before anything is counted: found out, and told to the application in the gateway's own words.

use http::{HeaderMap, request};

use super::Exchange;
use super::begin::Decision;
use crate::auth::Presented;
use crate::runtime::Identified;

impl Exchange {
    /// Lets a decision stand for who may use the route, or refuses the request.
    pub(super) async fn identify(&mut self, request: &request::Parts, decision: Decision) -> Decision {
        let auth = self.route.as_ref().and_then(|route| route.auth.clone());
        let Some(auth) = auth.filter(|_| !matches!(decision, Decision::Settled(_))) else {
            return decision;
        };
        let presented = Presented {
            headers: &request.headers,
            query: request.uri.query(),
        };
        match auth.identify(&presented).await {
            Identified::Known(known) => self.known = Some(known),
            Identified::Nobody => {}
            Identified::Refused(answer) => return Decision::Settled(answer),
        }
        decision
    }

    /// Whether the request's fields must be written anew before anybody believes them.
    pub(super) fn must_disclose(&self, headers: &HeaderMap) -> bool {
        self.known.as_ref().is_some_and(|known| known.discloses()) || !self.snapshot.claimed.are_absent(headers)
    }

    /// Takes out what only the gateway may say about who asks, and says it where it is known. What comes after it, limits
    /// and caches as well as the application, sees the request like this.
    pub(super) fn disclose(&self, headers: &mut HeaderMap) {
        self.snapshot.claimed.take_out(headers);
        if let Some(known) = &self.known {
            known.disclose(headers);
        }
    }
}
