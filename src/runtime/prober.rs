//! Active health checks: every server of a pool is asked again and again, its pool told what it answered.
//!
//! A server in health is asked once an interval, one that is out once an interval of its own. Every period is jittered by
//! a tenth, so that gateways do not ask in step.

mod connect;
mod grpc;
mod http1;
mod http2;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::balance::{Endpoint, Outcome, Pool, State, Transition};
use crate::config::model::{HealthCheck, Upstream};
use crate::runtime::ClientTls;
use probe::{Failure, Probe};

/// Most probes of one pool at a time.
const PARALLEL: usize = 32;
/// Bounds of any period, so that no number in the file makes this loop spin or overflow.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// What a whole round may take beyond the time-out of one probe.
const ROUND_GRACE: Duration = Duration::from_millis(250);

/// Probes every server once, so that the gateway starts knowing who is well. Takes the probe's time-out and a quarter of a
/// second at most; a server it did not come to stays unknown and is asked first by [`run`]. `tls` and `on_change` as there.
pub async fn first_round(
    upstream: &Upstream,
    tls: Option<Arc<ClientTls>>,
    pool: &Pool,
    on_change: impl Fn(&Endpoint, bool),
) {
    let Some(check) = &upstream.health_check else { return };
    let probe = Probe::new(upstream, check, tls);
    let endpoints = pool.endpoints();
    let round = stream::iter(endpoints.iter())
        .for_each_concurrent(PARALLEL, |endpoint| examine(&probe, pool, endpoint, &on_change));
    // Cut short or not makes no difference: what is missing stays unknown.
    let _ = tokio::time::timeout(check.timeout.saturating_add(ROUND_GRACE), round).await;
}

/// Probes the servers of a pool until `shutdown` is true or its sender gone. Servers that join are probed at once. Returns
/// at once where the upstream has no health check.
///
/// `tls` is the check's, loaded. `on_change(server, healthy)` is called when a probe changed a server's state. To be run once a pool: it takes the
/// pool's [`Pool::on_update`] hook.
pub async fn run<F>(
    upstream: Upstream,
    tls: Option<Arc<ClientTls>>,
    pool: Arc<Pool>,
    on_change: F,
    mut shutdown: watch::Receiver<bool>,
) where
    F: Fn(&Endpoint, bool) + Send + Sync + 'static,
{
    let Some(check) = upstream.health_check.clone() else {
        return;
    };
    let joined = Arc::new(Notify::new());
    let hook = Arc::clone(&joined);
    pool.on_update(move || hook.notify_one());
    let prober = Arc::new(Prober {
        probe: Probe::new(&upstream, &check, tls),
        check,
        pool,
        permits: Semaphore::new(PARALLEL),
        on_change,
    });
    let mut watched = Vec::new();
    let mut tasks = JoinSet::new(); // dropped on return, and all probes with it
    loop {
        prober.attend(&mut watched, &mut tasks);
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = joined.notified() => {}
            Some(Err(ended)) = tasks.join_next() => {
                if ended.is_panic() {
                    error!(upstream = %prober.pool.name(), "a health check panicked and is started again");
                }
            }
        }
    }
}

/// Writes a change of state to the log. For whoever changed it: probes do so here, requests where
/// [`Pool::connect_failed`] told them so.
pub fn announce(endpoint: &Endpoint, transition: Transition) {
    let (upstream, server, address) = (endpoint.upstream(), endpoint.server(), endpoint.address());
    match transition.to {
        State::Unhealthy => {
            let health = endpoint.health();
            let reason = health.reason().unwrap_or_default();
            warn!(%upstream, %server, %address, reason, "server is unhealthy");
        }
        State::Healthy | State::Unknown => info!(%upstream, %server, %address, "server is healthy"),
    }
}

async fn examine(probe: &Probe, pool: &Pool, endpoint: &Endpoint, on_change: impl Fn(&Endpoint, bool)) {
    let transition = match probe.ask(endpoint).await {
        Ok(()) => pool.observe(endpoint, Outcome::Pass, std::time::Instant::now()),
        Err(failure @ Failure::Starved(_)) => {
            warn!(upstream = %endpoint.upstream(), server = %endpoint.server(), %failure, "health check left out");
            return;
        }
        Err(failure) => pool.observe(endpoint, Outcome::Fail(&failure.to_string()), std::time::Instant::now()),
    };
    if let Some(transition) = transition {
        announce(endpoint, transition);
        on_change(endpoint, transition.to.is_usable());
    }
}

struct Prober<F> {
    probe: Probe,
    check: HealthCheck,
    pool: Arc<Pool>,
    permits: Semaphore,
    on_change: F,
}

/// A server and the task that probes it.
struct Watched {
    endpoint: Arc<Endpoint>,
    task: AbortHandle,
}

impl<F: Fn(&Endpoint, bool) + Send + Sync + 'static> Prober<F> {
    /// Stops the tasks of servers that are gone and starts those that are missing.
    fn attend(self: &Arc<Self>, watched: &mut Vec<Watched>, tasks: &mut JoinSet<()>) {
        let endpoints = self.pool.endpoints();
        watched.retain(|one| {
            let stays = endpoints.iter().any(|endpoint| Arc::ptr_eq(endpoint, &one.endpoint));
            if !stays {
                one.task.abort();
            }
            stays && !one.task.is_finished()
        });
        for endpoint in endpoints.iter() {
            if !watched.iter().any(|one| Arc::ptr_eq(endpoint, &one.endpoint)) {
                let endpoint = Arc::clone(endpoint);
                let task = tasks.spawn(Arc::clone(self).watch(Arc::clone(&endpoint)));
                watched.push(Watched { endpoint, task });
            }
        }
    }

    async fn watch(self: Arc<Self>, endpoint: Arc<Endpoint>) {
        if endpoint.state() != State::Unknown {
            // Known from the first round or from before a reload: begin anywhere in the period, so that not all are asked
            // at once and frequent reloads do not put the probes off for ever.
            self.rest(&endpoint, Instant::now(), fastrand::f64()).await;
        }
        loop {
            let started = Instant::now();
            if let Ok(_permit) = self.permits.acquire().await {
                examine(&self.probe, &self.pool, &endpoint, &self.on_change).await;
            }
            let jitter = 0.9 + 0.2 * fastrand::f64();
            self.rest(&endpoint, started, jitter).await;
        }
    }

    /// Sleeps until this part of a period is over. In steps: when requests find the server dead in between, the period
    /// becomes the short one.
    async fn rest(&self, endpoint: &Endpoint, started: Instant, part: f64) {
        loop {
            let slept = started.elapsed();
            let whole = period(&self.check, endpoint.state()).mul_f64(part);
            let Some(left) = whole.checked_sub(slept).filter(|left| !left.is_zero()) else {
                return;
            };
            tokio::time::sleep(left.min(period(&self.check, State::Unhealthy))).await;
        }
    }
}

/// The time from probe to probe.
fn period(check: &HealthCheck, state: State) -> Duration {
    match state {
        State::Unknown | State::Healthy => check.interval,
        State::Unhealthy => check.unhealthy_interval,
    }
    .clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests;
