//! How people write numbers: durations, sizes, percentages, rates.

use std::time::Duration;

/// Reads `"250ms"`, `"10s"`, `"5min"`, `"2h"`, `"7d"`, `"1y"`; a unit is required.
///
/// # Errors
/// What is wrong, with the units that exist.
pub fn duration(_text: &str) -> Result<Duration, String> {
    unimplemented!()
}

/// Reads `"512B"`, `"16KB"`, `"100MB"`, `"1GB"` (powers of 1024; `KiB` is accepted too); a unit is required.
///
/// # Errors
/// What is wrong, with the units that exist.
pub fn size(_text: &str) -> Result<u64, String> {
    unimplemented!()
}

/// Reads `"20%"` as a share between 0 and 1.
///
/// # Errors
/// What is wrong.
pub fn percent(_text: &str) -> Result<f64, String> {
    unimplemented!()
}

/// How many in which time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In which time.
    pub per: Duration,
}

/// Reads `"10/s"`, `"5/min"`, `"100/h"`, `"1000/d"`.
///
/// # Errors
/// What is wrong, with the units that exist.
pub fn rate(_text: &str) -> Result<Rate, String> {
    unimplemented!()
}
