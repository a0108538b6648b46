//! Routes, compiled: every name resolved to what it names.

use std::sync::Arc;

use super::super::Registry;
use super::super::auth::{RouteAuth, Way};
use super::super::caches::Disks;
use super::super::limits::{CompiledLimits, RouteBandwidth};
use super::super::sharing::Sharing;
use super::{Action, Route, Upstream};
use crate::answer::Answer;
use crate::config::model;
use crate::policy::{Access, Admission, Delivery};

/// What the tables of a file became that routes name.
pub(super) struct Named<'a> {
    pub(super) upstreams: &'a [Arc<Upstream>],
    pub(super) ways: &'a [Arc<Way>],
    pub(super) accesses: &'a [Arc<Access>],
    pub(super) limits: &'a CompiledLimits,
    pub(super) bandwidths: &'a [model::Bandwidth],
    pub(super) disks: &'a Disks,
    pub(super) sharing: Option<&'a Arc<Sharing>>,
}

impl Named<'_> {
    /// The route, with what it names.
    pub(super) fn compile(&self, route: model::Route, registry: &Registry) -> Route {
        let action = match route.action {
            model::Action::Proxy { upstream, rewrite } => Action::Proxy {
                upstream: Arc::clone(&self.upstreams[upstream]),
                rewrite,
            },
            model::Action::Respond(model::Respond {
                status,
                content_type,
                body,
                fields,
            }) => Action::Respond(Answer::Content {
                status,
                content_type,
                body,
                fields,
            }),
            model::Action::Redirect(redirect) => Action::Redirect(redirect),
            model::Action::Files(files) => Action::Files(files),
            model::Action::Metrics => Action::Metrics,
            model::Action::Health => Action::Health(route.matcher.prefixes()),
        };
        Route {
            // Whoever watches over the gateway must not be told that it watches too closely.
            limits: match action {
                Action::Health(_) => None,
                _ => self.limits.route(&route.rate_limits),
            },
            bandwidth: {
                let named: Vec<&model::Bandwidth> =
                    route.bandwidths.iter().map(|&index| &self.bandwidths[index]).collect();
                RouteBandwidth::new(&named, &registry.limits)
            },
            admission: Admission {
                // Nor be told that the gateway is gone, because what is behind it is closed.
                maintenance: match action {
                    Action::Health(_) | Action::Metrics => None,
                    _ => route.maintenance,
                },
                allow: route.allow,
                access: route
                    .access
                    .iter()
                    .map(|&index| Arc::clone(&self.accesses[index]))
                    .collect(),
                preflights: route.cors.is_some(),
                max_body: route.max_body,
            },
            action,
            auth: route.auth.map(|auth| Arc::new(RouteAuth::compile(&auth, self.ways))),
            cache: route.cache.map(|policy| {
                registry
                    .caches
                    .of(&policy, &route.name, self.disks, self.sharing, &registry.metrics)
            }),
            delivery: Delivery {
                headers: route.headers,
                cors: route.cors,
                compress: route.compress,
            },
            access_log: route.access_log,
            priority: route.priority,
            concurrency: route.concurrency.map(|limit| registry.concurrency(&route.name, limit)),
            pattern: match route.matcher.paths.as_slice() {
                [path] => Some(path.to_string().into()),
                _ => None,
            },
            metrics: registry.metrics.route(&route.name),
            name: route.name,
        }
    }
}
