//! Which server of an upstream takes a request.
//!
//! A [`Pool`] is what one upstream is made of at the moment: an [`Endpoint`] for each address of each server. Health
//! results ([`Pool::observe`]), connections that failed ([`Pool::connect_failed`]) and changes of the addresses
//! ([`Pool::update`]) go in; [`Pool::pick`] gives a [`Lease`] on a server that is fit, and [`Lease::finish`] takes in how
//! the attempt went. All of it is pure: the loops that resolve and probe live in the runtime, and everyone brings the time.
//!
//! | a server | is told by | and then |
//! |---|---|---|
//! | is unhealthy | probes, connections that fail | gets nothing, until probes pass |
//! | is ejected | failures in a row, a low success rate | gets nothing for a while; never the last one, never more than half |
//! | is slow or failing | its latency estimate ([`Strategy::PeakEwma`]) | gets less |
//! | is full | `max_requests`, the learnt limit; earlier for lower classes ([`Ask::priority`]) | is passed over |
//! | is new or back | | grows into its weight |
//! | drains | the operator ([`Pool::drain`]) | gets nothing new, or only its sticky sessions |
//!
//! When fewer than half are fit ([`Settings::panic_threshold`]), ejections are ignored: then something else is wrong.

mod breaker;
mod budget;
mod circle;
mod clock;
mod dice;
mod drain;
mod endpoint;
mod health;
mod latency;
mod lease;
mod limit;
mod line;
mod member;
mod outlier;
mod pool;
mod price;
mod quantile;
mod ramp;
mod roster;
mod rotation;
mod select;
mod settings;
mod shared;
#[cfg(test)]
mod simulation;
mod sticky;
mod view;

pub use breaker::BreakerState;
pub use budget::Budget;
pub use drain::{Drain, TooManyDrained};
pub use endpoint::Endpoint;
pub use health::{Health, Outcome, REASON_MAX, State, Thresholds, Transition};
pub use lease::{AttemptOutcome, Finish, Lease};
pub use line::{Joined, Line, LineFull, Priority, Ticket};
pub use member::Member;
pub use outlier::{Cause, Ejection};
pub use pool::{Ask, Change, PickError, Pool};
pub use quantile::Quantile;
pub use rotation::SEQUENCE_MAX;
pub use settings::{AdaptiveSettings, BreakerSettings, BudgetSettings, OutlierSettings, Settings, Strategy};
pub use sticky::{SECRET_MIN, SecretTooShort, Sticky};
pub use view::{Condition, EndpointView};
