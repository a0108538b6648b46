//! Files that are read again when they change; a faulty one changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::discovery::files::Stamp;

/// How often it is looked whether a file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a file says, as it last was good.
pub(super) struct Watched<T> {
    path: PathBuf,
    read: fn(&Path) -> Result<T, String>,
    value: ArcSwap<T>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads a file, and again when it changes, until nobody has this any more.
    ///
    /// # Errors
    /// Why it cannot be used, in words, with its path.
    pub(super) fn open(path: PathBuf, read: fn(&Path) -> Result<T, String>) -> Result<Arc<Self>, String> {
        // Before reading: a change in between is seen at the next look.
        let stamp = Stamp::of(&path);
        let value = read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        let watched = Arc::new(Self {
            path,
            read,
            value: ArcSwap::from_pointee(value),
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(watch(Arc::downgrade(&watched), stamp));
        }
        Ok(watched)
    }

    /// What it says.
    pub(super) fn current(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// Looks at the file; blocks. Returns what tells whether it changed since.
    fn look(&self, last: Option<Stamp>) -> Option<Stamp> {
        let stamp = Stamp::of(&self.path);
        if stamp == last {
            return last;
        }
        let path = self.path.display();
        match (self.read)(&self.path) {
            Ok(value) => {
                self.value.store(Arc::new(value));
                tracing::info!(%path, "read again");
            }
            Err(error) => tracing::warn!(%path, %error, "a file is faulty or gone: what it said before holds"),
        }
        stamp
    }
}

async fn watch<T: Send + Sync + 'static>(watched: Weak<Watched<T>>, mut stamp: Option<Stamp>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(watched) = watched.upgrade() else { return };
        let Ok(seen) = tokio::task::spawn_blocking(move || watched.look(stamp)).await else {
            return;
        };
        stamp = seen;
    }
}
