//! The connection for lookups, and whether it is to be used: it is as quick as a request needs it, or it is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};

use super::super::{LONGEST_PAUSE, Pauses, Sharing};
use crate::runtime::limits::shared::failure::Failure;

/// The connection, while there is one.
#[derive(Default)]
pub(in crate::runtime::sharing) struct Link {
    is_up: AtomicBool,
    state: Mutex<State>,
    given_up: Notify,
}

#[derive(Default)]
struct State {
    handle: Option<MultiplexedConnection>,
    /// Counts the connections.
    number: u64,
    /// Why the last one was given up.
    why: Option<Failure>,
}

impl Link {
    /// Whether it can be asked. At once: it is asked for every miss.
    pub(in crate::runtime::sharing) fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }

    /// The connection, and its number.
    pub(super) fn handle(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.state.lock();
        Some((state.handle.clone()?, state.number))
    }

    /// The connection of this number is none to be used any longer.
    pub(super) fn give_up(&self, number: u64, why: Failure) {
        let mut state = self.state.lock();
        if state.number == number && state.handle.take().is_some() {
            self.is_up.store(false, Relaxed);
            state.why = Some(why);
            self.given_up.notify_one();
        }
    }

    /// Returns when the connection was given up, and why.
    async fn given_up(&self) -> Failure {
        loop {
            self.given_up.notified().await;
            let mut state = self.state.lock();
            if state.handle.is_none() {
                return state.why.take().unwrap_or(Failure::Slow);
            } // it was about the one before
        }
    }

    fn open(&self, handle: MultiplexedConnection) {
        let mut state = self.state.lock();
        state.number += 1;
        state.handle = Some(handle);
        self.is_up.store(true, Relaxed);
    }

    fn close(&self) {
        self.state.lock().handle = None;
        self.is_up.store(false, Relaxed);
    }
}

/// Closes it, whoever ends.
struct Open<'a>(&'a Link);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Keeps the connection for lookups until it is to stop.
pub(in crate::runtime::sharing) async fn connect(sharing: Arc<Sharing>, mut stop: watch::Receiver<bool>) {
    let mut pauses = Pauses::new();
    let mut complained = false;
    loop {
        let failure = tokio::select! {
            failure = sharing.connected(&mut pauses, &mut complained) => failure,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if !std::mem::replace(&mut complained, true) {
            tracing::warn!(reason = %failure, "answers of other gateways cannot be looked up: each caches for itself");
        }
        tokio::select! {
            () = tokio::time::sleep(pauses.next()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Sharing {
    /// Is connected, and returns why it no longer is.
    async fn connected(&self, pauses: &mut Pauses, complained: &mut bool) -> Failure {
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(failure) => return failure,
        };
        // What requests would ask must be answered in the time that they have.
        let mut handle = connection.handle.clone();
        let asked = self.see(&mut handle, &self.key("answer"), 0, self.model.timeout).await;
        if let Err(failure) = asked {
            return failure;
        }
        let link = &self.answers.link;
        link.open(handle);
        let _open = Open(link);
        if std::mem::take(complained) {
            tracing::info!("answers of other gateways can be looked up again");
        }
        let since = Instant::now();
        let failure = tokio::select! {
            failure = connection.lost() => failure,
            failure = link.given_up() => failure,
        };
        if since.elapsed() > LONGEST_PAUSE {
            *pauses = Pauses::new(); // otherwise it is up and down
        }
        failure
    }
}
