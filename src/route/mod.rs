//! Which route takes a request: matchers, their precedence, and the router over them.

mod conflict;
mod host;
mod matcher;
mod path;
mod pattern;
mod precedence;
mod router;
mod spelling;
mod table;
#[cfg(test)]
mod testing;
mod tree;

pub use conflict::{Conflict, ConflictKind, conflicts};
pub use host::{HostError, normalise_host};
pub use matcher::{Condition, Conditions, Ignored, Matcher};
pub use path::{PathError, normalise};
pub(crate) use pattern::expression;
pub use pattern::{ConditionError, HostPattern, PathPattern, PatternError, ValuePattern};
pub use router::{Request, Router};
pub(crate) use spelling::{escaped_byte, has_dot_or_empty_segments, merge_slashes};
