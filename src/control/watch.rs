//! `[server] watch = true`: the file is read again when it was written, or replaced as editors do it, or when a file
//! that it names was.
//!
//! Looked at rather than listened for: that works in every container and on every file system, through links that are
//! switched over, and costs two calls of the system a second.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Control;
use crate::runtime::Stamp;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A file that was written is read when nothing was written to it for this time: nobody wants half of it.
const SETTLED: Duration = Duration::from_millis(200);

/// What is known of the files: which, and how they were.
type Seen = Vec<(PathBuf, Option<Stamp>)>;

impl Control {
    /// Watches the file for as long as the gateway runs, whenever the configuration in force says so.
    pub fn watch(self: &Arc<Self>) {
        let (Some(path), control) = (self.path.clone(), Arc::downgrade(self)) else {
            return;
        };
        tokio::spawn(async move {
            let mut before: Option<Seen> = None;
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(control) = control.upgrade() else { return };
                if control.gateway.is_stopping().await {
                    return;
                }
                let snapshot = control.gateway.live.pin();
                if !snapshot.server.watch {
                    before = None;
                    continue;
                }
                let now = look(&path, &snapshot.inputs).await;
                // At first: what was written since the start, told by the file's text and by when the others were read.
                let is_first = before.is_none();
                let known = before.take().unwrap_or_else(|| as_read(&now, &snapshot.inputs));
                let is_other = known != now || (is_first && !control.is_in_force(&path).await);
                if !is_other {
                    before = Some(now);
                    continue;
                }
                let settled = settle(&path, &snapshot.inputs, now).await;
                // A file that is gone is on its way to be replaced; nobody stops a gateway by taking it away.
                if settled.first().is_some_and(|(_, stamp)| stamp.is_some()) {
                    // How it went is told where operators look; what is wrong stays so until it is written again.
                    let _ = control.reload(BY, None).await;
                }
                // The new configuration may name other files: those are as it has read them.
                let inputs = control.gateway.live.pin().inputs.clone();
                let file = settled.first().cloned();
                let others = inputs.into_iter().map(|(path, stamp)| {
                    let known = settled.iter().find(|(known, _)| *known == path);
                    known.cloned().unwrap_or((path, stamp))
                });
                before = Some(file.into_iter().chain(others).collect());
            }
        });
    }

    async fn is_in_force(&self, path: &Path) -> bool {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        match read {
            Ok(Ok(bytes)) => bytes == self.state.lock().await.text.as_bytes(),
            _ => true,
        }
    }
}

const BY: &str = "the file was written";

/// How the files were when they were read; of the configuration file itself nobody knows.
fn as_read(now: &Seen, inputs: &Seen) -> Seen {
    now.iter().take(1).chain(inputs).cloned().collect()
}

/// Waits until two looks in a row see the same.
async fn settle(path: &Path, inputs: &Seen, mut last: Seen) -> Seen {
    loop {
        tokio::time::sleep(SETTLED).await;
        let now = look(path, inputs).await;
        if now == last {
            return now;
        }
        last = now;
    }
}

async fn look(path: &Path, inputs: &Seen) -> Seen {
    let mut paths = vec![path.to_owned()];
    paths.extend(inputs.iter().map(|(path, _)| path.clone()));
    let stamps = tokio::task::spawn_blocking(move || Stamp::all(paths));
    stamps.await.unwrap_or_default()
}
