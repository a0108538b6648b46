//! What an upstream does when servers are slow, full or failing.

use ::http::Method;

use super::servers::Servers;
use super::{Checker, count, small};
use crate::config::diagnostic::Span;
use crate::config::file;
use crate::config::file::resilience::RetryOn;
use crate::config::model::{Breaker, Hedge, HedgeAfter, Outlier, Queue, Retry, Target};
use crate::config::suggest::clip;
use crate::config::text::Written;
use crate::config::units::{Percent, Timeout};
use crate::config::value::{Either, False, Spanned};

pub(super) fn queue(queue: &file::resilience::Queue) -> Queue {
    let file::resilience::Queue { size, timeout } = queue;
    Queue {
        size: count(size.0),
        timeout: timeout.value.value.0,
    }
}

pub(super) fn outlier(
    outlier: &Either<False, file::resilience::Outlier>,
    checker: &mut Checker<'_>,
) -> Option<Outlier> {
    let Either::Second(outlier) = outlier else {
        return None;
    };
    let file::resilience::Outlier {
        failures,
        success_rate,
        base_time,
        max_ejected,
    } = outlier;
    above_zero(
        max_ejected,
        "no server is ever left out",
        "write `outlier = false`",
        checker,
    );
    Some(Outlier {
        failures: small(failures.0),
        success_rate: success_rate.value,
        base_time: base_time.value.value.0,
        max_ejected: max_ejected.value.value.0,
    })
}

pub(super) fn retry(
    retry: &file::resilience::Retry,
    first_byte_timeout: &Spanned<Written<Timeout>>,
    checker: &mut Checker<'_>,
) -> Retry {
    let file::resilience::Retry {
        attempts,
        on,
        methods,
        per_try_timeout,
        budget,
        min_per_second,
    } = retry;
    if attempts.0 > 1 && budget.value.value.0 == 0.0 && min_per_second.0 == 0 {
        checker.error(
            budget.span,
            "a `budget` of nothing allows no further attempt",
            "to make one attempt only, write `attempts = 1`".to_owned(),
        );
    }
    if let Some(own) = per_try_timeout.given()
        && own.value.value.0 > first_byte_timeout.value.value.0
    {
        never_reached(
            "per_try_timeout",
            own.span,
            &own.value.text,
            first_byte_timeout,
            checker,
        );
    }
    for method in &methods.0 {
        if [Method::POST, Method::PATCH].contains(&method.value.value) {
            let message = format!("a `{}` may be done twice", clip(&method.text));
            let help =
                "fine where the application knows a request that comes again; an order might be placed twice else";
            checker.warning(method.span, message, help.to_owned());
        }
    }
    let is_on = |what| on.0.iter().any(|on| on.value == what);
    let mut compiled = Retry {
        attempts: small(attempts.0),
        on: crate::config::model::RetryOn {
            connect: is_on(RetryOn::Connect),
            reset: is_on(RetryOn::Reset),
            timeout: is_on(RetryOn::Timeout),
            statuses: on.0.iter().filter_map(|on| on.value.status()).collect(),
        },
        methods: methods.0.iter().map(|method| method.value.value.clone()).collect(),
        per_try_timeout: per_try_timeout.given().map(|timeout| timeout.value.value.0),
        budget: budget.value.value.0,
        min_per_second: small(min_per_second.0),
    };
    compiled.on.statuses.sort();
    compiled.on.statuses.dedup();
    compiled
}

pub(super) fn hedge(
    hedge: &Spanned<file::resilience::Hedge>,
    first_byte_timeout: &Spanned<Written<Timeout>>,
    servers: &Servers,
    checker: &mut Checker<'_>,
) -> Option<Hedge> {
    let file::resilience::Hedge { after, budget } = &hedge.value;
    let after = after.given()?;
    if matches!(after.value.value.0, HedgeAfter::Fixed(after) if after >= first_byte_timeout.value.value.0) {
        never_reached("after", after.span, &after.value.text, first_byte_timeout, checker);
    }
    above_zero(budget, "no request is ever asked twice", "leave `hedge` away", checker);
    // A name can have several addresses, and a file can grow.
    if let ([(target, _)], None) = (servers.known.as_slice(), &servers.file)
        && target.name().is_none()
        && !matches!(target, Target::Srv(_))
    {
        let help = "the second request would go to the same server: add servers, or leave `hedge` away".to_owned();
        checker.warning(hedge.span, "there is no second server to ask", help);
    }
    Some(Hedge {
        after: after.value.value.0,
        budget: budget.value.value.0,
    })
}

pub(super) fn breaker(breaker: &file::resilience::Breaker, checker: &mut Checker<'_>) -> Breaker {
    let file::resilience::Breaker {
        failures,
        min_requests,
        open,
    } = breaker;
    above_zero(
        failures,
        "it would open without a failure",
        "write for example `\"50%\"`",
        checker,
    );
    Breaker {
        failures: failures.value.value.0,
        min_requests: small(min_requests.0),
        open: open.value.value.0,
    }
}

fn above_zero(share: &Spanned<Written<Percent>>, why: &str, cure: &str, checker: &mut Checker<'_>) {
    if share.value.value.0 == 0.0 {
        checker.error(
            share.span,
            format!("with `{}` {why}", clip(&share.text)),
            cure.to_owned(),
        );
    }
}

fn never_reached(
    key: &str,
    span: Span,
    text: &str,
    first_byte_timeout: &Spanned<Written<Timeout>>,
    checker: &mut Checker<'_>,
) {
    checker.error(
        span,
        format!(
            "`{key}` ({}) can never be reached: `first_byte_timeout` ({}) is over before",
            text, first_byte_timeout.text
        ),
        "lower this or raise `first_byte_timeout`".to_owned(),
    );
}
