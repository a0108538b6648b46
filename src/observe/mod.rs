//! What happened: metrics, access log, request ids and traces, the gateway's own log.

pub mod access_log;
pub mod audit;
pub mod identity;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod process;
pub mod rotation;
pub mod span;
mod throttle;

pub use throttle::Throttle;
