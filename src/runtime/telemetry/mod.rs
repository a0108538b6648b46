//! What is told to a collector: spans of requests as they end, and the metrics now and then.
//!
//! A request puts its spans into a queue that never makes it wait; two pieces of work in the background send them and the
//! metrics. Whatever becomes of the collector, no more than the queue and one batch is kept.

mod collector;
mod grpc;
mod metrics;
mod spans;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::collector::Collector;
use super::tasks::Task;
use super::{LoadError, Registry};
use crate::config::model;
use crate::observe::metrics::{Metrics, TelemetryMetrics};
use crate::observe::otlp::Resource;
use crate::tls::TlsFault;

pub use spans::Spans;

/// What a stop leaves for the last words, less than it waits for the work to end.
const LAST: Duration = Duration::from_millis(1500);

/// The collector, and what it is told.
pub struct Telemetry {
    model: model::Telemetry,
    collector: Collector,
    resource: Resource,
    /// Where requests put their spans; `None`: spans are not sent.
    spans: Option<Arc<Spans>>,
    shown: Arc<Metrics>,
    /// When the counters began to count.
    began: SystemTime,
    counts: TelemetryMetrics,
}

impl Telemetry {
    fn new(model: model::Telemetry, registry: &Registry) -> Result<Self, TlsFault> {
        let own = [
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", &*registry.instance),
        ];
        let written = (model.resource.iter()).map(|(key, value)| (&**key, &**value));
        // What the file says goes before what is known without it.
        let known = own
            .into_iter()
            .filter(|(key, _)| model.resource.iter().all(|(written, _)| **written != **key));
        Ok(Self {
            collector: Collector::new(&model)?,
            resource: Resource::new(written.chain(known)),
            spans: model.sample.map(|_| registry.spans()),
            shown: Arc::clone(&registry.metrics),
            began: registry.began,
            counts: registry.metrics.telemetry(),
            model,
        })
    }

    /// Where requests put their spans; `None`: they are not sent.
    #[must_use]
    pub fn spans(&self) -> Option<&Arc<Spans>> {
        self.spans.as_ref()
    }
}

/// The work that tells the collector, as long as the configuration stays the same.
pub fn tasks(telemetry: &Arc<Telemetry>) -> Vec<Task> {
    let mut tasks = Vec::new();
    if telemetry.spans.is_some() {
        let this = Arc::clone(telemetry);
        let made_of = vec![Arc::clone(telemetry) as _];
        tasks.push(Task::new("telemetry", Arc::from("traces"), made_of, |stop| {
            spans::run(this, stop)
        }));
    }
    if telemetry.model.metrics {
        let this = Arc::clone(telemetry);
        let made_of = vec![Arc::clone(telemetry) as _];
        tasks.push(Task::new("telemetry", Arc::from("metrics"), made_of, |stop| {
            metrics::run(this, stop)
        }));
    }
    tasks
}

impl Registry {
    /// The collector: the one that is told already, if the file still says the same.
    pub(super) fn telemetry(&self, model: model::Telemetry) -> Result<Arc<Telemetry>, LoadError> {
        let mut running = self.telemetry.lock();
        match &*running {
            // The authorities may have changed in their file.
            Some(same) if same.model == model && model.ca.is_none() => Ok(Arc::clone(same)),
            _ => {
                let telemetry = Telemetry::new(model, self).map_err(LoadError::Telemetry)?;
                Ok(Arc::clone(running.insert(Arc::new(telemetry))))
            }
        }
    }

    /// The queue of spans: one for the whole life of the process, whoever is told of them.
    fn spans(&self) -> Arc<Spans> {
        let counts = || self.metrics.telemetry();
        Arc::clone(self.spans.get_or_init(|| Arc::new(Spans::new(counts()))))
    }
}
