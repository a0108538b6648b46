//! How people write numbers: durations, sizes, percentages, rates.

use std::time::Duration;

use super::quantity::{DAY, HOUR, MAX_SIZE, MAX_TIME, MINUTE, SECOND, SIZES, TIMES, quantity};
use super::shape::Kind;
use super::suggest::clip;
use super::text::{Fault, FromText};

/// What a rate may be per.
const PERIODS: &[(&str, u64)] = &[("s", SECOND), ("min", MINUTE), ("h", HOUR), ("d", DAY)];

/// Reads `"250ms"`, `"10s"`, `"5min"`, `"2h"`, `"7d"`, `"1y"`; a unit is required.
///
/// # Errors
/// What is wrong, with the units that exist.
pub fn duration(text: &str) -> Result<Duration, String> {
    Duration::from_text(text).map_err(in_one)
}

/// Reads `"512B"`, `"16KB"`, `"100MB"`, `"1GB"` (powers of 1024; `KiB` is accepted too); a unit is required.
///
/// # Errors
/// What is wrong, with the units that exist.
pub fn size(text: &str) -> Result<u64, String> {
    Size::from_text(text).map(|size| size.0).map_err(in_one)
}

/// Reads `"20%"` as a share between 0 and 1.
///
/// # Errors
/// What is wrong.
pub fn percent(text: &str) -> Result<f64, String> {
    Percent::from_text(text).map(|percent| percent.0).map_err(in_one)
}

/// How many in which time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In which time.
    pub per: Duration,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = PERIODS
            .iter()
            .find(|(_, millis)| u128::from(*millis) == self.per.as_millis());
        match unit {
            Some((unit, _)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{} in {:?}", self.count, self.per),
        }
    }
}

/// Reads `"10/s"`, `"5/min"`, `"100/h"`, `"1000/d"`.
///
/// # Errors
/// What is wrong, with the units that exist.
pub fn rate(text: &str) -> Result<Rate, String> {
    Rate::from_text(text).map_err(in_one)
}

fn in_one(fault: Fault) -> String {
    match fault.help {
        Some(help) => format!("{}: {help}", fault.message),
        None => fault.message,
    }
}

impl FromText for Duration {
    const KIND: Kind = Kind {
        what: "a duration",
        pattern: Some("^[0-9]+(ms|s|min|h|d|w|y)$"),
        example: "10s",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        quantity(text, "a duration", TIMES, MAX_TIME).map(Self::from_millis)
    }
}

/// A time after which something is given up: never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Duration);

impl FromText for Timeout {
    const KIND: Kind = Kind {
        what: "a duration above zero",
        ..Duration::KIND
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let duration = Duration::from_text(text)?;
        if duration.is_zero() {
            return Err(Fault::new(format!("`{}` would be over at once", clip(text)))
                .help("write how long it may take, for example `\"10s\"`; there is no word for endless"));
        }
        Ok(Self(duration))
    }
}

/// Reads a time after which something is given up, `5min`; `None`: it is none, or zero.
#[must_use]
pub fn timeout(text: &str) -> Option<Duration> {
    Timeout::from_text(text).ok().map(|timeout| timeout.0)
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromText for Size {
    const KIND: Kind = Kind {
        what: "a size",
        pattern: Some("^[0-9]+([KMGT]i?)?B$"),
        example: "100MB",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        quantity(text, "a size", SIZES, MAX_SIZE).map(Self)
    }
}

/// A share of the whole, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Percent(pub(crate) f64);

impl FromText for Percent {
    const KIND: Kind = Kind {
        what: "a percentage",
        pattern: Some("^[0-9]+(\\.[0-9]+)?%$"),
        example: "20%",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(format!("`{}` is not a percentage", clip(text)))
                .help("write a number from 0 to 100 and `%`: `\"20%\"`")
        };
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(wrong());
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        if (0.0..=100.0).contains(&number) {
            Ok(Self(number / 100.0))
        } else {
            Err(wrong())
        }
    }
}

/// How much more than the average somebody may have: above 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load(pub(crate) f64);

impl FromText for Load {
    const KIND: Kind = Kind {
        what: "a percentage above 100",
        pattern: Some("^([1-9][0-9]{2}(\\.[0-9]+)?|1000)%$"),
        example: "125%",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(format!("`{}` is not a percentage above 100", clip(text)))
                .help("write more than 100 and at most 1000, and `%`: `\"125%\"`")
        };
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(wrong());
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        if number > 100.0 && number <= 1000.0 {
            Ok(Self(number / 100.0))
        } else {
            Err(wrong())
        }
    }
}

impl FromText for Rate {
    const KIND: Kind = Kind {
        what: "a rate",
        pattern: Some("^[0-9]+/(s|min|h|d)$"),
        example: "10/s",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        Self::parse(text, "leave the limit out")
    }
}

