//! Content codings: which one the client gets, and the encoder.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A content coding that the gateway can produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

/// `compress`, compiled.
#[derive(Debug, Clone)]
pub struct Compression {
    /// Codings on offer, in the order of the gateway's preference.
    pub codings: Vec<Coding>,
    /// Media types, `type/subtype` or `type/*`, lower case.
    pub types: Vec<Box<str>>,
    /// Bodies known to be smaller stay as they are, bytes.
    pub min_length: u64,
}

impl Default for Compression {
    fn default() -> Self {
        unimplemented!()
    }
}

impl Compression {
    /// Decides on an answer and, where it will be encoded, changes its fields (Content-Encoding, Vary, ETag, no
    /// Content-Length, no Accept-Ranges). Adds `Vary: Accept-Encoding` wherever another client could get another coding.
    pub fn negotiate(
        &self,
        _accept_encoding: Option<&str>,
        _head_request: bool,
        _status: StatusCode,
        _headers: &mut HeaderMap,
    ) -> Option<Coding> {
        unimplemented!()
    }
}

/// A streaming encoder of one body.
pub struct Encoder {}

impl Encoder {
    /// Begins a body. `flush_each`: every chunk is made readable at once, for bodies that trickle.
    #[must_use]
    pub fn new(_coding: Coding, _flush_each: bool) -> Self {
        unimplemented!()
    }

    /// Encodes a chunk; `end` finishes the body. Returns what can be sent now, possibly nothing.
    ///
    /// # Errors
    /// What the coding library reports: the body must then be cut.
    pub fn encode(&mut self, _chunk: &[u8], _end: bool) -> std::io::Result<Bytes> {
        unimplemented!()
    }
}
