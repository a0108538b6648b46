//! `health_check` of `[upstream.NAME]`

use std::time::Duration;

use ::http::{HeaderValue, Method};

use super::servers::Servers;
use super::{Checker, small, upstream_tls};
use crate::config::diagnostic::Span;
use crate::config::file;
use crate::config::file::health_check::HealthProtocol;
use crate::config::file::upstream::Protocol;
use crate::config::model::{HealthCheck, HttpCheck, Probing, Target, UpstreamTls};
use crate::config::text::{Any, Written};
use crate::config::units::Timeout;
use crate::config::value::{Either, Field, Spanned};

pub(super) fn health_check(
    check: &Spanned<file::health_check::HealthCheck>,
    protocol: Protocol,
    host: Option<&HeaderValue>,
    tls: Option<&UpstreamTls>,
    servers: &Servers,
    checker: &mut Checker<'_>,
) -> HealthCheck {
    let file::health_check::HealthCheck {
        port,
        tls: over_tls,
        interval,
        unhealthy_interval,
        timeout,
        unhealthy_after,
        healthy_after,
        ..
    } = &check.value;
    let sound = not_too_often("interval", interval, checker);
    if let Some(unhealthy_interval) = unhealthy_interval.given() {
        not_too_often("unhealthy_interval", unhealthy_interval, checker);
    }
    if sound && timeout.value.value.0 > interval.value.value.0 {
        checker.warning(
            if timeout.given { timeout.span } else { interval.span },
            format!(
                "`timeout` ({}) is longer than `interval` ({})",
                timeout.text, interval.text
            ),
            "a probe would still be waiting when the next one is due: lower `timeout` or raise `interval`".to_owned(),
        );
    }
    let socket = servers
        .known
        .iter()
        .any(|(target, _)| matches!(target, Target::Unix(_)));
    if let (Some(port), true) = (port.given(), socket) {
        checker.error(
            port.span,
            "a socket in the file system has no `port`",
            "remove it, or put servers of the two kinds into two upstreams".to_owned(),
        );
    }
    let over_tls = over_tls.given().map(|over_tls| (over_tls.value, over_tls.span));
    let probe_tls = match (over_tls, tls) {
        (Some((false, _)), _) | (None, None) => None,
        (_, Some(tls)) => Some(tls.clone()),
        (Some((true, at)), None) => {
            let tls = upstream_tls::plain(host);
            upstream_tls::named(&tls, servers, at, checker);
            Some(tls)
        }
    };
    if check.protocol.value == HealthProtocol::Http && protocol == Protocol::H2 {
        let help =
            "servers that speak HTTP/2 only fail it: write `protocol = \"grpc\"` or `protocol = \"tcp\"` for them";
        let span = if check.protocol.given {
            check.protocol.span
        } else {
            check.span
        };
        checker.warning(span, "the check speaks HTTP/1.1 and requests HTTP/2", help.to_owned());
    }
    HealthCheck {
        probing: probing(&check.value, checker),
        port: port.given().and_then(|port| u16::try_from(port.0).ok()),
        tls: probe_tls,
        interval: interval.value.value.0,
        unhealthy_interval: unhealthy_interval.given().unwrap_or(interval).value.value.0,
        timeout: timeout.value.value.0,
        unhealthy_after: small(unhealthy_after.0),
        healthy_after: small(healthy_after.0),
    }
}

fn not_too_often(key: &str, interval: &Spanned<Written<Timeout>>, checker: &mut Checker<'_>) -> bool {
    /// More often is an attack on the application.
    const SHORTEST: Duration = Duration::from_millis(100);
    let sound = interval.value.value.0 >= SHORTEST;
    if !sound {
        checker.error(interval.span, format!("`{key}` must be at least `100ms`"), None);
    }
    sound
}

/// What is asked and what a good answer is. Keys that say nothing to this protocol are faults: somebody believes in them.
fn probing(check: &file::health_check::HealthCheck, checker: &mut Checker<'_>) -> Probing {
    let file::health_check::HealthCheck {
        protocol,
        path,
        method,
        host,
        status,
        body,
        service,
        ..
    } = check;
    let of_http = [
        ("path", span(path)),
        ("method", span(method)),
        ("status", span(status)),
        ("body", span(body)),
    ];
    let (word, senseless) = match protocol.value {
        HealthProtocol::Http => ("http", vec![("service", span(service))]),
        HealthProtocol::Tcp => (
            "tcp",
            [&of_http[..], &[("host", span(host)), ("service", span(service))]].concat(),
        ),
        HealthProtocol::Grpc => ("grpc", of_http.to_vec()),
    };
    for (key, at) in senseless {
        let Some(at) = at else { continue };
        let other = if key == "service" { "grpc" } else { "http" };
        checker.error(
            at,
            format!("`{key}` says nothing to a check by `{word}`"),
            format!("remove it, or write `protocol = \"{other}\"`"),
        );
    }
    let host = host.given().map(|host| host.value.value.0.clone());
    match protocol.value {
        HealthProtocol::Http => {
            let head = method.given().is_some_and(|method| method.value.value == Method::HEAD);
            if let (Some(body), true) = (body.given(), head) {
                checker.error(
                    body.span,
                    "an answer to `HEAD` has no body",
                    "remove `body`, or write `method = \"GET\"`".to_owned(),
                );
            }
            let statuses = status.given().map(|status| {
                let range = |one: &Either<file::http::Status, Written<file::health_check::StatusClass>>| match one {
                    Either::First(status) => status.0.as_u16()..=status.0.as_u16(),
                    Either::Second(class) => class.value.0.clone(),
                };
                status.value.0.iter().map(|one| range(&one.value)).collect()
            });
            Probing::Http(HttpCheck {
                method: method.given().map_or(Method::GET, |method| method.value.value.clone()),
                path: path.given().map_or("/", |path| path.text.as_str()).into(),
                host,
                status: statuses.unwrap_or_else(|| vec![200..=399]),
                body: text(body).filter(|body| !body.is_empty()),
            })
        }
        HealthProtocol::Tcp => Probing::Tcp,
        HealthProtocol::Grpc => Probing::Grpc {
            service: text(service).unwrap_or_default(),
            host,
        },
    }
}

fn text(field: &Field<Written<Any>>) -> Option<Box<str>> {
    field.given().map(|text| text.text.as_str().into())
}

fn span<T>(field: &Field<T>) -> Option<Span> {
    field.given().map(|value| value.span)
}
