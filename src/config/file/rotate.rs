//! `rotate = { … }` of a log file.

use crate::config::table::table;
use crate::config::text::Written;
use crate::config::units::Size;
use crate::config::value::Integer;
use crate::config::words::words;

table! {
    /// When a log file begins anew, and what is kept of it.
    pub struct Rotate {
        /// Before it becomes larger than this.
        optional size: Written<Size> => "any size",
        /// With each day or hour, of UTC.
        optional every: Every => "any age",
        /// How many earlier files are kept: `access.log.20261128T000000Z.gz`.
        default keep: Integer<0, 10_000> = "14",
        /// Whether those are compressed.
        default compress: bool = "true",
    }
}

words! {
    /// How often a log file begins anew.
    pub enum Every {
        /// At midnight, UTC.
        Day = "day",
        /// At each full hour.
        Hour = "hour",
    }
}
