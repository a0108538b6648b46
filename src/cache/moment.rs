//! Points in time as a cache compares them: milliseconds of the wall clock, because they outlive the process on disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The time from then to now; none where the clock was set back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Later by that much.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// Reads a date (RFC 9110 §5.6.7) in whole seconds. Names of days and months are taken in any case: senders that get
    /// it wrong are common, and none of them means another day.
    #[must_use]
    pub fn of_date(field: &HeaderValue) -> Option<Self> {
        /// `Wednesday, 09-Sep-98 09:00:00 GMT` is the longest.
        const LONGEST: usize = 40;
        let text = field.as_bytes();
        if text.len() > LONGEST || !text.is_ascii() {
            return None;
        }
        let mut usual = String::with_capacity(text.len());
        let mut inside = false;
        for &byte in text {
            let letter = char::from(byte);
            usual.push(if inside {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            });
            inside = letter.is_ascii_alphabetic();
        }
        if let Some(start) = usual.strip_suffix("Gmt").map(str::len) {
            usual.replace_range(start.., "GMT");
        }
        httpdate::parse_http_date(&usual)
            .ok()
            .map(Self::from)
            .or_else(|| of_another_day(&usual))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, millis))
    }
}

/// A date whose day of the week is another one than it says: the other parts are what counts.
fn of_another_day(text: &str) -> Option<Moment> {
    const DAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let (said, rest) = text.split_at(text.find([',', ' '])?);
    let long = DAYS.contains(&said);
    if !long && !DAYS.iter().any(|day| &day[..3] == said) {
        return None;
    }
    let with = |day: &&str| httpdate::parse_http_date(&format!("{}{rest}", if long { day } else { &day[..3] })).ok();
    DAYS.iter().find_map(with).map(Moment::from)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Option<u64> {
        Moment::of_date(&HeaderValue::from_str(text).expect("a value")).map(|moment| moment.0)
    }

    #[test]
    fn dates_of_rfc_9110_5_6_7() {
        const THEN: Option<u64> = Some(784_111_777_000);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gmt",
            "Thu, 06 Nov 1994 08:49:37 GMT",
            "Thu Nov  6 08:49:37 1994",
            "Friday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(date(text), THEN, "{text}");
        }
        for text in [
            "",
            "0",
            "Someday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +1000",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT and much more behind it",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_yields_no_time() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(u64::MAX).plus(Duration::from_secs(1)), Moment(u64::MAX));
    }
}
