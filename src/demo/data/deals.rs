//! The deals: generated, listed, changed.

use std::cmp::Reverse;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::reference::{CATEGORIES, STORES, slug};
use super::{DAY, date, seconds_now};

const GENERATED: u32 = 500;
/// Anybody may add deals, so somebody will.
const MAX_DEALS: usize = 2_000;
/// Longest text of a deal that a request brings along, characters.
const MAX_TEXT: usize = 255;

const ADJECTIVES: [&str; 12] = [
    "Wireless",
    "Compact",
    "Premium",
    "Foldable",
    "Portable",
    "Smart",
    "Classic",
    "Ultra-light",
    "Insulated",
    "Rechargeable",
    "Adjustable",
    "Handmade",
];
const PRODUCTS: [&str; 20] = [
    "Headphones",
    "Coffee Maker",
    "Running Shoes",
    "Desk Lamp",
    "Backpack",
    "Air Fryer",
    "Mechanical Keyboard",
    "Yoga Mat",
    "Water Bottle",
    "Action Camera",
    "Board Game",
    "Office Chair",
    "Winter Jacket",
    "Garden Hose",
    "Dash Camera",
    "Electric Toothbrush",
    "Monitor Stand",
    "Cast Iron Pan",
    "Travel Pillow",
    "Bluetooth Speaker",
];
const EXTRAS: [&str; 8] = [
    "with two-year warranty",
    "in graphite, limited",
    "second generation",
    "bundle of two",
    "refurbished, like new",
    "with fast charger",
    "in five colours",
    "bestseller of its kind",
];

/// A row of the table, its columns in the order in which the application sends them.
#[derive(Debug, Clone, Serialize)]
pub(in crate::demo) struct Deal {
    pub(in crate::demo) id: u32,
    pub(in crate::demo) title: String,
    pub(in crate::demo) store: String,
    /// Decimals leave the database as strings.
    pub(in crate::demo) original_price: String,
    pub(in crate::demo) discounted_price: String,
    pub(in crate::demo) discount: u32,
    pub(in crate::demo) rating: String,
    pub(in crate::demo) reviews: u32,
    pub(in crate::demo) image: String,
    pub(in crate::demo) category: String,
    pub(in crate::demo) expires_at: String,
    pub(in crate::demo) verified: u8,
    pub(in crate::demo) deleted: u8,
    pub(in crate::demo) deleted_at: Option<String>,
    pub(in crate::demo) created_at: String,
    pub(in crate::demo) updated_at: String,
    pub(in crate::demo) total_views: u32,
    pub(in crate::demo) total_clicks: u32,
    pub(in crate::demo) total_shares: u32,
    pub(in crate::demo) total_ratings: u32,
    pub(in crate::demo) total_reviews: u32,
    pub(in crate::demo) avg_rating: String,
    pub(in crate::demo) last_viewed_at: Option<String>,
    pub(in crate::demo) last_clicked_at: Option<String>,
    affiliate_url: Option<String>,
    affiliate_network: Option<String>,
    commission_rate: Option<String>,
    asin: Option<String>,
    price_history_id: Option<u32>,
    price_verified_at: Option<String>,
    trust_score: String,
    source: &'static str,
    #[serde(skip)]
    cents: u32,
    #[serde(skip)]
    expires: i64,
}

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

