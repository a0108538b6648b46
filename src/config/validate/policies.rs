//! The policy keys, of `[defaults]` and of a route.

use std::sync::Arc;
use std::time::Duration;

use super::names::Names;
use super::rate_limit::too_dear;
use super::{Checker, Known, Named, count};
use crate::cache::Policy;
use crate::config::file;
use crate::config::file::policies::{Choice, CostedLimit, PathPart};
use crate::config::list::List;
use crate::config::model::{Concurrency, LimitUse, Priority, RouteAuth};
use crate::config::suggest::clip;
use crate::config::text::{Reference, Written};
use crate::config::value::{Either, Field, Spanned};
use crate::limit::MAX_LIMITS;
use crate::policy::{AllowList, Compression, Cors, HeaderPolicy, Maintenance};
use crate::route::Ignored;

/// What waits where only the limit is written; a test compares these with the defaults of the table.
const QUEUE: usize = 100;
const WAIT: Duration = Duration::from_millis(500);

/// What a table says about policies; `None`: nothing.
pub(super) struct Compiled {
    pub(super) path_ignores: Option<Ignored>,
    pub(super) headers: Option<Option<Arc<HeaderPolicy>>>,
    pub(super) cors: Option<Option<Arc<Cors>>>,
    pub(super) auth: Option<Option<Arc<RouteAuth>>>,
    pub(super) cache: Option<Option<Arc<Policy>>>,
    pub(super) compress: Option<Option<Arc<Compression>>>,
    pub(super) allow: Option<AllowList>,
    pub(super) access: Option<Vec<usize>>,
    pub(super) maintenance: Option<Option<Maintenance>>,
    pub(super) access_log: Option<bool>,
    pub(super) max_body: Option<u64>,
    pub(super) rate_limits: Option<Vec<LimitUse>>,
    pub(super) bandwidths: Option<Vec<usize>>,
    pub(super) concurrency: Option<Option<Concurrency>>,
    pub(super) priority: Option<Priority>,
}

pub(super) fn compile(
    policies: &file::policies::Policies,
    known: &mut Known<'_>,
    named: &Named<'_>,
    checker: &mut Checker<'_>,
) -> Compiled {
    let file::policies::Policies {
        path_ignores,
        headers,
        rate_limit,
        bandwidth,
        cors,
        auth,
        cache,
        compress,
        concurrency,
        priority,
        allow,
        access,
        maintenance,
        access_log,
        max_body,
    } = policies;

    let bandwidths = bandwidth.given().map(|names| bandwidths(names, known, checker));
    let rate_limits = rate_limit.given().map(|limits| rate_limits(limits, known, checker));
    if let Some(allow) = allow.given().filter(|allow| allow.0.is_empty()) {
        checker.warning(
            allow.span,
            "an empty `allow` admits nobody",
            "list networks, or leave the key out to admit everybody".to_owned(),
        );
    }
    Compiled {
        path_ignores: path_ignores.given().map(|parts| ignored(parts)),
        headers: chosen(headers).map(|name| {
            let index = known.headers.find_at(&name?, checker)?;
            named.headers.get(index).cloned()
        }),
        cors: chosen(cors).map(|name| {
            let index = known.cors.find_at(&name?, checker)?;
            named.cors.get(index).cloned().flatten()
        }),
        auth: auth.given().map(|auth| match &auth.value {
            Either::First(_) => None,
            Either::Second(rule) => super::auth::rule(rule, known, checker),
        }),
        cache: chosen(cache).map(|name| {
            let index = known.caches.find_at(&name?, checker)?;
            named.caches.get(index).cloned().flatten()
        }),
        compress: compress.given().map(|compress| match &compress.value {
            Either::First(false) => None,
            Either::First(true) => Some(Arc::new(Compression::default())),
            Either::Second(compress) => Some(Arc::new(compression(compress))),
        }),
        allow: allow
            .given()
            .map(|allow| AllowList::new(allow.0.iter().map(|network| network.value.value).collect())),
        access: access.given().map(|access| match &access.value {
            Either::First(_) => Vec::new(),
            Either::Second(names) => names_once(&names.0, &mut known.accesses, checker),
        }),
        maintenance: maintenance.given().map(|maintenance| match &maintenance.value {
            Either::First(false) => None,
            Either::First(true) => Some(super::access::closed()),
            Either::Second(maintenance) => Some(super::access::maintenance(maintenance)),
        }),
        access_log: access_log.given().map(|access_log| access_log.value),
        max_body: max_body.given().map(|max_body| max_body.value.value.0),
        rate_limits,
        bandwidths,
        concurrency: concurrency.given().map(|concurrency| match &concurrency.value {
            Either::First(_) => None,
            Either::Second(Either::First(limit)) => Some(Concurrency {
                limit: count(limit.0),
                queue: QUEUE,
                wait: WAIT,
            }),
            Either::Second(Either::Second(concurrency)) => self::concurrency(concurrency),
        }),
        priority: priority.given().map(|priority| priority.value.into()),
    }
}

