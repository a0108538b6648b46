//! Purges of one cache: here, and at the other gateways.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::SystemTime;

use crate::cache::store::Target;
use crate::cache::{Asked, Moment, Purge};
use crate::runtime::RouteCache;

/// A purge of this gateway that others are told of, while it takes effect here: it may be in the sequence before.
#[must_use]
pub(in crate::runtime) struct Purging<'a>(&'a AtomicUsize);

impl<'a> Purging<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Purging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl RouteCache {
    /// Has the other gateways told of a purge. What is returned is to be kept until the purge has taken effect here.
    pub(in crate::runtime) fn tell(
        &self,
        target: impl FnOnce() -> Target,
        soft: Option<Moment>,
    ) -> Option<Purging<'_>> {
        let sharing = self.sharing.as_ref()?;
        let purging = Purging::begin(&sharing.purging);
        sharing.tell(Purge {
            cache: (*self.policy.name).into(),
            target: target(),
            soft: soft.is_some(),
        });
        Some(purging)
    }

    /// Another gateway has purged something.
    pub(super) fn hear(&self, purge: &Purge) {
        let soft = purge.soft.then(|| Moment::from(SystemTime::now()));
        // Nobody waits: what was not written down is read once more after a restart (`Tier::heard`).
        let _ = match &purge.target {
            // A whole URL is found by its hash, which costs no search.
            Target::Url(url) => match Asked::of(url) {
                Some(asked) => self.purge_url_here(&asked, soft),
                None => self.purge_here(&purge.target, soft),
            },
            target => self.purge_here(target, soft),
        };
    }

    /// Nobody knows what other gateways have purged; how many answers in memory that may concern. What is elsewhere is
    /// stale from now on.
    pub(super) fn doubt(&self) -> u64 {
        let now = Moment::from(SystemTime::now());
        self.running.store.doubt(now);
        for tier in self.tiers.iter() {
            drop(tier.purge(&Target::All, Some(now)));
        }
        self.running.store.holdings().entries
    }
}
