//! The file as written: an element a file. The doc comments are the reference and the schema.

pub(super) mod access;
pub(super) mod access_log;
pub(super) mod acme;
pub(super) mod action;
pub(super) mod admin;
pub(super) mod auth;
pub(super) mod bandwidth;
pub(super) mod cache;
pub(super) mod cache_redis;
pub(super) mod certificate;
pub(super) mod cors;
pub(super) mod dns;
pub(super) mod forward_auth;
pub(super) mod headers;
pub(super) mod health_check;
pub(super) mod http;
pub(super) mod log;
pub(super) mod matching;
pub(super) mod net;
pub(super) mod policies;
pub(super) mod rate_limit;
pub(super) mod redis;
pub(super) mod resilience;
pub(super) mod rotate;
pub(super) mod route;
pub(super) mod server;
pub(super) mod servers;
pub(super) mod sticky;
pub(super) mod telemetry;
pub(super) mod tls;
pub(super) mod upstream;
pub(super) mod upstream_tls;

use self::access::Access;
use self::access_log::AccessLog;
use self::acme::Acme;
use self::admin::Admin;
use self::auth::Auth;
use self::bandwidth::Bandwidth;
use self::cache::Cache;
use self::cache_redis::CacheRedis;
use self::certificate::Certificate;
use self::cors::Cors;
use self::dns::Dns;
use self::headers::Headers;
use self::log::Log;
use self::policies::Policies;
use self::rate_limit::RateLimit;
use self::redis::Redis;
use self::route::Route;
use self::server::Server;
use self::telemetry::Telemetry;
use self::tls::Tls;
use self::upstream::Upstream;
use super::list::Tables;
use super::named::Named;
use super::table::table;

table! {
    /// Everything that a file can say. Routes say which requests go where; the other tables are what routes use.
    pub struct File {
        /// Where clients connect, and the limits of what they send.
        default server: Server = "{}",
        /// Where clients connect with TLS.
        default tls: Tls = "{}",
        /// Certificates for clients.
        default certificate: Tables<Certificate> = "[]",
        /// A certificate that the gateway obtains by itself.
        optional acme: Acme,
        /// The listener for operators: health and metrics.
        default admin: Admin = "{}",
        /// The gateway's own log, on standard error.
        default log: Log = "{}",
        /// One line for every request.
        default access_log: AccessLog = "{}",
        /// Traces and metrics for a collector.
        default telemetry: Telemetry = "{}",
        /// How names of servers are looked up.
        default dns: Dns = "{}",
        /// A store that several gateways share; without this table every store is in the process.
        optional redis: Redis,
        /// Applications that requests are sent to.
        default upstream: Named<Upstream> = "{}",
        /// Limits of how often something may be asked for.
        default rate_limit: Named<RateLimit> = "{}",
        /// How fast bodies may flow.
        default bandwidth: Named<Bandwidth> = "{}",
        /// What is done to the header fields of answers.
        default headers: Named<Headers> = "{}",
        /// Which other sites' pages may call an application.
        default cors: Named<Cors> = "{}",
        /// Who may use an application, and with what.
        default access: Named<Access> = "{}",
        /// How it is found out who asks.
        default auth: Named<Auth> = "{}",
        /// What is kept of an application's answers, and for how long.
        default cache: Named<Cache> = "{}",
        /// A Redis that gateways share for their caches; without this table each has its own alone.
        optional cache_redis: CacheRedis,
        /// What routes do where they say nothing themselves.
        default defaults: Policies = "{}",
        /// Which requests go where.
        default route: Tables<Route> = "[]",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::reader::Reader;
    use crate::config::value::Element;

    /// Reading a default that is not valid would panic: here, not when a user's file meets it.
    #[test]
    fn every_default_is_valid() {
        let mut reader = Reader::new("defaults", "", Path::new("."), &|_| None);
        File::read_defaults(&mut reader);
        for diagnostic in &reader.report.diagnostics {
            assert!(diagnostic.message.contains(" has no `"), "{diagnostic:?}");
        }
        // The keys that are required: their absence is all that was said.
        assert!(reader.report.errors() >= 7, "{}", reader.report);
    }
}
