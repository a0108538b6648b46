//! `[[route]]`

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::policies::{self, Compiled};
use super::{Checker, Known};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::action::Serve;
use crate::config::model::{Action, Files, Respond, Route};
use crate::config::suggest::clip;
use crate::config::text::{Fault, FromText, Pairs, Written};
use crate::config::value::{Field, Spanned, Tables};
use crate::policy::{HeaderPolicy, Redirect, Rewrite, Template};
use crate::route::{Condition, Conditions, ConflictKind, Matcher, PathPattern, ValuePattern, conflicts};

/// Makes the route; `None`: something of it is wrong and has been reported.
pub(super) fn route(
    route: &Spanned<file::route::Route>,
    defaults: &Compiled,
    max_body: u64,
    known: &mut Known<'_>,
    headers: &[Arc<HeaderPolicy>],
    checker: &mut Checker<'_>,
) -> Option<Route> {
    let own = policies::compile(&route.policies, known, headers, checker);
    let matcher = matcher(&route.value);
    let action = action(route, matcher.as_ref(), known, checker);
    Some(Route {
        name: route.name.given()?.text.as_str().into(),
        matcher: matcher?,
        action: action?,
        allow: own.allow.or_else(|| defaults.allow.clone()),
        headers: own.headers.or_else(|| defaults.headers.clone()).flatten(),
        compress: own.compress.or_else(|| defaults.compress.clone()).flatten(),
        access_log: own.access_log.or(defaults.access_log).unwrap_or(true),
        max_body: own.max_body.or(defaults.max_body).unwrap_or(max_body),
    })
}

/// What the route asks of a request; `None`: a part of it is faulty.
fn matcher(route: &file::route::Route) -> Option<Matcher> {
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
        paths: path
            .given()?
            .value
            .0
            .iter()
            .map(|path| path.value.value.clone())
            .collect(),
        conditions: Conditions {
            methods: methods.map(|method| method.value.value.clone()).collect(),
            extensions: extensions.map(|extension| extension.value.value.0.clone()).collect(),
            headers: conditions(&when.header, str::to_ascii_lowercase),
            query: conditions(&when.query, str::to_owned),
            cookies: conditions(&when.cookie, str::to_owned),
        },
    })
}

fn conditions<K: FromText>(pairs: &Pairs<K, Written<ValuePattern>>, name: fn(&str) -> String) -> Vec<Condition> {
    let condition = |(key, value): &(Spanned<Written<K>>, Spanned<Written<ValuePattern>>)| Condition {
        name: name(&key.text).into(),
        value: value.value.value.clone(),
    };
    pairs.0.iter().map(condition).collect()
}

/// What the route does: exactly one of its five keys.
fn action(
    route: &Spanned<file::route::Route>,
    matcher: Option<&Matcher>,
    known: &mut Known<'_>,
    checker: &mut Checker<'_>,
) -> Option<Action> {
    let file::route::Route {
        name,
        upstream,
        respond,
        redirect,
        serve,
        files,
        rewrite,
        ..
    } = &route.value;
    let name = name.given().map_or_else(
        || "the route".to_owned(),
        |name| format!("route `{}`", clip(&name.text)),
    );
    let rewritten = rewrite.given().and_then(|rewrite| self::rewrite(rewrite, checker));

    let places = [span(upstream), span(respond), span(redirect), span(serve), span(files)];
    let words = ["upstream", "respond", "redirect", "serve", "files"];
    let present: Vec<_> = words
        .iter()
        .zip(places)
        .filter_map(|(word, place)| Some((*word, place?)))
        .collect();
    match present.as_slice() {
        [] => {
            checker.error(
                route.span,
                format!("{name} does nothing"),
                "add one of `upstream`, `respond`, `redirect`, `serve` and `files`".to_owned(),
            );
            return None;
        }
        [(first, at), (second, then), ..] => {
            // Where one of them is faulty it has no place, and what is wrong with it has been said.
            if let (Some(at), Some(then)) = (at, then) {
                let message = format!("{name} has both `{first}` and `{second}`");
                let help = "a route does one thing: remove one of them".to_owned();
                checker
                    .report
                    .push(Diagnostic::error(*then, message).also(*at, "the other one").help(help));
            }
            return None;
        }
        [_] => {}
    }
    if let Some(rewrite) = rewrite.given() {
        if upstream.is_absent() && files.is_absent() {
            let help = "it changes what an upstream or a directory sees: remove it".to_owned();
            checker.error(
                rewrite.span,
                format!("{name} has a `rewrite`, but sends nothing on"),
                help,
            );
        }
    }
    if let Some(upstream) = upstream.given() {
        let upstream = known.upstreams.find_at(upstream, checker)?;
        return Some(Action::Proxy {
            upstream,
            rewrite: rewritten,
        });
    }
    if let Some(respond) = respond.given() {
        return Some(Action::Respond(self::respond(respond, checker)));
    }
    if let Some(redirect) = redirect.given() {
        return self::redirect(&redirect.value, matcher?, checker).map(Action::Redirect);
    }
    if let Some(serve) = serve.given() {
        let below = |path: &PathPattern| matches!(path, PathPattern::Prefix(_));
        return Some(match serve.value {
            Serve::Metrics => Action::Metrics,
            Serve::Health => {
                if !matcher?.paths.iter().all(below) {
                    let help =
                        "write a path like `\"/api/health/*\"`: it answers `/live`, `/ready` and `/detailed` below it";
                    let at = route.path.given().map_or(serve.span, |path| path.span);
                    checker.error(
                        at,
                        "`serve = \"health\"` needs a path that ends in `/*`",
                        help.to_owned(),
                    );
                }
                Action::Health
            }
        });
    }
    self::files(&files.given()?.value, rewritten, checker).map(Action::Files)
}

