//! Refusals by reason.

use std::collections::HashMap;
use std::sync::OnceLock;

use parking_lot::Mutex;
use prometheus::{IntCounter, Registry};

use super::catalogue;

/// Reasons with a counter of their own; one beyond is counted too, after a look-up.
const REASONS: usize = 64;

/// Counters made when first needed, found by the reason's place in its enum: a flood of bad requests is no time for
/// looking up words.
#[derive(Debug)]
pub(super) struct Refusals {
    registry: Registry,
    prepared: [OnceLock<IntCounter>; REASONS],
    further: Mutex<HashMap<&'static str, IntCounter>>,
}

impl Refusals {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            prepared: [const { OnceLock::new() }; REASONS],
            further: Mutex::default(),
        }
    }

    pub(super) fn count(&self, index: usize, word: impl FnOnce() -> &'static str) {
        let new = |word| catalogue::REFUSALS.counter(&self.registry, &[word]);
        if let Some(slot) = self.prepared.get(index) {
            slot.get_or_init(|| new(word())).inc();
        } else {
            let word = word();
            self.further.lock().entry(word).or_insert_with(|| new(word)).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_reason_beyond_the_prepared_ones_is_counted_too() {
        let registry = Registry::new();
        let refusals = Refusals::new(&registry);
        for _ in 0..2 {
            refusals.count(REASONS, || "late");
            refusals.count(REASONS - 1, || "last");
        }
        let page = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(page.contains("gateway_refusals_total{reason=\"late\"} 2\n"), "{page}");
        assert!(page.contains("gateway_refusals_total{reason=\"last\"} 2\n"), "{page}");
    }
}
