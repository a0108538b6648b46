//! Connections as they come in.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pingora::server::ShutdownWatch;

use crate::observe::Throttle;

/// How long nothing is accepted where the process is out of descriptors.
const REST: Duration = Duration::from_millis(100);
/// How often it is told that connections are not accepted.
const TELL: Duration = Duration::from_secs(10);

/// Accepts until it is to stop; each connection is a task. `poll`: whether there is one; `serve`: what is done with it.
pub(super) async fn accept_all<T, S>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>> + Send,
    serve: impl Fn(T, ShutdownWatch) -> S + Send,
    mut stopping: ShutdownWatch,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let telling = Throttle::new(TELL);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.changed() => return,
            accepted = poll_fn(&mut poll) => accepted,
        };
        match accepted {
            Ok(connection) => drop(tokio::spawn(serve(connection, stopping.clone()))),
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
