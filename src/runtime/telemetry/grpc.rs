//! A unary call of gRPC: one message there, one back, the status behind it.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::collector::{Answer, Signal, legible};
use crate::runtime::fetch::{self, Target};

pub(super) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(super) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Flag and length before each message.
const PREFIX: usize = 5;
/// The largest answer that is read, bytes.
const LARGEST: usize = 64 * 1024;
/// Largest head of an answer, bytes.
const HEAD_MAX: u32 = 16 * 1024;
const STATUS: &str = "grpc-status";
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Sends a message. The caller limits the time.
pub(super) async fn call(signal: Signal, target: Target<'_>, fields: &HeaderMap, message: Vec<u8>) -> Answer {
    let stream = match fetch::connect(target.url, target.tls.is_some()).await {
        Ok(stream) => stream,
        Err(why) => return Answer::later(why),
    };
    let answer = match target.tls {
        None => exchange(stream, target, fields, message).await,
        Some(tls) => {
            let name = target
                .url
                .host()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .to_owned();
            let Ok(name) = ServerName::try_from(name) else {
                return Answer::later("the host is no name that a certificate could have");
            };
            match TlsConnector::from(tls.config(&[b"h2"])).connect(name, stream).await {
                Ok(secured) => exchange(secured, target, fields, message).await,
                Err(error) => return Answer::later(legible(&format!("TLS: {error}"))),
            }
        }
    };
    match answer {
        Ok(reply) => reply.judge(signal),
        Err(error) => Answer::later(legible(&error.to_string())),
    }
}

/// What came back.
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    /// `grpc-status`, of the trailers or of a head without a body.
    code: Option<HeaderValue>,
    message: String,
}

impl Reply {
    fn judge(&self, signal: Signal) -> Answer {
        let code = self.code.as_ref().and_then(|code| code.to_str().ok());
        let why = match code {
            Some(code) => format!("grpc-status {code} {}", self.message),
            None => format!("the answer is {} without grpc-status", self.status),
        };
        match code {
            Some("0") => match self.body.split_first_chunk::<PREFIX>() {
                Some((&[0, a, b, c, d], body)) if u32::from_be_bytes([a, b, c, d]) as usize == body.len() => {
                    Answer::of(signal, body)
                }
                _ => Answer::Refused {
                    why: "the answer is not one of OTLP: something else listens there".to_owned(),
                },
            },
            // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS: the
            // specification wants these tried again.
            Some("1" | "4" | "8" | "10" | "11" | "14" | "15") => Answer::later(why),
            None if self.status.is_server_error() => Answer::later(why),
            _ => Answer::Refused { why },
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    target: Target<'_>,
    fields: &HeaderMap,
    message: Vec<u8>,
) -> Result<Reply, h2::Error> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = target.url.clone();
    *request.headers_mut() = fields.clone();
    request.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    request
        .headers_mut()
        .insert(header::TE, HeaderValue::from_static("trailers"));
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0); // not compressed
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message);
    let (sender, connection) = client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD_MAX)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut answer = std::pin::pin!(ask(sender, request, framed.freeze()));
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = connection => {} // whatever ended it, the answer knows
    }
    answer.await
}

async fn ask(sender: SendRequest<Bytes>, request: Request<()>, mut message: Bytes) -> Result<Reply, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut stream) = sender.send_request(request, false)?;
    while !message.is_empty() {
        stream.reserve_capacity(message.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(room) = room else { break }; // it wants no more: its answer says why
        let part = message.split_to(room?.min(message.len()));
        stream.send_data(part, message.is_empty())?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        if body.len() + data.len() > LARGEST {
            break;
        }
        body.extend_from_slice(&data);
    }
    let trailers = match head.headers.contains_key(STATUS) || body.len() > LARGEST {
        true => None,
        false => incoming.trailers().await?,
    };
    let said = trailers.as_ref().unwrap_or(&head.headers);
    let message = said.get("grpc-message").and_then(|text| text.to_str().ok());
    Ok(Reply {
        status: head.status,
        body,
        code: said.get(STATUS).cloned(),
        message: legible(message.unwrap_or_default()),
    })
}
