//! `[upstream.NAME]`

use std::time::Duration;

use ::http::HeaderName;

use super::health_check::HealthCheck;
use super::matching::{CookieName, ParameterName};
use super::net::Host;
use super::resilience::{Breaker, Hedge, Outlier, Queue, Retry};
use super::servers::Server;
use super::sticky::Sticky;
use super::upstream_tls::UpstreamTls;
use crate::config::list::Several;
use crate::config::model::{self, HashKey, Target};
use crate::config::shape::Kind;
use crate::config::suggest::{clip, did_you_mean};
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};
use crate::config::units::{Load, Percent, Timeout};
use crate::config::value::{Either, False};
use crate::config::words::words;
use crate::proxy_protocol;

table! {
    /// An application: one or more servers that answer the same requests.
    pub struct Upstream {
        /// Its servers: `host:port`, a socket `unix:/path`, an SRV name `srv:_http._tcp.api.example` (DNS has its servers,
        /// their ports and weights), or one of these with more to say: `{ address = "host:port", weight = 2 }`. Names are
        /// resolved again and again; one that does not resolve yet does not stop the start. Required, unless there is a
        /// `servers_file`.
        optional servers: Several<Either<Written<Target>, Server>>,
        /// A file with servers, in addition to `servers` or instead of it. A line is what `servers` has as text, and what
        /// else there is to say: `10.0.0.5:3000 weight=2 max_requests=50 backup`. `#` begins a comment. The file is
        /// watched.
        optional servers_file: Written<FilePath>,
        /// The `Host` that the servers are sent.
        optional host: Written<Host> => "the client's",
        /// What is spoken with the servers.
        default protocol: Protocol = "\"http1\"",
        /// TLS to the servers. Their certificates are verified.
        default tls: Either<bool, UpstreamTls> = "false",
        /// Begins every connection to the servers with a header of the PROXY protocol, which says who the client is. Each
        /// request then has a connection of its own. With `protocol = "http1"` only.
        optional proxy_protocol: ProxyVersion => "none",
        /// How a server is chosen for a request.
        default balance: Balance = "\"peak-ewma\"",
        /// What of the request the server is chosen by: `client-ip`, `path`, `header:NAME`, `cookie:NAME` or `query:NAME`; the
        /// client's address where the request has no such thing. With `balance = "consistent-hash"` only.
        optional hash: Written<HashKey> => "`client-ip`",
        /// A server with more than this share of the average of requests in flight passes further ones on to the next;
        /// `false`: it keeps them. With `balance = "consistent-hash"` only.
        optional bounded_load: Either<False, Written<Load>> => "`125%`",
        /// A client stays with its server.
        optional sticky: Sticky => "each request by itself",
        /// What waits while every server has its `max_requests`.
        default queue: Queue = "{}",
        /// A server that is new or back gets its full share of requests only after this time.
        default slow_start: Written<Duration> = "\"0s\"",
        /// Where the share of fit servers falls below this, all of them are used: better some that may be sick than few that
        /// are run over.
        default panic_threshold: Written<Percent> = "\"50%\"",
        /// How servers are watched.
        optional health_check: HealthCheck => "servers are not watched",
        /// Leaves out servers that fail requests, for a while; `false`: it does not.
        default outlier: Either<False, Outlier> = "{}",
        /// What happens when a server fails.
        default retry: Retry = "{}",
        /// Asks a second server when the first one is slow.
        optional hedge: Hedge => "no second request",
        /// Leaves the upstream alone for a while when too much of what it is asked fails.
        optional breaker: Breaker => "never",
        /// Lowers the number of requests at a time where servers become slower, and raises it again. What is above waits in
        /// `queue`.
        default adaptive_limit: bool = "false",
        /// An idle pooled connection is closed after this time. Keep it below the time after which the application
        /// closes its own (Node.js: 5 s), or requests meet connections that are just being closed.
        default keepalive: Written<Timeout> = "\"60s\"",
        /// Until a server is connected.
        default connect_timeout: Written<Timeout> = "\"5s\"",
        /// Until the head of the answer is there. Answered with 504.
        default first_byte_timeout: Written<Timeout> = "\"60s\"",
        /// Between two reads of the answer's body.
        default read_timeout: Written<Timeout> = "\"60s\"",
        /// Between two writes of the request.
        default write_timeout: Written<Timeout> = "\"60s\"",
        /// An upgraded connection (WebSocket) in which nothing moves is closed after this time.
        default tunnel_timeout: Written<Timeout> = "\"1h\"",
        /// Names in `servers` are resolved again after this time at the latest, however long DNS lets them be kept.
        default resolve_interval: Written<Timeout> = "\"10s\"",
    }
}

words! {
    /// What is spoken with servers.
    pub enum Protocol {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2: over TLS by ALPN, in clear text with prior knowledge (h2c).
        H2 = "h2",
    }
}

impl From<Protocol> for model::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1,
            Protocol::H2 => Self::H2,
        }
    }
}

words! {
    /// A version of the PROXY protocol.
    pub enum ProxyVersion {
        /// A line of text.
        V1 = "v1",
        /// Binary.
        V2 = "v2",
    }
}

impl From<ProxyVersion> for proxy_protocol::Version {
    fn from(version: ProxyVersion) -> Self {
        match version {
            ProxyVersion::V1 => Self::V1,
            ProxyVersion::V2 => Self::V2,
        }
    }
}

words! {
    /// How a server is chosen for a request.
    pub enum Balance {
        /// The one that is expected to answer soonest.
        PeakEwma = "peak-ewma",
        /// The one with the fewest requests in flight.
        LeastRequests = "least-requests",
        /// One after the other.
        RoundRobin = "round-robin",
        /// Any.
        Random = "random",
        /// The same of `hash` to the same server; when servers come or go, few move.
        ConsistentHash = "consistent-hash",
    }
}

impl FromText for HashKey {
    const KIND: Kind = Kind {
        what: "a part of the request",
        pattern: Some("^(client-ip|path|(header|cookie|query):.+)$"),
        example: "client-ip",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const FORMS: &[&str] = &["client-ip", "path", "header:NAME", "cookie:NAME", "query:NAME"];
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "client-ip" if kind == text => Ok(Self::ClientIp),
            "path" if kind == text => Ok(Self::Path),
            "header" => HeaderName::from_text(name).map(Self::Header),
            "cookie" => CookieName::from_text(name).map(|_| Self::Cookie(name.into())),
            "query" => ParameterName::from_text(name).map(|_| Self::Query(name.into())),
            _ => Err(Fault {
                message: format!("a server cannot be chosen by `{}`", clip(text)),
                help: did_you_mean(kind, FORMS, "there are"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_keys() {
        for text in ["client-ip", "path", "header:X-User", "cookie:session", "query:a b"] {
            assert!(HashKey::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "ip",
            "path:x",
            "header:",
            "header:a b",
            "cookie:",
            "query:",
            "jwt:sub",
        ] {
            assert!(HashKey::from_text(text).is_err(), "{text}");
        }
    }
}
