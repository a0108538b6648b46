//! From a request to the index of its route.

use http::{HeaderMap, Method};

use super::Matcher;

/// What the router looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Host without port, lower case; empty where a HTTP/1.0 client sent none.
    pub host: &'a str,
    /// Path as [`super::normalise`] gave it.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Header fields.
    pub headers: &'a HeaderMap,
}

/// How two routes stand in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// They match exactly the same requests.
    Duplicate,
    /// Every request of the later one is taken by the earlier one.
    Shadowed,
}

/// Two routes of which one can never be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// What is wrong.
    pub kind: ConflictKind,
    /// Index of the route that is never reached.
    pub route: usize,
    /// Index of the route that takes its requests.
    pub by: usize,
}

/// Finds every route that can never be reached.
#[must_use]
pub fn conflicts(_matchers: &[Matcher]) -> Vec<Conflict> {
    unimplemented!()
}

/// Routes compiled for look-up.
#[derive(Debug)]
pub struct Router {}

impl Router {
    /// Compiles the matchers of the routes, in file order.
    #[must_use]
    pub fn new(_matchers: Vec<Matcher>) -> Self {
        unimplemented!()
    }

    /// Index of the most specific route that takes this request.
    #[must_use]
    pub fn find(&self, _request: &Request<'_>) -> Option<usize> {
        unimplemented!()
    }
}
