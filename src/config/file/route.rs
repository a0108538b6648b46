//! `[[route]]`

use ::http::Method;

use super::action::{Files, Redirect, Respond, Rewrite, Serve};
use super::matching::{Extension, When};
use super::policies::Policies;
use crate::config::list::{OneOrMore, Several};
use crate::config::table::table;
use crate::config::text::{Name, Reference, Written};
use crate::route::{HostPattern, PathPattern};

table! {
    /// Which requests are meant, and what is done with them. A route has exactly one of `upstream`, `respond`,
    /// `redirect`, `serve` and `files`.
    ///
    /// The most specific route takes a request: an exact host before a wildcard before any host, an exact path before
    /// the longest prefix before a regular expression, then the route with more conditions, then the one that stands
    /// first. A policy key that the route does not set is the one of `[defaults]`.
    pub struct Route {
        /// Its name, in logs, metrics and messages; no two routes have the same.
        required name: Written<Name>,
        /// The hosts: `deals247.online`, or `*.deals247.online` for every name below it.
        optional host: OneOrMore<Written<HostPattern>> => "any host",
        /// The paths: `/health` is this path only, `/api/*` is `/api` and everything below it (never `/apix`), `~^/v[0-9]+/`
        /// is a regular expression.
        required path: OneOrMore<Written<PathPattern>>,
        /// The methods.
        optional methods: Several<Written<Method>> => "any method",
        /// The extensions of the last part of the path: `css`, `js`.
        optional extensions: Several<Written<Extension>> => "any",
        /// Further conditions on header fields, query parameters and cookies.
        default when: When = "{}",
        /// Sends the request to this upstream: a name from `[upstream.NAME]`.
        optional upstream: Written<Reference>,
        /// Answers with a fixed body: `{ status = 200, body = "healthy" }`.
        optional respond: Respond,
        /// Sends the client elsewhere: `{ to = "https://${host}${path}" }`.
        optional redirect: Redirect,
        /// Answers with something of the gateway's own.
        optional serve: Serve,
        /// Serves files: `{ root = "public" }`.
        optional files: Files,
        /// Changes the path that the upstream or the directory sees.
        optional rewrite: Rewrite,
        ..policies: Policies
    }
}
