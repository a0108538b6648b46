//! What the cache did with a request, said in `Cache-Status` (RFC 9211), the access log and metrics.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// `Cache-Status`
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The name under which the gateway speaks of itself.
const SELF: &str = "gateway";

/// Room for what is usually said.
const LONGEST: usize = 64;

/// Why a request went on to the application (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// The policy keeps the cache out of it.
    Bypass,
    /// Its method is none that the cache answers.
    Method,
    /// There is nothing for the URL.
    UriMiss,
    /// There are answers, for other requests.
    VaryMiss,
    /// The request asks for it.
    Request,
    /// What there is, is stale.
    Stale,
}

impl Forward {
    fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// What became of a request, in one word each: for the access log and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answered from the cache, fresh.
    Hit,
    /// Answered from the cache, stale.
    Stale,
    /// Answered from the cache after the application said that it is still good.
    Revalidated,
    /// Answered by the application; what was there was stale.
    Expired,
    /// Answered by the application.
    Miss,
    /// The cache stayed out of it.
    Bypass,
    /// Not in the cache, and nothing else was wanted.
    OnlyIfCached,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Expired,
        Self::Miss,
        Self::Bypass,
        Self::OnlyIfCached,
    ];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Expired => "expired",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::OnlyIfCached => "only-if-cached",
        }
    }
}

/// What the cache did with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// It was answered from the cache, without a word with the application.
    pub hit: bool,
    /// Why it went on to the application.
    pub forward: Option<Forward>,
    /// What that answered, where it is not what the client is told.
    pub forward_status: Option<StatusCode>,
    /// For how long the answer is fresh yet, or by how much it is stale (`Err`).
    pub fresh: Option<Result<Duration, Duration>>,
    /// The answer was kept.
    pub stored: bool,
    /// The answer is one that another request asked for.
    pub collapsed: bool,
    /// Why, in a word.
    pub detail: Option<&'static str>,
}

impl Status {
    /// The verdict for logs and metrics.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let stale = matches!(self.fresh, Some(Err(_)));
        match self.forward {
            _ if self.detail == Some("only-if-cached") => Verdict::OnlyIfCached,
            Some(Forward::Bypass | Forward::Method) => Verdict::Bypass,
            Some(_) if self.forward_status == Some(StatusCode::NOT_MODIFIED) => Verdict::Revalidated,
            Some(Forward::Stale) if stale => Verdict::Stale,
            Some(Forward::Stale) => Verdict::Expired,
            Some(_) if stale => Verdict::Stale,
            Some(_) => Verdict::Miss,
            None if stale => Verdict::Stale,
            None => Verdict::Hit,
        }
    }

    /// Appends it to what other caches on the way said.
    pub fn write(&self, fields: &mut HeaderMap) {
        let mut text = String::with_capacity(LONGEST);
        self.spell(&mut text);
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.append(CACHE_STATUS, value);
        }
    }

    /// Written by hand: it is on every answer of a route with a cache.
    fn spell(&self, text: &mut String) {
        text.push_str(SELF);
        if self.hit {
            text.push_str("; hit");
        }
        if let Some(forward) = self.forward {
            text.push_str("; fwd=");
            text.push_str(forward.word());
        }
        if let Some(status) = self.forward_status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if let Some(fresh) = self.fresh {
            text.push_str(if fresh.is_ok() { "; ttl=" } else { "; ttl=-" });
            decimal(fresh.unwrap_or_else(|by| by).as_secs(), text);
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
    }
}

fn decimal(number: u64, text: &mut String) {
    if number >= 10 {
        decimal(number / 10, text);
    }
    text.push(char::from(b'0' + u8::try_from(number % 10).unwrap_or_default()));
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::with_capacity(LONGEST);
        self.spell(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_rfc_9211() {
        let hit = Status {
            hit: true,
            fresh: Some(Ok(Duration::from_secs(42))),
            ..Status::default()
        };
        let miss = Status {
            forward: Some(Forward::UriMiss),
            stored: true,
            collapsed: true,
            ..Status::default()
        };
        let saved = Status {
            forward: Some(Forward::Stale),
            forward_status: Some(StatusCode::SERVICE_UNAVAILABLE),
            fresh: Some(Err(Duration::from_secs(7))),
            detail: Some("stale-if-error"),
            ..Status::default()
        };
        let bypass = Status {
            forward: Some(Forward::Bypass),
            detail: Some("policy"),
            ..Status::default()
        };
        for (status, text, verdict) in [
            (hit, "gateway; hit; ttl=42", Verdict::Hit),
            (miss, "gateway; fwd=uri-miss; stored; collapsed", Verdict::Miss),
            (
                saved,
                "gateway; fwd=stale; fwd-status=503; ttl=-7; detail=stale-if-error",
                Verdict::Stale,
            ),
            (bypass, "gateway; fwd=bypass; detail=policy", Verdict::Bypass),
        ] {
            assert_eq!(status.to_string(), text);
            assert_eq!(status.verdict(), verdict);
            let mut fields = HeaderMap::new();
            fields.insert(CACHE_STATUS, HeaderValue::from_static("origin; hit"));
            status.write(&mut fields);
            let lines: Vec<_> = fields.get_all(CACHE_STATUS).iter().collect();
            assert_eq!(lines, ["origin; hit", text]);
            assert!(sfv::Parser::parse_list(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
