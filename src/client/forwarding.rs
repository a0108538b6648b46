//! What the upstream is told about the way of a request.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

use super::fields::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REAL_IP, is_forbidden, is_spoofable,
};
use super::{Client, Scheme};

/// The name under which the gateway signs `Via` (RFC 9110 §7.6.3): a pseudonym, its address is nobody's business.
const PSEUDONYM: &str = "deals247-gateway";

/// The facts that the forwarding fields are written from.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding<'a> {
    /// Who is calling.
    pub client: &'a Client,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// The `Host` that the client sent, as it sent it.
    pub host: &'a str,
    /// The port on which the gateway took the connection.
    pub local_port: u16,
    /// `1.0`, `1.1` or `2.0`, for `Via`.
    pub version: &'a str,
}

/// The fields of a client that speaks for itself, kept from one request of its connection to the next: mostly they are the
/// same, and to write them is the larger part of forwarding.
#[derive(Debug, Default)]
pub struct Words(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    client: Client,
    local_port: u16,
    host: HeaderValue,
    address: HeaderValue,
    port: HeaderValue,
    forwarded: HeaderValue,
}

impl Known {
    /// `None`: there is no host, or one that cannot be written.
    fn new(facts: &Forwarding<'_>) -> Option<Self> {
        Some(Self {
            client: *facts.client,
            local_port: facts.local_port,
            host: HeaderValue::from_str(facts.host).ok().filter(|host| !host.is_empty())?,
            address: text_value(facts.client.ip.to_string())?,
            port: HeaderValue::from(port(facts)),
            forwarded: text_value(forwarded(false, facts))?,
        })
    }

    fn is_of(&self, facts: &Forwarding<'_>) -> bool {
        self.client == *facts.client && self.local_port == facts.local_port && self.host == facts.host
    }

    fn write(&self, headers: &mut HeaderMap, version: &str) {
        headers.insert(X_FORWARDED_FOR, self.address.clone());
        headers.insert(X_REAL_IP, self.address.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.client.scheme.as_str()));
        headers.insert(X_FORWARDED_HOST, self.host.clone());
        headers.insert(X_FORWARDED_PORT, self.port.clone());
        headers.insert(FORWARDED, self.forwarded.clone());
        append_to_list(headers, VIA, via(version));
    }
}

/// Writes `X-Forwarded-For/-Proto/-Host/-Port`, `X-Real-IP`, `Forwarded` and `Via` into a request to an upstream.
/// Fields of a stranger are replaced, those of a trusted peer are extended. Twins with underscores are removed.
///
/// - A stranger's `X-Forwarded-…` fields, `Forwarded`, `X-Real-IP`, `Client-IP` and their like are removed first.
/// - A trusted peer's are kept, its address is appended to `X-Forwarded-For` and `Forwarded`. `X-Forwarded-Proto` and
///   `X-Real-IP` are always what [`Client`] says: the application must not see another client than the gateway.
/// - From nobody pass: fields that ask for another URL or method than the gateway has judged (`X-Original-URL`,
///   `X-HTTP-Method-Override` …), `Proxy`, and names with an underscore that are one of these, or a field that frames
///   the message, to an application that reads both alike. Others such as `firebase_uid` pass.
///
/// `words`: those of the client's connection.
pub fn write_forwarding(headers: &mut HeaderMap, facts: &Forwarding<'_>, words: &Words) {
    let Client {
        ip,
        scheme,
        peer_trusted,
    } = *facts.client;
    remove_where(headers, |name| {
        is_forbidden(name) || !peer_trusted && is_spoofable(name)
    });

    let peer = facts.peer.to_canonical();
    if !peer_trusted && peer == ip {
        let mut known = words.0.lock();
        if !known.as_ref().is_some_and(|known| known.is_of(facts)) {
            *known = Known::new(facts);
        }
        if let Some(known) = &*known {
            return known.write(headers, facts.version);
        }
    }
    let client_text = text_value(ip.to_string());
    let peer_text = if peer == ip {
        client_text.clone()
    } else {
        text_value(peer.to_string())
    };
    append_to_list(headers, X_FORWARDED_FOR, peer_text);
    insert(headers, X_REAL_IP, client_text);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()));
    if !facts.host.is_empty() && !headers.contains_key(X_FORWARDED_HOST) {
        insert(headers, X_FORWARDED_HOST, HeaderValue::from_str(facts.host).ok());
    }
    if !headers.contains_key(X_FORWARDED_PORT) {
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(port(facts)));
    }
    append_to_list(
        headers,
        FORWARDED,
        text_value(forwarded(headers.contains_key(FORWARDED), facts)),
    );
    append_to_list(headers, VIA, via(facts.version));
}

