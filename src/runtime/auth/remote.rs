//! Keys that somebody publishes: fetched before they are needed, fetched again when a token names one that is not there.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::auth::KeySet;
use crate::config::model::{self, Jwks};
use crate::runtime::fetch::{self, Target};
use crate::runtime::tls::ClientTls;
use crate::tls::TlsFault;

/// The largest set that is read, bytes.
const LARGEST: usize = 512 * 1024;
/// What one fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a request waits for a fetch.
const WAIT: Duration = Duration::from_secs(2);
/// Between two fetches, whoever asks for them: tokens with invented names of keys are cheap to make.
const LEAST: Duration = Duration::from_secs(10);
/// How long keys are good that could not be confirmed.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// After a failure it is tried again this soon, then half as often each time.
const RETRY: Duration = Duration::from_secs(1);

/// The keys at a URL.
pub struct RemoteKeys {
    jwks: Jwks,
    tls: Option<ClientTls>,
    known: ArcSwapOption<Set>,
    /// Counts the fetches that ended, well or not.
    ended: watch::Sender<u64>,
    /// Somebody wants newer ones.
    wanted: Arc<Notify>,
    started: AtomicBool,
    /// When the last fetch ended.
    attempted: Mutex<Option<Instant>>,
}

struct Set {
    keys: Arc<KeySet>,
    /// When it was last confirmed.
    at: Instant,
}

impl RemoteKeys {
    pub(in crate::runtime) fn new(jwks: Jwks) -> Result<Self, TlsFault> {
        let tls = match jwks.url.scheme_str() {
            Some("https") => Some(ClientTls::load(&model::UpstreamTls {
                ca: jwks.ca.clone(),
                certificate: None,
                sni: None,
                verify: true,
            })?),
            _ => None,
        };
        Ok(Self {
            jwks,
            tls,
            known: ArcSwapOption::empty(),
            ended: watch::Sender::new(0),
            wanted: Arc::default(),
            started: AtomicBool::new(false),
            attempted: Mutex::default(),
        })
    }

    /// Begins to fetch, once; ends with the last configuration that names these keys.
    pub(in crate::runtime) fn start(self: &Arc<Self>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.started.swap(true, Relaxed)
        {
            runtime.spawn(keep(Arc::downgrade(self), Arc::clone(&self.wanted)));
        }
    }

    /// The keys; waits a moment for the first ones. `None`: there are none, or none that can be trusted any more.
    pub async fn current(&self) -> Option<Arc<KeySet>> {
        let mut ended = self.ended.subscribe();
        if *ended.borrow_and_update() == 0 {
            let _ = timeout(WAIT, ended.changed()).await;
        }
        let known = self.known.load();
        let set = known.as_ref()?;
        (set.at.elapsed() < STALE).then(|| Arc::clone(&set.keys))
    }

    /// Keys that are newer than those that did not do; `None`: there are none at the moment.
    pub async fn newer(&self) -> Option<Arc<KeySet>> {
        if self.attempted.lock().is_some_and(|at| at.elapsed() < self.least()) {
            return None; // what is known is as new as can be
        }
        let before = self.known.load().as_ref().map(|set| set.at);
        let mut ended = self.ended.subscribe();
        self.wanted.notify_one();
        let _ = timeout(WAIT, ended.changed()).await;
        let known = self.known.load();
        let set = known.as_ref()?;
        (Some(set.at) != before).then(|| Arc::clone(&set.keys))
    }

    /// The least time between two fetches.
    fn least(&self) -> Duration {
        LEAST.min(self.jwks.refresh)
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let target = Target {
            url: &self.jwks.url,
            tls: self.tls.as_ref(),
        };
        let body = match timeout(PATIENCE, fetch::get(target, LARGEST)).await {
            Ok(fetched) => fetched?,
            Err(_) => return Err(format!("no answer within {PATIENCE:?}")),
        };
        KeySet::json(&body).map_err(|fault| fault.to_string())
    }
}

impl Drop for RemoteKeys {
    /// Wakes who fetches for nobody any more.
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

/// Fetches until nobody needs the keys.
async fn keep(keys: Weak<RemoteKeys>, wanted: Arc<Notify>) {
    let mut failures = 0_u32;
    loop {
        let Some(remote) = keys.upgrade() else { return };
        let refresh = remote.jwks.refresh;
        match remote.fetch().await {
            Ok(set) => {
                if failures > 0 || remote.known.load().is_none() {
                    tracing::info!(url = %remote.jwks.url, keys = ?set, "keys for tokens are known");
                }
                failures = 0;
                remote.known.store(Some(Arc::new(Set {
                    keys: Arc::new(set),
                    at: Instant::now(),
                })));
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                // The first one, and then ever fewer.
                if failures.is_power_of_two() {
                    tracing::warn!(url = %remote.jwks.url, %error, failures, "keys for tokens cannot be fetched");
                }
            }
        }
        *remote.attempted.lock() = Some(Instant::now());
        remote.ended.send_modify(|ended| *ended += 1);
        // Whoever wants newer ones is served after the least distance, unless there are none at all.
        let least = match remote.known.load().is_some() {
            true => remote.least(),
            false => Duration::ZERO,
        };
        drop(remote);
        let pause = match failures {
            0 => jittered(refresh),
            failures => jittered(RETRY.saturating_mul(1 << failures.min(6))).min(refresh),
        };
        tokio::time::sleep(least.min(pause)).await;
        tokio::select! {
            () = wanted.notified() => {}
            () = tokio::time::sleep(pause.saturating_sub(least)) => {}
        }
    }
}

/// Several gateways shall not ask at the same time.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.1 * fastrand::f64())
}
