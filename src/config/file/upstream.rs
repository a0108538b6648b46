//! `[upstream.NAME]`

use super::http::{RequestTarget, Status};
use super::net::{Endpoint, Host};
use crate::config::list::Several;
use crate::config::table::table;
use crate::config::text::Written;
use crate::config::units::{Percent, Timeout};
use crate::config::value::{Either, Integer};
use crate::config::words::words;

table! {
    /// An application: one or more servers that answer the same requests.
    pub struct Upstream {
        /// Its servers: `host:port`, or `{ address = "host:port", weight = 2 }`. Names are resolved again and again; one
        /// that does not resolve yet does not stop the start.
        required servers: Several<Either<Written<Endpoint>, Server>>,
        /// The `Host` that the servers are sent.
        optional host: Written<Host> => "the client's",
        /// How a server is chosen for a request.
        default balance: Balance = "\"round-robin\"",
        /// How servers are watched.
        optional health_check: HealthCheck => "servers are not watched",
        /// What happens when a server fails.
        default retry: Retry = "{}",
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
        /// How often names in `servers` are resolved again.
        default resolve_interval: Written<Timeout> = "\"10s\"",
    }
}

table! {
    /// One server of an upstream.
    pub struct Server {
        /// Where it is: `host:port`.
        required address: Written<Endpoint>,
        /// Its share of the requests relative to the other servers.
        default weight: Integer<1, 1000> = "1",
    }
}

words! {
    /// How a server is chosen for a request.
    pub enum Balance {
        /// One after the other.
        RoundRobin = "round-robin",
        /// The one that is expected to answer soonest.
        @planned PeakEwma = "peak-ewma",
        /// The one with the fewest requests in flight.
        @planned LeastRequests = "least-requests",
        /// The same client to the same server.
        @planned ConsistentHash = "consistent-hash",
        /// Any.
        @planned Random = "random",
    }
}

table! {
    /// Asks every server regularly whether it is well.
    pub struct HealthCheck {
        /// What is asked for.
        default path: Written<RequestTarget> = "\"/\"",
        /// The `Host` of the probe.
        optional host: Written<Host> => "the upstream's `host`, else the server's address",
        /// The time between two probes of a server.
        default interval: Written<Timeout> = "\"5s\"",
        /// A probe must be answered within this time.
        default timeout: Written<Timeout> = "\"2s\"",
        /// Failures in a row until a server gets no requests.
        default unhealthy_after: Integer<1, 100> = "3",
        /// Successes in a row until it gets requests again.
        default healthy_after: Integer<1, 100> = "2",
        /// The status that means healthy.
        optional status: Status => "any 2xx or 3xx",
    }
}

table! {
    /// Tries again where it is safe.
    pub struct Retry {
        /// How many attempts one request gets, the first one included; `1` is no retry.
        default attempts: Integer<1, 10> = "2",
        /// After what another attempt is made. `connect` is safe for every request: nothing was sent yet.
        default on: Several<RetryOn> = "[\"connect\"]",
        /// The share of all requests that may be further attempts, so that retries do not pile onto a sick application.
        @planned optional budget: Written<Percent>,
    }
}

words! {
    /// After what another attempt is made.
    pub enum RetryOn {
        /// The server refused the connection, or a pooled one was dead.
        Connect = "connect",
        /// The server did not answer in time.
        @planned Timeout = "timeout",
        /// The connection broke before the head of the answer.
        @planned Reset = "reset",
        /// The answer's status.
        @planned TooManyRequests = "429",
        /// The answer's status.
        @planned InternalServerError = "500",
        /// The answer's status.
        @planned BadGateway = "502",
        /// The answer's status.
        @planned ServiceUnavailable = "503",
        /// The answer's status.
        @planned GatewayTimeout = "504",
    }
}
