//! `[redis]`

use super::{Checker, count};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::redis::{Parts, RedisUrl};
use crate::config::list::OneOrMore;
use crate::config::model::{self, Redis, RedisServers, UpstreamTls};
use crate::config::secret::Secret;
use crate::config::value::{Field, Spanned};

/// Makes the store of limits; `None`: something of it is wrong and has been reported.
pub(super) fn redis(redis: &Spanned<file::redis::Redis>, checker: &mut Checker<'_>) -> Option<Redis> {
    let file::redis::Redis {
        url,
        sentinel,
        username,
        password,
        tls,
        timeout,
        connections,
        prefix,
    } = &redis.value;
    let written = Written {
        table: "[redis]",
        span: redis.span,
        url,
        sentinel,
        username,
        password,
    };
    let servers = servers(&written, checker)?;
    Some(Redis {
        tls: self::tls(&servers, tls, checker),
        servers,
        timeout: timeout.value.value.0,
        connections: count(connections.0),
        prefix: prefix.text.as_str().into(),
        username: credential(username),
        password: credential(password),
    })
}

/// Makes the store of caches; `None`: something of it is wrong and has been reported.
pub(super) fn cache_redis(redis: &Spanned<file::cache_redis::CacheRedis>, checker: &mut Checker<'_>) -> Option<Redis> {
    let file::cache_redis::CacheRedis {
        url,
        sentinel,
        username,
        password,
        tls,
        timeout,
        prefix,
    } = &redis.value;
    let written = Written {
        table: "[cache_redis]",
        span: redis.span,
        url,
        sentinel,
        username,
        password,
    };
    let servers = servers(&written, checker)?;
    if let (RedisServers::Cluster(_), Some(url)) = (&servers, url.given()) {
        let help = "name one server, or sentinels: purges are one sequence, which no Cluster can split".to_owned();
        checker.error(url.span, "caches do not share a Cluster", help);
    }
    Some(Redis {
        tls: self::tls(&servers, tls, checker),
        servers,
        timeout: timeout.value.value.0,
        connections: 1,
        prefix: prefix.text.as_str().into(),
        username: credential(username),
        password: credential(password),
    })
}

fn credential(field: &Field<Secret<file::redis::Credential>>) -> Option<model::Secret> {
    field.given().map(|secret| secret.value.text.clone())
}

/// Where a Redis is, as a table says it.
struct Written<'a> {
    table: &'static str,
    span: Span,
    url: &'a Field<OneOrMore<Secret<RedisUrl>>>,
    sentinel: &'a Field<file::redis::Sentinel>,
    username: &'a Field<Secret<file::redis::Credential>>,
    password: &'a Field<Secret<file::redis::Credential>>,
}

fn servers(written: &Written<'_>, checker: &mut Checker<'_>) -> Option<RedisServers> {
    let Written {
        table,
        span,
        url,
        sentinel,
        username,
        password,
    } = written;
    if let (Some(username), true) = (username.given(), password.is_absent()) {
        let help = "add `password = \"${REDIS_PASSWORD}\"`: without one, nobody is asked for a name".to_owned();
        checker.error(username.span, "`username` needs `password`", help);
    }
    let beside = password.given().map(|password| password.span);
    match (url, sentinel) {
        (Field::Absent, Field::Absent) => {
            let help = "add for example `url = \"redis://127.0.0.1:6379\"`".to_owned();
            checker.error(*span, format!("`{table}` has no `url`"), help);
            None
        }
        (Field::Given(url), Field::Given(sentinel)) => {
            checker.report.push(
                Diagnostic::error(sentinel.span, format!("`{table}` has both `url` and `sentinel`"))
                    .also(url.span, "the other one")
                    .help("sentinels say where it is: remove one of them".to_owned()),
            );
            None
        }
        (url, Field::Absent) => {
            let url = url.given()?;
            let mut urls = urls(&url.value, beside, url.value.0.len() > 1, checker);
            match urls.len() {
                0 | 1 => Some(RedisServers::Single(urls.pop()?)),
                _ => Some(RedisServers::Cluster(urls)),
            }
        }
        (_, sentinel) => {
            let file::redis::Sentinel { master, urls } = &sentinel.given()?.value;
            let (master, urls) = (master.given()?, urls.given()?);
            if master.text.is_empty() {
                let help = "write what the sentinels call it: `\"mymaster\"`".to_owned();
                checker.error(master.span, "`master` names nobody", help);
            }
            Some(RedisServers::Sentinel {
                master: master.text.as_str().into(),
                urls: self::urls(&urls.value, beside, false, checker),
            })
        }
    }
}

/// TLS, where the URLs ask for it.
fn tls(servers: &RedisServers, tls: &Field<file::redis::RedisTls>, checker: &mut Checker<'_>) -> Option<UpstreamTls> {
    let url = match servers {
        RedisServers::Single(url) => Some(url),
        RedisServers::Cluster(urls) | RedisServers::Sentinel { urls, .. } => urls.first(),
    };
    let is_tls = url.is_some_and(|url| Parts::of(url.expose()).tls);
    let Some(given) = tls.given() else {
        return is_tls.then(|| super::upstream_tls::plain(None));
    };
    if !is_tls {
        let help = "write `rediss://` instead of `redis://`".to_owned();
        checker.error(given.span, "`tls` says nothing where the URL is not of TLS", help);
    }
    let file::redis::RedisTls { ca, cert, key, sni } = &given.value;
    Some(UpstreamTls {
        ca: super::upstream_tls::readable(ca, checker),
        certificate: super::upstream_tls::pair(cert, key, checker),
        sni: sni.given().map(|sni| sni.value.value.0.clone()),
        verify: true,
    })
}

/// The URLs; `beside`: where the password stands that is none of theirs.
fn urls(
    urls: &OneOrMore<Secret<RedisUrl>>,
    beside: Option<Span>,
    is_cluster: bool,
    checker: &mut Checker<'_>,
) -> Vec<model::Secret> {
    let mut first: Option<(bool, Span)> = None;
    for url in &urls.0 {
        let parts = Parts::of(url.text.expose());
        if let (Some(beside), true) = (beside, parts.credentials) {
            checker.report.push(
                Diagnostic::error(url.span, "there are two passwords: in the URL and beside it")
                    .also(beside, "the other one")
                    .help("remove one of them".to_owned()),
            );
        }
        if is_cluster && !matches!(parts.database, "" | "0") {
            let help = "leave the number behind the `/` away; `prefix` keeps applications apart".to_owned();
            checker.error(url.span, "a Cluster has one database only", help);
        }
        match first {
            None => first = Some((parts.tls, url.span)),
            Some((tls, span)) if tls != parts.tls => checker.report.push(
                Diagnostic::error(url.span, "some of these are over TLS and some are not")
                    .also(span, "the first one")
                    .help("write `rediss://` for all of them, or for none".to_owned()),
            ),
            Some(_) => {}
        }
    }
    urls.0.iter().map(|url| url.text.clone()).collect()
}
