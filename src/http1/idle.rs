//! Connections to one server that wait for their next request.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Connection;

/// Most connections to one server that wait.
const MOST: usize = 1024;

/// The idle connections to one server, the one that was used last on top.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    parked: Mutex<Parked>,
}

#[derive(Debug, Default)]
struct Parked {
    connections: Vec<(Connection, Instant)>,
    /// Somebody looks after those that nobody needs any more.
    swept: bool,
}

impl Idle {
    /// A connection that is still good, as far as can be seen from here. What has been closed, has said something that
    /// nobody asked for, or has waited for longer than `limit` is closed.
    pub(crate) fn take(&self, limit: Duration) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.parked.lock().connections.pop()?;
            if since.elapsed() < limit && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, at most for `limit`.
    pub(crate) fn park(self: &Arc<Self>, connection: Connection, limit: Duration) {
        if limit.is_zero() {
            return;
        }
        let mut parked = self.parked.lock();
        if parked.connections.len() < MOST {
            parked.connections.push((connection, Instant::now()));
        }
        if !std::mem::replace(&mut parked.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), limit));
        }
    }

    /// Closes what is old, and what the server has closed. Whether there is anything left.
    fn clear(&self, limit: Duration) -> bool {
        let mut parked = self.parked.lock();
        let good = |(connection, since): &mut (Connection, Instant)| since.elapsed() < limit && connection.is_quiet();
        parked.connections.retain_mut(good);
        parked.swept = !parked.connections.is_empty();
        parked.swept
    }
}

async fn sweep(idle: Weak<Idle>, limit: Duration) {
    let pause = (limit / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        tokio::time::sleep(pause).await;
        if !idle.upgrade().is_some_and(|idle| idle.clear(limit)) {
            return;
        }
    }
}
