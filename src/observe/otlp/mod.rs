//! Spans and metrics as messages of OTLP.

mod metrics;
mod span;

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1;

pub use metrics::metrics;
pub use span::spans;

/// Which version of the names of attributes is meant.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// What a gateway says it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource(v1::Resource);

impl Resource {
    /// With these attributes.
    #[must_use]
    pub fn new<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let attributes = attributes.into_iter().map(|(key, value)| attribute(key, value));
        Self(v1::Resource {
            attributes: attributes.collect(),
            ..Default::default()
        })
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

fn attribute(key: &str, value: impl Into<Told>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(value.into().0),
        }),
        ..Default::default()
    }
}

/// The value of an attribute.
struct Told(Value);

impl From<&str> for Told {
    fn from(text: &str) -> Self {
        Self(Value::StringValue(text.to_owned()))
    }
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self(Value::StringValue(text))
    }
}

impl From<u64> for Told {
    fn from(number: u64) -> Self {
        Self(Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
