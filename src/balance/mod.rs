//! Which server of an upstream takes a request.
//!
//! A [`Pool`] is what one upstream is made of at the moment: an [`Endpoint`] for each address of each server. Health
//! results ([`Pool::observe`]), connections that failed ([`Pool::connect_failed`]) and changes of the addresses
//! ([`Pool::update`]) go in; [`Pool::pick`] gives a [`Lease`] on a server that is fit. All of it is pure: the loops that
//! resolve and probe live in the runtime and bring their own clock.

mod endpoint;
mod health;
mod pool;
mod rotation;

pub use endpoint::Endpoint;
pub use health::{Health, Outcome, REASON_MAX, State, Thresholds, Transition};
pub use pool::{Change, Lease, Member, Pool, Settings, Strategy};
pub use rotation::SEQUENCE_MAX;