impl Rate {
    /// `unlimited`: what to do in order to limit nothing.
    pub(super) fn parse(text: &str, unlimited: &str) -> Result<Self, Fault> {
        const HELP: &str = "write how many per what: `\"10/s\"`, `\"5/min\"`, `\"100/h\"`, `\"1000/d\"`";
        let wrong = || Fault::new(format!("`{}` is not a rate", clip(text))).help(HELP);
        let (count, period) = text.split_once('/').ok_or_else(wrong)?;
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let count: u64 = count.parse().map_err(|_| wrong())?;
        let Some((_, millis)) = PERIODS.iter().find(|(unit, _)| *unit == period) else {
            let message = format!("`{}` is not a rate: there is no period `{}`", clip(text), clip(period));
            return Err(Fault::new(message).help(period_help(count, period).unwrap_or_else(|| HELP.to_owned())));
        };
        if count == 0 {
            return Err(Fault::new(format!(
                "the rate `{}` can never be reached: it refuses every request",
                clip(text)
            ))
            .help(format!("write at least 1; to limit nothing, {unlimited}")));
        }
        Ok(Self {
            count,
            per: Duration::from_millis(*millis),
        })
    }
}

fn period_help(count: u64, period: &str) -> Option<String> {
    let unit = match period {
        "m" | "minute" | "minutes" => "min",
        "sec" | "second" | "seconds" => "s",
        "hour" | "hours" => "h",
        "day" | "days" => "d",
        _ => return None,
    };
    Some(format!("write `\"{count}/{unit}\"`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5min", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("100y", 3_153_600_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, says) in [
            ("", "whole number"),
            ("s", "whole number"),
            ("1.5s", "whole number"),
            ("-1s", "whole number"),
            ("10", "the unit is missing: write for example `\"10s\"`"),
            ("5m", "minutes are `min`: `\"5min\"`"),
            ("5 min", "minutes are `min`: `\"5min\"`"),
            ("5 s", "did you mean `\"5s\"`?"),
            ("5sec", "did you mean `\"5s\"`?"),
            ("5parsecs", "no unit `parsecs`"),
            ("101y", "too large"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615y", "too large"),
        ] {
            let error = duration(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("16KB", 16_384),
            ("16KiB", 16_384),
            ("100MB", 104_857_600),
            ("1GB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, says) in [
            ("100", "the unit is missing: write for example `\"100MB\"`"),
            ("100m", "did you mean `\"100MB\"`?"),
            ("100M", "did you mean `\"100MB\"`?"),
            ("5kb", "did you mean `\"5KB\"`?"),
            ("MB", "whole number"),
            ("99999999TB", "too large"),
        ] {
            let error = size(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("20%"), Ok(0.2));
        assert_eq!(percent("0%"), Ok(0.0));
        assert_eq!(percent("100%"), Ok(1.0));
        assert_eq!(percent("0.5%"), Ok(0.005));
        for text in ["20", "%", "101%", "-1%", "nan%", "1e1%", "inf%", "+5%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loads() {
        for (text, load) in [("125%", 1.25), ("100.5%", 1.005), ("1000%", 10.0)] {
            assert_eq!(Load::from_text(text), Ok(Load(load)), "{text}");
        }
        for text in [
            "", "%", "125", "100%", "99%", "1001%", "inf%", "nan%", "1e3%", "+125%", "1.2.3%",
        ] {
            assert!(Load::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        let per = |count, seconds| {
            Ok(Rate {
                count,
                per: Duration::from_secs(seconds),
            })
        };
        assert_eq!(rate("10/s"), per(10, 1));
        assert_eq!(rate("5/min"), per(5, 60));
        assert_eq!(rate("100/h"), per(100, 3600));
        assert_eq!(rate("1000/d"), per(1000, 86_400));
        for text in ["10/s", "5/min", "100/h", "1000/d"] {
            assert_eq!(rate(text).map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        for (text, says) in [
            ("0/s", "can never be reached"),
            ("0/s", "to limit nothing, leave the limit out"),
            ("10", "how many per what"),
            ("10/m", "write `\"10/min\"`"),
            ("10/fortnight", "no period `fortnight`"),
            ("/s", "is not a rate"),
            ("1.5/s", "is not a rate"),
            ("99999999999999999999/s", "is not a rate"),
        ] {
            let error = rate(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_timeout_is_never_zero() {
        assert!(Timeout::from_text("0s").is_err());
        assert_eq!(Timeout::from_text("1ms"), Ok(Timeout(Duration::from_millis(1))));
    }

    /// Editors check with the patterns, the gateway with its parser: they must not disagree about what is allowed.
    #[test]
    fn patterns_say_what_the_parsers_say() {
        for text in [
            "10s", "5m", "5min", "1KiB", "1KB", "10B", "x", "", "10", "1.5s", "20%", "0.5%", "10/s", "10/m",
        ] {
            let agree = |pattern: Option<&str>, parsed: bool| {
                let pattern = regex::Regex::new(pattern.expect("pattern")).expect("expression");
                assert_eq!(pattern.is_match(text), parsed, "{text} {pattern}");
            };
            agree(Duration::KIND.pattern, duration(text).is_ok());
            agree(Size::KIND.pattern, size(text).is_ok());
            agree(Percent::KIND.pattern, percent(text).is_ok());
            agree(Rate::KIND.pattern, rate(text).is_ok());
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}", number in "[0-9.]{0,25}[a-zA-Z/%µ]{0,4}") {
            for text in [&text, &number] {
                let _ = (duration(text), size(text), percent(text), rate(text));
            }
        }
    }
}
