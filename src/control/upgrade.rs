//! Another process takes this one's place.

use std::sync::Arc;

use super::{Control, Refusal};
use crate::gateway::StartError;
use crate::handover::{Successor, UpgradeError};
use crate::service;

impl Control {
    /// Starts the binary that this process was started from, as it is now, and leaves it the sockets once it serves. From
    /// then on [`Control::replaced`] returns. The new process reads the file; where that is wrong it does not serve.
    /// Goes on to its end where nobody waits for it any more.
    ///
    /// # Errors
    /// [`Refusal`]; this process serves on as before.
    pub async fn upgrade(self: &Arc<Self>, by: &str) -> Result<Successor, Refusal> {
        let (this, by) = (Arc::clone(self), by.to_owned());
        let work = tokio::spawn(async move {
            let state = this.state.lock().await;
            let outcome = this.try_upgrade(state.pending.is_some(), &by).await;
            let result = match &outcome {
                Ok(Successor { pid, version }) => format!("process {pid} (version {version}) serves"),
                Err(refusal) => {
                    tracing::error!(by, "not upgraded, this process serves on: {refusal}");
                    refusal.to_string()
                }
            };
            this.note(&by, "upgrade", String::new(), outcome.is_ok(), result).await;
            outcome
        });
        work.await.unwrap_or(Err(Refusal::Start(StartError::Stopping)))
    }

    /// Returns once another process serves in the place of this one.
    pub async fn replaced(&self) {
        self.replaced.notified().await;
    }

    async fn try_upgrade(&self, on_trial: bool, by: &str) -> Result<Successor, Refusal> {
        if self.gateway.is_stopping().await {
            return Err(Refusal::Start(StartError::Stopping));
        }
        if on_trial {
            return Err(Refusal::OnTrial);
        }
        tracing::info!(by, "another process is started to take this one's place");
        let channel = |error| Refusal::Upgrade(UpgradeError::Channel(error));
        let sockets = self.gateway.sockets().await.map_err(channel)?;
        let keepsakes = self.gateway.live.registry.hand_over();
        let started = tokio::task::spawn_blocking(move || Successor::start(sockets, keepsakes)).await;
        let started = started.unwrap_or_else(|error| Err(UpgradeError::Failed(error.to_string())));
        if started.is_err() {
            self.gateway.live.registry.keep();
            self.gateway.stay_in_place().await;
        }
        let successor = started.map_err(Refusal::Upgrade)?;
        let Successor { pid, version } = &successor;
        tracing::info!(
            pid,
            version,
            "another process serves; this one lets its connections finish"
        );
        service::replaced_by(*pid);
        self.gateway.stay_as_it_is().await;
        self.replaced.notify_one();
        Ok(successor)
    }
}
