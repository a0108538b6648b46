//! What operators ask of a running gateway, one thing after the other.
//!
//! ```text
//! SIGHUP, a file that was written (watch), the admin listener (orders) → Control → Gateway::reload
//!                                                                          ├ history: go back
//!                                                                          ├ confirm: go back by itself
//!                                                                          └ upgrade: another process goes on
//! ```

mod confirm;
mod errors;
mod history;
mod orders;
mod upgrade;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use self::confirm::Pending;
use self::errors::Samples;
use self::history::History;
use crate::config::{self, Loaded, Outline, Plan, Report};
use crate::gateway::{Gateway, StartError};
use crate::handover::UpgradeError;
use crate::observe::{self, audit::Deed};
use crate::run_dir::Running;
use crate::service;

/// Why a reload changed nothing.
#[derive(Debug)]
pub enum Refusal {
    /// The gateway was started without a file.
    NoFile,
    /// There is no such configuration in the history.
    NoSuch,
    /// There is nothing to confirm.
    NothingToConfirm,
    /// What is wrong with the file.
    File(Report),
    /// The configuration in force is on trial.
    OnTrial,
    /// Another process cannot take over.
    Upgrade(UpgradeError),
    /// The file is good, but what it asks for cannot be had.
    Start(StartError),
}

impl fmt::Display for Refusal {
    /// Without lines of the file: they may hold secrets, and this goes to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("there is no file to reload: the gateway was started without one"),
            Self::NoSuch => f.write_str("there is no such configuration in the history"),
            Self::NothingToConfirm => f.write_str("nothing waits to be confirmed"),
            Self::OnTrial => f.write_str("the configuration in force is on trial: confirm it or go back first"),
            Self::Upgrade(error) => error.fmt(f),
            Self::File(report) => f.write_str(&report.render_brief()),
            Self::Start(error) => write!(f, "error: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What was done.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The number of the configuration in force.
    pub generation: u64,
    /// Its number in the history.
    pub number: u64,
    /// What changed.
    pub plan: Plan,
    /// What the file was warned of, a line each.
    pub warnings: String,
    /// It goes back by itself unless it is confirmed within this time.
    pub confirm: Option<Duration>,
}

/// Carries out what is asked; shared by everything that asks.
pub struct Control {
    gateway: Arc<Gateway>,
    path: Option<PathBuf>,
    /// Held by what is being carried out.
    state: Mutex<State>,
    samples: parking_lot::Mutex<Samples>,
    replaced: Notify,
}

struct State {
    /// What is in force.
    outline: Outline,
    text: Arc<str>,
    history: History,
    pending: Option<Pending>,
}

impl Control {
    /// Over a gateway that serves `loaded`; `path`: the file that it came from.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, path: Option<&Path>, started_with: (Outline, Arc<str>)) -> Arc<Self> {
        let (outline, text) = started_with;
        let state = gateway.live.peek().server.state_dir.clone();
        let mut history = History::read(history_dir(state.as_deref()).as_deref());
        if path.is_some() && history.entries().next_back().is_none_or(|last| last.text != text) {
            let directory = history_dir(state.as_deref());
            history.add("start", String::new(), Arc::clone(&text), directory.as_deref());
        }
        Arc::new(Self {
            gateway,
            path: path.map(Path::to_owned),
            state: Mutex::new(State {
                outline,
                text,
                history,
                pending: None,
            }),
            samples: parking_lot::Mutex::default(),
            replaced: Notify::new(),
        })
    }

    /// Reads the file again and puts it into force. The log, the metrics and `/readyz` tell how it went. Goes on to its
    /// end where nobody waits for it any more. `confirm`: instead of what the file says.
    ///
    /// # Errors
    /// [`Refusal`]; what ran before runs on unchanged.
    pub async fn reload(self: &Arc<Self>, by: &str, confirm: Option<Duration>) -> Result<Applied, Refusal> {
        self.put_in_force(Source::File, by, confirm).await
    }

    /// What a reload would change.
    ///
    /// # Errors
    /// [`Refusal::File`] and [`Refusal::NoFile`].
    pub async fn plan(&self) -> Result<Plan, Refusal> {
        let path = self.path.clone().ok_or(Refusal::NoFile)?;
        let loaded = load(move || config::load(&path)).await?;
        Ok(Plan::between(&self.state.lock().await.outline, &Outline::of(&loaded)))
    }

    /// Puts a configuration into force that was before: that of this number, or the last other one. The file stays as it
    /// is.
    ///
    /// # Errors
    /// [`Refusal`]; what ran before runs on unchanged.
    pub async fn rollback(self: &Arc<Self>, by: &str, to: Option<u64>) -> Result<Applied, Refusal> {
        self.put_in_force(Source::History(to), by, None).await
    }

    /// Lets commands find this gateway by its file.
    pub fn publish(&self) {
        let Some(path) = &self.path else { return };
        let certificate = self.gateway.live.peek().admin.certificate().map(Path::to_owned);
        if let Err(error) = Running::this(path, self.gateway.admin(), certificate).publish() {
            tracing::warn!(%error, "commands will not find this gateway by its file, only by `--admin`");
        }
    }

