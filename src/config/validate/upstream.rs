//! `[upstream.NAME]`

use std::collections::HashSet;
use std::time::Duration;

use super::Checker;
use crate::config::file;
use crate::config::file::upstream::RetryOn;
use crate::config::model::{Address, HealthCheck, Upstream, UpstreamTimeouts};
use crate::config::value::{Either, Spanned};

pub(super) fn upstream(
    name: &Spanned<String>,
    upstream: &file::upstream::Upstream,
    checker: &mut Checker<'_>,
) -> Option<Upstream> {
    let file::upstream::Upstream {
        servers,
        host,
        balance: _,
        health_check,
        retry,
        keepalive,
        connect_timeout,
        first_byte_timeout,
        read_timeout,
        write_timeout,
        tunnel_timeout,
        resolve_interval,
    } = upstream;

    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    for server in &servers.given()?.0 {
        let (endpoint, weight) = match &server.value {
            Either::First(endpoint) => (&endpoint.value, 1),
            Either::Second(server) => (&server.address.given()?.value.value, server.weight.0),
        };
        if !seen.insert((endpoint.host.clone(), endpoint.port)) {
            checker.error(
                server.span,
                format!("`{}:{}` is there twice", endpoint.host, endpoint.port),
                "a server that shall get more requests has a weight: `{ address = \"…\", weight = 2 }`".to_owned(),
            );
        }
        addresses.push(Address {
            host: endpoint.host.clone(),
            port: endpoint.port,
            weight: small(weight),
        });
    }
    // Other occasions are not enforced yet: without this one there is one attempt.
    let again = retry.on.0.iter().any(|on| on.value == RetryOn::Connect);
    Some(Upstream {
        name: name.value.as_str().into(),
        servers: addresses,
        host: host.given().map(|host| host.value.value.0.clone()),
        health_check: health_check
            .given()
            .map(|check| self::health_check(&check.value, checker)),
        timeouts: UpstreamTimeouts {
            connect: connect_timeout.value.value.0,
            first_byte: first_byte_timeout.value.value.0,
            read: read_timeout.value.value.0,
            write: write_timeout.value.value.0,
            idle: keepalive.value.value.0,
            tunnel: tunnel_timeout.value.value.0,
        },
        resolve_interval: resolve_interval.value.value.0,
        attempts: if again { small(retry.attempts.0) } else { 1 },
    })
}

fn health_check(check: &file::upstream::HealthCheck, checker: &mut Checker<'_>) -> HealthCheck {
    /// More often is an attack on the application.
    const SHORTEST: Duration = Duration::from_millis(100);

    let file::upstream::HealthCheck {
        path,
        host,
        interval,
        timeout,
        unhealthy_after,
        healthy_after,
        status,
    } = check;
    if interval.value.value.0 < SHORTEST {
        checker.error(interval.span, "`interval` must be at least `100ms`", None);
    } else if timeout.value.value.0 > interval.value.value.0 {
        checker.warning(
            if timeout.given { timeout.span } else { interval.span },
            format!(
                "`timeout` ({}) is longer than `interval` ({})",
                timeout.text, interval.text
            ),
            "a probe would still be waiting when the next one is due: lower `timeout` or raise `interval`".to_owned(),
        );
    }
    HealthCheck {
        path: path.text.as_str().into(),
        host: host.given().map(|host| host.value.value.0.clone()),
        interval: interval.value.value.0,
        timeout: timeout.value.value.0,
        unhealthy_after: small(unhealthy_after.0),
        healthy_after: small(healthy_after.0),
        status: status.given().map(|status| status.value.0),
    }
}

/// The bounds of these numbers are far below.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
