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
//!
//! What does not change from answer to answer is made once ([`Told`]); the rest is digits, written into a buffer of the
//! right size.

use std::cmp::Reverse;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::charge::{Charge, Charges, Levels};
use super::gcra::Level;
use super::policy::{Announce, Mode, Policy};
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

/// Where a client stands with one limit.
#[derive(Debug, Clone, Copy)]
pub struct Stand<'a> {
    /// The limit.
    pub policy: &'a Policy,
    /// Who is counted, see [`Key::id`](super::Key::id).
    pub id: u128,
    /// What is left.
    pub level: &'a Level,
}

/// Where a client stands with all that it was charged by.
pub fn stands<'a>(charges: &'a [Charge<'a>], levels: &'a Levels) -> impl Iterator<Item = Stand<'a>> + Clone {
    charges.iter().zip(levels.iter()).map(|(charge, level)| Stand {
        policy: charge.policy,
        id: charge.key.id,
        level,
    })
}

/// Adds the fields of all limits to an answer that passes. `clock`: the time of day, asked only where a style tells it.
pub fn announce<'a>(
    stands: impl Iterator<Item = Stand<'a>> + Clone,
    clock: impl Fn() -> SystemTime,
    fields: &mut HeaderMap,
) {
    let windows = |stand: Stand<'_>| {
        !matches!(
            stand.policy.announce,
            Announce::Draft10 | Announce::Draft8 | Announce::Off
        )
    };
    // What the application sent, before anything is added; of no interest where everything is appended.
    let sent = |family: &[HeaderName]| family.iter().any(|name| fields.contains_key(name));
    let (standard, legacy) = match stands.clone().any(windows) {
        true => (sent(&STANDARD), sent(&LEGACY)),
        false => (false, false),
    };
    write(stands, clock, |style, name, value| {
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
/// `clock`: as for [`announce`].
#[must_use]
pub fn refuse(charges: &Charges<'_>, levels: &Levels, clock: impl Fn() -> SystemTime) -> Answer {
    let mut fields = Vec::new();
    write(stands(charges, levels), clock, |_, name, value| {
        fields.push((name, value))
    });
    let violated = || enforced(stands(charges, levels)).filter(|stand| stand.level.retry_in > 0);
    let retry_after = violated().map(|Stand { policy, level, .. }| match policy.announce {
        Announce::Draft10 | Announce::Off => level.retry_in,
        Announce::Draft8 | Announce::Draft7 | Announce::Draft6 | Announce::Legacy => level.full_in,
    });
    let named = violated().filter(|stand| stand.policy.announce != Announce::Off);
    let names: Vec<Value> = named.map(|stand| Value::from(&*stand.policy.name)).collect();
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

fn enforced<'a>(stands: impl Iterator<Item = Stand<'a>> + Clone) -> impl Iterator<Item = Stand<'a>> + Clone {
    stands.filter(|stand| stand.policy.mode == Mode::Enforce)
}

fn write<'a>(
    stands: impl Iterator<Item = Stand<'a>> + Clone,
    clock: impl Fn() -> SystemTime,
    mut field: impl FnMut(Announce, HeaderName, HeaderValue),
) {
    let stands = enforced(stands);
    let of = |style: Announce| stands.clone().filter(move |stand| stand.policy.announce == style);
    // Of the styles that have room for one limit: the one that is reached, or nearest to it.
    let tightest = |style| of(style).min_by_key(|stand| (Reverse(stand.level.retry_in), stand.level.room));

    if let Some((policies, state)) = draft10(of(Announce::Draft10)) {
        field(Announce::Draft10, RATELIMIT_POLICY, policies);
        field(Announce::Draft10, RATELIMIT, state);
    }
    for Stand { policy, id, level } in of(Announce::Draft8) {
        let told = policy.told.of(policy);
        field(Announce::Draft8, RATELIMIT, told.window(b"; t=", level));
        let mut policies = Vec::with_capacity(told.policy.len() + 17);
        policies.extend_from_slice(told.policy.as_bytes());
        partition(id, &mut policies);
        policies.push(b':');
        field(Announce::Draft8, RATELIMIT_POLICY, text(policies));
    }
    if let Some(Stand { policy, level, .. }) = tightest(Announce::Draft7) {
        let told = policy.told.of(policy);
        field(Announce::Draft7, RATELIMIT_POLICY, told.policy.clone());
        field(Announce::Draft7, RATELIMIT, told.window(b", reset=", level));
    }
    if let Some(Stand { policy, level, .. }) = tightest(Announce::Draft6) {
        field(
            Announce::Draft6,
            RATELIMIT_POLICY,
            policy.told.of(policy).policy.clone(),
        );
        field(Announce::Draft6, RATELIMIT_LIMIT, policy.bucket.capacity().into());
        field(Announce::Draft6, RATELIMIT_REMAINING, level.room.into());
        field(Announce::Draft6, RATELIMIT_RESET, level.full_in.div_ceil(SECOND).into());
    }
    if let Some(Stand { policy, level, .. }) = tightest(Announce::Legacy) {
        // A moment, not a delay.
        let reset = clock().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_nanos(level.full_in);
        let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        field(Announce::Legacy, X_RATELIMIT_LIMIT, policy.bucket.capacity().into());
        field(Announce::Legacy, X_RATELIMIT_REMAINING, level.room.into());
        field(Announce::Legacy, X_RATELIMIT_RESET, reset.into());
    }
}

