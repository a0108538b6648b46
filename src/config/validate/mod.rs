//! From the file as written to the file as meant: names are resolved, defaults filled in, and what only shows when
//! several values are seen together is judged.

mod access;
mod acme;
mod action;
mod admin;
mod auth;
mod bandwidth;
mod cache;
mod cors;
mod health_check;
mod names;
mod networks;
mod policies;
mod rate_limit;
mod redis;
mod resilience;
mod route;
mod server;
mod servers;
mod tables;
mod telemetry;
mod tls;
mod upstream;
mod upstream_tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::names::Names;
use super::diagnostic::{Diagnostic, Report, Span};
use super::file::File;
use super::model::Config;
use crate::policy::{Cors, HeaderPolicy};

/// More routes than anybody writes by hand; the check for shadowed routes compares them with one another.
const MAX_ROUTES: usize = 10_000;

/// The smallest file that does something, for those whose file does nothing.
const MINIMAL: &str = "a minimal file:\n\n[upstream.app]\nservers = [\"127.0.0.1:3000\"]\n\n[[route]]\nname = \"app\"\npath = \"/*\"\nupstream = \"app\"";

/// What every check needs.
pub(super) struct Checker<'a> {
    /// What relative paths are relative to.
    dir: &'a Path,
    report: &'a mut Report,
}

impl Checker<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.report.push(Diagnostic::error(span, message).help(help));
    }

    fn warning(&mut self, span: Span, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.report.push(Diagnostic::warning(span, message).help(help));
    }

    /// A path of the file, absolute: what the process does with its directory changes nothing.
    fn path(&self, written: &str) -> PathBuf {
        let path = self.dir.join(written);
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// The bounds of these numbers are far below.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The names that routes can use.
struct Known<'f> {
    upstreams: Names<'f>,
    headers: Names<'f>,
    rate_limits: Names<'f>,
    /// What a request of each of them may cost at most, where that is known.
    capacities: Vec<Option<u64>>,
    bandwidths: Names<'f>,
    cors: Names<'f>,
    caches: Names<'f>,
    auths: Names<'f>,
    accesses: Names<'f>,
}

/// Policies that routes name, in file order; `None`: faulty, which has been reported.
struct Named<'a> {
    headers: &'a [Arc<HeaderPolicy>],
    cors: &'a [Option<Arc<Cors>>],
    caches: &'a [Option<Arc<crate::cache::Policy>>],
}

