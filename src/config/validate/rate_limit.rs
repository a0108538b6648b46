//! `[rate_limit.NAME]`

use std::time::Duration;

use super::{Checker, count, small};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::rate_limit::{Counted, LimitMode};
use crate::config::model::{Ban, RateLimit};
use crate::config::suggest::clip;
use crate::config::text::Written;
use crate::config::units::Rate;
use crate::config::value::Spanned;
use crate::limit::Source;
use crate::policy::AllowList;

/// Makes the limit; `None`: something of it is wrong and has been reported.
pub(super) fn rate_limit(
    name: &Spanned<String>,
    limit: &file::rate_limit::RateLimit,
    checker: &mut Checker<'_>,
) -> Option<RateLimit> {
    /// How long a request waits at most where the file says nothing.
    const MAX_DELAY: Duration = Duration::from_secs(5);

    let file::rate_limit::RateLimit {
        rate,
        burst: _,
        delay: _,
        max_delay,
        cost,
        method_costs,
        cost_header,
        count: counted,
        key: _,
        missing,
        ipv6_prefix,
        allow,
        headers,
        capacity,
        on_store_error,
        exact,
        strict,
        mode,
        ban,
    } = limit;
    delay(limit, checker);
    if strict.value && exact.value {
        checker.error(
            strict.span,
            "`strict` says nothing where `exact = true`",
            "every decision is made in the shared store then: remove one of them".to_owned(),
        );
    }
    let key = parts(&limit.key.0, checker);
    let rate = rate.given()?;
    let (period, capacity_units) = bucket(limit, rate, checker)?;
    too_dear(cost.0, capacity_units, cost.span, checker);
    for (_, cost) in &method_costs.0 {
        too_dear(cost.0, capacity_units, cost.span, checker);
    }
    if let (Some(cost_header), Counted::Failures) = (cost_header.given(), counted.value) {
        checker.error(
            cost_header.span,
            "`cost_header` does not go with `count = \"failures\"`",
            "what succeeds costs nothing there: remove one of them".to_owned(),
        );
    }
    if let (Some(ban), LimitMode::Report) = (ban.given(), mode.value) {
        checker.error(
            ban.span,
            "`ban` does not go with `mode = \"report\"`",
            "a limit that only reports refuses nobody: remove one of them".to_owned(),
        );
    }
    Some(RateLimit {
        name: name.value.as_str().into(),
        rate: rate.value.value,
        period,
        capacity_units,
        delay_after: limit.delay.given().map(|delay| delay.0),
        max_delay: max_delay.given().map_or(MAX_DELAY, |delay| delay.value.value.0),
        cost: cost.0,
        method_costs: (method_costs.0.iter())
            .map(|(method, cost)| (method.value.value.clone(), cost.0))
            .collect(),
        cost_header: cost_header.given().map(|name| name.value.value.0.clone()),
        count: counted.value.into(),
        key,
        missing: missing.value.into(),
        ipv6_prefix: u8::try_from(ipv6_prefix.0).unwrap_or(u8::MAX),
        exempt: allow
            .given()
            .map(|allow| AllowList::new(allow.0.iter().map(|network| network.value.value).collect())),
        headers: headers.value.into(),
        capacity: count(capacity.0),
        on_store_error: on_store_error.value.into(),
        exact: exact.value,
        strict: strict.value,
        mode: mode.value.into(),
        ban: ban.given().and_then(|ban| self::ban(ban)),
    })
}

fn ban(ban: &file::rate_limit::Ban) -> Option<Ban> {
    let file::rate_limit::Ban { after, within, r#for } = ban;
    Some(Ban {
        after: small(after.given()?.0),
        within: within.given()?.value.value.0,
        duration: r#for.given()?.value.value.0,
    })
}

/// Reports what costs more than there ever is.
pub(super) fn too_dear(cost: u64, capacity_units: u64, at: Span, checker: &mut Checker<'_>) {
    if cost > capacity_units {
        checker.error(
            at,
            format!("a request costs {cost}, and at most {capacity_units} may come at once: every request is refused"),
            "lower the cost or raise `burst`".to_owned(),
        );
    }
}

/// The time in which one unit comes back, and how many may be taken at once.
fn bucket(
    limit: &file::rate_limit::RateLimit,
    rate: &Spanned<Written<Rate>>,
    checker: &mut Checker<'_>,
) -> Option<(Duration, u64)> {
    /// A key is kept until its bucket is full again.
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

    let Rate { count, per } = rate.value.value;
    let nanos = u64::try_from(per.as_nanos() / u128::from(count)).unwrap_or(u64::MAX);
    if nanos == 0 {
        checker.error(
            rate.span,
            format!("`{}` is more than one in a nanosecond", clip(&rate.text)),
            "to limit nothing, leave the limit out".to_owned(),
        );
        return None;
    }
    let period = Duration::from_nanos(nanos);
    let units = match &limit.burst {
        burst if burst.is_faulty() => return None,
        burst => burst.given().map_or(count, |burst| burst.0 + 1),
    };
    if u128::from(nanos) * u128::from(units) > LONGEST.as_nanos() {
        // Without a burst it is the time of the rate, a day at most.
        let span = limit.burst.given().map_or(rate.span, |burst| burst.span);
        checker.report.push(
            Diagnostic::error(span, "at this rate, the burst takes more than a year to come back")
                .also(rate.span, "the rate")
                .help("lower `burst` or raise `rate`".to_owned()),
        );
        return None;
    }
    Some((period, units))
}

/// Which of those beyond the first wait.
fn delay(limit: &file::rate_limit::RateLimit, checker: &mut Checker<'_>) {
    let file::rate_limit::RateLimit {
        burst,
        delay,
        max_delay,
        count,
        ..
    } = limit;
    if let (Some(max_delay), true) = (max_delay.given(), delay.is_absent()) {
        checker.error(
            max_delay.span,
            "nobody waits: there is no `delay`",
            "add `delay = 0` for all of `burst` to wait for their turn, or remove this".to_owned(),
        );
    }
    let Some(delay) = delay.given() else { return };
    if count.value == Counted::Failures {
        checker.error(
            delay.span,
            "`delay` does not go with `count = \"failures\"`",
            "whether a request fails is known only when it is over: remove one of them".to_owned(),
        );
        return;
    }
    if burst.is_absent() {
        checker.error(
            delay.span,
            "`delay` needs `burst`",
            "add for example `burst = 20`: how many may come at once, of which `delay` do not wait".to_owned(),
        );
    }
    if let Some(burst) = burst.given().filter(|burst| burst.0 < delay.0) {
        checker.report.push(
            Diagnostic::error(
                delay.span,
                format!("`delay` ({}) is more than `burst` ({})", delay.0, burst.0),
            )
            .also(burst.span, "how many may come at once beyond the first")
            .help("`delay` says how many of `burst` do not wait: lower it".to_owned()),
        );
    }
}

/// Who is counted.
pub(super) fn parts(key: &[Spanned<Written<Source>>], checker: &mut Checker<'_>) -> Vec<Source> {
    let mut parts: Vec<Source> = Vec::new();
    for part in key {
        if parts.contains(&part.value.value) {
            checker.error(
                part.span,
                format!("`{}` is there twice", clip(&part.text)),
                "remove one of them".to_owned(),
            );
        }
        parts.push(part.value.value.clone());
    }
    parts
}
