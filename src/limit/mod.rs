//! Rate limits: how often somebody may ask.
//!
//! One algorithm, [`gcra`], decides; [`key`] tells who is counted, [`policy`] how, [`charge`] what a request is charged
//! with and what comes of it. [`local`] is the store of one process. [`ban`] turns away who is refused again and again. [`fields`] is what clients are told, [`report`] what
//! an operator learns from a limit that refuses nothing yet. Everything is pure: `now` comes from the caller.
//! `docs/limits.md` has the reasons.

pub mod ban;
pub mod charge;
pub mod fields;
pub mod gcra;
pub mod key;
pub mod local;
pub mod policy;
pub mod report;

pub use ban::{Ban, BanRule, Bans};
pub use charge::{Charge, Charges, Levels, Limits, MAX_LIMITS, Verdict};
pub use gcra::{Bucket, Level};
pub use key::{Asker, Key, KeyHasher, KeySpec, Keyed, Missing, Source};
pub use local::{Checked, Local, Reservation};
pub use policy::{Announce, Count, Mode, OnStoreError, Policy};
pub use report::{Report, Summary};