/// `Some`: the key is there, with its place unless it is faulty.
fn span<T>(field: &Field<T>) -> Option<Option<Span>> {
    match field {
        Field::Absent => None,
        Field::Faulty => Some(None),
        Field::Given(value) => Some(Some(value.span)),
    }
}

fn respond(respond: &Spanned<file::action::Respond>, checker: &mut Checker<'_>) -> Respond {
    let file::action::Respond {
        status,
        content_type,
        body,
        headers,
    } = &respond.value;
    let status = status.value.0;
    if matches!(status.as_u16(), 204 | 205 | 304) && !body.text.is_empty() {
        checker.error(
            body.span,
            format!("an answer of status {} has no body", status.as_u16()),
            "remove `body`".to_owned(),
        );
    }
    for (name, _) in &headers.0 {
        if name.value.value.0 == ::http::header::CONTENT_TYPE {
            checker.error(
                name.span,
                "`Content-Type` does not belong into `headers`",
                "write `content_type = \"…\"`".to_owned(),
            );
        }
    }
    Respond {
        status,
        content_type: content_type.value.value.clone(),
        body: bytes::Bytes::from(body.text.clone()),
        fields: headers
            .0
            .iter()
            .map(|(name, value)| (name.value.value.0.clone(), value.value.value.clone()))
            .collect(),
    }
}

fn redirect(redirect: &file::action::Redirect, matcher: &Matcher, checker: &mut Checker<'_>) -> Option<Redirect> {
    let to = redirect.to.given()?;
    // With several paths it is not known which one matched: there are no captures then.
    let captures = match matcher.paths.as_slice() {
        [PathPattern::Regex(regex)] => Some(regex.clone()),
        _ => None,
    };
    match Template::parse(&to.text, captures.as_ref()) {
        Ok(template) => Some(Redirect {
            to: template,
            status: redirect.status.value.0,
            captures,
        }),
        Err(error) => {
            checker.error(to.span, error.message, error.help);
            None
        }
    }
}

fn rewrite(rewrite: &Spanned<file::action::Rewrite>, checker: &mut Checker<'_>) -> Option<Rewrite> {
    let file::action::Rewrite {
        strip_prefix,
        regex,
        replace,
        add_prefix,
    } = &rewrite.value;
    let parts = [span(strip_prefix), span(regex), span(replace), span(add_prefix)];
    if parts.iter().all(Option::is_none) {
        checker.error(
            rewrite.span,
            "`rewrite` changes nothing",
            "add `strip_prefix`, `add_prefix`, or `regex` and `replace`".to_owned(),
        );
        return None;
    }
    if regex.is_absent() != replace.is_absent() {
        let (there, missing) = if regex.is_absent() {
            ("replace", "regex")
        } else {
            ("regex", "replace")
        };
        checker.error(
            rewrite.span,
            format!("`{there}` needs `{missing}`"),
            format!("add `{missing} = \"…\"`"),
        );
        return None;
    }
    let regex = regex.given().zip(replace.given());
    let rewritten = Rewrite::new(
        strip_prefix.given().map(|path| path.text.as_str()),
        regex.map(|(regex, replace)| (regex.text.as_str(), replace.text.as_str())),
        add_prefix.given().map(|path| path.text.as_str()),
    );
    // The other parts were checked one by one when they were read: what is left is the replacement.
    rewritten
        .map_err(|error| {
            let Fault { message, help } = error.into();
            checker.error(regex.map_or(rewrite.span, |(_, replace)| replace.span), message, help);
        })
        .ok()
}

fn files(files: &file::action::Files, rewrite: Option<Rewrite>, checker: &mut Checker<'_>) -> Option<Files> {
    let file::action::Files {
        root,
        index,
        spa_fallback,
    } = files;
    let root = root.given()?;
    // Not canonical: a link that is pointed at another release must be followed anew.
    let path = std::path::absolute(checker.dir.join(Path::new(&root.text)));
    let is_directory = path.as_ref().is_ok_and(|path| path.is_dir());
    let (Ok(path), true) = (path, is_directory) else {
        checker.error(
            root.span,
            format!("`{}` is not a directory that can be read", clip(&root.text)),
            "the path is relative to the directory of this file".to_owned(),
        );
        return None;
    };
    if let Some(fallback) = spa_fallback.given() {
        if !path.join(&fallback.text).is_file() {
            let message = format!("there is no file `{}` in `{}`", clip(&fallback.text), clip(&root.text));
            checker.warning(
                fallback.span,
                message,
                "until there is, such paths are answered with 404".to_owned(),
            );
        }
    }
    Some(Files {
        root: path,
        index: index.text.as_str().into(),
        spa_fallback: spa_fallback.given().map(|fallback| fallback.text.as_str().into()),
        rewrite,
    })
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
