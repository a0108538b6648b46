//! Puts the purges of this gateway into the sequence.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::{HELD, PATIENCE, Pauses, Sharing, State, in_time};
use crate::cache::{Moment, Position};
use crate::runtime::limits::shared::failure::Failure;
use crate::runtime::limits::shared::target::Connection;

const TELL: &str = include_str!("tell.lua");

/// Purges that are told in one step at most.
const BATCH: usize = 256;

/// Tells the others of every purge of this gateway, those first that waited longest, until it is to stop.
pub(super) async fn tell(sharing: Arc<Sharing>, mut stop: watch::Receiver<bool>) {
    let mut connection: Option<Connection> = None;
    let mut pauses = Pauses::new();
    let mut complained = false;
    loop {
        let batch = sharing.next_batch();
        if batch == 0 {
            tokio::select! {
                () = sharing.waiting.notified() => {}
                () = lost(&mut connection) => connection = None,
                _ = stop.wait_for(|stop| *stop) => return,
            }
            continue;
        }
        let told = sharing.tell_batch(&mut connection, batch).await;
        sharing.told(batch, told.as_ref().ok());
        match told {
            Ok(_) => {
                pauses = Pauses::new();
                if std::mem::take(&mut complained) {
                    tracing::info!("other gateways are told of purges again");
                }
            }
            Err(failure) => {
                connection = None;
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(reason = %failure, "other gateways cannot be told of purges: they wait to be told");
                }
                tokio::select! {
                    () = tokio::time::sleep(pauses.next()) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }
}

async fn lost(connection: &mut Option<Connection>) {
    match connection {
        Some(connection) => drop(connection.lost().await),
        None => std::future::pending().await,
    }
}

impl Sharing {
    /// Marks what is told next; how many they are.
    fn next_batch(&self) -> usize {
        let mut state = self.state.lock();
        state.telling = state.untold.len().min(BATCH);
        state.telling
    }

    /// So many are told, and stand in the sequence up to here: they need not wait any longer. `None`: they were not.
    fn told(&self, count: usize, up_to: Option<&Position>) {
        let mut state = self.state.lock();
        let State {
            follower,
            untold,
            telling,
            rules,
            ..
        } = &mut *state;
        *telling = 0;
        let Some(Position { epoch, generation }) = up_to else {
            return;
        };
        let joined = follower.position().is_some_and(|here| here.epoch == *epoch);
        let first = generation.saturating_sub(count as u64) + 1;
        for (number, purge) in (first..).zip(untold.drain(..count)) {
            // It goes on to be known without a gap: whoever has it heard reads it once more.
            if let (Some(rules), true) = (&mut *rules, joined) {
                rules.note(&purge, number, Moment::from(SystemTime::now()));
            }
        }
        drop(state);
        self.moved.notify_waiters();
    }

    async fn tell_batch(&self, connection: &mut Option<Connection>, batch: usize) -> Result<Position, Failure> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.open().await?),
        };
        let mut call = self.script(TELL);
        call.arg(HELD).arg(&self.name);
        {
            let state = self.state.lock();
            for purge in state.untold.iter().take(batch) {
                // What cannot be told is more than what is told instead.
                let (letter, text) = purge.told().unwrap_or(("a", ""));
                call.arg(&*purge.cache).arg(letter).arg(text).arg(u8::from(purge.soft));
            }
        }
        let mut handle = connection.handle.clone();
        let (epoch, generation): (String, u64) = in_time(call.query_async(&mut handle), PATIENCE).await?;
        Ok(Position {
            epoch: epoch.into(),
            generation,
        })
    }
}
