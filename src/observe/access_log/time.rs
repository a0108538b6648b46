//! Wall-clock time in two notations, computed once a second and thread.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::number::{fill, padded};

thread_local! {
    static LATEST: Cell<Second> = const { Cell::new(Second::EPOCH) };
}

/// Writes UTC in RFC 3339 with milliseconds, e.g. `2026-01-02T03:04:05.678Z`.
pub(super) fn rfc3339(out: &mut Vec<u8>, time: SystemTime) {
    let (second, millis) = split(time);
    out.extend_from_slice(&second.rfc3339);
    out.push(b'.');
    padded::<3>(out, millis);
    out.push(b'Z');
}

/// Writes UTC as Apache and nginx do, e.g. `02/Jan/2026:03:04:05 +0000`.
pub(super) fn common(out: &mut Vec<u8>, time: SystemTime) {
    out.extend_from_slice(&split(time).0.common);
}

/// The second, and the milliseconds beyond. A clock before 1970 reads as 1970.
fn split(time: SystemTime) -> (Second, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let latest = LATEST.get();
    let second = if latest.unix == since.as_secs() {
        latest
    } else {
        let second = Second::new(since.as_secs());
        LATEST.set(second);
        second
    };
    (second, since.subsec_millis())
}

/// A second, written out.
#[derive(Clone, Copy)]
struct Second {
    unix: u64,
    rfc3339: [u8; 19],
    common: [u8; 26],
}

impl Second {
    const EPOCH: Self = Self {
        unix: 0,
        rfc3339: *b"1970-01-01T00:00:00",
        common: *b"01/Jan/1970:00:00:00 +0000",
    };

    /// A second of the years 1970 to 9999; later ones, of which RFC 3339 knows nothing, read as 1970.
    fn new(unix: u64) -> Self {
        let mut second = Self { unix, ..Self::EPOCH };
        let Some(utc) = utc(unix) else { return second };
        for (part, iso, common) in [
            (utc.year(), 0..4, 7..11),
            (utc.day().into(), 8..10, 0..2),
            (utc.hour().into(), 11..13, 12..14),
            (utc.minute().into(), 14..16, 15..17),
            (utc.second().into(), 17..19, 18..20),
        ] {
            let part = u32::from(part.unsigned_abs());
            fill(&mut second.rfc3339[iso], part);
            fill(&mut second.common[common], part);
        }
        fill(&mut second.rfc3339[5..7], u32::from(utc.month().unsigned_abs()));
        second.common[3..6].copy_from_slice(month_name(utc.month()));
        second
    }
}

fn utc(unix: u64) -> Option<DateTime> {
    let timestamp = Timestamp::from_second(i64::try_from(unix).ok()?).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp))
}

fn month_name(month: i8) -> &'static [u8; 3] {
    match month {
        1 => b"Jan",
        2 => b"Feb",
        3 => b"Mar",
        4 => b"Apr",
        5 => b"May",
        6 => b"Jun",
        7 => b"Jul",
        8 => b"Aug",
        9 => b"Sep",
        10 => b"Oct",
        11 => b"Nov",
        _ => b"Dec",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn written(write: fn(&mut Vec<u8>, SystemTime), time: SystemTime) -> String {
        let mut out = Vec::new();
        write(&mut out, time);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn by_example() {
        for (millis, iso, clf) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                1_709_210_096_007,
                "2024-02-29T12:34:56.007Z",
                "29/Feb/2024:12:34:56 +0000",
            ),
            (
                1_767_323_045_678,
                "2026-01-02T03:04:05.678Z",
                "02/Jan/2026:03:04:05 +0000",
            ),
            (
                253_402_207_200_000,
                "9999-12-30T22:00:00.000Z",
                "30/Dec/9999:22:00:00 +0000",
            ),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(written(rfc3339, time), iso);
            assert_eq!(written(common, time), clf);
        }
    }

    #[test]
    fn what_cannot_be_written_reads_as_1970() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(written(rfc3339, before), "1970-01-01T00:00:00.000Z");
        let late = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(written(common, late), "01/Jan/1970:00:00:00 +0000");
    }

    proptest! {
        #[test]
        fn as_jiff_writes_it(millis in 0u64..253_402_000_000_000, later in 0u64..3000) {
            for millis in [millis, millis + later] {
                let time = UNIX_EPOCH + Duration::from_millis(millis);
                let timestamp = Timestamp::try_from(time).unwrap();
                prop_assert_eq!(written(rfc3339, time), format!("{timestamp:.3}"));
                let expected = timestamp.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
                prop_assert_eq!(written(common, time), expected);
            }
        }
    }
}