impl Deal {
    fn generate(id: u32, random: &mut fastrand::Rng, midnight: i64) -> Self {
        let mut pick = |list: &[&'static str]| list[random.usize(..list.len())];
        let product = pick(&PRODUCTS);
        let title = format!("{} {product} {}", pick(&ADJECTIVES), pick(&EXTRAS));
        let store = STORES[random.usize(..STORES.len())];
        let category = CATEGORIES[random.usize(..CATEGORIES.len())];
        let original = random.u32(1_999..49_999) / 100 * 100 + 99;
        let discount = random.u32(10..75);
        let cents = original - original * discount / 100;
        let created = midnight - i64::from(random.u32(1..60 * 24)) * 3600;
        let expires = midnight + DAY + i64::from(random.u32(100..900)) * 3600;
        let views = random.u32(100..900);
        let ratings = random.u32(10..99);
        let image = format!("https://images.{}/{}-{id:04}.jpg", store.domain, slug(product));
        Self {
            id,
            title,
            store: store.name.to_owned(),
            original_price: money(original),
            discounted_price: money(cents),
            discount,
            rating: format!("{}.{}", random.u32(3..5), random.u32(0..10)),
            reviews: random.u32(100..999),
            image,
            category: category.name.to_owned(),
            expires_at: date(expires),
            verified: random.u8(0..2),
            deleted: 0,
            deleted_at: None,
            created_at: date(created),
            updated_at: date(created + 1_800),
            total_views: views,
            total_clicks: views / 10,
            total_shares: views / 50,
            total_ratings: ratings,
            total_reviews: ratings % 7,
            avg_rating: format!("{}.{:02}", random.u32(3..5), random.u32(0..100)),
            last_viewed_at: Some(date(midnight - i64::from(id))),
            last_clicked_at: Some(date(midnight - i64::from(id) * 2)),
            affiliate_url: None,
            affiliate_network: None,
            commission_rate: None,
            asin: None,
            price_history_id: None,
            price_verified_at: None,
            trust_score: "0.00".to_owned(),
            source: "manual",
            cents,
            expires,
        }
    }

    fn update(&mut self, body: &Value) {
        let texts = [
            ("title", &mut self.title),
            ("store", &mut self.store),
            ("category", &mut self.category),
            ("image", &mut self.image),
        ];
        for (column, place) in texts {
            if let Some(text) = body[column].as_str() {
                *place = text.chars().take(MAX_TEXT).collect();
            }
        }
        let price = |column: &str| body[column].as_f64().filter(|price| (0.0..1e6).contains(price));
        if let Some(price) = price("original_price") {
            self.original_price = format!("{price:.2}");
        }
        if let Some(price) = price("discounted_price") {
            self.discounted_price = format!("{price:.2}");
            // In range by the filter above.
            self.cents = (price * 100.0).round() as u32;
        }
    }

    /// The names of the columns of the CSV export.
    pub(in crate::demo) const CSV_HEAD: &str = "id,title,store,original_price,discounted_price,discount,rating,reviews,\
        image,category,expires_at,verified,deleted,created_at,updated_at,total_views,total_clicks,total_shares,\
        total_ratings,total_reviews,avg_rating,last_viewed_at,last_clicked_at,source,url\n";

    /// The line of the CSV export.
    pub(in crate::demo) fn csv(&self, text: &mut String) {
        let quoted = |text: &str| text.replace('"', "\"\"");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},\"{}\",\"{}\",{},{},{},{},{},\"{}\",\"{}\",{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            self.id,
            quoted(&self.title),
            quoted(&self.store),
            self.original_price,
            self.discounted_price,
            self.discount,
            self.rating,
            self.reviews,
            quoted(&self.image),
            quoted(&self.category),
            self.expires_at,
            self.verified,
            self.deleted,
            self.created_at,
            self.updated_at,
            self.total_views,
            self.total_clicks,
            self.total_shares,
            self.total_ratings,
            self.total_reviews,
            self.avg_rating,
            self.last_viewed_at.as_deref().unwrap_or_default(),
            self.last_clicked_at.as_deref().unwrap_or_default(),
            self.source,
            format_args!("https://deals247.online/deal/{}?from=export", self.id),
        );
    }
}

fn money(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn quotes_csv() {
        let mut deals = deals();
        deals.change(1, &json!({ "title": "a \"b\", c" })).unwrap();
        let mut text = String::new();
        deals.find(1).unwrap().csv(&mut text);
        assert!(text.starts_with("1,\"a \"\"b\"\", c\","), "{text}");
    }
}
