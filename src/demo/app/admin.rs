//! What administrators ask: users, exports, analytics.

use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use crate::demo::data::{Database, Deal, User, date};

type Outcome = Result<Reply, Reply>;

const DAY: i64 = 86_400;
pub(super) fn users(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    Ok(Reply::ok(&database.people.read().all()))
}

pub(super) fn export(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    let deals = database.deals.read();
    if call.query("format") == Some("csv") {
        let mut text = Deal::CSV_HEAD.to_owned();
        deals.all().for_each(|deal| deal.csv(&mut text));
        return Ok(Reply::Csv(format!("deals_export_{}.csv", database.day()), text));
    }
    let row = |deal: &Deal| {
        json!({
            "id": deal.id,
            "title": deal.title,
            "store": deal.store,
            "original_price": deal.original_price,
            "discounted_price": deal.discounted_price,
            "discount": deal.discount,
            "rating": deal.rating,
            "reviews": deal.reviews,
            "image": deal.image,
            "category": deal.category,
            "expires_at": deal.expires_at,
            "verified": deal.verified,
            "created_at": deal.created_at,
            "updated_at": deal.updated_at,
            "total_views": deal.total_views,
            "total_clicks": deal.total_clicks,
            "total_shares": deal.total_shares,
            "total_ratings": deal.total_ratings,
            "total_reviews": deal.total_reviews,
            "deleted": deal.deleted,
            "avg_rating": deal.avg_rating,
        })
    };
    Ok(Reply::ok(&deals.all().map(row).collect::<Vec<_>>()))
}

pub(super) fn summary(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    let deals = database.deals.read();
    let views: u64 = deals.all().map(|deal| u64::from(deal.total_views)).sum();
    let day = |ago: i64| {
        json!({
            "date": date(database.midnight() - ago * DAY),
            "views": views / 30 + ago.unsigned_abs() * 3,
            "clicks": views / 300,
            "shares": views / 1_500,
            "new_users": 2,
            "new_deals": 8,
            "conversion_rate": "10.00",
            "revenue": format!("{}.50", 120 + ago),
            "active_users": 42,
            "average_session_seconds": 187,
            "bounce_rate": "38.20",
            "top_category": "Electronics",
            "top_store": "Northwind Market",
            "returning_visitors": 31,
            "pages_per_session": "4.10",
            "searches": 214,
            "favorites_added": 17,
            "notifications_sent": 35,
            "comparisons": 9,
        })
    };
    Ok(Reply::ok(
        &json!({ "total_views": views, "days": (0..30).map(day).collect::<Vec<_>>() }),
    ))
}

/// A join over every user and every view: the application's most expensive query.
pub(super) fn engagement(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    let people = database.people.read();
    let row = |user: &User| {
        json!({
            "user_id": user.id,
            "display_name": user.display_name,
            "email": user.email,
            "total_views": 130 + user.id,
            "total_clicks": 13 + user.id % 9,
            "total_favorites": people.favorites(user.id).len(),
            "total_shares": user.id % 5,
            "total_reviews": user.id % 4,
            "total_searches": 10 + user.id % 7,
            "last_activity_at": date(database.midnight() - i64::from(user.id) * 600),
            "first_activity_at": date(database.midnight() - 40 * DAY),
            "engagement_score": format!("{}.25", 40 + user.id % 50),
            "segment": "regular",
        })
    };
    Ok(Reply::ok(
        &json!({ "users": people.all().iter().map(row).collect::<Vec<Value>>() }),
    ))
}
