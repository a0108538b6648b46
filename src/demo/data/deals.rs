//! The deals: listed, added, changed.

use std::cmp::Reverse;

use serde::Serialize;
use serde_json::Value;

use super::deal::Deal;
use super::{DAY, date, seconds_now};

const GENERATED: u32 = 500;
/// Anybody may add deals, so somebody will.
const MAX_DEALS: usize = 2_000;

/// A deal as it stands in a list.
#[derive(Debug, Serialize)]
pub(in crate::demo) struct Listed<'a> {
    #[serde(flatten)]
    deal: &'a Deal,
    hours_until_expiry: i64,
}

/// Which deals, in which order, how many.
#[derive(Debug, Default)]
pub(in crate::demo) struct Listing<'a> {
    pub(in crate::demo) category: Option<&'a str>,
    pub(in crate::demo) store: Option<&'a str>,
    pub(in crate::demo) price: (Option<f64>, Option<f64>),
    pub(in crate::demo) discount: (Option<f64>, Option<f64>),
    pub(in crate::demo) min_rating: Option<f64>,
    pub(in crate::demo) verified: bool,
    pub(in crate::demo) has_comments: bool,
    pub(in crate::demo) search: Option<&'a str>,
    pub(in crate::demo) deleted: bool,
    pub(in crate::demo) sort_by: &'a str,
    pub(in crate::demo) limit: usize,
    pub(in crate::demo) offset: usize,
}

/// Why a deal was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) enum Refused {
    /// A column that must not be null is.
    Incomplete,
    /// The table has no room left.
    Full,
    /// No such deal.
    Absent,
}

/// The table.
#[derive(Debug)]
pub(in crate::demo) struct Deals(Vec<Deal>);

impl Deals {
    pub(super) fn generate(random: &mut fastrand::Rng, midnight: i64) -> Self {
        Self((1..=GENERATED).map(|id| Deal::generate(id, random, midnight)).collect())
    }

    /// The deal of this number, deleted or not.
    pub(in crate::demo) fn find(&self, id: u32) -> Option<&Deal> {
        // Rows are never removed, so the number tells the place.
        self.0.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// The deal of this number, to be changed.
    pub(in crate::demo) fn find_mut(&mut self, id: u32) -> Option<&mut Deal> {
        self.0.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// All that are not deleted.
    pub(in crate::demo) fn all(&self) -> impl Iterator<Item = &Deal> {
        self.0.iter().filter(|deal| deal.deleted == 0)
    }

    /// The part of a list that is asked for, and how many there are.
    pub(in crate::demo) fn list(&self, listing: &Listing<'_>) -> (Vec<Listed<'_>>, usize) {
        let mut found: Vec<&Deal> = self.0.iter().filter(|deal| listing.takes(deal)).collect();
        sort(&mut found, listing.sort_by);
        let total = found.len();
        let now = seconds_now();
        let part = found.into_iter().skip(listing.offset).take(listing.limit);
        let listed = part.map(|deal| Listed {
            deal,
            hours_until_expiry: (deal.expires - now) / 3600,
        });
        (listed.collect(), total)
    }

    /// Adds a deal from a request's body.
    pub(in crate::demo) fn add(&mut self, body: &Value) -> Result<u32, Refused> {
        if self.0.len() >= MAX_DEALS {
            return Err(Refused::Full);
        }
        let id = u32::try_from(self.0.len() + 1).map_err(|_| Refused::Full)?;
        if ["title", "store"]
            .iter()
            .any(|column| body[*column].as_str().is_none_or(str::is_empty))
        {
            return Err(Refused::Incomplete);
        }
        let now = seconds_now();
        let mut deal = Deal::generate(id, &mut fastrand::Rng::with_seed(u64::from(id)), now / DAY * DAY);
        (deal.created_at, deal.updated_at) = (date(now), date(now));
        (deal.total_views, deal.total_clicks, deal.total_shares) = (0, 0, 0);
        deal.update(body);
        self.0.push(deal);
        Ok(id)
    }

    /// Changes a deal by a request's body.
    pub(in crate::demo) fn change(&mut self, id: u32, body: &Value) -> Result<(), Refused> {
        let deal = self.find_mut(id).ok_or(Refused::Absent)?;
        deal.update(body);
        deal.updated_at = date(seconds_now());
        Ok(())
    }

    /// Marks a deal as deleted, or as not deleted.
    pub(in crate::demo) fn mark_deleted(&mut self, id: u32, deleted: bool) -> Result<(), Refused> {
        let deal = self.find_mut(id).ok_or(Refused::Absent)?;
        deal.deleted = u8::from(deleted);
        deal.deleted_at = deleted.then(|| date(seconds_now()));
        Ok(())
    }
}

impl Listing<'_> {
    fn takes(&self, deal: &Deal) -> bool {
        let within = |value: f64, (low, high): (Option<f64>, Option<f64>)| {
            low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high)
        };
        (deal.deleted == 1) == self.deleted
            && self
                .category
                .is_none_or(|category| deal.category.eq_ignore_ascii_case(category))
            && self.store.is_none_or(|store| deal.store.eq_ignore_ascii_case(store))
            && within(f64::from(deal.cents) / 100.0, self.price)
            && within(f64::from(deal.discount), self.discount)
            && self
                .min_rating
                .is_none_or(|rating| deal.avg_rating.parse().is_ok_and(|value: f64| value >= rating))
            && (!self.verified || deal.verified == 1)
            && (!self.has_comments || deal.total_reviews > 0)
            && self
                .search
                .is_none_or(|words| deal.title.to_lowercase().contains(&words.to_lowercase()))
    }
}

