//! Which lane a request takes, and why.

use std::fmt;

use crate::config::model::Protocol;
use crate::edge::Framing;
use crate::proxy::Exchange;
use crate::proxy::begin::Decision;

/// Why a request is for Pingora's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// The route slows its bodies down.
    Bandwidth,
    /// The gateway answers by itself, and a large body comes along.
    LargeBody,
    /// A file answers.
    Files,
    /// The servers are spoken to over TLS.
    ServerTls,
    /// The servers are spoken to in HTTP/2.
    ServerHttp2,
    /// Cannot be: a route that proxies has one.
    NoUpstream,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bandwidth => "the route has a bandwidth",
            Self::LargeBody => "a large body comes with what the gateway answers by itself",
            Self::Files => "a file answers",
            Self::ServerTls => "the servers are reached over TLS",
            Self::ServerHttp2 => "the servers speak HTTP/2",
            Self::NoUpstream => "the route has no upstream",
        })
    }
}

impl Exchange {
    /// Whether the fast lane can serve what was decided.
    pub(super) fn fits(&self, decision: &Decision) -> Result<(), Elsewhere> {
        // What waits between its parts waits in Pingora's lane; who is refused does not come so far.
        let slowed = self.route.as_ref().is_some_and(|route| route.bandwidth.is_some());
        if slowed && !matches!(decision, Decision::Settled(_)) {
            return Err(Elsewhere::Bandwidth);
        }
        match decision {
            Decision::Answer(_)
            | Decision::Settled(_)
            | Decision::Metrics
            | Decision::Health
            | Decision::Challenge(_) => match self.arrival.as_ref().map(|arrival| arrival.framing) {
                // A body is read for the connection's sake, if it is small.
                Some(Framing::None | Framing::Length(..=65_536) | Framing::Chunked) => Ok(()),
                Some(Framing::Length(_)) | None => Err(Elsewhere::LargeBody),
            },
            Decision::Files => Err(Elsewhere::Files),
            Decision::Proxy => match self.upstream() {
                Some(upstream) if upstream.tls.is_some() => Err(Elsewhere::ServerTls),
                Some(upstream) if upstream.protocol != Protocol::Http1 => Err(Elsewhere::ServerHttp2),
                Some(_) => Ok(()),
                None => Err(Elsewhere::NoUpstream),
            },
        }
    }

    /// For whoever asks why a request costs more than others: `[log] level = "debug"` shows it.
    pub(super) fn note_lane(&self, why: Elsewhere) {
        let route = self.route.as_ref().map(|route| &*route.name);
        tracing::debug!(request_id = self.request_id(), route, "Pingora's lane: {why}");
    }
}
