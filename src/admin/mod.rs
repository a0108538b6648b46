//! What the gateway shows of itself: pure answers; the listener asks for them.

pub mod health;
