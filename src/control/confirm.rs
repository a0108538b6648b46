//! A configuration on trial: it goes back by itself when nobody confirms it, or when failures double.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::errors::{Answers, Usual};
use super::{Control, Refusal};

/// How often failures are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often they are noted where nothing is on trial: a minute of samples is five minutes of time.
const NOTE: Duration = Duration::from_secs(5);

/// The trial; it ends when this is dropped.
pub(super) struct Pending {
    /// Where to go back to.
    pub(super) back_to: u64,
    trial: tokio::task::AbortHandle,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.trial.abort();
    }
}

impl Pending {
    pub(super) fn start(control: &Arc<Control>, back_to: u64, within: Duration, usual: Usual) -> Self {
        let control = Arc::downgrade(control);
        let trial = tokio::spawn(watch(control, back_to, within, usual));
        Self {
            back_to,
            trial: trial.abort_handle(),
        }
    }
}

async fn watch(control: Weak<Control>, back_to: u64, within: Duration, usual: Usual) {
    let give_up = Instant::now() + within;
    let why = loop {
        tokio::time::sleep_until(give_up.min(Instant::now() + LOOK)).await;
        let Some(control) = control.upgrade() else { return };
        if Instant::now() >= give_up {
            break "nobody confirmed it";
        }
        if usual.is_exceeded(control.answers()) {
            break "failures have doubled";
        }
    };
    let Some(control) = control.upgrade() else { return };
    tracing::warn!(back_to, why, "the configuration goes back");
    // In a task of its own: going back ends the trial, which is this task.
    tokio::spawn(async move { control.rollback(why, Some(back_to)).await });
}

impl Control {
    /// The configuration in force stays.
    ///
    /// # Errors
    /// [`Refusal::NothingToConfirm`]
    pub async fn confirm(&self, by: &str) -> Result<(), Refusal> {
        let pending = self.state.lock().await.pending.take();
        if pending.is_none() {
            return Err(Refusal::NothingToConfirm);
        }
        tracing::info!(by, "the configuration is confirmed");
        Ok(())
    }

    /// Notes failures from now on, so that a trial knows what was usual.
    pub fn note_failures(self: &Arc<Self>) {
        let control = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(control) = control.upgrade() {
                control.samples.lock().take(control.answers());
                drop(control);
                tokio::time::sleep(NOTE).await;
            }
        });
    }

    pub(super) fn answers(&self) -> Answers {
        let (all, failed) = self.gateway.live.registry.metrics.answers();
        Answers { all, failed }
    }
}
