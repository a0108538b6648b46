//! Rate limits: how often somebody may ask.
//!
//! One algorithm, [`gcra`], decides; [`key`] tells who is counted, [`policy`] how, [`charge`] what a request is charged
//! with and what comes of it. [`local`] is the store of one process; [`shared`] is what is asked of one that several
//! gateways share, and [`book`] what each of them holds of it. [`ban`] turns away who is refused again and again,
//! [`flow`] slows bytes down. [`fields`] is what clients are told, [`report`] what an operator learns from a limit that
//! refuses nothing yet. Everything is pure: `now` comes from the caller. `docs/limits.md` has the reasons.

pub mod ban;
pub mod book;
pub mod breaker;
pub mod charge;
pub mod fields;
pub mod flow;
pub mod gcra;
pub mod key;
mod lease;
pub mod local;
pub mod policy;
pub mod report;
pub mod shared;

pub use ban::{Ban, BanRule, Bans};
pub use book::{Book, Claim, Taken};
pub use breaker::Breaker;
pub(crate) use charge::Each;
pub use charge::{Charge, Charges, Levels, Limits, MAX_LIMITS, Verdict};
pub use flow::Flow;
pub use gcra::{Bucket, Level};
pub use key::{Asker, Key, KeyHasher, KeySpec, Keyed, Missing, PolicyHasher, Source, Unnamed};
pub use local::{Checked, Local, Reservation};
pub use policy::{Announce, Count, Mode, OnStoreError, Policy};
pub use report::{Report, Summary};
pub use shared::{Ask, Manner, Reply, Settlement, Terms};