fn sort(deals: &mut [&Deal], by: &str) {
    match by {
        "highest_rated" => deals.sort_by(|a, b| b.avg_rating.cmp(&a.avg_rating)),
        "most_popular" => deals.sort_by_key(|deal| Reverse(deal.total_clicks)),
        "most_viewed" => deals.sort_by_key(|deal| Reverse(deal.total_views)),
        "lowest_price" => deals.sort_by_key(|deal| deal.cents),
        "highest_discount" | "discount_desc" | "best_value" => deals.sort_by_key(|deal| Reverse(deal.discount)),
        "most_commented" => deals.sort_by_key(|deal| Reverse(deal.total_reviews)),
        _ => deals.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(b.id.cmp(&a.id))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::deal::MAX_TEXT;
    use super::*;

    fn deals() -> Deals {
        Deals::generate(&mut fastrand::Rng::with_seed(247), 1_766_016_000)
    }

    fn ids(deals: &Deals, listing: &Listing<'_>) -> Vec<u32> {
        deals.list(listing).0.iter().map(|listed| listed.deal.id).collect()
    }

    #[test]
    fn filters_and_sorts() {
        let deals = deals();
        let all = Listing {
            limit: 500,
            ..Listing::default()
        };
        assert_eq!(deals.list(&all).1, 500);
        for listing in [
            Listing {
                store: Some("contoso"),
                limit: 500,
                ..Listing::default()
            },
            Listing {
                price: (Some(50.0), Some(80.0)),
                limit: 500,
                ..Listing::default()
            },
            Listing {
                discount: (Some(50.0), None),
                limit: 500,
                ..Listing::default()
            },
            Listing {
                search: Some("HEADPHONES"),
                limit: 500,
                ..Listing::default()
            },
            Listing {
                min_rating: Some(4.5),
                limit: 500,
                ..Listing::default()
            },
            Listing {
                verified: true,
                limit: 500,
                ..Listing::default()
            },
            Listing {
                has_comments: true,
                limit: 500,
                ..Listing::default()
            },
        ] {
            let (found, total) = deals.list(&listing);
            assert!(total > 0 && total < 500, "{listing:?}: {total}");
            assert!(found.iter().all(|listed| listing.takes(listed.deal)));
        }
        let cheapest = Listing {
            sort_by: "lowest_price",
            limit: 500,
            ..Listing::default()
        };
        assert!(deals.list(&cheapest).0.is_sorted_by_key(|listed| listed.deal.cents));
        let page = Listing {
            sort_by: "lowest_price",
            limit: 10,
            offset: 5,
            ..Listing::default()
        };
        assert_eq!(ids(&deals, &page), ids(&deals, &cheapest)[5..15]);
        assert!(
            ids(
                &deals,
                &Listing {
                    limit: 5,
                    offset: usize::MAX,
                    ..Listing::default()
                }
            )
            .is_empty()
        );
    }

    #[test]
    fn writes() {
        let mut deals = deals();
        assert_eq!(deals.add(&json!({ "title": "x" })), Err(Refused::Incomplete));
        assert_eq!(
            deals.add(&json!({ "title": "x", "store": "y", "discounted_price": 9.5 })),
            Ok(501)
        );
        assert_eq!(deals.find(501).unwrap().discounted_price, "9.50");
        deals.change(501, &json!({ "title": "é".repeat(1000) })).unwrap();
        assert_eq!(deals.find(501).unwrap().title.chars().count(), MAX_TEXT);
        assert_eq!(deals.change(502, &json!({})), Err(Refused::Absent));
        assert_eq!(deals.change(0, &json!({})), Err(Refused::Absent));
        deals.mark_deleted(501, true).unwrap();
        assert_eq!(deals.all().count(), 500);
        assert_eq!(
            ids(
                &deals,
                &Listing {
                    deleted: true,
                    limit: 9,
                    ..Listing::default()
                }
            ),
            [501]
        );
        while deals.add(&json!({ "title": "x", "store": "y" })).is_ok() {}
        assert_eq!(deals.0.len(), MAX_DEALS);
    }

    #[test]
    fn sorts_what_it_is_asked_for_by_default_by_age() {
        let deals = deals();
        let newest = Listing {
            sort_by: "newest",
            limit: 500,
            ..Listing::default()
        };
        assert!(
            deals
                .list(&newest)
                .0
                .is_sorted_by(|a, b| a.deal.created_at >= b.deal.created_at)
        );
    }
}
