//! `[admin]`

use std::net::SocketAddr;

use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FromText, Written};
use crate::config::value::{Either, False};

table! {
    /// The listener for operators: `/livez`, `/readyz`, `/metrics`. Never public.
    pub struct Admin {
        /// Where it listens: a loopback address, or `false` for nowhere. Other addresses need a token, and tokens come
        /// with a later release.
        default listen: Either<False, Written<Loopback>> = "\"127.0.0.1:9900\"",
    }
}

/// An address that only this machine reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

impl FromText for Loopback {
    const KIND: Kind = Kind {
        what: "a loopback address with a port",
        example: "127.0.0.1:9900",
        ..SocketAddr::KIND
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let address = SocketAddr::from_text(text)?;
        if address.ip().to_canonical().is_loopback() {
            return Ok(Self(address));
        }
        Err(
            Fault::new(format!("`{}` would show the admin listener to others", clip(text))).help(
                "away from loopback it needs a token, and tokens come with a later release: use `\"127.0.0.1:9900\"`, \
                 or a route with `serve = \"metrics\"` and `allow`",
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback() {
        for text in ["127.0.0.1:9900", "127.1.2.3:0", "[::1]:9900", "[::ffff:127.0.0.1]:9900"] {
            assert!(Loopback::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0:9900",
            "[::]:9900",
            "10.0.0.1:9900",
            "127.0.0.1",
            "localhost:9900",
        ] {
            assert!(Loopback::from_text(text).is_err(), "{text}");
        }
    }
}
