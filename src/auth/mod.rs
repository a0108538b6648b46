//! Who asks: from a credential to a subject with verified claims. Pure: what needs a socket or a file is done by
//! `runtime::auth`, which hands in keys, files' texts and the time.

mod api_key;
mod claims;
mod credential;
mod crypto;
mod denial;
mod fields;
pub mod jwt;
mod keys;
mod password;
mod require;
mod verified;

pub use api_key::ApiKeys;
pub use claims::{ClaimName, Claims};
pub use credential::{Found, Presented, Source};
pub use denial::{Challenge, Denial};
pub use fields::{ClaimedFields, header_value};
pub use keys::{KeyFault, KeySet};
pub use password::{Password, Unreadable, Users};
pub use require::Requirement;
pub use verified::{Digest, Verified};

use std::sync::Arc;

/// The largest file with a public key or with authorities, bytes.
pub const KEY_FILE_MAX: u64 = 1024 * 1024;
/// The largest file with keys of partners or with users, bytes.
pub const API_KEYS_MAX: u64 = 16 * 1024 * 1024;

/// Somebody whose credential was good.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The name of the `[auth.NAME]` that says so.
    pub method: Arc<str>,
    /// What is known about them: all of it is verified.
    pub claims: Claims,
}

impl Subject {
    /// The text of a claim, by its name: what limits count by.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<String> {
        self.claims.get(name).and_then(claims::text)
    }
}
