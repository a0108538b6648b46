//! What is counted of a cache.

use prometheus::{IntCounter, IntGauge, Registry};

use super::catalogue;
use crate::cache::Verdict;
use crate::cache::store::Holdings;

/// Handles to the metrics of one cache; cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    requests: [IntCounter; Verdict::ALL.len()],
    fetches: IntCounter,
    entries: IntGauge,
    bytes: IntGauge,
    evicted: IntGauge,
    purged: IntCounter,
}

impl CacheMetrics {
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        Self {
            requests: Verdict::ALL.map(|verdict| catalogue::CACHE_REQUESTS.counter(registry, &[name, verdict.word()])),
            fetches: catalogue::CACHE_FETCHES.counter(registry, &[name]),
            entries: catalogue::CACHE_ENTRIES.gauge(registry, &[name]),
            bytes: catalogue::CACHE_BYTES.gauge(registry, &[name]),
            evicted: catalogue::CACHE_EVICTIONS.gauge(registry, &[name]),
            purged: catalogue::CACHE_PURGED.counter(registry, &[name]),
        }
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        let Self {
            requests,
            fetches,
            entries,
            bytes,
            evicted,
            purged,
        } = self;
        for counter in requests.iter().chain([fetches, purged]) {
            catalogue::unregister(registry, counter.clone());
        }
        for gauge in [entries, bytes, evicted] {
            catalogue::unregister(registry, gauge.clone());
        }
    }

    /// Counts what became of a request.
    pub fn judged(&self, verdict: Verdict) {
        self.requests[verdict as usize].inc();
    }

    /// Counts a fetch on behalf of the cache.
    pub fn fetched(&self) {
        self.fetches.inc();
    }

    /// Counts answers that were purged.
    pub fn purged(&self, count: u64) {
        self.purged.inc_by(count);
    }

    /// Shows what the cache holds.
    pub fn holds(&self, holdings: &Holdings) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.entries.set(number(holdings.entries));
        self.bytes.set(number(holdings.bytes));
        self.evicted.set(number(holdings.evicted));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn each_verdict_has_its_own_count() {
        let metrics = Metrics::new();
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, index);
            (0..=index).for_each(|_| metrics.cache("api").judged(verdict));
        }
        let page = metrics.render();
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            let word = verdict.word();
            let sample = format!(
                "gateway_cache_requests_total{{cache=\"api\",verdict=\"{word}\"}} {}\n",
                index + 1
            );
            assert!(page.contains(&sample), "{sample}{page}");
        }
    }
}
