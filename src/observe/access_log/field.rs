//! What a line can say: one name for JSON and templates, one place where a value is written.

use http::Version;

use super::number::{address, integer, seconds};
use super::redaction::MASK;
use super::{Entry, Redaction, time};

/// How text from outside is made harmless in a format.
pub(super) type Escape = fn(&mut Vec<u8>, &[u8]);

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    RequestId,
    TraceId,
    Client,
    Route,
    Method,
    Host,
    Path,
    Query,
    Version,
    Status,
    BytesIn,
    BytesOut,
    Duration,
    Upstream,
    Server,
    UpstreamTime,
    Attempts,
    Cache,
    Limit,
    Refusal,
    Tls,
    UserAgent,
    Referer,
}

impl Field {
    /// Every field, in the order of a JSON line.
    pub(super) const ALL: [Self; 24] = [
        Self::Time,
        Self::RequestId,
        Self::TraceId,
        Self::Client,
        Self::Route,
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Query,
        Self::Version,
        Self::Status,
        Self::BytesIn,
        Self::BytesOut,
        Self::Duration,
        Self::Upstream,
        Self::Server,
        Self::UpstreamTime,
        Self::Attempts,
        Self::Cache,
        Self::Limit,
        Self::Refusal,
        Self::Tls,
        Self::UserAgent,
        Self::Referer,
    ];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::RequestId => "request_id",
            Self::TraceId => "trace_id",
            Self::Client => "client",
            Self::Route => "route",
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Query => "query",
            Self::Version => "version",
            Self::Status => "status",
            Self::BytesIn => "bytes_in",
            Self::BytesOut => "bytes_out",
            Self::Duration => "duration",
            Self::Upstream => "upstream",
            Self::Server => "server",
            Self::UpstreamTime => "upstream_time",
            Self::Attempts => "attempts",
            Self::Cache => "cache",
            Self::Limit => "limit",
            Self::Refusal => "refusal",
            Self::Tls => "tls",
            Self::UserAgent => "user_agent",
            Self::Referer => "referer",
        }
    }

    /// Whether JSON writes it as a number.
    pub(super) const fn is_number(self) -> bool {
        matches!(
            self,
            Self::Status | Self::BytesIn | Self::BytesOut | Self::Duration | Self::UpstreamTime | Self::Attempts
        )
    }

    /// Writes the value, if there is one: escaped, and masked where the redaction says so.
    pub(super) fn write(self, out: &mut Vec<u8>, entry: &Entry<'_>, redaction: &Redaction, escape: Escape) -> bool {
        let bytes = match self {
            Self::Time => {
                time::rfc3339(out, entry.time);
                return true;
            }
            Self::Client => {
                address(out, entry.client);
                return true;
            }
            Self::Status => {
                integer(out, u64::from(entry.status));
                return true;
            }
            Self::BytesIn => {
                integer(out, entry.bytes_in);
                return true;
            }
            Self::BytesOut => {
                integer(out, entry.bytes_out);
                return true;
            }
            Self::Duration => {
                seconds(out, entry.duration);
                return true;
            }
            Self::UpstreamTime => return entry.upstream_time.map(|time| seconds(out, time)).is_some(),
            // Without an upstream nothing could be tried; with one, zero tells that no server could be chosen.
            Self::Attempts => {
                return entry
                    .upstream
                    .map(|_| integer(out, u64::from(entry.attempts)))
                    .is_some();
            }
            Self::Query => {
                let write = |query| redaction.query(query, |piece| escape(out, piece));
                return entry.query.map(write).is_some();
            }
            Self::Referer if !redaction.hides_header("referer") => {
                let write = |url| redaction.url(url, |piece| escape(out, piece));
                return entry.referer.map(write).is_some();
            }
            Self::RequestId => Some(entry.request_id.as_bytes()),
            Self::TraceId => entry.trace_id.map(str::as_bytes),
            Self::Route => entry.route.map(str::as_bytes),
            Self::Method => Some(entry.method.as_bytes()).filter(|method| !method.is_empty()),
            Self::Host => redaction.header("host", entry.host),
            Self::Path => Some(entry.path).filter(|path| !path.is_empty()),
            Self::Version => Some(version(entry.version).as_bytes()),
            Self::Upstream => entry.upstream.map(str::as_bytes),
            Self::Server => entry.server.map(str::as_bytes),
            Self::Cache => entry.cache.map(str::as_bytes),
            Self::Limit => entry.limit.map(str::as_bytes),
            Self::Refusal => entry.refusal.map(str::as_bytes),
            Self::Tls => entry.tls.map(str::as_bytes),
            Self::UserAgent => redaction.header("user-agent", entry.user_agent),
            Self::Referer => entry.referer.map(|_| MASK),
        };
        bytes.map(|bytes| escape(out, bytes)).is_some()
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_listed_once_in_order() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, index, "{}", field.name());
        }
    }
}