/// What a limit tells that never changes; made when it is told first.
#[derive(Debug, Clone, Default)]
pub struct Told(OnceLock<Words>);

#[derive(Debug, Clone)]
struct Words {
    /// `RateLimit-Policy`; for draft 8 what stands before the partition key.
    policy: HeaderValue,
    /// What stands before the numbers in `RateLimit`.
    state: Box<[u8]>,
}

impl Told {
    fn of(&self, policy: &Policy) -> &Words {
        self.0.get_or_init(|| Words::new(policy))
    }
}

impl Words {
    fn new(policy: &Policy) -> Self {
        let (bucket, name) = (policy.bucket, quoted(&policy.name));
        let (most, fill) = (bucket.capacity(), bucket.fill_time());
        let window = fill.div_ceil(SECOND);
        let (policy, state) = match policy.announce {
            Announce::Draft10 | Announce::Off => {
                // To the nearest second, at least one: 41 at 10/s are 41 in 4 s.
                let window = (fill.saturating_add(SECOND / 2) / SECOND).max(1);
                (format!("{name};q={most};w={window}"), format!("{name};r="))
            }
            Announce::Draft8 => (format!("{name}; q={most}; w={window}; pk=:"), format!("{name}; r=")),
            Announce::Draft7 => (format!("{most};w={window}"), format!("limit={most}, remaining=")),
            Announce::Draft6 | Announce::Legacy => (format!("{most};w={window}"), String::new()),
        };
        Self {
            policy: text(policy.into_bytes()),
            state: state.into_bytes().into(),
        }
    }

    /// `RateLimit` of the styles that tell when the window ends, which stands behind `reset`.
    fn window(&self, reset: &[u8], level: &Level) -> HeaderValue {
        let (left, end) = (level.room.into(), level.full_in.div_ceil(SECOND));
        let mut out = Vec::with_capacity(self.state.len() + digits(left) + reset.len() + digits(end));
        out.extend_from_slice(&self.state);
        number(&mut out, left);
        out.extend_from_slice(reset);
        number(&mut out, end);
        text(out)
    }
}

/// The policies and the states, one list each; `None`: there is nothing to tell.
fn draft10<'a>(limits: impl Iterator<Item = Stand<'a>> + Clone) -> Option<(HeaderValue, HeaderValue)> {
    let told = |stand: &Stand<'a>| stand.policy.told.of(stand.policy);
    let seconds = |level: &Level| level.next_in.div_ceil(SECOND);
    let only = limits.clone().next()?;
    let (mut count, mut length) = (0, 0);
    for stand in limits.clone() {
        count += 1;
        length += b", ".len() + told(&stand).state.len() + digits(stand.level.room.into());
        if stand.level.next_in > 0 {
            length += b";t=".len() + digits(seconds(stand.level));
        }
    }
    let mut state = Vec::with_capacity(length - b", ".len());
    for stand in limits.clone() {
        if !state.is_empty() {
            state.extend_from_slice(b", ");
        }
        state.extend_from_slice(&told(&stand).state);
        number(&mut state, stand.level.room.into());
        if stand.level.next_in > 0 {
            state.extend_from_slice(b";t=");
            number(&mut state, seconds(stand.level));
        }
    }
    if count == 1 {
        return Some((told(&only).policy.clone(), text(state)));
    }
    let policies: Vec<&[u8]> = limits.map(|stand| told(&stand).policy.as_bytes()).collect();
    Some((text(policies.join(&b", "[..])), text(state)))
}

/// A partition key: the first twelve hexadecimal digits of the client's hash, in base64.
fn partition(id: u128, out: &mut Vec<u8>) {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |place: u32| u32::from(HEX[(id >> (124 - 4 * place)) as usize & 15]);
    for place in [0, 3, 6, 9] {
        let three = digit(place) << 16 | digit(place + 1) << 8 | digit(place + 2);
        for shift in [18, 12, 6, 0] {
            out.push(BASE64[(three >> shift) as usize & 63]);
        }
    }
}

/// A String of RFC 9651 §3.3.3; what it cannot hold becomes `?`.
fn quoted(name: &str) -> String {
    let mut out = String::from("\"");
    for character in name.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Appends a number, in place.
fn number(out: &mut Vec<u8>, mut number: u64) {
    let begin = out.len();
    out.resize(begin + digits(number), b'0');
    for place in out[begin..].iter_mut().rev() {
        *place += (number % 10) as u8;
        number /= 10;
    }
}

fn text(text: Vec<u8>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("made of visible ASCII")
}

#[cfg(test)]
mod tests;
