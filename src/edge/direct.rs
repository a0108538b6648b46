//! The fast lane, as the gate sees it: an application that may answer on the gate's own connection, or stream.

use futures_util::future::BoxFuture;
use http::request;

use super::{Arrival, H2Stream, Lane};

/// What became of a request.
pub enum Served {
    /// It is over. `keep`: the answer told the client that the connection stays open, and the request was read whole.
    Done {
        /// As said.
        keep: bool,
    },
    /// The client has left, or takes nothing of its answer.
    Gone,
    /// It is for another lane: nothing of its body was read, nothing was written.
    NotMine(Box<Lent>),
}

/// A request that was taken in: its connection, and what the gate knows of it.
pub struct Lent {
    /// The connection, for as long as the request lasts.
    pub lane: Lane,
    /// What the gate knows.
    pub arrival: Box<Arrival>,
}

/// A request over HTTP/2 that is for another lane: nothing of its body was read, nothing was written.
pub struct NotMine {
    /// Its head.
    pub request: request::Parts,
    /// Its body, and the way of its answer.
    pub stream: H2Stream,
    /// What the gate knows of it.
    pub arrival: Box<Arrival>,
}

/// An application that serves what it can by itself, before the one that can serve everything is asked.
pub trait Direct: Send + Sync + 'static {
    /// Serves a request, or gives it back.
    fn serve<'a>(&'a self, request: request::Parts, lane: Lane, arrival: Box<Arrival>) -> BoxFuture<'a, Served>;

    /// The same over HTTP/2; `None`: it is over.
    fn serve_h2<'a>(
        &'a self,
        request: request::Parts,
        stream: H2Stream,
        arrival: Box<Arrival>,
    ) -> BoxFuture<'a, Option<Box<NotMine>>>;
}