    /// Commands find it no more.
    pub fn withdraw(&self) {
        if let Some(path) = &self.path {
            Running::this(path, None, None).withdraw();
        }
    }

    async fn put_in_force(
        self: &Arc<Self>,
        source: Source,
        by: &str,
        confirm: Option<Duration>,
    ) -> Result<Applied, Refusal> {
        let (this, by) = (Arc::clone(self), by.to_owned());
        let work = tokio::spawn(async move {
            let mut state = this.state.lock().await;
            if this.gateway.is_stopping().await {
                return Err(Refusal::Start(StartError::Stopping));
            }
            service::reloading();
            let outcome = this.try_put_in_force(&mut state, source, &by, confirm).await;
            service::ready();
            let (detail, result) = match &outcome {
                Ok(applied) => (
                    applied.plan.text(),
                    format!("configuration {} is in force", applied.number),
                ),
                Err(refusal) => (String::new(), refusal.to_string()),
            };
            this.note(&by, "put a configuration into force", detail, outcome.is_ok(), result)
                .await;
            match &outcome {
                Ok(applied) => {
                    let Applied { generation, number, .. } = applied;
                    tracing::info!(by, generation, number, "configuration reloaded");
                    // The admin listener may have moved.
                    this.publish();
                }
                Err(refusal) => {
                    let why = refusal.to_string();
                    tracing::error!(by, "configuration not reloaded, what ran before runs on: {why}");
                    this.gateway.live.registry.reload_refused(why);
                }
            }
            outcome
        });
        work.await.unwrap_or(Err(Refusal::Start(StartError::Stopping)))
    }

    /// Notes in the audit log what was done, or was not.
    async fn note(&self, by: &str, what: &str, detail: String, done: bool, result: String) {
        let deed = Deed {
            who: by.to_owned(),
            what: what.to_owned(),
            detail,
            done,
            result,
        };
        let registry = Arc::clone(&self.gateway.live.registry);
        let _ = tokio::task::spawn_blocking(move || registry.audit.note(&deed)).await;
    }

    async fn try_put_in_force(
        self: &Arc<Self>,
        state: &mut State,
        source: Source,
        by: &str,
        confirm: Option<Duration>,
    ) -> Result<Applied, Refusal> {
        let path = self.path.clone().ok_or(Refusal::NoFile)?;
        let going_back = matches!(source, Source::History(_));
        let loaded = match source {
            Source::File => load(move || config::load(&path)).await?,
            Source::History(to) => {
                let text = Arc::clone(&state.history.target(to).ok_or(Refusal::NoSuch)?.text);
                load(move || config::load_text(&path, &text)).await?
            }
        };
        let outline = Outline::of(&loaded);
        let Loaded {
            config, report, text, ..
        } = loaded;
        let warnings = report.render_brief();
        if !warnings.is_empty() {
            tracing::warn!("{warnings}");
        }
        let plan = Plan::between(&state.outline, &outline);
        let usual = self.samples.lock().usual(self.answers());
        let (confirm, directory) = (
            confirm.or(config.server.confirm).filter(|_| !going_back),
            history_dir(config.server.state_dir.as_deref()),
        );
        let level = config.log.level.clone();
        let generation = self.gateway.reload(config).await.map_err(Refusal::Start)?;
        observe::log::follow(&level);

        let number = if state.text == text && !going_back {
            state.history.entries().next_back().map_or(0, |entry| entry.number)
        } else {
            let history = &mut state.history;
            history.add(by, plan.text(), Arc::clone(&text), directory.as_deref())
        };
        state.outline = outline;
        state.text = text;
        let changed = !plan.is_empty();
        let before = state.history.entries().rev().nth(1).map(|entry| entry.number);
        match (confirm.filter(|_| changed), before) {
            (Some(within), Some(before)) => {
                // What was not confirmed yet is not what to go back to.
                let back_to = state.pending.take().map_or(before, |pending| pending.back_to);
                state.pending = Some(Pending::start(self, back_to, within, usual));
            }
            _ if changed || going_back => state.pending = None,
            _ => {}
        }
        Ok(Applied {
            generation,
            number,
            plan,
            warnings,
            confirm: confirm.filter(|_| changed),
        })
    }
}

/// Where a configuration comes from.
enum Source {
    File,
    /// That of this number; `None`: the last other one.
    History(Option<u64>),
}

async fn load(read: impl FnOnce() -> Result<Loaded, Report> + Send + 'static) -> Result<Loaded, Refusal> {
    match tokio::task::spawn_blocking(read).await {
        Ok(loaded) => loaded.map_err(Refusal::File),
        Err(_) => Err(Refusal::Start(StartError::Stopping)),
    }
}

fn history_dir(state: Option<&Path>) -> Option<PathBuf> {
    state.map(|state| state.join("history"))
}
