//! What is counted of the second tiers of caches: taken over from the tier when the page is asked for.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};

use super::catalogue;
use crate::cache::Report;

/// What a tier does with answers, as the page names it.
const EVENTS: [&str; 7] = ["given", "missed", "written", "skipped", "evicted", "damaged", "failed"];

/// Cache and tier.
type Key = (Box<str>, &'static str);

/// The metrics of all tiers.
#[derive(Debug, Default)]
pub(super) struct TierMetrics(Mutex<HashMap<Key, Shown>>);

#[derive(Debug)]
struct Shown {
    /// Entries and bytes, of a tier that knows them.
    held: Option<[IntGauge; 2]>,
    events: [IntCounter; EVENTS.len()],
}

impl TierMetrics {
    /// Shows these tiers, and no others.
    pub(super) fn show<'a>(&self, registry: &Registry, tiers: impl Iterator<Item = (&'a str, &'static str, Report)>) {
        let mut shown = self.0.lock();
        let mut before = std::mem::take(&mut *shown);
        for (cache, tier, report) in tiers {
            let key = (Box::from(cache), tier);
            let metrics = match before.remove(&key) {
                Some(metrics) => metrics,
                None => Shown::new(registry, cache, tier, report.held.is_some()),
            };
            metrics.take(&report);
            shown.insert(key, metrics);
        }
        before.into_values().for_each(|gone| gone.unregister(registry));
    }
}

impl Shown {
    fn new(registry: &Registry, cache: &str, tier: &str, knows: bool) -> Self {
        let held = || {
            [catalogue::CACHE_TIER_ENTRIES, catalogue::CACHE_TIER_BYTES].map(|of| of.gauge(registry, &[cache, tier]))
        };
        Self {
            held: knows.then(held),
            events: EVENTS.map(|event| catalogue::CACHE_TIER_EVENTS.counter(registry, &[cache, tier, event])),
        }
    }

    fn take(&self, report: &Report) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let held = report.held.unwrap_or_default();
        if let Some([entries, bytes]) = &self.held {
            entries.set(number(held.entries));
            bytes.set(number(held.bytes));
        }
        let counts = [
            report.hits,
            report.misses,
            report.written,
            report.skipped,
            held.evicted,
            report.damaged,
            report.failures,
        ];
        for (counter, count) in self.events.iter().zip(counts) {
            if count < counter.get() {
                counter.reset(); // it was opened anew
            }
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    fn unregister(self, registry: &Registry) {
        let Self { held, events } = self;
        for gauge in held.into_iter().flatten() {
            catalogue::unregister(registry, gauge);
        }
        for counter in events {
            catalogue::unregister(registry, counter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use crate::cache::Held;

    #[test]
    fn tiers_come_and_go() {
        let metrics = Metrics::new();
        let report = Report {
            held: Some(Held {
                entries: 3,
                ..Held::default()
            }),
            hits: 5,
            failures: 2,
            ..Report::default()
        };
        metrics.show_tiers([("pages", "disk", report)].into_iter());
        let other = Report { held: None, ..report };
        metrics.show_tiers([("pages", "disk", report), ("pages", "redis", other)].into_iter());
        let page = metrics.render();
        for sample in [
            "gateway_cache_tier_entries{cache=\"pages\",tier=\"disk\"} 3\n",
            "gateway_cache_tier_events_total{cache=\"pages\",event=\"given\",tier=\"disk\"} 5\n",
            "gateway_cache_tier_events_total{cache=\"pages\",event=\"failed\",tier=\"disk\"} 2\n",
        ] {
            assert!(page.contains(sample), "{sample}{page}");
        }
        assert!(page.contains("event=\"given\",tier=\"redis\"} 5\n"), "{page}");
        assert!(!page.contains("entries{cache=\"pages\",tier=\"redis\"}"), "{page}");
        metrics.show_tiers(std::iter::empty());
        assert!(!metrics.render().contains("gateway_cache_tier"));
    }
}
