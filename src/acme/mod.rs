//! Certificates that are obtained (RFC 8555): when that is due, and what is answered to an authority. Pure: no sockets.

mod challenges;
mod schedule;
mod seal;

pub use challenges::{Challenges, Published, is_token};
pub use schedule::{Standing, Window, pause};
pub use seal::Seal;
