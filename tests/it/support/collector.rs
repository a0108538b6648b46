//! A collector that takes nothing on trust: what it is sent must be whole and by the rules of OTLP.

use std::collections::HashMap;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio_rustls::TlsAcceptor;

use super::eventually;
use super::origin::{Origin, Received, Step, reply};
use super::service::{Say, Service, Speaks};

/// What a collector was told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    resource: HashMap<String, String>,
    /// What broke a rule.
    faults: Vec<String>,
}

impl Told {
    pub(crate) fn spans(&self) -> Vec<Span> {
        let record = self.0.lock().expect("record");
        assert_eq!(record.faults, [""; 0]);
        record.spans.clone()
    }

    /// The spans, once there are `count` of them.
    pub(crate) async fn all(&self, count: usize) -> Vec<Span> {
        eventually("the collector has its spans", async || self.spans().len() >= count).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }

    /// The last metric of this name.
    pub(crate) fn metric(&self, name: &str) -> Option<Metric> {
        let record = self.0.lock().expect("record");
        assert_eq!(record.faults, [""; 0]);
        record.metrics.iter().rfind(|metric| metric.name == name).cloned()
    }

    pub(crate) fn resource(&self) -> HashMap<String, String> {
        self.0.lock().expect("record").resource.clone()
    }

    fn fault(&self, what: impl Into<String>) {
        self.0.lock().expect("record").faults.push(what.into());
    }

    fn take(&self, path: &str, body: &[u8]) {
        match path {
            "/v1/traces" => match ExportTraceServiceRequest::decode(body) {
                Ok(message) => self.take_spans(message),
                Err(error) => self.fault(format!("not a message of traces: {error}")),
            },
            "/v1/metrics" => match ExportMetricsServiceRequest::decode(body) {
                Ok(message) => self.take_metrics(message),
                Err(error) => self.fault(format!("not a message of metrics: {error}")),
            },
            other => self.fault(format!("asked for {other}")),
        }
    }

    fn take_spans(&self, message: ExportTraceServiceRequest) {
        let [of_resource] = &message.resource_spans[..] else {
            return self.fault("not one resource");
        };
        let resource = of_resource.resource.clone().unwrap_or_default().attributes;
        for span in of_resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let is_id = |id: &[u8], length| id.len() == length && id.iter().any(|&byte| byte != 0);
            if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
                self.fault(format!("ids: {span:?}"));
            }
            if !span.parent_span_id.is_empty() && !is_id(&span.parent_span_id, 8) {
                self.fault(format!("parent: {span:?}"));
            }
            if span.start_time_unix_nano == 0 || span.end_time_unix_nano < span.start_time_unix_nano {
                self.fault(format!("times: {span:?}"));
            }
            let keys: HashSet<&str> = span.attributes.iter().map(|pair| &*pair.key).collect();
            if keys.len() != span.attributes.len() || span.attributes.iter().any(|pair| pair.value.is_none()) {
                self.fault(format!("attributes: {span:?}"));
            }
            let mut record = self.0.lock().expect("record");
            if record.spans.iter().any(|known| known.span_id == span.span_id) {
                record.faults.push(format!("sent twice: {span:?}"));
            }
            record.spans.push(span.clone());
            record.resource = texts(&resource);
        }
    }

    fn take_metrics(&self, message: ExportMetricsServiceRequest) {
        let [of_resource] = &message.resource_metrics[..] else {
            return self.fault("not one resource");
        };
        let mut record = self.0.lock().expect("record");
        let metrics = of_resource.scope_metrics.iter().flat_map(|scope| &scope.metrics);
        record.metrics.extend(metrics.cloned());
        record.resource = texts(&of_resource.resource.clone().unwrap_or_default().attributes);
    }
}

/// A collector over HTTP/1.1.
pub(crate) struct Collector {
    pub(crate) origin: Origin,
    pub(crate) told: Told,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::answering(|_| reply(200, "Content-Type: application/x-protobuf\r\n", "")).await
    }

    /// Takes what it is sent where the script answers with 200.
    pub(crate) async fn answering(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let told = Told::default();
        let origin = Origin::start(Self::script(script, told.clone())).await;
        Self { origin, told }
    }

    /// Starts where another one was.
    pub(crate) async fn again(address: SocketAddr) -> Self {
        let told = Told::default();
        let takes = |_: &Received| reply(200, "", "");
        let origin = Origin::start_again(address, Self::script(takes, told.clone())).await;
        Self { origin, told }
    }

    fn script(
        script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
        told: Told,
    ) -> impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static {
        move |received| {
            let steps = script(received);
            let taken = matches!(&steps[..], [Step::Send(bytes)] if bytes.starts_with(b"HTTP/1.1 200 "));
            if received.header("content-type") != Some("application/x-protobuf") {
                told.fault(format!("content type: {}", received.head));
            }
            if taken {
                let path = received.line().split(' ').nth(1).unwrap_or_default();
                told.take(path, &received.body);
            }
            steps
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.origin.address)
    }
}

/// A collector over gRPC; what it answers with behind an answer without a message in it.
pub(crate) async fn grpc(status: &'static str, tls: Option<TlsAcceptor>) -> (Service, Told) {
    let told = Told::default();
    let record = told.clone();
    let service = Service::start(Speaks::Http2, tls, move |request| {
        let body = request.body();
        let framed = body.len() >= 5 && body[0] == 0 && body[1..5] == ((body.len() - 5) as u32).to_be_bytes();
        if !framed || request.headers().get("te").is_none_or(|te| te != "trailers") {
            record.fault(format!("not a call of gRPC: {:?}", request.headers()));
        }
        let path = match request.uri().path() {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => "/v1/traces",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => "/v1/metrics",
            other => other,
        };
        if framed && status == "0" {
            record.take(path, &body[5..]);
        }
        Say {
            fields: vec![("content-type", "application/grpc".to_owned())],
            body: vec![bytes::Bytes::from_static(&[0; 5])],
            trailers: vec![("grpc-status", status)],
            ..Say::default()
        }
    })
    .await;
    (service, told)
}

/// Attributes, as text.
pub(crate) fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

/// An id as it stands in header fields.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
