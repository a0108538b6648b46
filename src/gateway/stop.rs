//! How a gateway ends: told to stop, or replaced by another process that goes on with its sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Gateway, Side, World};
use crate::edge::Role;

/// How long a stop waits for the next request of a connection that is idle.
const IDLE_GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether connections are left.
const LOOK: Duration = Duration::from_millis(10);

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight has finished.
    Empty,
    /// The deadline came first: this many connections were cut.
    Cut(usize),
}

impl Gateway {
    /// Stops: no new connections, what is in flight finishes and is the last on its connection, at the latest at the
    /// deadline (`None`: whenever it does). Connections between two requests are given a moment: who has just sent the
    /// next request gets its answer. `/readyz` has said that the gateway stops since [`Registry::drain`] was called, here
    /// or before; the admin listener answers to the end.
    ///
    /// [`Registry::drain`]: crate::runtime::Registry::drain
    pub async fn drain(&self, deadline: Option<Duration>) -> Drained {
        self.live.registry.drain();
        let mut world = self.world.lock().await;
        world.stopping = true;
        world.edge.stop(Role::Clear).await;
        world.edge.stop(Role::Tls).await;
        let idle = deadline.map_or(IDLE_GRACE, |deadline| IDLE_GRACE.min(deadline / 2));
        let drained = self.wait_until_empty(&[&self.clients], deadline, idle).await;
        self.end(&mut world).await;
        drained
    }

    /// Leaves its place to another process that accepts on the same sockets: as [`Gateway::drain`], but at once for the
    /// admin listener, too; and connections between two requests wait for the next one as long as ever, which is
    /// answered and is their last: nobody's request meets a connection that has just been closed, no operator's either.
    pub async fn retire(&self, deadline: Duration) -> Drained {
        let mut world = self.world.lock().await;
        world.stopping = true;
        for role in [Role::Clear, Role::Tls, Role::Admin, Role::AdminTls] {
            world.edge.stop(role).await;
        }
        let idle = deadline.saturating_sub(IDLE_GRACE);
        let drained = self
            .wait_until_empty(&[&self.clients, &self.operators], Some(deadline), idle)
            .await;
        self.end(&mut world).await;
        drained
    }

    /// The sockets that accept, for a process that is to replace this one: what each is for, and the address as the file
    /// has it.
    ///
    /// # Errors
    /// The process may have no more descriptors.
    pub async fn sockets(&self) -> io::Result<Vec<(Role, SocketAddr, OwnedFd)>> {
        self.world.lock().await.edge.sockets()
    }

    /// Whether it stops, or has left its place to another process.
    pub async fn is_stopping(&self) -> bool {
        self.world.lock().await.stopping
    }

    /// From now on no other configuration is put into force: another process has taken over, or is about to.
    pub async fn stay_as_it_is(&self) {
        self.world.lock().await.stopping = true;
    }

    async fn wait_until_empty(&self, sides: &[&Side], deadline: Option<Duration>, idle: Duration) -> Drained {
        let begun = Instant::now();
        let give_up = deadline.map(|deadline| begun + deadline);
        while !sides.iter().all(|side| side.is_empty()) {
            if give_up.is_some_and(|give_up| Instant::now() >= give_up) {
                return match self.clients.caps.open() {
                    0 => Drained::Empty,
                    open => Drained::Cut(open),
                };
            }
            if begun.elapsed() >= idle {
                for side in sides {
                    side.last_call.send_replace(true);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Drained::Empty
    }

    async fn end(&self, world: &mut World) {
        world.tasks.stop().await;
        self.operators.last_call.send_replace(true);
        for role in [Role::Admin, Role::AdminTls] {
            world.edge.stop(role).await;
        }
        // Whoever has just been told that the gateway stops reads it to its end.
        let told = async {
            while !self.operators.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(IDLE_GRACE, told).await;
        let registry = Arc::clone(&self.live.registry);
        let _ = tokio::task::spawn_blocking(move || registry.flush_logs()).await;
    }
}
