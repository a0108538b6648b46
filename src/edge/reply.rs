//! An answer that the gate writes by itself, because no session exists that could.

use http::header;

use crate::answer::Rendered;
use crate::http1;
use crate::observe::identity::Identity;

/// An answer with everything on it, ready for the wire.
#[derive(Debug)]
pub struct Reply {
    /// Status, fields and body; the delivery policies have been applied.
    pub rendered: Rendered,
    /// Its request id.
    pub identity: Identity,
    /// Leave the body out: the request was a HEAD.
    pub head_only: bool,
}

impl Reply {
    /// The bytes of the answer over HTTP/1.1; the connection is closed after it.
    #[must_use]
    pub fn to_http1(&self) -> Vec<u8> {
        let Rendered { status, headers, body } = &self.rendered;
        let mut out = Vec::with_capacity(512 + body.len());
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            if name != header::CONNECTION && name != header::DATE {
                out.extend_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"date: ");
        http1::append_date(&mut out);
        out.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
        if !self.head_only {
            out.extend_from_slice(body);
        }
        out
    }
}
