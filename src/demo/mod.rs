//! The application that `gateway demo` stands in front of: a stand-in for Deals247, written from its HTTP surface.
//!
//! [`app`] is the Express API (as many replicas as wanted over one [`Database`]), [`frontend`] the preview server of the
//! single-page application. Both keep the originals' manners, the bad ones too: they are what a gateway must cope with.
//! Besides the application's own routes the API has `/__echo` (the request as the application saw it), `/__stop` (a
//! replica that goes away for a while) and `/ws/echo` (a WebSocket). Nothing here is meant for production.

pub mod app;
mod cost;
mod data;
mod digest;
pub mod frontend;
mod node;
mod reply;
mod tour;
mod websocket;
#[cfg(test)]
mod wire;

pub use data::{ADMIN, Database, USER};
pub use node::{Server, Stats};
pub use tour::{config, tour};
