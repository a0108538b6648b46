//! `grpc-timeout`: until when a caller wants its answer, in the units of gRPC.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The field.
pub(super) const FIELD: HeaderName = HeaderName::from_static("grpc-timeout");
/// Most digits of a value.
const DIGITS: usize = 8;

/// The time that a caller gives; `None`: no such field, or not as it must be.
pub(super) fn parse(value: Option<&HeaderValue>) -> Option<Duration> {
    let (&unit, digits) = value?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The field that says how much is left, in the finest unit that has room for it; rounded down, at least one nanosecond.
pub(super) fn format(left: Duration) -> HeaderValue {
    const MOST: u128 = 10_u128.pow(DIGITS as u32) - 1;
    const UNITS: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
        (3_600_000_000_000, 'H'),
    ];
    let nanos = left.as_nanos().max(1);
    let fitting = UNITS.iter().find(|(size, _)| nanos / size <= MOST);
    let (number, unit) = fitting.map_or((MOST, 'H'), |(size, unit)| (nanos / size, *unit));
    HeaderValue::try_from(format!("{number}{unit}")).expect("digits and a letter")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("30S", Some(Duration::from_secs(30))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("1 S", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(Some(&HeaderValue::from_static(text))), expected, "{text:?}");
        }
        assert_eq!(parse(None), None);
    }

    #[test]
    fn what_is_left() {
        let table = [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(86_400 * 2), "172800S"),
            (Duration::MAX, "99999999H"),
        ];
        for (left, expected) in table {
            assert_eq!(format(left), expected, "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_given_that_is_not_there(nanos in 1_u64..) {
            let left = Duration::from_nanos(nanos);
            let read = parse(Some(&format(left))).expect("a value");
            prop_assert!(read <= left);
            prop_assert!(read.as_secs_f64() > left.as_secs_f64() * 0.99);
        }
    }
}
