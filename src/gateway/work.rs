//! What works in the background for a snapshot, and what must be known before it serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::balance::Endpoint;
use crate::runtime::discovery::{self, Resolver};
use crate::runtime::tasks::Task;
use crate::runtime::{Live, Snapshot, Upstream, prober, run_acme, sharing, telemetry_tasks, watch_certificates};

/// How long a start or a reload waits for names and first health checks before it serves without them.
const PREPARATION: Duration = Duration::from_secs(3);

/// The work in the background that a snapshot needs. What is carried from snapshot to snapshot is worked on without a
/// break: a task is made of the very things that the registry carries.
pub(super) fn tasks(snapshot: &Snapshot, live: &Arc<Live>, resolver: &Arc<Resolver>) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (name, tls) in [("tls", &snapshot.tls), ("admin", &snapshot.admin_tls)] {
        let Some(tls) = tls.clone() else { continue };
        let made_of = vec![Arc::clone(&tls) as _];
        tasks.push(Task::new("certificates", Arc::from(name), made_of, move |stop| {
            watch_certificates(tls, stop)
        }));
    }
    if let Some(sharing) = &snapshot.sharing {
        tasks.extend(sharing::tasks(sharing, live));
    }
    if let Some(acme) = snapshot.acme.clone() {
        let made_of = vec![Arc::clone(&acme) as _];
        tasks.push(Task::new("acme", Arc::from("acme"), made_of, move |stop| {
            run_acme(acme, stop)
        }));
    }
    tasks.extend(snapshot.telemetry.iter().flat_map(telemetry_tasks));
    for upstream in &snapshot.upstreams {
        let name = Arc::clone(&upstream.name);
        let (this, by) = (Arc::clone(upstream), Arc::clone(resolver));
        tasks.push(Task::new(
            "discovery",
            Arc::clone(&name),
            vec![Arc::clone(upstream) as _, Arc::clone(resolver) as _],
            move |stop| discovery::run(this.model.clone(), Arc::clone(&this.pool), by, stop),
        ));
        if upstream.model.health_check.is_some() {
            let this = Arc::clone(upstream);
            tasks.push(Task::new(
                "prober",
                name,
                vec![Arc::clone(upstream) as _],
                move |stop| {
                    let (tls, pool) = (this.probe_tls.clone(), Arc::clone(&this.pool));
                    prober::run(this.model.clone(), tls, pool, health_hook(&this), stop)
                },
            ));
        }
    }
    tasks
}

/// Resolves names and checks every server once, so that the first request already meets known servers.
pub(super) async fn prepare(upstreams: &[Arc<Upstream>], resolver: &Arc<Resolver>) {
    let mut work = JoinSet::new();
    for upstream in upstreams.iter().cloned() {
        let resolver = Arc::clone(resolver);
        work.spawn(async move {
            discovery::resolve_once(&upstream.model, &upstream.pool, &resolver).await;
            if upstream.model.health_check.is_some() {
                let tls = upstream.probe_tls.clone();
                prober::first_round(&upstream.model, tls, &upstream.pool, health_hook(&upstream)).await;
            }
        });
    }
    let all = async { while work.join_next().await.is_some() {} };
    let slow = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tracing::info!("waiting for names to resolve and servers to be checked, {PREPARATION:?} at most");
        tokio::time::sleep(PREPARATION - Duration::from_secs(1)).await;
        tracing::warn!("serving before every name was resolved and every server was checked");
    };
    tokio::select! {
        () = all => {}
        () = slow => {}
    }
}

/// Shows what the probes find.
fn health_hook(upstream: &Arc<Upstream>) -> impl Fn(&Endpoint, bool) + Send + Sync + use<> {
    let upstream = Arc::clone(upstream);
    move |endpoint, _healthy| upstream.show_health(endpoint)
}
