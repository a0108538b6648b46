//! The same store for whoever shares something else through it.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;

use super::target::{self, Connection, Target};
use crate::config::model;
use crate::runtime::ClientTls;

/// Where the store is: a single Redis, or a master that sentinels know.
pub(in crate::runtime) struct StoreAddress(Target);

/// A connection to it. Dropped, it is closed.
pub(in crate::runtime) struct Link(Connection);

impl StoreAddress {
    /// `None`: it is a Cluster.
    pub(in crate::runtime) fn of(redis: &model::Redis, tls: Option<&Arc<ClientTls>>) -> Option<Self> {
        if matches!(redis.servers, model::RedisServers::Cluster(_)) {
            return None;
        }
        target::servers(redis, tls).into_iter().next().map(Self)
    }

    /// # Errors
    /// Why not, in words for a log.
    pub(in crate::runtime) async fn connect(&self) -> Result<Link, String> {
        self.0.connect().await.map(Link).map_err(|failure| failure.to_string())
    }
}

impl Link {
    pub(in crate::runtime) fn handle(&mut self) -> &mut MultiplexedConnection {
        &mut self.0.handle
    }
}
