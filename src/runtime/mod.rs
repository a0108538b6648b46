//! What runs: the loops that keep upstreams resolved and probed.

pub mod prober;
pub mod resolver;
