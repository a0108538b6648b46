//! Request ids and W3C trace context: kept from trusted peers, made otherwise, sent both ways.

mod random;
mod trace;

use http::{HeaderMap, HeaderName, HeaderValue};

use trace::TraceParent;

/// The field of the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context §3.2.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context §3.3.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What an application behind WSGI or CGI cannot tell from the real field.
const REQUEST_ID_TWIN: HeaderName = HeaderName::from_static("x_request_id");

/// The longest request id that is kept from a trusted peer, bytes.
const MAX_KEPT: usize = 128;

/// Digits of a request id made here: 128 random bits.
const MADE: usize = 32;

/// What a request is called: in the log, towards the upstream and towards the client.
#[derive(Debug, Clone)]
pub struct Identity {
    request_id: RequestId,
    trace: TraceParent,
    /// Whether the trace came with the request, and its `tracestate` with it.
    trace_kept: bool,
}

#[derive(Debug, Clone)]
enum RequestId {
    Made([u8; MADE]),
    /// Only of the bytes that [`is_id`] admits.
    Kept(HeaderValue),
}

impl Identity {
    /// Identifies a request with these fields. Ids of a peer that is not trusted are not looked at: a stranger could
    /// write another's id into the log, or choose which requests are traced.
    #[must_use]
    pub fn new(headers: &HeaderMap, peer_trusted: bool) -> Self {
        let (kept_id, kept_trace) = if peer_trusted {
            (
                only(headers, &REQUEST_ID).filter(|value| is_id(value.as_bytes())),
                only(headers, &TRACEPARENT).and_then(|value| TraceParent::parse(value.as_bytes())),
            )
        } else {
            (None, None)
        };
        Self {
            request_id: match kept_id {
                Some(value) => RequestId::Kept(value.clone()),
                None => RequestId::Made(random::hex()),
            },
            trace_kept: kept_trace.is_some(),
            trace: match kept_trace {
                Some(parent) => parent.child(random::span_id()),
                None => TraceParent::new(random::hex(), random::span_id()),
            },
        }
    }

    /// The request id: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    #[must_use]
    pub fn request_id(&self) -> &str {
        let bytes = match &self.request_id {
            RequestId::Made(digits) => digits,
            RequestId::Kept(value) => value.as_bytes(),
        };
        std::str::from_utf8(bytes).expect("ids are ASCII: made of digits, or checked when kept")
    }

    /// The trace id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.trace.trace_id()
    }

    /// Writes the ids into the fields towards the upstream, which are the client's own, as cloned: a `tracestate`
    /// among them stays only with the trace that it belongs to.
    pub fn write(&self, upstream_headers: &mut HeaderMap) {
        upstream_headers.remove(REQUEST_ID_TWIN);
        if !self.trace_kept {
            upstream_headers.remove(TRACESTATE);
        }
        self.write_response(upstream_headers);
    }

    /// Writes the ids into the fields towards the client, in place of what the upstream may have sent.
    pub fn write_response(&self, headers: &mut HeaderMap) {
        let id = match &self.request_id {
            RequestId::Made(digits) => HeaderValue::from_bytes(digits).expect("hexadecimal digits are field values"),
            RequestId::Kept(value) => value.clone(),
        };
        headers.insert(REQUEST_ID, id);
        headers.insert(TRACEPARENT, self.trace.value());
    }
}

/// The field's value if it was sent once: of two, nobody knows which the sender of the trusted hop meant.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_id(text: &[u8]) -> bool {
    (1..=MAX_KEPT).contains(&text.len())
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn is_made(id: &str) -> bool {
        id.len() == MADE && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    #[test]
    fn a_stranger_is_given_ids_of_ours() {
        let sent = headers(&[("x-request-id", "mine"), ("traceparent", PARENT), ("tracestate", "a=b")]);
        let identity = Identity::new(&sent, false);
        assert!(is_made(identity.request_id()));
        assert!(is_made(identity.trace_id()));
        assert_ne!(identity.trace_id(), &PARENT[3..35]);

        let mut upstream = sent;
        identity.write(&mut upstream);
        assert_eq!(upstream["x-request-id"], identity.request_id());
        assert!(upstream["traceparent"].to_str().unwrap()[3..].starts_with(identity.trace_id()));
        assert!(!upstream.contains_key("tracestate"));
    }

    #[test]
    fn a_trusted_peers_ids_are_kept_under_a_span_of_ours() {
        let sent = headers(&[
            ("x-request-id", "Up.stream_1-a"),
            ("traceparent", PARENT),
            ("tracestate", "a=b"),
        ]);
        let identity = Identity::new(&sent, true);
        assert_eq!(identity.request_id(), "Up.stream_1-a");
        assert_eq!(identity.trace_id(), &PARENT[3..35]);

        let mut upstream = sent;
        identity.write(&mut upstream);
        let written = upstream["traceparent"].to_str().unwrap();
        assert_eq!(written.len(), PARENT.len());
        assert_eq!(written[..36], PARENT[..36]);
        assert_ne!(written[36..52], PARENT[36..52]);
        assert_eq!(written[52..], PARENT[52..]);
        assert_eq!(upstream["tracestate"], "a=b");
    }

    #[test]
    fn ids_that_could_do_harm_are_replaced() {
        let long = "a".repeat(MAX_KEPT + 1);
        for bad in ["", " ", "a b", "a\"b", "a/b", "<script>", "é", &long] {
            let identity = Identity::new(&headers(&[("x-request-id", bad)]), true);
            assert!(is_made(identity.request_id()), "{bad:?}");
        }
        let longest = &long[1..];
        let kept = Identity::new(&headers(&[("x-request-id", longest)]), true);
        assert_eq!(kept.request_id(), longest);
        let twice = headers(&[("x-request-id", "a"), ("x-request-id", "b")]);
        assert!(is_made(Identity::new(&twice, true).request_id()));
    }

    #[test]
    fn a_doubled_traceparent_is_not_believed() {
        let sent = headers(&[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=b")]);
        let identity = Identity::new(&sent, true);
        let mut upstream = sent;
        identity.write(&mut upstream);
        assert_ne!(identity.trace_id(), &PARENT[3..35]);
        assert_eq!(upstream.get_all("traceparent").iter().count(), 1);
        assert!(!upstream.contains_key("tracestate"));
    }

    #[test]
    fn a_twin_with_underscores_does_not_pass() {
        let mut upstream = headers(&[("x_request_id", "forged")]);
        Identity::new(&upstream, true).write(&mut upstream);
        assert!(!upstream.contains_key("x_request_id"));
    }

    #[test]
    fn the_client_is_told_the_same_ids() {
        let identity = Identity::new(&HeaderMap::new(), false);
        let mut upstream = HeaderMap::new();
        let mut response = headers(&[("x-request-id", "of the upstream"), ("tracestate", "kept=1")]);
        identity.write(&mut upstream);
        identity.write_response(&mut response);
        assert_eq!(response["x-request-id"], identity.request_id());
        assert_eq!(response["traceparent"], upstream["traceparent"]);
        assert_eq!(response["tracestate"], "kept=1");
    }

    #[test]
    fn ids_differ_within_and_between_threads() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    let empty = HeaderMap::new();
                    (0..1000)
                        .flat_map(|_| {
                            let identity = Identity::new(&empty, false);
                            [identity.request_id().to_owned(), identity.trace_id().to_owned()]
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let ids: HashSet<String> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        assert_eq!(ids.len(), 8000);
    }
}
