//! One fetch a key: who comes second waits for what the first one fetches.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Fetches under way, by what they are for. `T`: what comes of one, for everybody who waits.
pub struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Arc<Flight<T>>>>,
}

/// A fetch under way.
pub struct Flight<T> {
    outcome: OnceLock<Option<T>>,
    landed: Notify,
}

/// A part in a fetch.
pub enum Joined<K: Hash + Eq + Clone, T> {
    /// Nobody fetches: it is up to the caller.
    Lead(Lead<K, T>),
    /// Somebody does.
    Wait(Arc<Flight<T>>),
}

/// The duty to fetch. Dropped without a word it tells those who wait that it came to nothing.
pub struct Lead<K: Hash + Eq + Clone, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
    flight: Arc<Flight<T>>,
}

impl<K: Hash + Eq + Clone, T> Flights<K, T> {
    /// None under way.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            under_way: Mutex::new(HashMap::new()),
        })
    }

    /// Takes part in the fetch of a key.
    #[must_use]
    pub fn join(self: &Arc<Self>, key: &K) -> Joined<K, T> {
        let mut under_way = self.under_way.lock();
        if let Some(flight) = under_way.get(key) {
            return Joined::Wait(Arc::clone(flight));
        }
        Joined::Lead(self.start(&mut under_way, key))
    }

    /// Takes over from a fetch that is too slow; who waits from now on waits for the new one. Of several who would,
    /// one does: the others are given its flight.
    #[must_use]
    pub fn take_over(self: &Arc<Self>, key: &K, slow: &Arc<Flight<T>>) -> Joined<K, T> {
        let mut under_way = self.under_way.lock();
        match under_way.get(key) {
            Some(flight) if !Arc::ptr_eq(flight, slow) => Joined::Wait(Arc::clone(flight)),
            _ => Joined::Lead(self.start(&mut under_way, key)),
        }
    }

    /// A fetch of which nobody else is to know.
    #[must_use]
    pub fn alone(self: &Arc<Self>, key: &K) -> Lead<K, T> {
        self.start(&mut HashMap::new(), key)
    }

    fn start(self: &Arc<Self>, under_way: &mut HashMap<K, Arc<Flight<T>>>, key: &K) -> Lead<K, T> {
        let flight = Arc::new(Flight {
            outcome: OnceLock::new(),
            landed: Notify::new(),
        });
        under_way.insert(key.clone(), Arc::clone(&flight));
        Lead {
            flights: Arc::clone(self),
            key: key.clone(),
            flight,
        }
    }

    /// How many are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.under_way.lock().len()
    }
}

impl<K: Hash + Eq + Clone, T> Lead<K, T> {
    /// Tells those who wait what has come of it. The flight goes on: who joins until it is dropped is told the same.
    pub fn land(&self, outcome: T) {
        let _ = self.flight.outcome.set(Some(outcome));
        self.flight.landed.notify_waiters();
    }

    /// Nobody joins from now on.
    pub fn leave(&self) {
        let mut under_way = self.flights.under_way.lock();
        if under_way
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            under_way.remove(&self.key);
        }
    }

    /// The flight, to wait for it like the others.
    #[must_use]
    pub fn flight(&self) -> Arc<Flight<T>> {
        Arc::clone(&self.flight)
    }
}

impl<K: Hash + Eq + Clone, T> Drop for Lead<K, T> {
    fn drop(&mut self) {
        self.leave();
        let _ = self.flight.outcome.set(None);
        self.flight.landed.notify_waiters();
    }
}

impl<T: Clone> Flight<T> {
    /// Waits for what comes of it; `None`: nothing.
    pub async fn landed(&self) -> Option<T> {
        loop {
            let landed = self.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            landed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_leads_and_all_are_told() {
        let flights: Arc<Flights<u8, u32>> = Flights::new();
        let Joined::Lead(lead) = flights.join(&1) else {
            panic!("the first leads")
        };
        let Joined::Wait(second) = flights.join(&1) else {
            panic!("the second waits")
        };
        let Joined::Lead(_other) = flights.join(&2) else {
            panic!("another key")
        };
        lead.land(7);
        assert_eq!(second.landed().await, Some(7));
        let Joined::Wait(late) = flights.join(&1) else {
            panic!("still under way")
        };
        assert_eq!(late.landed().await, Some(7));
        drop(lead);
        assert!(matches!(flights.join(&1), Joined::Lead(_)));
    }

    #[tokio::test]
    async fn who_drops_the_duty_lets_go_of_those_who_wait() {
        let flights: Arc<Flights<u8, u32>> = Flights::new();
        let Joined::Lead(lead) = flights.join(&1) else {
            panic!("leads")
        };
        let Joined::Wait(second) = flights.join(&1) else {
            panic!("waits")
        };
        drop(lead);
        assert_eq!(second.landed().await, None);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn one_takes_over_from_a_slow_one() {
        let flights: Arc<Flights<u8, u32>> = Flights::new();
        let Joined::Lead(slow) = flights.join(&1) else {
            panic!("leads")
        };
        let Joined::Lead(quick) = flights.take_over(&1, &slow.flight()) else {
            panic!("takes over")
        };
        let Joined::Wait(third) = flights.take_over(&1, &slow.flight()) else {
            panic!("one is enough")
        };
        quick.land(2);
        assert_eq!(third.landed().await, Some(2));
        drop(slow);
        assert!(
            matches!(flights.join(&1), Joined::Wait(_)),
            "the slow one leaves the quick one's place alone"
        );
    }
}
