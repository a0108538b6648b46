//! `[upstream.NAME]`

use super::{Checker, health_check, resilience, servers, upstream_tls};
use crate::config::file;
use crate::config::model::{Balance, HashKey, Sticky, Upstream, UpstreamTimeouts};
use crate::config::text::Written;
use crate::config::units::Load;
use crate::config::value::{Either, False, Field, Spanned};

pub(super) fn upstream(
    name: &Spanned<String>,
    upstream: &file::upstream::Upstream,
    checker: &mut Checker<'_>,
) -> Option<Upstream> {
    let file::upstream::Upstream {
        servers: _,
        servers_file: _,
        host,
        protocol,
        tls,
        proxy_protocol,
        balance,
        hash,
        bounded_load,
        sticky,
        queue,
        slow_start,
        panic_threshold,
        health_check,
        outlier,
        retry,
        hedge,
        breaker,
        adaptive_limit,
        keepalive,
        connect_timeout,
        first_byte_timeout,
        read_timeout,
        write_timeout,
        tunnel_timeout,
        resolve_interval,
    } = upstream;

    if let Some(field) = proxy_protocol.given()
        && protocol.value == file::upstream::Protocol::H2
    {
        checker.error(
            field.span,
            "a connection of HTTP/2 is shared by many clients: no header can say whose it is",
            "remove `proxy_protocol` and let the application read `X-Forwarded-For`, or write `protocol = \"http1\"`"
                .to_owned(),
        );
    }
    let balance = self::balance(balance.value, hash, bounded_load, checker);
    let outlier = resilience::outlier(&outlier.value, checker);
    let retry = resilience::retry(&retry.value, first_byte_timeout, checker);
    let breaker = breaker
        .given()
        .map(|breaker| resilience::breaker(&breaker.value, checker));
    let mut servers = servers::servers(name, upstream, checker)?;
    if host.is_faulty() {
        // It may be the name that certificates are for: nothing is said about servers that seem to have none.
        servers.known.clear();
    }
    let host = host.given().map(|host| host.value.value.0.clone());
    let tls = upstream_tls::tls(tls, host.as_ref(), &servers, checker);
    let health_check = health_check
        .given()
        .map(|check| health_check::health_check(check, protocol.value, host.as_ref(), tls.as_ref(), &servers, checker));
    let hedge = hedge
        .given()
        .and_then(|hedge| resilience::hedge(hedge, first_byte_timeout, &servers, checker));
    Some(Upstream {
        name: name.value.as_str().into(),
        servers: servers.addresses,
        servers_file: servers.file,
        host,
        protocol: protocol.value.into(),
        proxy_protocol: proxy_protocol.given().map(|version| version.value.into()),
        tls,
        balance,
        sticky: sticky.given().and_then(|sticky| self::sticky(&sticky.value)),
        queue: resilience::queue(&queue.value),
        slow_start: slow_start.value.value,
        panic_threshold: panic_threshold.value.value.0,
        health_check,
        outlier,
        retry,
        hedge,
        breaker,
        adaptive_limit: adaptive_limit.value,
        timeouts: UpstreamTimeouts {
            connect: connect_timeout.value.value.0,
            first_byte: first_byte_timeout.value.value.0,
            read: read_timeout.value.value.0,
            write: write_timeout.value.value.0,
            idle: keepalive.value.value.0,
            tunnel: tunnel_timeout.value.value.0,
        },
        resolve_interval: resolve_interval.value.value.0,
    })
}

fn balance(
    balance: file::upstream::Balance,
    hash: &Field<Written<HashKey>>,
    bounded_load: &Field<Either<False, Written<Load>>>,
    checker: &mut Checker<'_>,
) -> Balance {
    /// How far above the average a server is filled: as in the paper on it (Mirrokni et al. 2018).
    const LOAD: f64 = 1.25;

    let plain = match balance {
        file::upstream::Balance::PeakEwma => Balance::PeakEwma,
        file::upstream::Balance::LeastRequests => Balance::LeastRequests,
        file::upstream::Balance::RoundRobin => Balance::RoundRobin,
        file::upstream::Balance::Random => Balance::Random,
        file::upstream::Balance::ConsistentHash => {
            return Balance::ConsistentHash {
                key: hash.given().map_or(HashKey::ClientIp, |hash| hash.value.value.clone()),
                bounded_load: match bounded_load.given().map(|load| &load.value) {
                    Some(Either::First(_)) => None,
                    Some(Either::Second(load)) => Some(load.value.0),
                    None => Some(LOAD),
                },
            };
        }
    };
    let hash = hash.given().map(|hash| ("hash", hash.span));
    let load = bounded_load.given().map(|load| ("bounded_load", load.span));
    for (key, span) in [hash, load].into_iter().flatten() {
        checker.error(
            span,
            format!("`{key}` says nothing to this way of choosing a server"),
            "remove it, or write `balance = \"consistent-hash\"`".to_owned(),
        );
    }
    plain
}

fn sticky(sticky: &file::sticky::Sticky) -> Option<Sticky> {
    let file::sticky::Sticky {
        cookie,
        ttl,
        secret,
        same_site,
    } = sticky;
    Some(Sticky {
        cookie: cookie.text.as_str().into(),
        ttl: ttl.value.value.0,
        secret: secret.given()?.text.clone(),
        same_site: same_site.value.into(),
    })
}
