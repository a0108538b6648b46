//! One process takes another's place: the listening sockets go over, and with them what the clients would miss.
//!
//! ```text
//! the process that serves (Successor::start)          the process that is to serve (Predecessor)
//!   starts the binary; its standard input is the channel
//!   offer: protocol, sockets, keys            ──→     takes the sockets, reads its file, begins to accept
//!                                             ←──     ready, or why not
//!   stops accepting, lets what is open finish
//! ```
//!
//! The channel is a pair of sockets that nobody else can reach, and that end with the processes: whichever is killed at
//! whatever moment, nothing is left behind, and the other one serves on.

mod channel;
mod predecessor;
mod successor;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::predecessor::Predecessor;
pub use self::successor::{Successor, UpgradeError, remember_how_this_was_started};
use crate::edge::Role;
use crate::runtime::Keepsakes;

/// What both must speak. To be raised with every change that the other side would misunderstand.
const PROTOCOL: u32 = 1;
/// Tells a process that its standard input is the channel.
const VARIABLE: &str = "GATEWAY_HANDOVER";

/// What is handed over; the sockets themselves follow in this order.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Offer {
    protocol: u32,
    version: String,
    sockets: Vec<Socket>,
    keepsakes: Keepsakes,
}

/// A socket that accepts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Socket {
    role: Role,
    /// The address as the file has it.
    wanted: SocketAddr,
}

/// What the new process answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    /// It serves.
    Ready { version: String },
    /// It will not.
    Failed(String),
}
