//! What the replicas share: the database, generated from a seed, and what requests change in it. Every table is bounded.

mod deal;
mod deals;
mod links;
mod people;
mod reference;

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

pub(super) use deal::Deal;
pub(super) use deals::{Deals, Listing, Refused};
pub(super) use links::{Links, Rejected};
pub(super) use people::{People, Role, User};
pub(super) use reference::{CATEGORIES, Category, STORES, Store, slug};

/// Firebase uid of an administrator.
pub const ADMIN: &str = "fbAdmin000000000000000000001";
/// Firebase uid of an ordinary user.
pub const USER: &str = "fbUser0000000000000000000002";

const SEED: u64 = 247;
/// The application's pool (`mysql2`, `connectionLimit`).
const POOL: usize = 10;
const DAY: i64 = 86_400;

/// The database of the stand-in: the same content in every run, apart from dates, which follow today.
#[derive(Debug)]
pub struct Database {
    /// The connections of the pool.
    pub(super) pool: Semaphore,
    pub(super) deals: RwLock<Deals>,
    pub(super) people: RwLock<People>,
    pub(super) links: Mutex<Links>,
    midnight: i64,
}

impl Database {
    /// A fresh database: 500 deals, 60 users, 30 short links.
    #[must_use]
    pub fn new() -> Self {
        let midnight = seconds_now() / DAY * DAY;
        let mut random = fastrand::Rng::with_seed(SEED);
        Self {
            pool: Semaphore::new(POOL),
            deals: RwLock::new(Deals::generate(&mut random, midnight)),
            people: RwLock::new(People::generate(&mut random, midnight)),
            links: Mutex::new(Links::generate(&mut random, midnight)),
            midnight,
        }
    }

    /// The day that the generated dates follow, e.g. `2025-12-18`.
    pub(super) fn day(&self) -> String {
        let mut text = date(self.midnight);
        text.truncate(10);
        text
    }

    /// The beginning of that day, in seconds since 1970.
    pub(super) fn midnight(&self) -> i64 {
        self.midnight
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

/// Seconds since 1970, now.
pub(super) fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

/// A date as JavaScript writes it, e.g. `2025-12-18T09:30:00.000Z`.
pub(super) fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S.000Z")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_like_javascript() {
        assert_eq!(date(1_766_050_200), "2025-12-18T09:30:00.000Z");
        assert_eq!(date(i64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn is_the_same_in_every_run() {
        let (one, two) = (Database::new(), Database::new());
        let text = |database: &Database| serde_json::to_string(database.deals.read().find(77).unwrap()).unwrap();
        assert_eq!(text(&one), text(&two));
        assert_eq!(one.people.read().all(), two.people.read().all());
    }
}
