//! `[[route]]`

use std::collections::HashMap;

use super::policies::{self, Compiled};
use super::{Checker, Known, Named as Policies};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::list::{OneOrMore, Tables};
use crate::config::model::{Action, Route, Upstream};
use crate::config::named::Pairs;
use crate::config::suggest::clip;
use crate::config::text::{FromText, Written};
use crate::config::value::Spanned;
use crate::route::{Condition, Conditions, ConflictKind, Ignored, Matcher, PathPattern, ValuePattern, conflicts};

/// Makes the route; `None`: something of it is wrong and has been reported.
pub(super) fn route(
    route: &Spanned<file::route::Route>,
    defaults: &Compiled,
    max_body: u64,
    known: &mut Known<'_>,
    named: &Policies<'_>,
    checker: &mut Checker<'_>,
) -> Option<Route> {
    let own = policies::compile(&route.policies, known, named, checker);
    let ignored = own.path_ignores.or(defaults.path_ignores).unwrap_or_default();
    let matcher = matcher(&route.value, ignored, checker);
    let action = super::action::action(route, matcher.as_ref(), known, checker);
    Some(Route {
        name: route.name.given()?.text.as_str().into(),
        matcher: matcher?,
        action: action?,
        allow: own.allow.or_else(|| defaults.allow.clone()),
        access: own.access.or_else(|| defaults.access.clone()).unwrap_or_default(),
        maintenance: own.maintenance.or_else(|| defaults.maintenance.clone()).flatten(),
        headers: own.headers.or_else(|| defaults.headers.clone()).flatten(),
        cors: own.cors.or_else(|| defaults.cors.clone()).flatten(),
        auth: own.auth.or_else(|| defaults.auth.clone()).flatten(),
        cache: own.cache.or_else(|| defaults.cache.clone()).flatten(),
        compress: own.compress.or_else(|| defaults.compress.clone()).flatten(),
        access_log: own.access_log.or(defaults.access_log).unwrap_or(true),
        max_body: own.max_body.or(defaults.max_body).unwrap_or(max_body),
        rate_limits: own
            .rate_limits
            .or_else(|| defaults.rate_limits.clone())
            .unwrap_or_default(),
        bandwidths: own
            .bandwidths
            .or_else(|| defaults.bandwidths.clone())
            .unwrap_or_default(),
        concurrency: own.concurrency.or(defaults.concurrency).flatten(),
        priority: own.priority.or(defaults.priority).unwrap_or_default(),
    })
}

/// Warns of a `priority` that decides nothing, because the upstream of the route takes as many requests as come.
pub(super) fn idle_priorities(
    file: &Tables<file::route::Route>,
    routes: &[Option<Route>],
    upstreams: &[Option<Upstream>],
    checker: &mut Checker<'_>,
) {
    for (written, route) in file.0.iter().zip(routes) {
        let Some(priority) = written.policies.priority.given().filter(|priority| priority.given) else {
            continue;
        };
        let upstream = match route.as_ref().map(|route| &route.action) {
            Some(Action::Proxy { upstream, .. }) => upstreams.get(*upstream).and_then(Option::as_ref),
            _ => None,
        };
        let limited = |upstream: &Upstream| {
            upstream.adaptive_limit
                || upstream.servers_file.is_some()
                || upstream.servers.iter().any(|server| server.max_requests.is_some())
        };
        if upstream.is_some_and(|upstream| !limited(upstream)) {
            checker.warning(
                priority.span,
                "`priority` decides nothing here: the upstream takes as many requests as come",
                "give its servers `max_requests`, or the upstream `adaptive_limit = true`".to_owned(),
            );
        }
    }
}

/// What the route asks of a request; `None`: a part of it is faulty.
fn matcher(route: &file::route::Route, ignored: Ignored, checker: &mut Checker<'_>) -> Option<Matcher> {
    let file::route::Route {
        host,
        path,
        methods,
        extensions,
        when,
        ..
    } = route;
    if host.is_faulty() || methods.is_faulty() || extensions.is_faulty() {
        return None;
    }
    let hosts = host
        .given()
        .into_iter()
        .flat_map(|hosts| &hosts.value.0)
        .map(|host| host.value.value.clone());
    let methods = methods.given().into_iter().flat_map(|methods| &methods.value.0);
    let extensions = extensions
        .given()
        .into_iter()
        .flat_map(|extensions| &extensions.value.0);
    Some(Matcher {
        hosts: hosts.collect(),
        paths: paths(path.given()?, ignored, checker)?,
        ignored,
        conditions: Conditions {
            methods: methods.map(|method| method.value.value.clone()).collect(),
            extensions: extensions.map(|extension| extension.value.value.0.clone()).collect(),
            headers: conditions(&when.header, str::to_ascii_lowercase),
            query: conditions(&when.query, str::to_owned),
            cookies: conditions(&when.cookie, str::to_owned),
        },
    })
}

fn paths(
    paths: &OneOrMore<Written<PathPattern>>,
    ignored: Ignored,
    checker: &mut Checker<'_>,
) -> Option<Vec<PathPattern>> {
    let path = |path: &Spanned<Written<PathPattern>>| {
        if !ignored.case {
            return Some(path.value.value.clone());
        }
        let found = path.value.value.ignoring_case();
        found
            .map_err(|error| checker.error(path.span, error.message, error.help))
            .ok()
    };
    paths.0.iter().map(path).collect()
}

fn conditions<K: FromText>(pairs: &Pairs<K, Written<ValuePattern>>, name: fn(&str) -> String) -> Vec<Condition> {
    let condition = |(key, value): &(Spanned<Written<K>>, Spanned<Written<ValuePattern>>)| Condition {
        name: name(&key.text).into(),
        value: value.value.value.clone(),
    };
    pairs.0.iter().map(condition).collect()
}

/// Logs and metrics know routes by name.
pub(super) fn unique_names(routes: &Tables<file::route::Route>, checker: &mut Checker<'_>) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for name in routes.0.iter().filter_map(|route| route.name.given()) {
        if let Some(first) = seen.get(name.text.as_str()) {
            checker.report.push(
                Diagnostic::error(name.span, format!("there are two routes `{}`", clip(&name.text)))
                    .also(*first, "the first one")
                    .help("logs and metrics know routes by name: give one of them another".to_owned()),
            );
        } else {
            seen.insert(&name.text, name.span);
        }
    }
}

/// Reports routes that no request can reach.
pub(super) fn reachable(routes: &Tables<file::route::Route>, built: &[Option<Route>], checker: &mut Checker<'_>) {
    let sound: Vec<_> = routes
        .0
        .iter()
        .zip(built)
        .filter_map(|(route, built)| Some((route, built.as_ref()?)))
        .collect();
    let matchers: Vec<Matcher> = sound.iter().map(|(_, built)| built.matcher.clone()).collect();
    for conflict in conflicts(&matchers) {
        let (Some((route, built)), Some((by, winner))) = (sound.get(conflict.route), sound.get(conflict.by)) else {
            continue;
        };
        let why = match conflict.kind {
            ConflictKind::Duplicate => "asks for exactly the same",
            ConflictKind::Shadowed => "takes every such request",
        };
        let place = |route: &file::route::Route, table: Span| route.path.given().map_or(table, |path| path.span);
        checker.report.push(
            Diagnostic::error(
                place(route, route.span),
                format!(
                    "route `{}` can never be reached: route `{}` {why}",
                    built.name, winner.name
                ),
            )
            .also(place(by, by.span), format!("`{}` takes its requests", winner.name))
            .help("remove one of them, or tell them apart: by `host`, `path`, `methods` or `when`".to_owned()),
        );
    }
}
