//! What there is to say about one request.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Version};

/// One request, as it is over. What came from the client is given raw: the format escapes it.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When it was over.
    pub time: SystemTime,
    /// The request id.
    pub request_id: &'a str,
    /// The trace id.
    pub trace_id: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// The name of the route that took it.
    pub route: Option<&'a str>,
    /// The method; empty where the head could not be read.
    pub method: &'a str,
    /// The `Host`.
    pub host: Option<&'a [u8]>,
    /// The path as it was sent, without the query; empty where the head could not be read.
    pub path: &'a [u8],
    /// The query, without `?`.
    pub query: Option<&'a [u8]>,
    /// The version of HTTP.
    pub version: Version,
    /// The status; 0 if none was sent.
    pub status: u16,
    /// Bytes read from the client.
    pub bytes_in: u64,
    /// Bytes written to the client.
    pub bytes_out: u64,
    /// From the head to the end of the answer.
    pub duration: Duration,
    /// The name of the upstream.
    pub upstream: Option<&'a str>,
    /// The server that was tried last, as written in the file.
    pub server: Option<&'a str>,
    /// Until the head of the upstream's answer.
    pub upstream_time: Option<Duration>,
    /// How often a server was tried.
    pub attempts: u32,
    /// The cache's verdict.
    pub cache: Option<&'a str>,
    /// The rate limit's verdict.
    pub limit: Option<&'a str>,
    /// Why the gateway refused it: the word of [`crate::answer::Reason`].
    pub refusal: Option<&'static str>,
    /// The version of TLS.
    pub tls: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// All fields of the request, for `${header:NAME}`.
    pub headers: Option<&'a HeaderMap>,
}

#[cfg(test)]
impl Entry<'static> {
    /// A request that an upstream answered.
    pub(super) fn sample() -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
            request_id: "0123456789abcdef0123456789abcdef",
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            client: IpAddr::from([192, 0, 2, 7]),
            route: Some("api"),
            method: "GET",
            host: Some(b"deals247.online"),
            path: b"/api/deals",
            query: Some(b"page=2&firebase_uid=s3cret"),
            version: Version::HTTP_11,
            status: 200,
            bytes_in: 512,
            bytes_out: 20_480,
            duration: Duration::from_micros(12_345),
            upstream: Some("api"),
            server: Some("127.0.0.1:5000"),
            upstream_time: Some(Duration::from_micros(11_002)),
            attempts: 1,
            cache: None,
            limit: None,
            refusal: None,
            tls: None,
            user_agent: Some(b"curl/8.5.0"),
            referer: None,
            headers: None,
        }
    }
}
