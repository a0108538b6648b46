//! `[bandwidth.NAME]`, compiled: who waits how long before the next part of a body.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{LimitState, nanoseconds};
use crate::config::model;
use crate::limit::{Asker, Flow, Key, KeySpec, Keyed, Local, Missing, PolicyHasher};
use crate::policy::AllowList;

/// Most flows that are remembered at a time, each direction for itself; beyond it those are forgotten that owe least.
pub(super) const FLOWS: usize = 1 << 17;

/// What bodies are slowed down by, in one direction.
#[derive(Debug)]
struct Slowing {
    /// Of name and direction: no two count together.
    hasher: PolicyHasher,
    flow: Flow,
    key: KeySpec,
    exempt: Option<AllowList>,
}

/// The bandwidth of a route.
#[derive(Debug)]
pub struct RouteBandwidth {
    download: Vec<Arc<Slowing>>,
    upload: Vec<Arc<Slowing>>,
    store: Arc<Local>,
}

impl RouteBandwidth {
    /// The bandwidths that a route names; `None`: none.
    pub(in crate::runtime) fn new(limits: &[&model::Bandwidth], state: &LimitState) -> Option<Arc<Self>> {
        if limits.is_empty() {
            return None;
        }
        let slow = |limit: &model::Bandwidth, direction: &str, rate: Option<u64>| {
            let rate = rate?;
            Some(Arc::new(Slowing {
                hasher: state.hasher.of(&format!("{direction} {}", limit.name)),
                flow: Flow::new(rate, limit.burst.unwrap_or(rate)),
                key: KeySpec {
                    sources: limit.key.clone(),
                    ipv6_prefix: limit.ipv6_prefix,
                    missing: Missing::ClientIp,
                },
                exempt: limit.exempt.clone(),
            }))
        };
        let download = limits
            .iter()
            .filter_map(|limit| slow(limit, "download", limit.download));
        let upload = limits.iter().filter_map(|limit| slow(limit, "upload", limit.upload));
        Some(Arc::new(Self {
            download: download.collect(),
            upload: upload.collect(),
            store: Arc::clone(&state.flows),
        }))
    }

    /// The flows that a request belongs to; `None`: none, it never waits.
    #[must_use]
    pub fn flows(self: &Arc<Self>, asker: &Asker<'_>) -> Option<Box<Flows>> {
        let flows = |slowing: &[Arc<Slowing>]| -> Vec<(Key, Flow)> {
            let counted = slowing.iter().filter(|slowing| !slowing.exempts(asker.client));
            let keyed = counted.filter_map(|slowing| match slowing.key.key(&slowing.hasher, asker) {
                Keyed::Counted(key) => Some((key, slowing.flow)),
                Keyed::Skipped | Keyed::Refused => None,
            });
            keyed.collect()
        };
        let (download, upload) = (flows(&self.download), flows(&self.upload));
        (!download.is_empty() || !upload.is_empty()).then(|| {
            Box::new(Flows {
                download,
                upload,
                store: Arc::clone(&self.store),
            })
        })
    }
}

impl Slowing {
    fn exempts(&self, client: IpAddr) -> bool {
        self.exempt.as_ref().is_some_and(|list| list.admits(client))
    }
}

/// The flows that an exchange belongs to.
#[derive(Debug)]
pub struct Flows {
    download: Vec<(Key, Flow)>,
    upload: Vec<(Key, Flow)>,
    store: Arc<Local>,
}

impl Flows {
    /// How long a part of an answer's body waits before it is sent. `now`: since the process began.
    #[must_use]
    pub fn download(&self, bytes: usize, now: Duration) -> Duration {
        self.take(&self.download, bytes, now)
    }

    /// How long the next part of a request's body is waited for after this one.
    #[must_use]
    pub fn upload(&self, bytes: usize, now: Duration) -> Duration {
        self.take(&self.upload, bytes, now)
    }

    fn take(&self, flows: &[(Key, Flow)], bytes: usize, now: Duration) -> Duration {
        let now = nanoseconds(now);
        let waits = flows
            .iter()
            .map(|(key, flow)| self.store.flow(*key, *flow, bytes as u64, now));
        Duration::from_nanos(waits.max().unwrap_or(0))
    }
}
