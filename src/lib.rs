//! deals247-gateway: a reverse proxy on Pingora that stands in nginx's place.
//!
//! The modules, in the order in which a request meets them:
//!
//! 1. [`edge`] accepts the connection, caps it, and reads every HTTP/1 head with one strict parser;
//! 2. [`proxy`] pins the [`runtime::Snapshot`] and drives the phases;
//! 3. [`client`] tells who is really calling, [`route`] which route takes the request;
//! 4. [`policy`] admits or answers it, [`limit`] counts how often somebody asks; [`answer`] says what an answer looks
//!    like;
//! 5. [`files`] serves from disk ([`conditional`] judges preconditions and ranges), [`balance`] chooses a server of an
//!    upstream;
//! 6. [`tls`] says which certificate a client gets and what its own is worth, [`acme`] when one is to be obtained;
//! 7. [`observe`] counts and logs what happened; [`admin`] shows it.
//!
//! [`gateway`] assembles them and puts another configuration in the place of the one in force; [`control`] is whom
//! operators ask for that; [`run_dir`] is where they find it; [`handover`] is how another process takes this one's place,
//! [`service`] what the service manager is told.
//!
//! [`config`] turns the file's text into a validated model, [`runtime`] compiles the model into the snapshot that
//! requests read. Everything right of `runtime` is pure: no sockets, no clock, no Pingora.
//! `ARCHITECTURE.md` has the map.

pub mod acme;
pub mod admin;
pub mod answer;
pub mod auth;
pub mod balance;
pub mod cache;
pub mod cli;
pub mod client;
pub mod conditional;
pub mod config;
pub mod control;
pub mod country;
pub mod demo;
pub mod edge;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod handover;
mod http1;
pub mod limit;
pub mod networks;
pub mod observe;
pub mod onward;
mod owned_file;
pub mod policy;
pub mod proxy;
pub mod proxy_protocol;
mod quality;
pub mod route;
pub mod run_dir;
pub mod runtime;
pub mod service;
pub mod slot;
pub mod tls;
mod vary;
