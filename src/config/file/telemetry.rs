//! `[telemetry]`

use ::http::{HeaderValue, Uri};

use super::http::FieldName;
use crate::config::list::Several;
use crate::config::named::Pairs;
use crate::config::secret::{Secret, SecretText};
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Fault, FilePath, FromText, Written};
use crate::config::units::{Percent, Timeout};
use crate::config::words::words;

table! {
    /// Traces and metrics for a collector that speaks OTLP, and the fields in which traces are read and passed on. All keys but
    /// `propagation` need `endpoint`.
    pub struct Telemetry {
        /// Where the collector is: `"http://127.0.0.1:4318"`, as a rule 4317 with gRPC. `/v1/traces` and `/v1/metrics` are put
        /// behind a path that stands here.
        optional endpoint: Written<CollectorUrl> => "nothing is sent",
        /// What the collector speaks.
        default protocol: OtlpProtocol = "\"http/protobuf\"",
        /// Fields that are sent with everything, such as a key: `{ authorization = "Bearer ${OTLP_TOKEN}" }`. They are secrets.
        default headers: Pairs<FieldName, Secret<SentField>> = "{}",
        /// The file with the authorities that the collector's certificate is verified by, PEM.
        optional ca: Written<FilePath> => "those of the system",
        /// Whether spans are sent: one of the gateway for a request, below it one for every attempt at a server.
        default traces: bool = "true",
        /// Whether all metrics of `/metrics` are sent, at every interval.
        default metrics: bool = "true",
        /// Which share of the traces that begin here is recorded. Where a trusted peer has decided, that stands. A request that
        /// ends with a status of 5xx is sent whatever was decided.
        default sample: Written<Percent> = "\"10%\"",
        /// The fields of traces: read where a trusted peer sends them, the first that is there; all of them are written towards
        /// servers.
        default propagation: Several<Propagation> = "[\"w3c\"]",
        /// What the gateway is called: `service.name`.
        default service: Written<AttributeText> = "\"gateway\"",
        /// What else is said about it: `{ "deployment.environment.name" = "production" }`.
        default attributes: Pairs<AttributeName, Written<AttributeText>> = "{}",
        /// How often spans and metrics are sent, at least `100ms`; spans sooner where many wait.
        default interval: Written<Timeout> = "\"10s\"",
        /// When the collector must have answered.
        default timeout: Written<Timeout> = "\"5s\"",
    }
}

words! {
    /// What a collector speaks.
    pub enum OtlpProtocol {
        /// OTLP/HTTP with binary messages.
        Http = "http/protobuf",
        /// OTLP/gRPC.
        Grpc = "grpc",
    }
}

words! {
    /// How fields say which trace a request belongs to.
    pub enum Propagation {
        /// W3C Trace Context: `traceparent` and `tracestate`.
        W3c = "w3c",
        /// B3, as Zipkin has it: `b3`, and `X-B3-TraceId` and its kind. Both are read, the first one before the others, and both
        /// are written.
        B3 = "b3",
    }
}

/// The URL of a collector.
#[derive(Debug, Clone)]
pub(crate) struct CollectorUrl(pub(crate) Uri);

impl FromText for CollectorUrl {
    const KIND: Kind = Kind {
        what: "the URL of a collector",
        pattern: Some("^https?://.+"),
        example: "http://127.0.0.1:4318",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = |help: &str| Fault::new(format!("`{}` is not the URL of a collector", clip(text))).help(help);
        const EXAMPLE: &str = "write for example `\"http://127.0.0.1:4318\"`";
        let uri: Uri = text.parse().map_err(|_| fault(EXAMPLE))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().unwrap_or_default().is_empty() {
            return Err(fault(EXAMPLE));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(fault("leave out what follows the path: `/v1/traces` is put behind it"));
        }
        Ok(Self(uri))
    }
}

/// The value of a field that is sent to the collector.
#[derive(Debug, Clone)]
pub(crate) struct SentField;

impl SecretText for SentField {
    const EXAMPLE: &'static str = "Bearer ${OTLP_TOKEN}";

    fn check(text: &str) -> Result<(), Fault> {
        if text.is_empty() || HeaderValue::from_text(text).is_err() {
            return Err(Fault::new("this is not the value of a header field")
                .help("it is one line of ASCII, without white space at its ends"));
        }
        Ok(())
    }

    fn mask(_: &str) -> String {
        "***".to_owned()
    }
}

/// The name of an attribute.
#[derive(Debug, Clone)]
pub(crate) struct AttributeName;

impl FromText for AttributeName {
    const KIND: Kind = Kind {
        what: "the name of an attribute",
        pattern: Some("^[A-Za-z][0-9A-Za-z._-]{0,127}$"),
        example: "deployment.environment.name",
        substituted: false,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        let fault = || Fault::new(format!("`{}` cannot name an attribute", clip(text)));
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) || text.len() > 128 || !text.bytes().all(allowed) {
            return Err(fault().help("write up to 128 letters, digits, `.`, `_` and `-`, a letter first"));
        }
        if text == "service.name" {
            return Err(fault().help("it has a key of its own: write `service = \"…\"`"));
        }
        Ok(Self)
    }
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub(crate) struct AttributeText;

impl FromText for AttributeText {
    const KIND: Kind = Kind {
        what: "text",
        pattern: None,
        example: "production",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(Fault::new(format!("`{}` is nothing to be called", clip(text)))
                .help("write 1 to 256 characters on one line"));
        }
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_collectors() {
        for text in [
            "http://127.0.0.1:4318",
            "https://otlp.example.net/tenant/",
            "http://[::1]:4317",
            "http://collector",
        ] {
            assert!(CollectorUrl::from_text(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:4318",
            "/v1/traces",
            "grpc://a:4317",
            "http://",
            "http://a/?x=1",
            "http://a/#x",
        ] {
            assert!(CollectorUrl::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn attributes() {
        for text in ["deployment.environment.name", "team", "a-b_c.1"] {
            assert!(AttributeName::from_text(text).is_ok(), "{text}");
        }
        for text in ["", "1a", "a b", "é", "service.name", &"a".repeat(129)] {
            assert!(AttributeName::from_text(text).is_err(), "{text}");
        }
        for text in ["", "a\nb", &"a".repeat(257)] {
            assert!(AttributeText::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_that_is_sent_is_not_quoted() {
        assert!(SentField::check("Bearer abc").is_ok());
        for text in ["", "s3cret\n", " s3cret"] {
            let fault = SentField::check(text).expect_err(text);
            assert!(!fault.message.contains("s3cret"), "{fault:?}");
        }
    }
}
