//! What operators ask of a running gateway, one thing after the other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::config::{self, Loaded, Report};
use crate::gateway::{Gateway, StartError};

/// Who, or what, asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// SIGHUP.
    Signal,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal => f.write_str("SIGHUP"),
        }
    }
}

/// Why a reload changed nothing.
#[derive(Debug)]
pub enum Refusal {
    /// The gateway was started without a file.
    NoFile,
    /// What is wrong with the file.
    File(Report),
    /// The file is good, but what it asks for cannot be had.
    Start(StartError),
}

impl fmt::Display for Refusal {
    /// Without lines of the file: they may hold secrets, and this goes to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("there is no file to reload: the gateway was started without one"),
            Self::File(report) => f.write_str(&report.render_brief()),
            Self::Start(error) => write!(f, "error: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Carries out what is asked; shared by everything that asks.
pub struct Control {
    gateway: Arc<Gateway>,
    path: Option<PathBuf>,
    /// Held by the reload in progress.
    turn: Mutex<()>,
}

impl Control {
    /// Over a gateway that serves; `path`: the file that its configuration came from.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, path: Option<&Path>) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            path: path.map(Path::to_owned),
            turn: Mutex::new(()),
        })
    }

    /// Reads the file again and puts it into force. The log, the metrics and `/readyz` tell how it went. Returns the
    /// generation that is in force then. Goes on to its end where nobody waits for it any more.
    ///
    /// # Errors
    /// [`Refusal`]; what ran before runs on unchanged.
    pub async fn reload(self: &Arc<Self>, origin: Origin) -> Result<u64, Refusal> {
        let this = Arc::clone(self);
        let work = tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            let outcome = this.try_reload().await;
            match &outcome {
                Ok(generation) => tracing::info!(%origin, generation, "configuration reloaded"),
                Err(refusal) => {
                    let why = refusal.to_string();
                    tracing::error!(%origin, "configuration not reloaded, what ran before runs on: {why}");
                    this.gateway.live.registry.reload_refused(why);
                }
            }
            outcome
        });
        work.await.unwrap_or(Err(Refusal::Start(StartError::Stopping)))
    }

    async fn try_reload(&self) -> Result<u64, Refusal> {
        let path = self.path.clone().ok_or(Refusal::NoFile)?;
        let loaded = load(path).await?;
        if !loaded.report.is_empty() {
            tracing::warn!("{}", loaded.report.render_brief());
        }
        self.gateway.reload(loaded.config).await.map_err(Refusal::Start)
    }
}

async fn load(path: PathBuf) -> Result<Loaded, Refusal> {
    match tokio::task::spawn_blocking(move || config::load(&path)).await {
        Ok(loaded) => loaded.map_err(Refusal::File),
        Err(_) => Err(Refusal::Start(StartError::Stopping)),
    }
}
