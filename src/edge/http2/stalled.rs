//! Answers that wait for their client: how many one client may keep waiting. Each holds what the application has sent
//! meanwhile, so that clients who ask for much and take nothing could fill the memory.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Those of all connections, by client. A client has an entry only while it has an answer waiting.
#[derive(Debug, Default)]
pub(in crate::edge) struct Stalled(Mutex<HashMap<IpAddr, VecDeque<Arc<Notify>>>>);

/// One that waits; for as long as it is held.
pub(super) struct Wait {
    stalled: Arc<Stalled>,
    client: IpAddr,
    cut: Arc<Notify>,
}

impl Stalled {
    /// One more waits. Where these are more than `most`, the one that has waited longest is given up: who is merely slow
    /// has not waited long.
    pub(super) fn wait(self: &Arc<Self>, client: IpAddr, most: usize) -> Wait {
        let cut = Arc::new(Notify::new());
        let mut clients = self.0.lock();
        let waiting = clients.entry(client).or_default();
        waiting.push_back(Arc::clone(&cut));
        let longest = if waiting.len() > most {
            waiting.pop_front()
        } else {
            None
        };
        drop(clients);
        if let Some(longest) = longest {
            longest.notify_one();
        }
        Wait {
            stalled: Arc::clone(self),
            client,
            cut,
        }
    }
}

impl Wait {
    /// Resolves when it is given up.
    pub(super) async fn given_up(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut clients = self.stalled.0.lock();
        if let Some(waiting) = clients.get_mut(&self.client) {
            waiting.retain(|one| !Arc::ptr_eq(one, &self.cut));
            if waiting.is_empty() {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_one_that_waited_longest_is_given_up() {
        let stalled = Arc::new(Stalled::default());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let first = stalled.wait(one, 2);
        let second = stalled.wait(one, 2);
        let elsewhere = stalled.wait(other, 2);
        assert!(first.given_up().now_or_never().is_none());
        let third = stalled.wait(one, 2);
        assert!(first.given_up().now_or_never().is_some());
        for wait in [&second, &third, &elsewhere] {
            assert!(wait.given_up().now_or_never().is_none());
        }
        drop(second);
        let fourth = stalled.wait(one, 2);
        assert!(third.given_up().now_or_never().is_none());
        drop((first, third, fourth, elsewhere));
        assert!(stalled.0.lock().is_empty());
    }
}
