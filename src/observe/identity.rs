//! Request ids and the context of traces: kept from trusted peers, made otherwise, sent both ways.

mod b3;
mod random;
mod trace;
mod tracing;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub use self::trace::{Place, SpanId, TraceId};
pub use self::tracing::{Form, Sampler, Tracing};
use trace::{Told, TraceParent};

use crate::onward::Onward;

/// The field of the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context §3.2.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest request id that is kept from a trusted peer, bytes.
const MAX_KEPT: usize = 128;

/// What a request is called: in the log, towards the upstream and towards the client.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Only of the bytes that [`is_id`] admits.
    request_id: HeaderValue,
    trace: TraceParent,
    /// The trace in the name of the gateway's own span, as it is written both ways.
    traceparent: HeaderValue,
    /// The span of the caller, where the trace came with the request.
    parent: Option<SpanId>,
    /// Whether it came in `traceparent`: then its `tracestate` came with it.
    state_kept: bool,
    tracing: Tracing,
}

impl Identity {
    /// Identifies a request with these fields. Ids of a peer that is not trusted are not looked at: a stranger could
    /// write another's id into the log, or choose which requests are traced.
    #[must_use]
    pub fn new(headers: &HeaderMap, peer_trusted: bool, tracing: Tracing) -> Self {
        let (kept_id, told) = if peer_trusted {
            (
                only(headers, &REQUEST_ID).filter(|value| is_id(value.as_bytes())),
                tracing.forms().find_map(|form| Some((form, told(headers, form)?))),
            )
        } else {
            (None, None)
        };
        let (form, kept, sampled) = match told {
            Some((form, told)) => (Some(form), told.parent, told.sampled),
            None => (None, None, None),
        };
        let parent = kept.as_ref().map(|kept| kept.span_id);
        let trace = match kept {
            Some(kept) => kept.child(random::span_id()),
            None => TraceParent::new(random::hex(), random::span_id()),
        };
        let sampled = sampled.or_else(|| Some(tracing.sampler?.takes(&trace.trace_id)));
        let trace = match sampled {
            Some(sampled) => trace.sampled(sampled),
            None => trace,
        };
        // In one piece of memory: both are handed on several times.
        let mut texts = [0; trace::LENGTH + 32];
        texts[..trace::LENGTH].copy_from_slice(&trace.text(&trace.span_id));
        if kept_id.is_none() {
            texts[trace::LENGTH..].copy_from_slice(&random::hex());
        }
        let texts = Bytes::from_owner(texts);
        Self {
            request_id: match kept_id {
                Some(kept) => kept.clone(),
                None => value(texts.slice(trace::LENGTH..)),
            },
            state_kept: form == Some(Form::W3c) && parent.is_some(),
            parent,
            traceparent: value(texts.slice(..trace::LENGTH)),
            trace,
            tracing,
        }
    }

    /// The request id: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    #[must_use]
    pub fn request_id(&self) -> &str {
        std::str::from_utf8(self.request_id.as_bytes()).expect("ids are ASCII: made of digits, or checked when kept")
    }

    /// The trace id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.trace.trace_id()
    }

    /// Whether the trace is recorded, and the gateway's part of it by the gateway.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.tracing.sampler.is_some() && self.trace.is_sampled()
    }

    /// The trace, the span of the gateway in it, and the caller's.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            trace: self.trace.trace_id,
            span: self.trace.span_id,
            parent: self.parent,
            flags: self.trace.flags(),
        }
    }

    /// Writes the ids into the fields towards the upstream: a `tracestate` among them stays only with the trace that it
    /// belongs to. `span`: of this attempt, where it has one of its own.
    pub fn write(&self, upstream: &mut Onward<'_>, span: Option<&SpanId>) {
        // By their texts: to compare with names costs more. The twin with underscores is what an application behind WSGI or
        // CGI cannot tell from the real field; `tracestate` is §3.3 of Trace Context.
        upstream.retain(|name| match name.as_str() {
            "x-request-id" | "x_request_id" | "traceparent" => false,
            "tracestate" => self.state_kept,
            _ => true,
        });
        upstream.add(REQUEST_ID, self.request_id.clone());
        if self.tracing.has(Form::W3c) {
            let own = span.map(|span| value(Bytes::copy_from_slice(&self.trace.text(span))));
            upstream.add(TRACEPARENT, own.unwrap_or_else(|| self.traceparent.clone()));
        }
        if self.tracing.has(Form::B3) {
            b3::write(upstream, &self.trace, span.unwrap_or(&self.trace.span_id));
        }
    }

    /// Writes the ids into the fields towards the client, in place of what the upstream may have sent.
    pub fn write_response(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request_id.clone());
        if self.tracing.has(Form::W3c) {
            headers.insert(TRACEPARENT, self.traceparent.clone());
        }
    }
}

