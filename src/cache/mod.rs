//! Response caching: what may be kept, for whom, for how long (RFC 9110, 9111, 5861, 8246, 9211, 9213, 9875), and where.
//!
//! What decides is pure: it takes fields, a [`Policy`] and [`Moment`]s, and returns a value. [`storable()`] judges an
//! answer, [`Terms`] say what it may be used for, [`judge`] whether a request may have it, [`Selector`] whether it is for
//! that request at all. [`store`] keeps answers in memory, a [`Tier`] beside it; [`disk`] is one. [`record`] is how they write them, [`packed`]
//! how gateways share them, [`Rules`] what is purged of those.

mod address;
mod directives;
pub mod disk;
mod freshness;
mod groups;
mod invalidate;
mod key;
mod list;
mod moment;
pub mod packed;
mod policy;
pub mod record;
mod reuse;
mod rules;
mod sequence;
mod status;
mod storable;
pub mod store;
mod tier;
mod validate;
mod vary;

pub use address::{Address, url_digest};
pub use directives::{CDN_CACHE_CONTROL, MaxStale, RequestDirectives, ResponseDirectives, Scope};
pub use freshness::{Exchanged, Source, Terms};
pub use groups::{of_origin, tags};
pub use invalidate::{changes, groups as invalidated_groups, named as invalidated_places};
pub use key::{Asked, Extra, Key, KeyRules, Seed, UrlKey};
pub use moment::Moment;
pub use policy::{DISCONNECTED, Disk, Part, Policy, Shared, USUAL};
pub use reuse::{Failure, Reuse, Why, Wish, judge, rescues};
pub use rules::{Rules, Ruling};
pub use sequence::{Follower, Missed, Position, Purge};
pub use status::{CACHE_STATUS, Forward, Status, Verdict};
pub use storable::{For, Unstorable, clean, storable};
pub use tier::{Generation, Held, Lookup, Offer, Report, Settling, Tier};
pub use validate::{HeadSays, conditional, confirms, head_says, merged, unconditional};
pub use vary::{Selector, accept_encoding, place_of};
