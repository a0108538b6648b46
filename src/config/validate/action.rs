//! What a route does: exactly one of its five keys, and `rewrite`.

use std::path::Path;

use super::{Checker, Known};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::action::Serve;
use crate::config::model::{Action, Files, Respond};
use crate::config::suggest::clip;
use crate::config::text::Fault;
use crate::config::value::{Field, Spanned};
use crate::policy::{Redirect, Rewrite, Template};
use crate::route::{Matcher, PathPattern};

/// What the route does: exactly one of its five keys.
pub(super) fn action(
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
    let rewritten = rewritten.map(|rewrite| match matcher {
        Some(matcher) if matcher.ignored.case => rewrite.ignoring_case(),
        _ => rewrite,
    });

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
    if let Some(rewrite) = rewrite.given()
        && upstream.is_absent()
        && files.is_absent()
    {
        let help = "it changes what an upstream or a directory sees: remove it".to_owned();
        let message = format!("{name} has a `rewrite`, but sends nothing on");
        checker.error(rewrite.span, message, help);
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
    if let Some(fallback) = spa_fallback.given()
        && !path.join(&fallback.text).is_file()
    {
        let message = format!("there is no file `{}` in `{}`", clip(&fallback.text), clip(&root.text));
        let help = "until there is, such paths are answered with 404".to_owned();
        checker.warning(fallback.span, message, help);
    }
    Some(Files {
        root: path,
        index: index.text.as_str().into(),
        spa_fallback: spa_fallback.given().map(|fallback| fallback.text.as_str().into()),
        rewrite,
    })
}