/// Never the same twice: in HTTP/2 it must not push out of the table what comes again (RFC 7541 §6.2.3).
fn value(text: Bytes) -> HeaderValue {
    let mut value = HeaderValue::from_maybe_shared(text).expect("hexadecimal digits and hyphens are a field value");
    value.set_sensitive(true);
    value
}

/// An id for a span.
#[must_use]
pub fn new_span() -> SpanId {
    random::span_id()
}

/// What the caller says of the trace in fields of this form.
fn told(headers: &HeaderMap, form: Form) -> Option<Told> {
    match form {
        Form::W3c => {
            let parent = TraceParent::parse(only(headers, &TRACEPARENT)?.as_bytes())?;
            Some(Told {
                sampled: Some(parent.is_sampled()),
                parent: Some(parent),
            })
        }
        Form::B3 => b3::read(headers),
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

    fn written(identity: &Identity, sent: &HeaderMap, span: Option<&SpanId>) -> HeaderMap {
        let mut fields = Onward::of(sent);
        identity.write(&mut fields, span);
        fields.to_map()
    }

    fn is_made(id: &str) -> bool {
        id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    #[test]
    fn a_stranger_is_given_ids_of_ours() {
        let sent = headers(&[("x-request-id", "mine"), ("traceparent", PARENT), ("tracestate", "a=b")]);
        let identity = Identity::new(&sent, false, Tracing::default());
        assert!(is_made(identity.request_id()));
        assert!(is_made(identity.trace_id()));
        assert_ne!(identity.trace_id(), &PARENT[3..35]);

        let mut upstream = sent;
        upstream = written(&identity, &upstream, None);
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
        let identity = Identity::new(&sent, true, Tracing::default());
        assert_eq!(identity.request_id(), "Up.stream_1-a");
        assert_eq!(identity.trace_id(), &PARENT[3..35]);

        let mut upstream = sent;
        upstream = written(&identity, &upstream, None);
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
            let identity = Identity::new(&headers(&[("x-request-id", bad)]), true, Tracing::default());
            assert!(is_made(identity.request_id()), "{bad:?}");
        }
        let longest = &long[1..];
        let kept = Identity::new(&headers(&[("x-request-id", longest)]), true, Tracing::default());
        assert_eq!(kept.request_id(), longest);
        let twice = headers(&[("x-request-id", "a"), ("x-request-id", "b")]);
        assert!(is_made(Identity::new(&twice, true, Tracing::default()).request_id()));
    }

    #[test]
    fn a_doubled_traceparent_is_not_believed() {
        let sent = headers(&[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=b")]);
        let identity = Identity::new(&sent, true, Tracing::default());
        let mut upstream = sent;
        upstream = written(&identity, &upstream, None);
        assert_ne!(identity.trace_id(), &PARENT[3..35]);
        assert_eq!(upstream.get_all("traceparent").iter().count(), 1);
        assert!(!upstream.contains_key("tracestate"));
    }

    #[test]
    fn a_twin_with_underscores_does_not_pass() {
        let sent = headers(&[("x_request_id", "forged")]);
        let upstream = written(&Identity::new(&sent, true, Tracing::default()), &sent, None);
        assert!(!upstream.contains_key("x_request_id"));
    }

    #[test]
    fn the_client_is_told_the_same_ids() {
        let identity = Identity::new(&HeaderMap::new(), false, Tracing::default());
        let mut upstream = HeaderMap::new();
        let mut response = headers(&[("x-request-id", "of the upstream"), ("tracestate", "kept=1")]);
        upstream = written(&identity, &upstream, None);
        identity.write_response(&mut response);
        assert_eq!(response["x-request-id"], identity.request_id());
        assert_eq!(response["traceparent"], upstream["traceparent"]);
        assert_eq!(response["tracestate"], "kept=1");
    }

    const B3: Tracing = Tracing::of(Form::B3, Some(Form::W3c), None);

    #[test]
    fn b3_is_kept_and_both_kinds_of_fields_tell_the_same() {
        let b3 = format!("{}-00f067aa0ba902b7-0", &PARENT[3..35]);
        let other = PARENT.replace("4bf92f", "ffffff");
        let sent = headers(&[("b3", &b3), ("traceparent", &other), ("tracestate", "a=b")]);
        let identity = Identity::new(&sent, true, B3);
        assert_eq!(identity.trace_id(), &PARENT[3..35]);
        assert_eq!(identity.place().parent.as_ref(), Some(b"00f067aa0ba902b7"));

        let mut upstream = sent.clone();
        upstream = written(&identity, &upstream, Some(b"1111111111111111"));
        let trace = identity.trace_id();
        assert_eq!(upstream["b3"], format!("{trace}-1111111111111111-0"));
        assert_eq!(upstream["x-b3-traceid"], trace);
        assert_eq!(upstream["traceparent"], format!("00-{trace}-1111111111111111-00"));
        assert!(!upstream.contains_key("tracestate"));

        // Of somebody who is not trusted, none of it stays.
        let identity = Identity::new(&sent, false, B3);
        let mut upstream = sent;
        upstream = written(&identity, &upstream, None);
        assert_ne!(identity.trace_id(), trace);
        assert!(upstream["b3"].to_str().unwrap().starts_with(identity.trace_id()));
    }

    #[test]
    fn what_is_not_of_the_first_form_is_looked_for_in_the_second() {
        let sent = headers(&[("b3", "nonsense"), ("traceparent", PARENT), ("tracestate", "a=b")]);
        let mut upstream = sent.clone();
        let identity = Identity::new(&sent, true, B3);
        upstream = written(&identity, &upstream, None);
        assert_eq!(identity.trace_id(), &PARENT[3..35]);
        assert_eq!(upstream["tracestate"], "a=b");
    }

    #[test]
    fn fields_of_a_form_that_is_not_ours_name_no_other_trace() {
        let sent = headers(&[("traceparent", PARENT), ("tracestate", "a=b")]);
        let mut upstream = sent.clone();
        let identity = Identity::new(&sent, true, Tracing::of(Form::B3, None, None));
        upstream = written(&identity, &upstream, None);
        assert_ne!(identity.trace_id(), &PARENT[3..35]);
        assert!(!upstream.contains_key("traceparent") && !upstream.contains_key("tracestate"));
        let mut response = HeaderMap::new();
        identity.write_response(&mut response);
        assert!(!response.contains_key("traceparent"));
    }

    #[test]
    fn who_is_trusted_decides_and_the_share_where_nobody_has() {
        let with = |share| Tracing::of(Form::W3c, Some(Form::B3), Some(Sampler::new(share)));
        let unsampled = format!("{}0", &PARENT[..54]);
        let undecided = format!("{}-00f067aa0ba902b7", &PARENT[3..35]);
        for (field, value, trusted, share, recorded) in [
            ("traceparent", PARENT, true, 0.0, true),
            ("traceparent", PARENT, false, 0.0, false),
            ("traceparent", &unsampled, true, 1.0, false),
            ("traceparent", &unsampled, false, 1.0, true),
            ("b3", "0", true, 1.0, false),
            ("b3", "d", true, 0.0, true),
            ("b3", &undecided, true, 1.0, true),
            ("b3", &undecided, true, 0.0, false),
            ("x-other", "1", true, 1.0, true),
        ] {
            let sent = headers(&[(field, value)]);
            let identity = Identity::new(&sent, trusted, with(share));
            assert_eq!(identity.is_recorded(), recorded, "{field}: {value} {trusted} {share}");
            let mut upstream = sent;
            upstream = written(&identity, &upstream, None);
            let flag = if recorded { "-01" } else { "-00" };
            assert!(upstream["traceparent"].to_str().unwrap().ends_with(flag));
        }
        // Without a share nothing is recorded here, and applications are left to it.
        let identity = Identity::new(&HeaderMap::new(), false, Tracing::default());
        let mut upstream = HeaderMap::new();
        upstream = written(&identity, &upstream, None);
        assert!(!identity.is_recorded() && upstream["traceparent"].to_str().unwrap().ends_with("-01"));
    }

    #[test]
    fn ids_differ_within_and_between_threads() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    let empty = HeaderMap::new();
                    (0..1000)
                        .flat_map(|_| {
                            let identity = Identity::new(&empty, false, Tracing::default());
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
