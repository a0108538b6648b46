//! `[server]`

use std::net::SocketAddr;
use std::time::Duration;

use super::net::{Announcers, NetworkFile, Proxies};
use crate::config::list::{List, OneOrMore};
use crate::config::shape::Kind;
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};
use crate::config::units::{Rate, Size, Timeout};
use crate::config::value::{Either, Integer};

table! {
    /// Where clients connect, and the limits of what they send.
    pub struct Server {
        /// The addresses to listen on, for clear text; `[]`: none, where there is TLS.
        default listen: List<Written<SocketAddr>> = "[\"0.0.0.0:8080\"]",
        /// Worker threads.
        optional threads: Integer<1, 1024> => "the number of cores",
        /// Whose `X-Forwarded-For` and `Forwarded` are believed: networks or addresses of the proxies in front of the
        /// gateway; the names of providers whose networks are known (`cloudflare`, `cloudfront`, `fastly`, `google-cloud`, and
        /// `private` for what is not routed on the Internet); or files, `{ file = "lists/cdn.txt" }`. By default nobody's.
        default trusted_proxies: List<Either<Written<Proxies>, NetworkFile>> = "[]",
        /// Whose connections begin with a header of the PROXY protocol (v1 or v2), which says who the client is: networks or
        /// addresses of balancers, or `{ from = […], listen = […] }` where it is not so at every address. They must send it,
        /// and nobody else may.
        optional proxy_protocol: Either<OneOrMore<Written<Proxies>>, Announcers> => "nobody's",
        /// The file that knows in which country an address is, in MaxMind's format (GeoLite2 Country or City, or another
        /// maker's). Read again when it changes.
        optional country_file: Written<FilePath> => "nobody knows",
        /// The largest request body; a route can set its own. Answered with 413.
        default max_body: Written<Size> = "\"100MB\"",
        /// The largest request head, from the request line to the empty line. Answered with 431.
        default max_header_size: Written<Size> = "\"32KB\"",
        /// The most header fields of a request. Answered with 431.
        default max_header_count: Integer<1, 1000> = "100",
        /// The longest request target. Answered with 414.
        default max_uri_length: Written<Size> = "\"8KB\"",
        /// The most client connections at a time.
        default max_connections: Integer<1, 10_000_000> = "20000",
        /// The most connections of one client address at a time (IPv6: of one /64). Trusted proxies are not counted.
        default max_connections_per_client: Integer<1, 10_000_000> = "10000",
        /// How often one client address (IPv6: one /64) may connect; as many as this says may come at once. Beyond it a
        /// connection is answered with 429 and closed. Trusted proxies are not counted.
        optional connection_rate_per_client: Written<Rate> => "any number",
        /// A request head must be complete within this time. Answered with 408.
        default header_timeout: Written<Timeout> = "\"10s\"",
        /// A request body must make progress within this time. Answered with 408.
        default body_timeout: Written<Timeout> = "\"30s\"",
        /// A client must take some of an answer within this time, or is dropped.
        default write_timeout: Written<Timeout> = "\"60s\"",
        /// A connection without a request is closed after this time.
        default keepalive_timeout: Written<Timeout> = "\"75s\"",
        /// How many requests one connection may carry before it is closed.
        default keepalive_requests: Integer<1, 1_000_000_000> = "1000",
        /// Whether requests take a shorter way through the gateway that it answers by itself, or that go to servers of
        /// HTTP/1.1 in clear text. It changes nothing but what they cost.
        default fast_lane: bool = "true",
        /// How long a graceful stop waits for requests in flight.
        default shutdown_timeout: Written<Timeout> = "\"30s\"",
        /// How long a process that was replaced by an upgrade lets connections finish that last: downloads, WebSockets.
        /// It ends as soon as there are none.
        default upgrade_timeout: Written<Timeout> = "\"1h\"",
        /// How long the gateway goes on as before after SIGTERM, while `/readyz` already says that it stops: time for
        /// balancers to look elsewhere.
        default pre_stop: Written<Duration> = "\"0s\"",
        /// Reload when this file, or a certificate that it names, was written. SIGHUP always reloads.
        default watch: bool = "false",
        /// A reloaded configuration is on trial for this time: unless `gateway confirm` says that it stays, or when
        /// answers with 5xx double, the one before is put into force again.
        optional confirm: Written<Timeout> => "no trial",
        /// A directory of the gateway's own, where every configuration that was in force is kept, with who put it there
        /// and what it changed. Files in it are readable by their owner only: they may hold secrets.
        optional state_dir: Written<StateDir> => "history is kept in memory",
    }
}

/// A directory that is made where it is not there.
#[derive(Debug, Clone)]
pub(crate) struct StateDir;

impl FromText for StateDir {
    const KIND: Kind = Kind {
        what: "the path of a directory",
        pattern: None,
        example: "/var/lib/gateway",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Err(Fault::new("a path is missing").help("write for example `\"/var/lib/gateway\"`"));
        }
        Ok(Self)
    }
}
