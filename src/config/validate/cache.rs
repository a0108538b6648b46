//! `[cache.NAME]`

use std::sync::Arc;

use ::http::{HeaderName, Method, StatusCode};

use super::{Checker, small};
use crate::cache::{Disk, KeyRules, Part, Policy, Shared};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::redis::{Parts, RedisUrl};
use crate::config::list::{List, OneOrMore, Tables};
use crate::config::model::{Action, Route};
use crate::config::named::Named;
use crate::config::secret::Secret;
use crate::config::text::Written;
use crate::config::units::Size;
use crate::config::value::{Field, Spanned};

/// Makes the policy; `None`: something of it is wrong and has been reported.
pub(super) fn cache(
    name: &Spanned<String>,
    cache: &file::cache::Cache,
    checker: &mut Checker<'_>,
) -> Option<Arc<Policy>> {
    let file::cache::Cache {
        ttl,
        default_ttl,
        negative_ttl,
        heuristic,
        browser,
        stale_while_revalidate,
        stale_if_error,
        bypass,
        key,
        vary,
        strip_cookies,
        statuses,
        methods,
        max_object,
        min_uses,
        tags,
        keep,
        client_control,
        purge,
        size,
        disk,
        redis,
    } = cache;
    if let (Some(_), Some(unused)) = (ttl.given(), default_ttl.given()) {
        checker.error(
            unused.span,
            "`default_ttl` is never used: `ttl` wins over everything",
            "keep `ttl` to overrule the application, `default_ttl` for where it says nothing".to_owned(),
        );
    }
    let size_bytes = size.value.value.0;
    let max_object_bytes = max_object.value.value.0;
    if max_object_bytes > size_bytes / 2 {
        let span = if max_object.given { max_object.span } else { size.span };
        checker.error(
            span,
            format!(
                "one answer of `max_object` ({}) would take more than half of `size` ({})",
                max_object.text, size.text
            ),
            "raise `size` to twice as much, or lower `max_object`".to_owned(),
        );
    }
    let disk = match disk.given() {
        Some(disk) => Some(self::disk(&disk.value, checker)?),
        None => None,
    };
    let redis = redis.given().map(|redis| shared_answers(redis, max_object, checker));
    Some(Arc::new(Policy {
        name: name.value.as_str().into(),
        ttl: ttl.given().map(|ttl| ttl.value.value.0),
        default_ttl: default_ttl.given().map(|ttl| ttl.value.value.0),
        negative_ttl: negative_ttl.given().map(|ttl| ttl.value.value.0),
        heuristic: heuristic.value.value,
        stale_while_revalidate: stale_while_revalidate.value.value,
        stale_if_error: stale_if_error.given().map(|time| time.value.value),
        browser: browser.given().map(|browser| browser.value.value.clone()),
        bypass: bypass.0.iter().map(|part| part.value.value.clone()).collect(),
        key: key_rules(key, checker),
        vary: vary.given().map(|fields| names(&fields.value)),
        strip_cookies: strip_cookies.value,
        statuses: statuses.given().map(|statuses| self::statuses(&statuses.value)),
        head: self::methods(methods, checker),
        max_object: max_object_bytes,
        min_uses: small(min_uses.0),
        tags: names(tags),
        keep: keep.given().map(|keep| keep.value.value.0),
        client_control: client_control.value,
        purge: purge.value,
        size: size_bytes,
        disk,
        redis,
    }))
}

fn names(list: &List<Written<HeaderName>>) -> Vec<HeaderName> {
    list.0.iter().map(|name| name.value.value.clone()).collect()
}

fn statuses<const A: u64, const B: u64>(list: &List<crate::config::value::Integer<A, B>>) -> Vec<StatusCode> {
    let status = |number: u64| StatusCode::from_u16(u16::try_from(number).ok()?).ok();
    list.0.iter().filter_map(|number| status(number.0)).collect()
}

/// Whether HEAD is among them.
fn methods(list: &List<Written<Method>>, checker: &mut Checker<'_>) -> bool {
    for method in &list.0 {
        if !matches!(method.value.value, Method::GET | Method::HEAD) {
            checker.error(
                method.span,
                format!("answers to {} are not kept", method.text),
                "`GET` and `HEAD` are answered from the cache; the others go to the application, and what they change is \
                 forgotten"
                    .to_owned(),
            );
        }
    }
    let has = |wanted: &Method| list.0.iter().any(|method| method.value.value == *wanted);
    if !has(&Method::GET) {
        let span = list.0.first().map(|method| method.span);
        if let Some(span) = span {
            checker.error(span, "without `GET` nothing is ever kept", "add `\"GET\"`".to_owned());
        }
    }
    has(&Method::HEAD)
}

fn key_rules(key: &file::cache::Key, checker: &mut Checker<'_>) -> KeyRules {
    let file::cache::Key {
        query,
        ignore,
        sort,
        headers,
        cookies,
    } = key;
    if let (Some(only), Some(unused)) = (query.given(), ignore.0.first()) {
        let exact = |name: &str| only.value.0.iter().any(|one| one.text == name);
        if !exact(&unused.text) && only.value.0.iter().all(|one| !one.text.ends_with('*')) {
            checker.error(
                unused.span,
                format!("`{}` does not count already: `query` does not name it", unused.text),
                "`query` names what counts, `ignore` what does not: one of them is enough".to_owned(),
            );
        }
    }
    let texts = |names: Vec<&String>| names.into_iter().map(|name| name.as_str().into()).collect();
    KeyRules {
        query: query
            .given()
            .map(|names| texts(names.value.0.iter().map(|name| &name.text).collect())),
        ignore: texts(ignore.0.iter().map(|name| &name.text).collect()),
        sort: sort.value,
        headers: names(headers),
        cookies: texts(cookies.0.iter().map(|name| &name.text).collect()),
    }
}