fn ignored(parts: &List<PathPart>) -> Ignored {
    let has = |wanted| parts.0.iter().any(|part| part.value == wanted);
    Ignored {
        case: has(PathPart::Case),
        format: has(PathPart::Format),
    }
}

/// The limits of a route.
fn rate_limits(
    limits: &Spanned<List<Either<Written<Reference>, CostedLimit>>>,
    known: &mut Known<'_>,
    checker: &mut Checker<'_>,
) -> Vec<LimitUse> {
    let mut uses: Vec<LimitUse> = Vec::new();
    for named in &limits.0 {
        let (name, at, cost) = match &named.value {
            Either::First(name) => (name.text.as_str(), named.span, None),
            Either::Second(CostedLimit { name, cost }) => match name.given() {
                Some(name) => (name.text.as_str(), name.span, cost.given()),
                None => continue, // reported
            },
        };
        let Some(limit) = known.rate_limits.find(name, at, checker) else {
            continue;
        };
        if uses.iter().any(|other| other.limit == limit) {
            checker.error(
                at,
                format!("`{}` is there twice", clip(name)),
                "each request counts once: remove it".to_owned(),
            );
        }
        if let (Some(cost), Some(capacity)) = (cost, known.capacities.get(limit).copied().flatten()) {
            too_dear(cost.0, capacity, cost.span, checker);
        }
        uses.push(LimitUse {
            limit,
            cost: cost.map(|cost| cost.0),
        });
    }
    if uses.len() > MAX_LIMITS {
        checker.error(
            limits.span,
            format!("these are {} limits", uses.len()),
            format!("a request is counted by {MAX_LIMITS} at most: remove some"),
        );
    }
    uses
}

/// Tables that a route names, none of them twice.
fn names_once(names: &[Spanned<Written<Reference>>], known: &mut Names<'_>, checker: &mut Checker<'_>) -> Vec<usize> {
    let mut found = Vec::new();
    for name in names {
        let Some(index) = known.find_at(name, checker) else {
            continue;
        };
        if found.contains(&index) {
            let message = format!("`{}` is there twice", clip(&name.text));
            checker.error(name.span, message, "remove it".to_owned());
        }
        found.push(index);
    }
    found
}

/// The limits of bandwidth of a route.
fn bandwidths(
    names: &Spanned<List<Written<Reference>>>,
    known: &mut Known<'_>,
    checker: &mut Checker<'_>,
) -> Vec<usize> {
    let mut found = Vec::new();
    for name in &names.0 {
        let Some(index) = known.bandwidths.find_at(name, checker) else {
            continue;
        };
        if found.contains(&index) {
            let message = format!("`{}` is there twice", clip(&name.text));
            checker.error(name.span, message, "a byte counts once: remove it".to_owned());
        }
        found.push(index);
    }
    if found.len() > MAX_LIMITS {
        let message = format!("these are {} limits of bandwidth", found.len());
        checker.error(
            names.span,
            message,
            format!("there are {MAX_LIMITS} at most: remove some"),
        );
    }
    found
}

type NameAt = Spanned<Written<Reference>>;

/// The name that was chosen, `Some(None)`: none by choice.
fn chosen(field: &Field<Choice>) -> Option<Option<NameAt>> {
    field.given().map(|choice| match &choice.value {
        Either::First(_) => None,
        Either::Second(name) => Some(Spanned {
            value: name.clone(),
            span: choice.span,
            given: choice.given,
        }),
    })
}

fn concurrency(concurrency: &file::policies::Concurrency) -> Option<Concurrency> {
    let file::policies::Concurrency { limit, queue, wait } = concurrency;
    Some(Concurrency {
        limit: count(limit.given()?.0),
        queue: count(queue.0),
        wait: wait.value.value.0,
    })
}

fn compression(compress: &file::policies::Compress) -> Compression {
    let file::policies::Compress {
        types,
        min_length,
        codings,
        effort,
    } = compress;
    let mut compiled = Compression::default();
    if let Some(types) = types.given() {
        compiled.types = types.0.iter().map(|media| media.value.value.0.clone()).collect();
    }
    if let Some(min_length) = min_length.given() {
        compiled.min_length = min_length.value.value.0;
    }
    if let Some(effort) = effort.given() {
        compiled.effort = effort.value.into();
    }
    if let Some(codings) = codings.given() {
        compiled.codings.clear();
        for coding in codings.0.iter().map(|coding| coding.value.into()) {
            if !compiled.codings.contains(&coding) {
                compiled.codings.push(coding);
            }
        }
    }
    compiled
}
