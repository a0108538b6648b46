//! What the upstream is told about the way of a request.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{FORWARDED, VIA};
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use super::fields::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REAL_IP, is_forbidden, is_spoofable,
};
use super::{Client, Scheme};
use crate::onward::{Lines, Onward};

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
    lines: Lines,
}

/// What does not differ from one request of a client to the next.
static SAME: [HeaderName; 6] = [
    X_FORWARDED_FOR,
    X_REAL_IP,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    FORWARDED,
];

impl Known {
    /// `None`: there is no host, or one that cannot be written.
    fn new(facts: &Forwarding<'_>) -> Option<Self> {
        let host = HeaderValue::from_str(facts.host).ok().filter(|host| !host.is_empty())?;
        let address = text_value(facts.client.ip.to_string());
        let values = [
            address.clone(),
            address,
            Some(HeaderValue::from_static(facts.client.scheme.as_str())),
            Some(host.clone()),
            Some(HeaderValue::from(port(facts))),
            text_value(forwarded(false, facts)),
        ];
        Some(Self {
            client: *facts.client,
            local_port: facts.local_port,
            host,
            lines: Lines::new(&SAME, &values)?,
        })
    }

    fn is_of(&self, facts: &Forwarding<'_>) -> bool {
        self.client == *facts.client && self.local_port == facts.local_port && self.host == facts.host
    }

    /// Where nothing of the kind is left.
    fn write(&self, fields: &mut Onward<'_>, version: &str) {
        append_to_list(fields, VIA, via(version));
        fields.add_lines(self.lines.clone());
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
pub fn write_forwarding(fields: &mut Onward<'_>, facts: &Forwarding<'_>, words: &Words) {
    let Client {
        ip,
        scheme,
        peer_trusted,
    } = *facts.client;
    fields.retain(|name| !is_forbidden(name.as_str()) && (peer_trusted || !is_spoofable(name.as_str())));

    let peer = facts.peer.to_canonical();
    if !peer_trusted && peer == ip {
        let mut known = words.0.lock();
        if !known.as_ref().is_some_and(|known| known.is_of(facts)) {
            *known = Known::new(facts);
        }
        if let Some(known) = &*known {
            return known.write(fields, facts.version);
        }
    }
    let client_text = text_value(ip.to_string());
    let peer_text = if peer == ip {
        client_text.clone()
    } else {
        text_value(peer.to_string())
    };
    append_to_list(fields, X_FORWARDED_FOR, peer_text);
    insert(fields, X_REAL_IP, client_text);
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()));
    if !facts.host.is_empty() && !fields.contains(&X_FORWARDED_HOST) {
        insert(fields, X_FORWARDED_HOST, HeaderValue::from_str(facts.host).ok());
    }
    if !fields.contains(&X_FORWARDED_PORT) {
        fields.add(X_FORWARDED_PORT, HeaderValue::from(port(facts)));
    }
    let element = forwarded(fields.contains(&FORWARDED), facts);
    append_to_list(fields, FORWARDED, text_value(element));
    append_to_list(fields, VIA, via(facts.version));
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
fn append_to_list(fields: &mut Onward<'_>, name: HeaderName, element: Option<HeaderValue>) {
    let Some(element) = element else {
        return;
    };
    let mut lines = fields.get_all(&name).filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        drop(lines);
        fields.insert(name, element);
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
        fields,
        name,
        HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok(),
    );
}

fn insert(fields: &mut Onward<'_>, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        fields.insert(name, value);
    }
}

fn text_value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests;
