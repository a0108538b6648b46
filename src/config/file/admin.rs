//! `[admin]`

use std::net::SocketAddr;

use crate::config::table::table;
use crate::config::text::Written;
use crate::config::value::{Either, False};

table! {
    /// The listener for operators: `/livez`, `/readyz`, `/metrics`. Never public.
    pub struct Admin {
        /// Where it listens: a loopback address, or `false` for nowhere. Other addresses need a token, and tokens come
        /// with a later release.
        default listen: Either<False, Written<SocketAddr>> = "\"127.0.0.1:9900\"",
    }
}
