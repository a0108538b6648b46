//! Text → typed file with spans → validated model. No sockets, no Pingora.

pub mod model;
pub mod units;

pub use model::Config;
