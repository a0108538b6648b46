//! One message to the collector and what it says to it (OTLP 1.x, §OTLP/HTTP).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::time::timeout;

use super::grpc;
use crate::config::model::{self, OtlpProtocol, UpstreamTls};
use crate::runtime::fetch::{self, Target};
use crate::runtime::tls::ClientTls;
use crate::tls::TlsFault;

/// The largest answer that is read, bytes.
const LARGEST: usize = 64 * 1024;
/// So much of what a collector says is told to the log, characters.
const LEGIBLE: usize = 200;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// What came of a message.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was taken, but for so many of its parts.
    Taken { rejected: u64, why: String },
    /// Not now.
    Later { after: Option<Duration>, why: String },
    /// Never.
    Refused { why: String },
}

impl Answer {
    pub(super) fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. })
    }

    /// Nothing came of it that says whether it ever could.
    pub(super) fn later(why: impl Into<String>) -> Self {
        Self::Later {
            after: None,
            why: why.into(),
        }
    }

    /// By the message that a collector answers with.
    pub(super) fn of(signal: Signal, body: &[u8]) -> Self {
        let partial = match signal {
            Signal::Traces => ExportTraceServiceResponse::decode(body).map(|answer| {
                let partial = answer.partial_success.unwrap_or_default();
                (partial.rejected_spans, partial.error_message)
            }),
            Signal::Metrics => ExportMetricsServiceResponse::decode(body).map(|answer| {
                let partial = answer.partial_success.unwrap_or_default();
                (partial.rejected_data_points, partial.error_message)
            }),
        };
        match partial {
            Ok((rejected, why)) => Self::Taken {
                rejected: u64::try_from(rejected).unwrap_or(0),
                why: legible(&why),
            },
            Err(_) => Self::Refused {
                why: "the answer is not one of OTLP: something else listens there".to_owned(),
            },
        }
    }
}

/// Where messages go.
pub(super) struct Collector {
    traces: Uri,
    metrics: Uri,
    tls: Option<ClientTls>,
    headers: HeaderMap,
    protocol: OtlpProtocol,
    patience: Duration,
}

impl Collector {
    pub(super) fn new(model: &model::Telemetry) -> Result<Self, TlsFault> {
        let tls = match model.endpoint.scheme_str() {
            Some("https") => Some(ClientTls::load(&UpstreamTls {
                ca: model.ca.clone(),
                certificate: None,
                sni: None,
                verify: true,
            })?),
            _ => None,
        };
        let mut headers = HeaderMap::new();
        for (name, secret) in &model.headers {
            // Validation has seen to it that these are values of fields.
            if let Ok(mut value) = HeaderValue::from_str(secret.expose()) {
                value.set_sensitive(true);
                headers.insert(name.clone(), value);
            }
        }
        let (traces, metrics) = match model.protocol {
            OtlpProtocol::Http => ("/v1/traces", "/v1/metrics"),
            OtlpProtocol::Grpc => (grpc::TRACES, grpc::METRICS),
        };
        Ok(Self {
            traces: below(&model.endpoint, traces),
            metrics: below(&model.endpoint, metrics),
            tls,
            headers,
            protocol: model.protocol,
            patience: model.timeout,
        })
    }

    /// Sends a message and waits for what the collector says to it, but not for ever.
    pub(super) async fn send(&self, signal: Signal, message: Vec<u8>) -> Answer {
        let target = Target {
            url: match signal {
                Signal::Traces => &self.traces,
                Signal::Metrics => &self.metrics,
            },
            tls: self.tls.as_ref(),
        };
        let sent = async {
            match self.protocol {
                OtlpProtocol::Http => self.post(signal, target, message).await,
                OtlpProtocol::Grpc => grpc::call(signal, target, &self.headers, message).await,
            }
        };
        match timeout(self.patience, sent).await {
            Ok(answer) => answer,
            Err(_) => Answer::later(format!("no answer within {:?}", self.patience)),
        }
    }

    async fn post(&self, signal: Signal, target: Target<'_>, message: Vec<u8>) -> Answer {
        let mut request = Request::new(Full::new(Bytes::from(message)));
        *request.method_mut() = http::Method::POST;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
        let answer = match fetch::call(target, request, LARGEST).await {
            Ok(answer) => answer,
            Err(why) => return Answer::later(legible(&why)),
        };
        let status = answer.status();
        let why = || format!("the answer is {status}");
        match status {
            StatusCode::OK => Answer::of(signal, answer.body()),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Answer::Later {
                after: retry_after(answer.headers()),
                why: why(),
            },
            _ => Answer::Refused { why: why() },
        }
    }
}

/// The URL of what is below an endpoint.
fn below(endpoint: &Uri, path: &str) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    let joined = format!("{}{path}", endpoint.path().trim_end_matches('/'));
    parts.path_and_query = joined.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| endpoint.clone())
}

fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    let seconds = fields.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// One line of bounded length, whatever the collector said.
pub(super) fn legible(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LEGIBLE).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_behind_the_endpoints_own() {
        for (endpoint, expected) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("http://a:4318/", "http://a:4318/v1/traces"),
            ("https://a/otlp/", "https://a/otlp/v1/traces"),
        ] {
            assert_eq!(below(&endpoint.parse().unwrap(), "/v1/traces"), expected);
        }
    }

    #[test]
    fn answers() {
        assert!(matches!(
            Answer::of(Signal::Traces, b""),
            Answer::Taken { rejected: 0, .. }
        ));
        // partial_success { rejected_spans: 3, error_message: "no\nroom" }
        let partial = b"\x0a\x0b\x08\x03\x12\x07no\nroom";
        match Answer::of(Signal::Traces, partial) {
            Answer::Taken { rejected: 3, why } => assert_eq!(why, "no room"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(Answer::of(Signal::Metrics, b"<html>"), Answer::Refused { .. }));
    }
}