fn disk(disk: &file::cache::Disk, checker: &mut Checker<'_>) -> Option<Disk> {
    let file::cache::Disk { path, size } = disk;
    let (path, size) = (path.given()?, size.given()?);
    if path.text.is_empty() {
        checker.error(
            path.span,
            "`path` names no directory",
            "give the cache a directory of its own".to_owned(),
        );
        return None;
    }
    Some(Disk {
        path: checker.path(&path.text),
        size: size.value.value.0,
    })
}

/// A body that takes longer than others wait for theirs is none to be shared.
const LARGEST_SHARED: u64 = 1_000_000;

fn shared_answers(
    shared: &Spanned<file::cache::Shared>,
    all: &Spanned<Written<Size>>,
    checker: &mut Checker<'_>,
) -> Shared {
    let file::cache::Shared { max_object } = &shared.value;
    let most = max_object.value.value.0;
    if most > LARGEST_SHARED {
        checker.error(
            max_object.span,
            format!("answers of {} are too large to be shared", max_object.text),
            "write at most `\"1MB\"`: larger ones are quicker fetched, or kept on disk".to_owned(),
        );
    } else if most > all.value.value.0 && max_object.given {
        checker.error(
            max_object.span,
            format!(
                "`max_object` of the cache ({}) is less: none of these is kept",
                all.text
            ),
            "raise that one, or lower this".to_owned(),
        );
    }
    Shared { max_object: most }
}

/// Answers are shared in a Redis that the file must name, and that had better not be the one of the limits.
pub(super) fn redis(written: &file::File, checker: &mut Checker<'_>) {
    let shared = written.cache.0.iter().find_map(|(_, cache)| cache.redis.given());
    let Some(shared) = shared else { return };
    let Some(answers) = written.cache_redis.given() else {
        checker.error(
            shared.span,
            "there is no Redis to share answers in",
            "add `[cache_redis]` with a `url`".to_owned(),
        );
        return;
    };
    let places = |urls: &Field<OneOrMore<Secret<RedisUrl>>>| -> Vec<(String, Span)> {
        let urls = urls.given().into_iter().flat_map(|urls| &urls.value.0);
        urls.map(|url| (Parts::of(url.text.expose()).address.to_owned(), url.span))
            .collect()
    };
    let limits = written
        .redis
        .given()
        .map(|redis| places(&redis.value.url))
        .unwrap_or_default();
    for (address, span) in places(&answers.value.url) {
        if let Some((_, other)) = limits.iter().find(|(limits, _)| *limits == address) {
            checker.report.push(
                Diagnostic::warning(span, "answers are kept in the Redis that counts for the limits")
                    .also(*other, "the one of the limits")
                    .help(
                        "give them one of their own: when its memory is full, either answers drive counts out or nothing \
                         is counted any more"
                            .to_owned(),
                    ),
            );
        }
    }
}

/// Two caches in one directory would take each other's answers out.
pub(super) fn directories(
    written: &Named<file::cache::Cache>,
    caches: &[Option<Arc<Policy>>],
    checker: &mut Checker<'_>,
) {
    let mut taken: Vec<&Policy> = Vec::new();
    for ((_, cache), policy) in written.0.iter().zip(caches) {
        let (Some(policy), Some(written)) = (policy, cache.disk.given()) else {
            continue;
        };
        let same = |other: &&&Policy| {
            other.disk.as_ref().map(|disk| &disk.path) == policy.disk.as_ref().map(|disk| &disk.path)
        };
        match taken.iter().find(same) {
            Some(other) => checker.error(
                written.span,
                format!("`{}` keeps its answers in this directory already", other.name),
                "give each cache a directory of its own".to_owned(),
            ),
            None => taken.push(policy),
        }
    }
}

/// Warns where an answer that may be somebody's own could be given to others: the operator gives it a lifetime, no part of
/// a request keeps the cache out, and elsewhere the file says that this application knows its users by a part of a request.
pub(super) fn shared(written: &Tables<file::route::Route>, routes: &[Option<Route>], checker: &mut Checker<'_>) {
    let upstream = |route: &Route| match route.action {
        Action::Proxy { upstream, .. } => Some(upstream),
        _ => None,
    };
    let known: Vec<&Route> = routes.iter().flatten().collect();
    for (written, route) in written.0.iter().zip(routes) {
        let Some((route, policy)) = route.as_ref().and_then(|route| Some((route, route.cache.as_ref()?))) else {
            continue;
        };
        let open = policy.bypass.is_empty() && policy.key.headers.is_empty() && policy.key.cookies.is_empty();
        if !open || policy.default_ttl.is_none() {
            continue;
        }
        let siblings = known.iter().filter(|other| upstream(other) == upstream(route));
        let parts = siblings.flat_map(|other| {
            let bypassed = other
                .cache
                .iter()
                .flat_map(|cache| cache.bypass.iter().map(Part::to_string));
            let allowed = other.cors.iter().flat_map(|cors| cors.identity_fields());
            bypassed
                .chain(allowed.map(|name| format!("header:{name}")))
                .collect::<Vec<_>>()
        });
        if let Some(part) = parts.into_iter().next() {
            let span = written
                .policies
                .cache
                .given()
                .map_or(written.span, |choice| choice.span);
            checker.warning(
                span,
                format!(
                    "`{}` keeps answers of an application that knows its users by `{part}`",
                    policy.name
                ),
                format!(
                    "if these answers depend on it: add `bypass = [\"{part}\"]` to `[cache.{}]`",
                    policy.name
                ),
            );
        }
    }
}
