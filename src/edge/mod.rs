//! Listeners, connection caps, and the gate: everything between the socket and the first decision.
//!
//! Pingora accepts; each connection then belongs to [`gate::Gate`], which reads one strict head after the other and
//! lends the connection to an application for exactly one request at a time.

mod arrivals;
mod caps;
mod gate;
mod head;
mod lane;
mod link;
mod listeners;
mod reply;
mod responder;
mod rest;
mod scanner;

pub use caps::{Caps, Refused};
pub use gate::{Arrival, Gate, Observer, RefusedRequest};
pub use head::{Framing, MAX_FIELDS};
pub use link::Link;
pub use listeners::{BindError, Bound, Edge, Role, bind};
pub use reply::Reply;
pub use responder::{Ask, Responder};
