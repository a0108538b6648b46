//! Spans as `ExportTraceServiceRequest`, named as the semantic conventions for HTTP have it.

use std::sync::Arc;

use http::{Method, Version};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans, ScopeSpans, SpanFlags};

use super::{Resource, SCHEMA, attribute, nanoseconds, scope};
use crate::observe::span::{Attempt, Request, Span, Work};

/// The message that tells of these spans.
#[must_use]
pub fn spans(resource: &Resource, spans: &[Span]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.0.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans: spans.iter().map(self::span).collect(),
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

fn span(span: &Span) -> proto::Span {
    let place = &span.place;
    let (kind, name, attributes, failed) = match &span.work {
        Work::Request(request) => {
            let (attributes, failed) = of_request(request);
            let pattern = request.pattern.as_deref();
            (
                proto::span::SpanKind::Server,
                name(&request.method, pattern),
                attributes,
                failed,
            )
        }
        Work::Attempt(attempt) => {
            let (attributes, failed) = of_attempt(attempt);
            (
                proto::span::SpanKind::Client,
                name(&attempt.method, None),
                attributes,
                failed,
            )
        }
    };
    let remote = match &span.work {
        Work::Request(_) if place.parent.is_some() => SpanFlags::ContextIsRemoteMask as u32,
        _ => 0,
    };
    proto::Span {
        trace_id: bytes(&place.trace),
        span_id: bytes(&place.span),
        parent_span_id: place.parent.as_ref().map_or_else(Vec::new, |parent| bytes(parent)),
        flags: u32::from(place.flags) | SpanFlags::ContextHasIsRemoteMask as u32 | remote,
        name,
        kind: kind as i32,
        start_time_unix_nano: nanoseconds(span.started),
        end_time_unix_nano: nanoseconds(span.ended.max(span.started)),
        attributes,
        status: failed.then(|| proto::Status {
            code: proto::status::StatusCode::Error as i32,
            message: String::new(),
        }),
        ..Default::default()
    }
}

fn name(method: &Method, pattern: Option<&str>) -> String {
    let method = known(method).unwrap_or("HTTP");
    match pattern {
        Some(pattern) => format!("{method} {pattern}"),
        None => method.to_owned(),
    }
}

/// The attributes of a request, and whether it failed: 4xx is the client's affair.
fn of_request(request: &Request) -> (Vec<KeyValue>, bool) {
    let mut told = Vec::with_capacity(24);
    method(&request.method, &mut told);
    told.push(attribute("url.scheme", request.scheme));
    told.push(attribute("url.path", &*request.path));
    if !request.host.is_empty() {
        told.push(attribute("server.address", &*request.host));
    }
    if request.port != 0 {
        told.push(attribute("server.port", u64::from(request.port)));
    }
    told.push(attribute("client.address", request.client.to_string()));
    told.push(attribute("network.peer.address", request.peer.to_string()));
    told.push(attribute("network.protocol.name", "http"));
    if let Some(version) = version(request.version) {
        told.push(attribute("network.protocol.version", version));
    }
    if request.status != 0 {
        told.push(attribute("http.response.status_code", u64::from(request.status)));
    }
    if request.failed {
        match request.refusal {
            Some(word) => told.push(attribute("error.type", word)),
            None => told.push(attribute("error.type", request.status.to_string())),
        }
    }
    let texts = [
        ("http.route", request.pattern.as_deref()),
        ("user_agent.original", request.user_agent.as_deref()),
        ("gateway.request_id", Some(&*request.request_id)),
        ("gateway.route", request.route.as_deref()),
        ("gateway.upstream", request.upstream.as_deref()),
        ("gateway.cache", request.cache),
        ("gateway.limit", request.limit.as_deref()),
        ("gateway.refusal", request.refusal),
    ];
    told.extend(texts.iter().filter_map(|(key, text)| Some(attribute(key, (*text)?))));
    if request.upstream.is_some() {
        told.push(attribute("gateway.attempts", u64::from(request.attempts)));
    }
    told.push(attribute("gateway.bytes_in", request.bytes.0));
    told.push(attribute("gateway.bytes_out", request.bytes.1));
    (told, request.failed)
}

/// The attributes of an attempt, and whether it failed: to who asked, 4xx is a failure, too.
fn of_attempt(attempt: &Attempt) -> (Vec<KeyValue>, bool) {
    let refused = attempt.status.is_some_and(|status| status >= 400);
    let mut told = Vec::with_capacity(10);
    method(&attempt.method, &mut told);
    match host_and_port(&attempt.server) {
        (host, Some(port)) => {
            told.push(attribute("server.address", host));
            told.push(attribute("server.port", port));
            told.push(attribute("network.peer.address", attempt.address.ip().to_string()));
            told.push(attribute("network.peer.port", u64::from(attempt.address.port())));
        }
        (path, None) => told.push(attribute("server.address", path)),
    }
    if let Some(status) = attempt.status {
        told.push(attribute("http.response.status_code", u64::from(status)));
    }
    match (attempt.error, attempt.status) {
        (Some(error), _) => told.push(attribute("error.type", error)),
        (None, Some(status)) if refused => told.push(attribute("error.type", status.to_string())),
        _ => {}
    }
    if attempt.number > 1 {
        told.push(attribute("http.request.resend_count", u64::from(attempt.number) - 1));
    }
    told.push(attribute("gateway.upstream", &*attempt.upstream));
    (told, refused || attempt.error.is_some())
}

/// Of `host:port` and `[::1]:port`; a socket in the file system has no port.
fn host_and_port(server: &Arc<str>) -> (&str, Option<u64>) {
    match server.rsplit_once(':') {
        Some((host, port)) if let Ok(port) = port.parse() => (host.trim_matches(['[', ']']), Some(port)),
        _ => (server, None),
    }
}

fn method(method: &Method, told: &mut Vec<KeyValue>) {
    match known(method) {
        Some(word) => told.push(attribute("http.request.method", word)),
        None => {
            told.push(attribute("http.request.method", "_OTHER"));
            let original = method.as_str();
            let original = &original[..original.floor_char_boundary(32)];
            told.push(attribute("http.request.method_original", original));
        }
    }
}

/// A method that may name something: clients cannot invent those.
fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    ];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// An id as bytes; of hexadecimal digits only.
fn bytes(digits: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| if byte <= b'9' { byte - b'0' } else { byte - b'a' + 10 };
    digits
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
