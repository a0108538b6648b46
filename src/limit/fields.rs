//! What clients are told about their limits.
//!
//! A bucket has no window, so what the fields of windows say is mapped: the limit is the capacity, what remains is the
//! room, the window is the time in which the bucket fills, and the reset is the moment when it is full. Draft 10 knows
//! better: its `t` is the time until there is one more.
//!
//! `Retry-After` is never earlier than what the other fields announce. So it is exact for draft 10 and without fields, and
//! the reset for the styles of express-rate-limit, which do the same.
//!
//! Fields that are lists are appended to what the application sends; of the others ours are left out where the
//! application sends one of the family, for half of one and half of another would be nobody's limit. A limit that only
//! reports is not announced.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::charge::{Charge, Charges, Levels};
use super::gcra::{Bucket, Level};
use super::policy::{Announce, Mode};
use crate::answer::{Answer, Reason};

const SECOND: u64 = 1_000_000_000;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The fields of which an application sends all or none.
static STANDARD: [HeaderName; 5] = [
    RATELIMIT,
    RATELIMIT_POLICY,
    RATELIMIT_LIMIT,
    RATELIMIT_REMAINING,
    RATELIMIT_RESET,
];
static LEGACY: [HeaderName; 3] = [X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET];

/// Adds the fields of all limits to an answer that passes. `now`: the time of day.
pub fn announce(charges: &Charges<'_>, levels: &Levels, now: SystemTime, fields: &mut HeaderMap) {
    // What the application sent, before anything is added.
    let sent = |family: &[HeaderName]| family.iter().any(|name| fields.contains_key(name));
    let (standard, legacy) = (sent(&STANDARD), sent(&LEGACY));
    write(charges, levels, now, |style, name, value| {
        let left_out = match style {
            Announce::Legacy => legacy,
            Announce::Draft6 | Announce::Draft7 => standard,
            Announce::Draft10 | Announce::Draft8 | Announce::Off => false,
        };
        if !left_out {
            fields.append(name, value);
        }
    });
}

/// The answer to a request that was denied: 429 with `Retry-After`, the fields, and a problem that names the limits.
#[must_use]
pub fn refuse(charges: &Charges<'_>, levels: &Levels, now: SystemTime) -> Answer {
    let mut fields = Vec::new();
    write(charges, levels, now, |_, name, value| fields.push((name, value)));
    let violated = || enforced(charges, levels).filter(|(_, level)| level.retry_in > 0);
    let retry_after = violated().map(|(charge, level)| match charge.policy.announce {
        Announce::Draft10 | Announce::Off => level.retry_in,
        Announce::Draft8 | Announce::Draft7 | Announce::Draft6 | Announce::Legacy => level.full_in,
    });
    let named = violated().filter(|(charge, _)| charge.policy.announce != Announce::Off);
    let names: Vec<Value> = named.map(|(charge, _)| Value::from(&*charge.policy.name)).collect();
    Answer::Refusal {
        reason: Reason::RateLimited,
        retry_after: retry_after.max().map(Duration::from_nanos),
        fields,
        members: if names.is_empty() {
            Vec::new()
        } else {
            vec![("violated-policies", Value::Array(names))]
        },
    }
}

type Limit<'a> = (&'a Charge<'a>, &'a Level);

fn enforced<'a>(charges: &'a Charges<'a>, levels: &'a Levels) -> impl Iterator<Item = Limit<'a>> {
    charges
        .iter()
        .zip(levels.iter())
        .filter(|(charge, _)| charge.policy.mode == Mode::Enforce)
}

