//! A deal: a row of the table, as it is generated, changed and exported.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::reference::{CATEGORIES, STORES, slug};
use super::{DAY, date};

/// Longest text of a deal that a request brings along, characters.
pub(super) const MAX_TEXT: usize = 255;

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
    pub(super) cents: u32,
    #[serde(skip)]
    pub(super) expires: i64,
}

impl Deal {
    pub(super) fn generate(id: u32, random: &mut fastrand::Rng, midnight: i64) -> Self {
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

    pub(super) fn update(&mut self, body: &Value) {
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

    #[test]
    fn quotes_csv() {
        let mut deal = Deal::generate(1, &mut fastrand::Rng::with_seed(247), 1_766_016_000);
        deal.update(&json!({ "title": "a \"b\", c" }));
        let mut text = String::new();
        deal.csv(&mut text);
        assert!(text.starts_with("1,\"a \"\"b\"\", c\","), "{text}");
    }

    #[test]
    fn has_as_many_columns_as_it_names() {
        let mut text = String::new();
        let mut deal = Deal::generate(1, &mut fastrand::Rng::with_seed(247), 1_766_016_000);
        deal.update(&json!({ "title": "no comma", "store": "none", "category": "none" }));
        deal.csv(&mut text);
        assert_eq!(text.matches(',').count(), Deal::CSV_HEAD.matches(',').count());
    }

    #[test]
    fn takes_no_absurd_price() {
        let mut deal = Deal::generate(1, &mut fastrand::Rng::with_seed(247), 1_766_016_000);
        deal.update(&json!({ "discounted_price": 12.5, "original_price": 20 }));
        deal.update(&json!({ "discounted_price": 1e300, "original_price": -1 }));
        assert_eq!(
            (&*deal.discounted_price, &*deal.original_price, deal.cents),
            ("12.50", "20.00", 1_250)
        );
    }
}
