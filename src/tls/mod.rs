//! TLS towards clients and servers: certificates from files, which of them a client gets, tickets, client certificates.
//!
//! Nothing here opens a socket. What is read from files is checked once, with its cause and its place where it is wrong.

mod certificate;
mod client;
mod hosts;
mod hybrid;
mod issue;
mod known;
mod names;
mod pem;
mod server;
mod tickets;

pub use certificate::{Certificate, CertificateFault, Part};
pub use client::{ClientAuth, ClientFact, ClientIdentity};
pub use hosts::{Host, Hosts};
pub use issue::{ACME_PROTOCOL, AuthorityAnswer, Requested, answer_challenge, request, stand_in};
pub use known::knowing;
pub use names::is_name;
pub use pem::{FILE_MAX, TlsFault};
pub(crate) use pem::{Kind, certificates, key, ocsp};
pub use server::{MinVersion, host};
pub use tickets::{TicketFault, Tickets};
