//! Connections as they come in.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::apps::HttpServerApp;
use pingora::server::ShutdownWatch;
use tokio::net::TcpListener;

use super::gate::Gate;
use super::observer::Observer;
use crate::observe::Throttle;

/// How long nothing is accepted where the process is out of descriptors.
pub(super) const REST: Duration = Duration::from_millis(100);
/// How often it is told that connections are not accepted.
const TELL: Duration = Duration::from_secs(10);

/// Accepts until it is to stop; each connection is a task.
pub(super) async fn accept_all<A, O>(socket: &TcpListener, gate: Arc<Gate<A, O>>, mut stopping: ShutdownWatch)
where
    A: HttpServerApp + Send + Sync + 'static,
    O: Observer,
{
    let telling = Throttle::new(TELL);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.changed() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => drop(tokio::spawn(Arc::clone(&gate).serve_socket(
                stream,
                peer,
                stopping.clone(),
            ))),
            // One that its client has given up already, or there is no descriptor for it, or no memory.
            Err(error) => {
                if let Some(left_out) = telling.admit(Instant::now()) {
                    tracing::error!(%error, left_out, "a connection was not accepted");
                }
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}
