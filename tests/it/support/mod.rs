//! Real parts for scenario tests: a gateway on free ports, origins that do as they are told, a client that says what it
//! is told to say.

pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod dns;
pub(crate) mod frames;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod jwt;
pub(crate) mod log;
pub(crate) mod origin;
pub(crate) mod pebble;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod service;
pub(crate) mod tls;

use std::time::Duration;

/// No single step of a scenario takes longer, however busy the machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
