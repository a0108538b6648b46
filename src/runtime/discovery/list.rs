//! The servers file of an upstream: read again when it was written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::files::Stamp;
use crate::config::model::{Address, Target};
use crate::config::servers_file;

/// Most names in it; addresses are bounded by [`servers_file`], as its size is.
const NAMES_MAX: usize = 1000;
/// How often it is looked at.
const POLL: Duration = Duration::from_secs(1);
/// A file that was written is read when nothing was written to it for this time: nobody wants half of it.
const SETTLED: Duration = Duration::from_millis(200);

/// A reading: the entries, or what is wrong.
pub(super) type Reading = Result<Vec<Address>, String>;

/// Reads the file as it is now.
pub(super) async fn read(path: &Path) -> Reading {
    let path = path.to_owned();
    let read = spawn_blocking(move || servers_file(&path));
    let entries = read.await.unwrap_or_else(|_| Err("it was not read".to_owned()))?;
    if entries.iter().filter(|entry| is_name(&entry.target)).count() > NAMES_MAX {
        return Err(format!("more than {NAMES_MAX} names are not supported"));
    }
    Ok(entries)
}

fn is_name(target: &Target) -> bool {
    target.name().is_some() || matches!(target, Target::Srv(_))
}

/// A reading each time that the file was written or replaced or is gone; the first one soon.
pub(super) fn changes(path: PathBuf) -> impl Stream<Item = Reading> {
    stream::unfold((path, Looked::Never), |(path, looked)| async move {
        let (reading, looked) = next(&path, looked).await;
        Some((reading, (path, looked)))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    Never,
    Seen(Option<Stamp>),
}

async fn next(path: &Path, before: Looked) -> (Reading, Looked) {
    let mut wait = POLL;
    let mut last = before;
    loop {
        sleep(wait).await;
        let now = Looked::Seen(stamp(path).await);
        if now == before {
            (last, wait) = (before, POLL);
        } else if now == last {
            let reading = read(path).await;
            // Written while it was read: once more.
            if Looked::Seen(stamp(path).await) == now {
                return (reading, now);
            }
        } else {
            (last, wait) = (now, SETTLED);
        }
    }
}

async fn stamp(path: &Path) -> Option<Stamp> {
    let path = path.to_owned();
    spawn_blocking(move || Stamp::of(&path)).await.ok().flatten()
}

#[cfg(test)]
mod tests;
