//! A whole number with a unit.

use super::suggest::{clip, closest};
use super::text::Fault;

pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// Units of time, in milliseconds. A year is 365 days: nobody means leap seconds in a file.
pub(super) const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", SECOND),
    ("min", MINUTE),
    ("h", HOUR),
    ("d", DAY),
    ("w", 7 * DAY),
    ("y", 365 * DAY),
];

/// Units of size, in bytes.
pub(super) const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The longest duration: far enough, and adding it to any instant cannot overflow.
pub(super) const MAX_TIME: u64 = 100 * 365 * DAY;

/// The largest size: fits every signed and unsigned type that counts bytes.
pub(super) const MAX_SIZE: u64 = 1 << 62;

/// A whole number and its unit.
pub(super) fn quantity(text: &str, what: &str, units: &[(&str, u64)], max: u64) -> Result<u64, Fault> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let all = format!("a whole number and one of the units {}", names.join(", "));
    let wrong = |why: &str| Fault::new(format!("`{}` is not {what}{why}", clip(text)));
    if number.is_empty() || unit.starts_with('.') {
        return Err(wrong("").help(format!("write {all}")));
    }
    if unit.is_empty() {
        let example = if units == TIMES { "s" } else { "MB" };
        return Err(wrong(": the unit is missing").help(format!("write for example `\"{}{example}\"`", clip(number))));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let why = format!(": there is no unit `{}`", clip(unit));
        let meant = match unit.trim() {
            "m" | "minute" | "minutes" | "mins" if units == TIMES => Some("min"),
            "sec" | "secs" | "second" | "seconds" if units == TIMES => Some("s"),
            "hour" | "hours" | "hr" | "hrs" if units == TIMES => Some("h"),
            "day" | "days" if units == TIMES => Some("d"),
            "us" | "µs" | "ns" if units == TIMES => Some("ms"),
            "k" | "K" | "kb" if units == SIZES => Some("KB"),
            "m" | "M" | "mb" | "Mb" if units == SIZES => Some("MB"),
            "g" | "G" | "gb" if units == SIZES => Some("GB"),
            other => names
                .iter()
                .copied()
                .find(|name| *name == other)
                .or_else(|| closest(other, names.iter().copied())),
        };
        let fault = wrong(&why);
        return Err(match meant {
            Some("min") => fault.help(format!("minutes are `min`: `\"{}min\"`", clip(number))),
            Some(meant) => fault.help(format!("did you mean `\"{}{meant}\"`?", clip(number))),
            None => fault.help(format!("write {all}")),
        });
    };
    let amount = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor));
    amount
        .filter(|amount| *amount <= max)
        .ok_or_else(|| wrong(": it is too large"))
}
