//! Rate limits of a request: plan, check in the store, judge. Behind admission, for whatever the route does.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, request};

use super::Exchange;
use super::begin::Decision;
use crate::answer::Reason;
use crate::limit::Asker;
use crate::runtime::{Outcome, Ruling, Standing};

/// What the limits said of this exchange.
#[derive(Default)]
pub(super) struct Limited {
    /// Where the client stands, if it passed and its limits are known.
    standing: Option<Standing>,
    /// What the access log says.
    word: Option<Arc<str>>,
}

impl Limited {
    /// Of a client that is turned away from everything.
    pub(super) fn banned() -> Self {
        Self {
            standing: None,
            word: Some("banned".into()),
        }
    }

    /// What the access log says; `None`: it passed, or there is no limit.
    pub(super) fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// Tells the client where it stands, on the final answer.
    pub(super) fn announce(&self, fields: &mut HeaderMap) {
        if let Some(standing) = &self.standing {
            standing.announce(fields);
        }
    }

    /// The final status is known. At the head of the answer already: a connection that stays open for hours holds
    /// nothing meanwhile.
    pub(super) fn settle(&mut self, status: StatusCode) {
        if let Some(standing) = &mut self.standing {
            standing.settle(status);
        }
    }
}

impl Exchange {
    /// Lets a decision stand, perhaps after a wait for the turn of the request, or refuses it. What is refused anyway costs
    /// nothing.
    pub(super) async fn limit(&mut self, request: &request::Parts, decision: Decision) -> (Decision, Duration) {
        let Some(route) = &self.route else {
            return (decision, Duration::ZERO);
        };
        let Some(limits) = route.limits.clone() else {
            return (decision, Duration::ZERO);
        };
        if matches!(decision, Decision::Settled(_)) {
            return (decision, Duration::ZERO);
        }
        let ruling = {
            let (client, started) = (self.client.ip, self.live.registry.started);
            let asker = Asker {
                client,
                method: &request.method,
                headers: &request.headers,
                query: request.uri.query(),
                subject: self.known.as_ref().map(|known| &known.subject),
                route: &route.name,
                host: &self.host,
            };
            match limits.plan(&asker, started) {
                Ok(charges) if charges.is_empty() => return (decision, Duration::ZERO),
                Ok(charges) => limits.check(&charges, client, started).await,
                Err(ruling) => ruling,
            }
        };
        let Ruling { outcome, word } = ruling;
        self.limited.word = word;
        match outcome {
            Outcome::Passes(wait, standing) => {
                self.limited.standing = standing;
                (decision, wait)
            }
            Outcome::Refused(answer) => (Decision::Settled(answer), Duration::ZERO),
        }
    }

    /// The application has answered: charges what it says that the request has cost.
    pub(super) fn reckon(&mut self, fields: &HeaderMap) {
        if !self.hidden_fields().is_empty()
            && let Some(standing) = &mut self.limited.standing
        {
            standing.surcharge(fields, self.live.registry.started);
        }
    }

    /// Fields of the application's answer that are for the limits alone.
    pub(super) fn hidden_fields(&self) -> &[HeaderName] {
        let limits = self.route.as_ref().and_then(|route| route.limits.as_ref());
        limits.map_or(&[], |limits| limits.cost_headers())
    }

    /// Whether the client was told that it is turned away from everything: a connection of its own is closed then, for
    /// the next one is closed before it can ask.
    pub(super) fn is_turned_away(&self) -> bool {
        self.refusal == Some(Reason::Banned) && !self.client.peer_trusted
    }
}
