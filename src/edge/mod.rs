//! Listeners, connection caps, and the gate: everything between the socket and the first decision.
//!
//! Each connection that is accepted belongs to [`gate::Gate`], which reads one strict head after the other and
//! lends the connection to an application for exactly one request at a time.

mod accept;
mod announced;
mod arrivals;
mod caps;
mod direct;
mod door;
mod farewell;
mod gate;
mod head;
mod http2;
mod lane;
mod link;
mod listeners;
mod local;
mod observer;
mod reply;
mod responder;
mod rest;
mod scanner;
mod secure;
mod socket;
mod tls;

pub use caps::{Caps, Refused};
pub use direct::{Direct, Lent, NotMine, Served};
pub use gate::Gate;
pub use head::{Absolute, Framing, Head, MAX_FIELDS, judge, take_apart};
pub(crate) use http2::Broken;
pub use http2::H2Stream;
pub use lane::Lane;
pub use link::Link;
pub use listeners::{BindError, Bound, Edge, Inherited, Role};
pub use local::{BoundLocal, LocalError};
pub use observer::{Arrival, Handed, Observer, RefusedRequest};
pub use reply::Reply;
pub use responder::{Ask, Responder};
pub use scanner::{Extent, Scanner};
pub use secure::{HandshakeEnd, Secure, TlsRules};
pub use tls::Secured;
