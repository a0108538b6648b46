//! What is told of a request to who collects traces: a span of the gateway, below it one for each attempt at a server.
//!
//! A request only fills these in; what the wire wants is made of them where they are sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, Version};

use super::identity::Place;

/// The longest text that a span tells, bytes: what waits to be sent stays bounded.
const MAX_TEXT: usize = 1024;

/// Something that took its time.
#[derive(Debug, Clone)]
pub struct Span {
    /// Where in a trace it is.
    pub place: Place,
    /// When it began.
    pub started: SystemTime,
    /// When it was over.
    pub ended: SystemTime,
    /// What it was.
    pub work: Work,
}

/// What took the time.
#[derive(Debug, Clone)]
pub enum Work {
    /// A request, from its head to the end of its answer.
    Request(Box<Request>),
    /// An attempt at a server.
    Attempt(Box<Attempt>),
}

/// A request of a client.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host that was asked for; empty: none.
    pub host: Box<str>,
    /// The port at which it came.
    pub port: u16,
    /// The path, without the query: that may hold what nobody else is to see.
    pub path: Box<str>,
    /// The version of HTTP.
    pub version: Version,
    /// The status; 0: none was sent.
    pub status: u16,
    /// The name of the route that took it.
    pub route: Option<Arc<str>>,
    /// Its path, where it has but one.
    pub pattern: Option<Arc<str>>,
    /// Who asked.
    pub client: IpAddr,
    /// Whose connection it was.
    pub peer: IpAddr,
    /// `User-Agent`.
    pub user_agent: Option<Box<str>>,
    /// The request id.
    pub request_id: Box<str>,
    /// The name of the upstream.
    pub upstream: Option<Arc<str>>,
    /// How often a server was tried.
    pub attempts: u32,
    /// The cache's verdict.
    pub cache: Option<&'static str>,
    /// The rate limit's verdict.
    pub limit: Option<Box<str>>,
    /// Why the gateway refused it.
    pub refusal: Option<&'static str>,
    /// It failed, and not because of the client.
    pub failed: bool,
    /// Bytes read from the client and written to it.
    pub bytes: (u64, u64),
}

/// An attempt at a server.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The method.
    pub method: Method,
    /// The name of the upstream.
    pub upstream: Arc<str>,
    /// The server, as written in the file.
    pub server: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
    /// 1: the first of the request.
    pub number: u32,
    /// The status of its answer.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<&'static str>,
}

/// A text from outside, as far as it is told.
#[must_use]
pub fn clip(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(MAX_TEXT)].into()
}
