//! One key in the shared store, for operators: looked at without a charge, and begun anew everywhere.

use tokio::sync::oneshot;

use super::attempt::claimed;
use super::failure::Failure;
use super::line::Job;
use super::notices::Notice;
use super::{Core, Shared};
use crate::limit::{Ask, Charge, Claim, Level, Manner, Settlement};

/// What the store and this gateway have of a key.
pub(in crate::runtime::limits) struct SharedKey {
    /// What is left in the store.
    pub(in crate::runtime::limits) level: Level,
    /// Units that this gateway has on lease.
    pub(in crate::runtime::limits) leased: u32,
    /// For how long this gateway refuses it without asking, nanoseconds.
    pub(in crate::runtime::limits) refused_for: u64,
}

impl Shared {
    /// Where a key stands.
    ///
    /// # Errors
    /// Why the store cannot tell, in words.
    pub(in crate::runtime::limits) async fn look(&self, charge: &Charge<'_>) -> Result<SharedKey, String> {
        let ask = question(&claimed(charge, self.gateways()));
        let level = self.core.level(ask).await.map_err(|failure| failure.to_string())?;
        let (leased, refused_for) = self.core.book.holding(ask.id, self.core.now());
        Ok(SharedKey {
            level,
            leased,
            refused_for,
        })
    }

    /// Begins a key anew, in the store and at every gateway.
    ///
    /// # Errors
    /// Why the store cannot be told, in words. This gateway has forgotten the key all the same.
    pub(in crate::runtime::limits) async fn reset(&self, charge: &Charge<'_>) -> Result<(), String> {
        let ask = question(&claimed(charge, self.gateways()));
        let outcome = self.core.reset(ask).await.map_err(|failure| failure.to_string());
        self.core.book.forget(ask.id); // last: until now somebody may have leased some of the old ones
        outcome
    }
}

impl Core {
    async fn level(&self, ask: Ask) -> Result<Level, Failure> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            asks: vec![ask],
            answer: Some(answer),
        };
        let line = self.routes.load().line(self, ask.id, ask.tag).cloned();
        let line = line.filter(|line| line.is_up()).ok_or_else(unreachable)?;
        line.send(job).map_err(|_| Failure::Full)?;
        let replies = tokio::time::timeout(line.patience, answered).await;
        let replies = replies.map_err(|_| Failure::Slow)?.map_err(|_| unreachable())??;
        let reply = replies.first().ok_or_else(unreachable)?;
        Ok(reply.level(ask.terms.bucket, 0))
    }

    async fn reset(&self, ask: Ask) -> Result<(), Failure> {
        let line = self.routes.load().line(self, ask.id, ask.tag).cloned();
        let mut call = redis::cmd("DEL");
        call.arg(self.keys.bucket(&ask));
        line.ok_or_else(unreachable)?.call(&call).await?;
        // Whoever refuses it by memory does so no longer than the bucket takes to fill, and has no older leases then.
        let (at, bucket) = (self.now(), ask.terms.bucket);
        let until = at.saturating_add(bucket.fill_time()).saturating_add(10_000_000_000);
        self.tell(Notice::Anew { id: ask.id, at, until }).await
    }
}

/// A question that asks for nothing.
fn question(claim: &Claim) -> Ask {
    Ask {
        id: claim.id,
        tag: claim.tag,
        terms: claim.terms,
        least: 0,
        most: 0,
        out: false,
        manner: Manner::Report,
        settle: Settlement::default(),
    }
}

fn unreachable() -> Failure {
    Failure::Unreachable("it is not connected".to_owned())
}