/// Makes the model; `None`: what is wrong has been reported, here or before.
pub(super) fn validate(file: &File, dir: &Path, report: &mut Report) -> Option<Config> {
    let checker = &mut Checker { dir, report };
    let server = server::server(&file.server, &file.tls, checker);
    let redis = file.redis.given().and_then(|redis| redis::redis(redis, checker));
    let acme = acme::acme(
        &file.acme,
        &file.server,
        &file.tls.value,
        (&file.redis, redis.as_ref()),
        checker,
    );
    let tls = tls::tls(&file.tls, (&file.certificate, &file.acme), &file.server, checker);
    let tls = tls.map(|mut tls| {
        tls.certificates.extend(acme.as_ref().map(acme::certificate));
        tls
    });
    let admin = admin::admin(file, checker);
    let log = tables::log(&file.log, &file.access_log, checker);
    let mut access_log = tables::access_log(&file.access_log, checker);
    let upstreams: Vec<_> = file
        .upstream
        .0
        .iter()
        .map(|(name, upstream)| upstream::upstream(name, upstream, checker))
        .collect();
    let (propagation, telemetry) = telemetry::telemetry(&file.telemetry, checker);
    let dns = tables::dns(&file.dns, checker);
    let cache_redis = file.cache_redis.given();
    let cache_redis = cache_redis.and_then(|redis| redis::cache_redis(redis, checker));
    let rate_limits: Vec<_> = file
        .rate_limit
        .0
        .iter()
        .map(|(name, limit)| rate_limit::rate_limit(name, limit, checker))
        .collect();
    let bandwidths: Vec<_> = file
        .bandwidth
        .0
        .iter()
        .map(|(name, limit)| bandwidth::bandwidth(name, limit, checker))
        .collect();
    let headers: Vec<_> = file
        .headers
        .0
        .iter()
        .map(|(_, headers)| tables::headers(headers, checker))
        .collect();
    let mut upstream_names = Names::new("upstream", &file.upstream);
    let auths: Vec<_> = file
        .auth
        .0
        .iter()
        .map(|(name, auth)| auth::auth(name, auth, &mut upstream_names, checker))
        .collect();
    let countries = !file.server.country_file.is_absent();
    let accesses: Vec<_> = file
        .access
        .0
        .iter()
        .map(|(name, access)| access::access(name, access, countries, checker))
        .collect();
    let cors: Vec<_> = file.cors.0.iter().map(|(_, cors)| cors::cors(cors, checker)).collect();
    let caches: Vec<_> = file
        .cache
        .0
        .iter()
        .map(|(name, cache)| cache::cache(name, cache, checker))
        .collect();

    let mut known = Known {
        upstreams: upstream_names,
        headers: Names::new("headers", &file.headers),
        rate_limits: Names::new("rate_limit", &file.rate_limit),
        capacities: (rate_limits.iter())
            .map(|limit| limit.as_ref().map(|limit| limit.capacity_units))
            .collect(),
        bandwidths: Names::new("bandwidth", &file.bandwidth),
        cors: Names::new("cors", &file.cors),
        caches: Names::new("cache", &file.cache),
        auths: Names::new("auth", &file.auth),
        accesses: Names::new("access", &file.access),
    };
    let named = Named {
        headers: &headers,
        cors: &cors,
        caches: &caches,
    };
    let defaults = policies::compile(&file.defaults, &mut known, &named, checker);
    if file.route.given && file.route.0.len() > MAX_ROUTES {
        let message = format!(
            "there are {} routes: more than {MAX_ROUTES} are not supported",
            file.route.0.len()
        );
        checker.error(
            file.route.span,
            message,
            "routes with the same action can share one: `path` takes a list".to_owned(),
        );
        return None;
    }
    let routes: Vec<_> = file
        .route
        .0
        .iter()
        .map(|route| route::route(route, &defaults, server.max_body, &mut known, &named, checker))
        .collect();
    route::unique_names(&file.route, checker);
    route::reachable(&file.route, &routes, checker);
    cache::directories(&file.cache, &caches, checker);
    cache::redis(file, checker);
    cache::shared(&file.route, &routes, checker);
    route::idle_priorities(&file.route, &routes, &upstreams, checker);
    if file.route.0.is_empty() && checker.report.errors() == 0 {
        checker.report.push(
            Diagnostic::error(
                None,
                "there is no `[[route]]`: every request would be answered with 404",
            )
            .help(MINIMAL.to_owned()),
        );
    }
    // With a fault, what a name was meant for may not be known: it could be the one that looks unused.
    if checker.report.errors() > 0 {
        return None;
    }
    let Known {
        upstreams: a,
        headers: b,
        rate_limits: c,
        capacities: _,
        cors: d,
        caches: e,
        auths: f,
        bandwidths: g,
        accesses: h,
    } = known;
    [a, b, c, d, e, f, g, h]
        .iter()
        .for_each(|names| names.warn_unused(checker));

    let auths = auths.into_iter().collect::<Option<Vec<_>>>()?;
    if let Some(log) = &mut access_log {
        for entry in auth::credentials(&auths) {
            // A name that the file gave is in the form that this takes.
            let _ = log.redact.add(&entry);
        }
    }
    Some(Config {
        credential_files: Vec::new(),
        auths,
        accesses: accesses.into_iter().collect::<Option<_>>()?,
        server,
        tls,
        acme,
        admin,
        log,
        access_log,
        propagation,
        telemetry,
        dns,
        redis,
        cache_redis,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        rate_limits: rate_limits.into_iter().collect::<Option<_>>()?,
        bandwidths: bandwidths.into_iter().collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
        default_headers: defaults.headers.flatten(),
        default_cors: defaults.cors.flatten(),
    })
}
