//! Rate limits of a request: plan, check in the store, judge. Behind admission, for whatever the route does.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use pingora::prelude::Result;
use pingora::proxy::Session;

use super::Exchange;
use super::begin::Decision;
use crate::edge::Framing;
use crate::limit::Asker;
use crate::runtime::{Outcome, Ruling, Standing};

/// What the limits said of this exchange.
#[derive(Default)]
pub(super) struct Limited {
    /// Where the client stands, if it passed and its limits are known.
    standing: Option<Box<Standing>>,
    /// What the access log says.
    word: Option<Arc<str>>,
}

impl Limited {
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
    /// Lets a decision stand, perhaps after a wait, or refuses the request. What is refused anyway costs nothing.
    ///
    /// # Errors
    /// The client left while it waited.
    pub(super) async fn limit(&mut self, session: &mut Session, decision: Decision) -> Result<Decision> {
        let Some(route) = &self.route else { return Ok(decision) };
        let Some(limits) = route.limits.clone() else {
            return Ok(decision);
        };
        if matches!(decision, Decision::Settled(_)) {
            return Ok(decision);
        }
        let ruling = {
            let request = session.req_header();
            let planned = limits.plan(&Asker {
                client: self.client.ip,
                headers: &request.headers,
                query: request.uri.query(),
                route: &route.name,
                host: &self.host,
            });
            match planned {
                Ok(charges) if charges.is_empty() => return Ok(decision),
                Ok(charges) => limits.check(&charges, self.live.registry.started).await,
                Err(ruling) => ruling,
            }
        };
        let Ruling { outcome, word } = ruling;
        self.limited.word = word;
        match outcome {
            Outcome::Passes(wait, standing) => {
                self.limited.standing = Some(standing);
                if !wait.is_zero() {
                    self.wait(session, wait).await?;
                }
                Ok(decision)
            }
            Outcome::Refused(answer) => Ok(Decision::Settled(answer)),
        }
    }

    /// Waits for the turn of the request, or until its client leaves.
    async fn wait(&self, session: &mut Session, wait: Duration) -> Result<()> {
        let has_body = self
            .arrival
            .as_ref()
            .is_none_or(|arrival| arrival.framing != Framing::None);
        let turn = tokio::time::sleep(wait);
        if has_body {
            // To look for the end of the connection would be to read the body.
            turn.await;
            return Ok(());
        }
        tokio::pin!(turn);
        loop {
            tokio::select! {
                () = &mut turn => return Ok(()),
                // It yields only an error: there is no body.
                gone = session.as_downstream_mut().read_body_or_idle(true) => { gone.map_err(|error| error.into_down())?; }
            }
        }
    }
}
