//! HTTP/1.1 as bytes, for what the gateway speaks by itself: a strict reader of answers, a client with its own connections.
//!
//! It trusts nobody. An answer whose end two readers could see in two places is no answer ([`response`]), and a
//! connection is used again only after an answer that was read to its end and not a byte further ([`Connection`]).

mod chunked;
mod connection;
mod idle;
mod name;
mod response;
mod scratch;
mod splice;
mod write;

/// What fuzzers call.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed {
    pub(crate) use super::response::take;
}

pub(crate) use chunked::Chunked;
pub(crate) use connection::{Connection, Fault, Target};
pub(crate) use idle::Idle;
pub(crate) use name::field_name;
pub(crate) use response::Head;
pub(crate) use scratch::poll_read;
pub(crate) use splice::Moved;
pub(crate) use write::{append_date, chunk_size, date, fields, request_head, status_line};
