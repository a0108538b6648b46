//! What happened: metrics, access log, request ids and trace context, the gateway's own log.

pub mod access_log;
pub mod audit;
pub mod identity;
pub mod log;
pub mod metrics;
pub mod process;
pub mod rotation;
mod throttle;

pub use throttle::Throttle;
