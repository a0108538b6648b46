//! Which route takes a request: matchers, their precedence, and the router over them.

mod host;
mod matcher;
mod path;
mod router;

pub use matcher::{
    Condition, ConditionError, Conditions, HostPattern, Matcher, PathPattern, PatternError, ValuePattern,
};
pub use path::{PathError, normalise};
pub use host::{HostError, normalise_host};
pub use router::{Conflict, ConflictKind, Request, Router, conflicts};
