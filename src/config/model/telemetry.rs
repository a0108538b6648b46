//! `[telemetry]`.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};

use super::Secret;
pub use crate::observe::identity::Form;

/// Who is told of traces and metrics, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// Where the collector is; the path ends without `/`.
    pub endpoint: Uri,
    /// What it speaks.
    pub protocol: OtlpProtocol,
    /// Fields that are sent with everything.
    pub headers: Vec<(HeaderName, Secret)>,
    /// The file with the authorities that are believed, PEM, absolute; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The share of traces that is recorded, 0 to 1; `None`: no spans are sent.
    pub sample: Option<f64>,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// What the gateway says it is: `service.name` first.
    pub resource: Vec<(Box<str>, Box<str>)>,
    /// How often it is sent.
    pub interval: Duration,
    /// When the collector must have answered.
    pub timeout: Duration,
}

/// What a collector speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP/HTTP with binary messages.
    Http,
    /// OTLP/gRPC.
    Grpc,
}
