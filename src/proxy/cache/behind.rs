//! What the tiers behind memory have: looked up once for everybody who waits, and taken into memory.

use std::sync::Arc;

use http::request;

use super::super::Exchange;
use super::begin::Asking;
use crate::cache::store::{Entry, Joined, Since};
use crate::cache::{Address, Lookup, Tier};
use crate::runtime::Behind;

/// An answer that lay behind memory.
pub(super) struct Lying {
    pub(super) entry: Arc<Entry>,
    /// The word of the tier that had it.
    pub(super) tier: &'static str,
}

impl Exchange {
    /// Where the tiers have it, if there are any.
    pub(super) fn address(&self, asking: &Asking, request: &request::Parts) -> Option<Address> {
        if asking.cache.tiers.is_empty() {
            return None;
        }
        let route = self.route.as_ref().map_or("", |route| &route.name);
        let rules = &asking.cache.policy.key;
        let url = self.asked(&asking.cache, request, |asked| asked.url());
        Some(rules.address(&url, route, &request.headers))
    }

    /// Tells the tiers, now and then, that what memory gives is still asked for.
    pub(super) fn used(&self, asking: &Asking, request: &request::Parts) {
        if asking.cache.tiers.is_empty() || fastrand::u8(..) != 0 {
            return;
        }
        if let Some(address) = self.address(asking, request) {
            asking.cache.tiers.iter().for_each(|tier| tier.used(&address));
        }
    }

    /// Whether a tier may have what memory has not. `known`: memory has an answer for the request, which will not do.
    pub(super) fn may_be_behind(&self, asking: &Asking, request: &request::Parts, known: bool) -> bool {
        let Some(address) = self.address(asking, request) else {
            return false;
        };
        tiers(asking, known).any(|tier| tier.may_have(&address))
    }

    /// What the tiers have for a request. It is in memory then, if there is room for it.
    pub(super) async fn behind(&self, asking: &Asking, request: &request::Parts, known: bool) -> Option<Lying> {
        let address = self.address(asking, request)?;
        let lookups = &asking.cache.running.lookups;
        let lead = match lookups.join(&address) {
            Joined::Lead(lead) => lead,
            Joined::Wait(other) => match other.landed().await {
                Some(Behind::Entry { entry, tier }) if entry.selector.selects(&request.headers) => {
                    return Some(Lying { entry, tier });
                }
                Some(Behind::Nothing) => return None,
                // It was an answer for somebody else, or who looked for it has left.
                _ => lookups.alone(&address),
            },
        };
        let found = look_up(asking, request, &address, known).await;
        lead.land(found.clone());
        match found {
            Behind::Entry { entry, tier } => Some(Lying { entry, tier }),
            Behind::Others | Behind::Nothing => None,
        }
    }
}

async fn look_up(asking: &Asking, request: &request::Parts, address: &Address, known: bool) -> Behind {
    let since = asking.cache.running.store.since();
    let mut behind = Behind::Nothing;
    for tier in tiers(asking, known).filter(|tier| tier.may_have(address)) {
        match tier.lookup(*address, &request.headers).await {
            Lookup::Entry(entry) => match take_in(asking, request, *entry, &since) {
                Some(entry) => {
                    let tier = tier.word();
                    return Behind::Entry { entry, tier };
                }
                None => behind = Behind::Others,
            },
            Lookup::Others => behind = Behind::Others,
            Lookup::Nothing => {}
        }
    }
    behind
}

/// The tiers worth asking.
fn tiers(asking: &Asking, known: bool) -> impl Iterator<Item = &Arc<dyn Tier>> {
    asking.cache.tiers.iter().filter(move |tier| !known || tier.is_shared())
}

/// Takes what a tier had into memory; `None`: it was purged while it was looked up.
fn take_in(asking: &Asking, request: &request::Parts, mut entry: Entry, since: &Since) -> Option<Arc<Entry>> {
    entry.extra = asking.key.extra;
    let store = &asking.cache.running.store;
    if since.changed(asking.key.url, &entry.url, &entry.tags) {
        return None;
    }
    let entry = Arc::new(entry);
    // A body that is read while it is given stays where it is.
    if entry.body.chunks().is_some() {
        let asked = store.miss(&asking.key);
        if store.admits(entry.weight(), asked) {
            store.keep(&asking.key, &request.headers, Arc::clone(&entry), asked, since);
        }
    }
    Some(entry)
}