fn remove_where(headers: &mut HeaderMap, condemned: impl Fn(&str) -> bool) {
    // Nothing is allocated where there is nothing to remove.
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| condemned(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// The port to which the client connected: ours, or behind a trusted proxy that does not tell, the scheme's.
fn port(facts: &Forwarding<'_>) -> u16 {
    match facts.client.scheme {
        _ if !facts.client.peer_trusted => facts.local_port,
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// What is appended to `Forwarded` (RFC 7239 §4): the client's element where nobody has written it yet, then the peer's.
fn forwarded(written: bool, facts: &Forwarding<'_>) -> String {
    let peer = facts.peer.to_canonical();
    let mut text = String::with_capacity(96);
    if !written {
        push_node(&mut text, facts.client.ip);
        // A host that would not survive in quotes is left out; the parser of requests has refused it before.
        if !facts.host.is_empty()
            && facts
                .host
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
        {
            text.push_str(";host=\"");
            text.push_str(facts.host);
            text.push('"');
        }
        text.push_str(";proto=");
        text.push_str(facts.client.scheme.as_str());
        if peer == facts.client.ip {
            return text;
        }
        text.push_str(", ");
    }
    push_node(&mut text, peer);
    text
}

/// `for=1.2.3.4`, `for="[2001:db8::1]"` (RFC 7239 §6).
fn push_node(text: &mut String, ip: IpAddr) {
    // Writing to a string cannot fail.
    _ = match ip {
        IpAddr::V4(ip) => write!(text, "for={ip}"),
        IpAddr::V6(ip) => write!(text, "for=\"[{ip}]\""),
    };
}

fn via(version: &str) -> Option<HeaderValue> {
    match version {
        "1.1" => Some(HeaderValue::from_static("1.1 deals247-gateway")),
        "1.0" => Some(HeaderValue::from_static("1.0 deals247-gateway")),
        "2.0" => Some(HeaderValue::from_static("2.0 deals247-gateway")),
        other => text_value(format!("{other} {PSEUDONYM}")),
    }
}

/// Appends an element to a list, as one line: some applications read only the first.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, element: Option<HeaderValue>) {
    let Some(element) = element else {
        return;
    };
    let mut lines = headers.get_all(&name).iter().filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        headers.insert(name, element);
        return;
    }
    let mut joined = Vec::with_capacity(128);
    for line in lines.chain([&element]) {
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(line.as_bytes());
    }
    insert(
        headers,
        name,
        HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok(),
    );
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn text_value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Peer, client and scheme as `TrustedProxies::identify` finds them.
    fn written(peer: &str, client: &str, trusted: bool, lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let client = Client {
            ip: client.parse().unwrap(),
            scheme: if trusted { Scheme::Https } else { Scheme::Http },
            peer_trusted: trusted,
        };
        write_forwarding(
            &mut headers,
            &Forwarding {
                client: &client,
                peer: peer.parse().unwrap(),
                host: "example.com:8080",
                local_port: 8080,
                version: "1.1",
            },
            &Words::default(),
        );
        headers
    }

    fn assert_fields(headers: &HeaderMap, wanted: &[(&str, &str)]) {
        for (name, value) in wanted {
            let lines: Vec<_> = headers.get_all(*name).iter().collect();
            assert_eq!(lines, [value], "{name}");
        }
    }

    #[test]
    fn a_stranger_is_replaced() {
        let lines = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "7.7.7.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil"),
            ("X-Forwarded-Port", "1"),
            ("X-Real-IP", "6.6.6.6"),
            ("Forwarded", "for=6.6.6.6"),
            ("Via", "1.0 fred"),
            ("Via", "1.1 p.example"),
        ];
        let headers = written("198.51.100.1", "198.51.100.1", false, &lines);
        assert_fields(
            &headers,
            &[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "example.com:8080"),
                ("x-forwarded-port", "8080"),
                ("x-real-ip", "198.51.100.1"),
                ("forwarded", "for=198.51.100.1;host=\"example.com:8080\";proto=http"),
                ("via", "1.0 fred, 1.1 p.example, 1.1 deals247-gateway"),
            ],
        );
        assert_eq!(headers.keys_len(), 7);
    }

    /// What is known of a connection is of its last request: each next one is told its own.
    #[test]
    fn words_are_those_of_the_request() {
        let words = Words::default();
        let at = |ip: &str, host: &str, scheme, local_port, version| {
            let client = Client {
                ip: ip.parse().unwrap(),
                scheme,
                peer_trusted: false,
            };
            let facts = Forwarding {
                client: &client,
                peer: client.ip,
                host,
                local_port,
                version,
            };
            let [mut kept, mut fresh] = [HeaderMap::new(), HeaderMap::new()];
            write_forwarding(&mut kept, &facts, &words);
            write_forwarding(&mut fresh, &facts, &Words::default());
            assert_eq!(kept, fresh);
            kept
        };
        let first = at("198.51.100.1", "a.example", Scheme::Http, 80, "1.1");
        assert_fields(
            &first,
            &[("forwarded", "for=198.51.100.1;host=\"a.example\";proto=http")],
        );
        assert_eq!(at("198.51.100.1", "a.example", Scheme::Http, 80, "1.1"), first);
        let others = [
            at("198.51.100.2", "a.example", Scheme::Http, 80, "1.1"),
            at("198.51.100.1", "b.example", Scheme::Http, 80, "1.1"),
            at("198.51.100.1", "a.example", Scheme::Https, 80, "1.1"),
            at("198.51.100.1", "a.example", Scheme::Http, 81, "1.1"),
            at("198.51.100.1", "a.example", Scheme::Http, 80, "1.0"),
            at("198.51.100.1", "", Scheme::Http, 80, "1.1"),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    #[test]
    fn addresses_of_ipv6() {
        let headers = written("2001:db8::1", "2001:db8::1", false, &[]);
        assert_fields(
            &headers,
            &[
                ("x-forwarded-for", "2001:db8::1"),
                (
                    "forwarded",
                    "for=\"[2001:db8::1]\";host=\"example.com:8080\";proto=http",
                ),
                ("via", "1.1 deals247-gateway"),
            ],
        );
        let headers = written("::ffff:198.51.100.1", "198.51.100.1", false, &[]);
        assert_fields(&headers, &[("x-forwarded-for", "198.51.100.1")]);
    }

    #[test]
    fn a_trusted_peer_is_extended() {
        let lines = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-Proto", "http, https"),
            ("X-Forwarded-Host", "shop.example"),
            ("X-Forwarded-Port", "8443"),
            ("X-Forwarded-Prefix", "/shop"),
            ("X-Real-IP", "6.6.6.6"),
            ("CF-Connecting-IP", "198.51.100.1"),
            ("Forwarded", "for=198.51.100.1"),
        ];
        let headers = written("10.0.0.1", "198.51.100.1", true, &lines);
        assert_fields(
            &headers,
            &[
                ("x-forwarded-for", "6.6.6.6, 198.51.100.1, 10.0.0.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop.example"),
                ("x-forwarded-port", "8443"),
                ("x-forwarded-prefix", "/shop"),
                ("x-real-ip", "198.51.100.1"),
                ("cf-connecting-ip", "198.51.100.1"),
                ("forwarded", "for=198.51.100.1, for=10.0.0.1"),
                ("via", "1.1 deals247-gateway"),
            ],
        );
    }

    #[test]
    fn what_a_trusted_peer_does_not_tell() {
        let headers = written("10.0.0.1", "198.51.100.1", true, &[("X-Forwarded-For", "198.51.100.1")]);
        assert_fields(
            &headers,
            &[
                ("x-forwarded-for", "198.51.100.1, 10.0.0.1"),
                ("x-forwarded-host", "example.com:8080"),
                ("x-forwarded-port", "443"),
                (
                    "forwarded",
                    "for=198.51.100.1;host=\"example.com:8080\";proto=https, for=10.0.0.1",
                ),
            ],
        );
        let headers = written("10.0.0.1", "10.0.0.1", true, &[]);
        assert_fields(
            &headers,
            &[
                ("forwarded", "for=10.0.0.1;host=\"example.com:8080\";proto=https"),
                ("x-forwarded-for", "10.0.0.1"),
            ],
        );
    }

    #[test]
    fn a_host_that_cannot_be_written_is_left_out() {
        let client = Client {
            ip: "198.51.100.1".parse().unwrap(),
            scheme: Scheme::Http,
            peer_trusted: false,
        };
        for host in ["", "a\"b;for=6.6.6.6", "a\r\nx: y"] {
            let mut headers = HeaderMap::new();
            let facts = Forwarding {
                client: &client,
                peer: client.ip,
                host,
                local_port: 80,
                version: "1.0",
            };
            write_forwarding(&mut headers, &facts, &Words::default());
            assert_fields(
                &headers,
                &[
                    ("forwarded", "for=198.51.100.1;proto=http"),
                    ("via", "1.0 deals247-gateway"),
                ],
            );
        }
    }

    proptest! {
        /// No field of a stranger speaks about its way, whatever it is called.
        #[test]
        fn a_strangers_words_never_pass(name in "x[-_]forwarded[-_a-z]{0,10}|x[-_]real[-_]ip|forwarded") {
            let headers = written("198.51.100.1", "198.51.100.1", false, &[(&name, "6.6.6.6")]);
            prop_assert!(headers.values().all(|value| value != "6.6.6.6"));
        }
    }
}
