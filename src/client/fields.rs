//! Names of fields in which requests speak about their own way, and which of them nobody may send.

use http::HeaderName;

use crate::onward::Onward;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Tells a server that it is not the first to be asked: 2 is the first further attempt.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-gateway-attempt");

/// What a trusted proxy says of a request's way.
pub const FORWARDING: [HeaderName; 3] = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST];

/// Begins the name of every field of the `X-Forwarded-` family: `-For`, `-By`, `-User`, `-Client-Cert` and what comes next.
const FAMILY: &[u8] = b"x-forwarded";

/// Further fields by which proxies tell applications where a request came from or what it was addressed to.
const OF_PROXIES: [&str; 26] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "cloudfront-forwarded-proto",
    "cloudfront-viewer-address",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-host",
    "x-original-for",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-proto",
    "x-original-remote-addr",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
    "x-url-scheme",
];

/// Fields that ask the application to serve another request than the one the gateway has judged: another URL, another
/// method, a proxy of the client's choice (CVE-2016-5385), another attempt than it is.
const OVERRIDES: [&str; 10] = [
    "proxy",
    "x-gateway-attempt",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

/// Fields with a dash that frame the message or that the gateway judges or writes: their twins with an underscore are
/// the same variable to CGI, WSGI, Rack and PHP (`HTTP_X_FORWARDED_FOR`).
const JUDGED: [&str; 13] = [
    "accept-encoding",
    "accept-language",
    "content-encoding",
    "content-length",
    "content-type",
    "if-none-match",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-key",
    "transfer-encoding",
    "x-request-id",
];

/// Whether a request from a stranger must not reach the upstream with this field.
pub(super) fn is_spoofable(name: &str) -> bool {
    // Most names end here: they begin with another letter.
    match name.as_bytes().first() {
        Some(b'x') => begins(name, FAMILY) || names(&OF_PROXIES, name),
        Some(b'c' | b'f' | b't') => names(&OF_PROXIES, name),
        _ => false,
    }
}

/// Whether a request from anybody must not reach the upstream with this field.
pub(super) fn is_forbidden(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'p' | b'x')) && names(&OVERRIDES, name)
        || name.contains('_')
            && (begins(name, FAMILY)
                || [&OF_PROXIES[..], &OVERRIDES, &JUDGED]
                    .iter()
                    .any(|list| names(list, name)))
}

/// Removes a field that only the gateway may write, and its twins with underscores.
pub fn disclaim(fields: &mut Onward<'_>, name: &HeaderName) {
    let is_twin = |other: &HeaderName| {
        other.as_str().len() == name.as_str().len()
            && other.as_str().contains('_')
            && begins(other.as_str(), &name.as_str().replace('_', "-").into_bytes())
    };
    fields.retain(|other| other != name && !is_twin(other));
}

fn names(list: &[&str], name: &str) -> bool {
    list.iter()
        .any(|listed| listed.len() == name.len() && begins(name, listed.as_bytes()))
}

/// Whether a name begins like this, underscores taken for dashes.
fn begins(name: &str, start: &[u8]) -> bool {
    let name = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    name.take(start.len()).eq(start.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_gateway_writes_is_removed_with_its_twins() {
        let mut headers = http::HeaderMap::new();
        for name in [
            "x-client-name",
            "x_client_name",
            "x-client_name",
            "x-client-names",
            "x-other",
        ] {
            headers.append(HeaderName::from_static(name), http::HeaderValue::from_static("v"));
        }
        let mut fields = Onward::of(&headers);
        disclaim(&mut fields, &HeaderName::from_static("x-client-name"));
        let mut left: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-client-names", "x-other"]);
    }

    #[test]
    fn what_passes_from_whom() {
        let from_trusted_only = "x-forwarded-server x-forwarded-prefix x-forwarded-scheme x-forwarded-ssl x-forwarded-by \
            x-forwarded-user x-forwarded-client-cert x-forwarded forwarded-for x-original-host x-host \
            client-ip true-client-ip cf-connecting-ip x-client-ip x-url-scheme front-end-https";
        let from_nobody = "x-original-url x-rewrite-url x-http-method-override x-http-method proxy x_forwarded_for \
            x_forwarded-for x-forwarded_for x_forwarded_anything x_real_ip x_original_url content_length \
            transfer_encoding content_type x_request_id client_ip true_client-ip proxy_connection";
        let from_everybody = "host cookie authorization accept firebase-uid firebase_uid x-api-key x_api_key x-request-id \
            x-requested-with content-length content-type x-forward x-real traceparent forward _ x_";
        let table = [
            (from_trusted_only, true, false),
            (from_nobody, true, true),
            (from_everybody, false, false),
        ];
        for (names, of_stranger, of_anybody) in table {
            for name in names.split_whitespace() {
                assert_eq!(is_spoofable(name) || is_forbidden(name), of_stranger, "{name}");
                assert_eq!(is_forbidden(name), of_anybody, "{name}");
            }
        }
    }
}