fn write(
    charges: &Charges<'_>,
    levels: &Levels,
    now: SystemTime,
    mut field: impl FnMut(Announce, HeaderName, HeaderValue),
) {
    let of = |style: Announce| enforced(charges, levels).filter(move |(charge, _)| charge.policy.announce == style);
    // Of the styles that have room for one limit: the one that is reached, or nearest to it.
    let tightest = |style| of(style).min_by_key(|(_, level)| (Reverse(level.retry_in), level.room));

    draft10(of(Announce::Draft10), |name, value| {
        field(Announce::Draft10, name, value)
    });
    for (charge, level) in of(Announce::Draft8) {
        draft8(charge, level, |name, value| field(Announce::Draft8, name, value));
    }
    if let Some((charge, level)) = tightest(Announce::Draft7) {
        let Shown { limit, left, reset } = Shown::of(charge, level);
        field(Announce::Draft7, RATELIMIT_POLICY, window(charge.policy.bucket));
        let value = format!("limit={limit}, remaining={left}, reset={reset}");
        field(Announce::Draft7, RATELIMIT, text(&value));
    }
    if let Some((charge, level)) = tightest(Announce::Draft6) {
        let Shown { limit, left, reset } = Shown::of(charge, level);
        field(Announce::Draft6, RATELIMIT_POLICY, window(charge.policy.bucket));
        field(Announce::Draft6, RATELIMIT_LIMIT, limit.into());
        field(Announce::Draft6, RATELIMIT_REMAINING, left.into());
        field(Announce::Draft6, RATELIMIT_RESET, reset.into());
    }
    if let Some((charge, level)) = tightest(Announce::Legacy) {
        let Shown { limit, left, .. } = Shown::of(charge, level);
        // A moment, not a delay.
        let reset = now.duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_nanos(level.full_in);
        let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        field(Announce::Legacy, X_RATELIMIT_LIMIT, limit.into());
        field(Announce::Legacy, X_RATELIMIT_REMAINING, left.into());
        field(Announce::Legacy, X_RATELIMIT_RESET, reset.into());
    }
}

/// The numbers that the styles of express-rate-limit share.
struct Shown {
    limit: u32,
    left: u32,
    reset: u64,
}

impl Shown {
    fn of(charge: &Charge<'_>, level: &Level) -> Self {
        Self {
            limit: charge.policy.bucket.capacity(),
            left: level.room,
            reset: level.full_in.div_ceil(SECOND),
        }
    }
}

/// The policy of drafts 6 and 7.
fn window(bucket: Bucket) -> HeaderValue {
    text(&format!(
        "{};w={}",
        bucket.capacity(),
        bucket.fill_time().div_ceil(SECOND)
    ))
}

fn draft10<'a>(limits: impl Iterator<Item = Limit<'a>>, mut field: impl FnMut(HeaderName, HeaderValue)) {
    let (mut policies, mut state) = (String::new(), String::new());
    for (charge, level) in limits {
        let bucket = charge.policy.bucket;
        for list in [&mut policies, &mut state] {
            if !list.is_empty() {
                list.push_str(", ");
            }
            quote(&charge.policy.name, list);
        }
        // To the nearest second, at least one: 41 at 10/s are 41 in 4 s.
        let window = (bucket.fill_time().saturating_add(SECOND / 2) / SECOND).max(1);
        append(&mut policies, format_args!(";q={};w={window}", bucket.capacity()));
        append(&mut state, format_args!(";r={}", level.room));
        if level.next_in > 0 {
            append(&mut state, format_args!(";t={}", level.next_in.div_ceil(SECOND)));
        }
    }
    if !policies.is_empty() {
        field(RATELIMIT_POLICY, text(&policies));
        field(RATELIMIT, text(&state));
    }
}

fn draft8(charge: &Charge<'_>, level: &Level, mut field: impl FnMut(HeaderName, HeaderValue)) {
    let Shown { limit, left, reset } = Shown::of(charge, level);
    let window = charge.policy.bucket.fill_time().div_ceil(SECOND);
    let mut state = String::new();
    quote(&charge.policy.name, &mut state);
    let mut policy = state.clone();
    append(&mut state, format_args!("; r={left}; t={reset}"));
    append(&mut policy, format_args!("; q={limit}; w={window}; pk=:"));
    partition(charge.key.id, &mut policy);
    policy.push(':');
    field(RATELIMIT, text(&state));
    field(RATELIMIT_POLICY, text(&policy));
}

/// A partition key: the first twelve hexadecimal digits of the client's hash, in base64.
fn partition(id: u128, out: &mut String) {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |place: u32| u32::from(HEX[(id >> (124 - 4 * place)) as usize & 15]);
    for place in [0, 3, 6, 9] {
        let three = digit(place) << 16 | digit(place + 1) << 8 | digit(place + 2);
        for shift in [18, 12, 6, 0] {
            out.push(char::from(BASE64[(three >> shift) as usize & 63]));
        }
    }
}

/// A String of RFC 9651 §3.3.3; what it cannot hold becomes `?`.
fn quote(name: &str, out: &mut String) {
    out.push('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

fn append(out: &mut String, parts: std::fmt::Arguments<'_>) {
    out.write_fmt(parts).expect("a String takes everything");
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("made of visible ASCII")
}

#[cfg(test)]
mod tests;
