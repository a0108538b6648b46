//! What the log says of a collector: once that it cannot be told anything, once that it can again.

use http::Uri;

use super::collector::{Answer, Signal};

pub(super) struct Trouble {
    signal: Signal,
    endpoint: Uri,
    failures: u64,
    /// It takes what it is sent, and has said of some of it that it is of no use.
    picky: bool,
}

impl Trouble {
    pub(super) fn new(signal: Signal, endpoint: &Uri) -> Self {
        Self {
            signal,
            endpoint: endpoint.clone(),
            failures: 0,
            picky: false,
        }
    }

    pub(super) fn judge(&mut self, answer: &Answer) {
        let (signal, endpoint) = (self.signal.word(), &self.endpoint);
        match answer {
            Answer::Taken { rejected, why } => {
                if std::mem::take(&mut self.failures) > 0 {
                    tracing::info!(signal, %endpoint, "the collector of telemetry takes what it is sent again");
                }
                let picky = *rejected > 0;
                if picky && !self.picky {
                    tracing::warn!(signal, %endpoint, rejected, %why, "the collector of telemetry rejects some of what it is sent");
                }
                self.picky = picky;
            }
            Answer::Later { why, .. } | Answer::Refused { why } => {
                self.failures += 1;
                if self.failures == 1 {
                    tracing::warn!(
                        signal, %endpoint, %why,
                        "telemetry cannot be sent; requests are served as ever, what waits too long is dropped"
                    );
                }
            }
        }
    }
}
