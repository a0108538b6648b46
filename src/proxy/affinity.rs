//! Which server a client belongs to: by a key of the request, or by a signed cookie.

use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header, request};
use siphasher::sip::SipHasher13;

use super::Exchange;
use crate::client::Scheme;
use crate::config::model::{Balance, HashKey, SameSite};
use crate::runtime::Upstream;

impl Exchange {
    /// The hash that consistent hashing goes by; the same on every gateway. `None`: the strategy asks for none.
    pub(super) fn hash(&self, upstream: &Upstream, request: &request::Parts) -> Option<u64> {
        let Balance::ConsistentHash { key, .. } = &upstream.model.balance else {
            return None;
        };
        let found = match key {
            HashKey::ClientIp => None,
            HashKey::Path => Some(self.path.as_deref().unwrap_or_else(|| request.uri.path()).as_bytes()),
            HashKey::Header(name) => request.headers.get(name).map(HeaderValue::as_bytes),
            HashKey::Cookie(name) => cookie(&request.headers, name),
            HashKey::Query(name) => request.uri.query().and_then(|query| parameter(query, name)),
        };
        let mut hasher = SipHasher13::new();
        match found {
            Some(value) => hasher.write(value),
            None => match self.client.ip {
                std::net::IpAddr::V4(ip) => hasher.write(&ip.octets()),
                std::net::IpAddr::V6(ip) => hasher.write(&ip.octets()),
            },
        }
        Some(hasher.finish())
    }

    /// The server that the client's cookie names, if it is one of ours and still good.
    pub(super) fn bound_to(&self, upstream: &Upstream, request: &request::Parts) -> Option<String> {
        let sticky = upstream.sticky.as_ref()?;
        let value = cookie(&request.headers, &upstream.model.sticky.as_ref()?.cookie)?;
        sticky.verify(std::str::from_utf8(value).ok()?, now())
    }

    /// Binds the client to the server that answered, unless it is already.
    pub(super) fn bind(&self, fields: &mut HeaderMap) {
        let Some(upstream) = self.upstream() else { return };
        let (Some(signer), Some(sticky)) = (&upstream.sticky, &upstream.model.sticky) else {
            return;
        };
        let Some(lease) = &self.attempt.lease else { return };
        let server = lease.endpoint().session();
        if self.attempt.bound.as_deref() == Some(server) {
            return;
        }
        let same_site = match sticky.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let mut text = format!(
            "{}={}; Path=/; HttpOnly; SameSite={same_site}",
            sticky.cookie,
            signer.issue(server, now())
        );
        let _ = write!(text, "; Max-Age={}", sticky.ttl.as_secs());
        if self.client.scheme == Scheme::Https {
            text.push_str("; Secure");
        }
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.append(header::SET_COOKIE, value);
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The first cookie of that name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The first parameter of that name, as it was sent.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a [u8]> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .map(str::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_parameters_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("sid2=x; sid=a"));
        headers.append(header::COOKIE, HeaderValue::from_static("sid=b"));
        assert_eq!(cookie(&headers, "sid"), Some(b"a".as_slice()));
        assert_eq!(cookie(&headers, "si"), None);
        assert_eq!(parameter("ab=1&a=2&a=3", "a"), Some(b"2".as_slice()));
        assert_eq!(parameter("ab=1", "a"), None);
    }
}
