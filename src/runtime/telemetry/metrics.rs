//! The metrics, as they are at every interval: what could not be told once is in what is told next.

use std::sync::Arc;
use std::time::SystemTime;

use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::collector::Signal;
use super::trouble::Trouble;
use super::{LAST, Telemetry};
use crate::observe::otlp;

/// Sends the metrics until it is to stop; then once more, in the time that there is.
pub(super) async fn run(telemetry: Arc<Telemetry>, mut stop: watch::Receiver<bool>) {
    let mut trouble = Trouble::new(Signal::Metrics, &telemetry.model.endpoint);
    let mut ticks = tokio::time::interval_at(Instant::now() + telemetry.model.interval, telemetry.model.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            biased;
            () = tell(&telemetry, &mut trouble) => {}
            _ = stop.changed() => break,
        }
    }
    let _ = timeout(LAST, tell(&telemetry, &mut trouble)).await;
}

async fn tell(telemetry: &Telemetry, trouble: &mut Trouble) {
    let families = telemetry.shown.families();
    let message = otlp::metrics(&telemetry.resource, &families, telemetry.began, SystemTime::now());
    drop(families);
    let answer = telemetry.collector.send(Signal::Metrics, message.encode_to_vec()).await;
    telemetry.counts.exported(Signal::Metrics.word(), answer.is_taken());
    trouble.judge(&answer);
}
