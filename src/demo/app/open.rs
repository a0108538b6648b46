//! What everybody may ask: health, reference data, reviews, the newsletter, the contact form.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::refusal;
use crate::demo::data::{CATEGORIES, Category, Database, STORES, Store, date, slug};

type Outcome = Result<Reply, Reply>;

const DAY: i64 = 86_400;

pub(super) fn health(_: &Call, _: &Database) -> Outcome {
    Ok(Reply::ok(
        &json!({ "status": "ok", "message": "Deals247 API is running" }),
    ))
}

pub(super) fn categories(_: &Call, database: &Database) -> Outcome {
    let deals = database.deals.read();
    let row = |(place, category): (usize, &Category)| {
        let mut row = category_row(place + 1, category, database);
        row["deal_count"] = Value::from(deals.all().filter(|deal| deal.category == category.name).count());
        row
    };
    Ok(Reply::ok(&CATEGORIES.iter().enumerate().map(row).collect::<Vec<_>>()))
}

pub(super) fn category(call: &Call, database: &Database) -> Outcome {
    let (id, category) =
        place(call, &CATEGORIES)?.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "Category not found"))?;
    Ok(Reply::ok(&category_row(id, category, database)))
}

pub(super) fn stores(_: &Call, database: &Database) -> Outcome {
    let deals = database.deals.read();
    let row = |(place, store): (usize, &Store)| {
        let mut row = store_row(place + 1, store, database);
        row["deal_count"] = Value::from(deals.all().filter(|deal| deal.store == store.name).count());
        row
    };
    Ok(Reply::ok(&STORES.iter().enumerate().map(row).collect::<Vec<_>>()))
}

pub(super) fn store(call: &Call, database: &Database) -> Outcome {
    let (id, store) = place(call, &STORES)?.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "Store not found"))?;
    Ok(Reply::ok(&store_row(id, store, database)))
}

pub(super) fn plans(_: &Call, _: &Database) -> Outcome {
    let plan = |id: &str, price: f64, features: &[&str]| json!({ "id": id, "name": format!("{id} plan"), "price": price, "currency": "EUR", "popular": id == "premium", "interval": "month", "features": features });
    Ok(Reply::ok(&json!({ "plans": [
        plan("free", 0.0, &["Browse all deals", "Save up to 50 favorites", "Weekly newsletter"]),
        plan("premium", 4.99, &["Unlimited favorites", "Price drop alerts", "Early access to hot deals", "No advertising"]),
        plan("business", 19.99, &["Everything in premium", "Analytics dashboard", "Bulk export", "Sponsored placement"]),
    ] })))
}

pub(super) fn newsletter_count(_: &Call, _: &Database) -> Outcome {
    Ok(Reply::ok(&json!({})))
}

pub(super) fn newsletter(call: &Call, _: &Database) -> Outcome {
    call.body()?;
    if !call.text("email").is_some_and(|email| email.contains('@')) {
        return Err(refusal(StatusCode::BAD_REQUEST, "Valid email is required"));
    }
    Ok(Reply::ok(&json!({ "success": true })))
}

pub(super) fn reviews(call: &Call, database: &Database) -> Outcome {
    let (page, limit) = (call.count("page", 1)?, call.count("limit", 10)?);
    let id = call.id(3)?.unwrap_or(0);
    let deals = database.deals.read();
    let total = deals.find(id).map_or(0, |deal| 5 + deal.id % 3);
    let review = |number: u32| {
        let created = date(database.midnight() - i64::from(number) * DAY);
        json!({
            "id": id * 10 + number,
            "deal_id": id,
            "user_id": number + 3,
            "rating": 3 + number % 3,
            "title": "What I think after some weeks",
            "review_text": "Arrived in time and does what it should; the price was right.",
            "helpful_votes": number * 2,
            "created_at": created,
            "display_name": format!("Person Number {:02}", number + 3),
        })
    };
    let rows: Vec<Value> = (1..=total)
        .skip(page.saturating_sub(1).saturating_mul(limit))
        .take(limit)
        .map(review)
        .collect();
    Ok(Reply::ok(
        &json!({ "reviews": rows, "total": total, "page": page, "limit": limit }),
    ))
}

/// The shipped schema lacks a column that its query names.
pub(super) fn sponsored(_: &Call, _: &Database) -> Outcome {
    Err(Reply::broken())
}

pub(super) fn contact(call: &Call, _: &Database) -> Outcome {
    call.body()?;
    let complete = ["name", "email", "message"]
        .iter()
        .all(|field| call.text(field).is_some());
    let (status, text) = if !complete {
        (StatusCode::BAD_REQUEST, "All fields are required")
    } else if !call.text("email").is_some_and(|email| email.contains('@')) {
        (StatusCode::BAD_REQUEST, "Invalid email address")
    } else {
        (StatusCode::OK, "Your message has been sent")
    };
    Ok(Reply::json(
        status,
        &json!({ "success": status == StatusCode::OK, "message": text }),
    ))
}

/// The row of a table whose numbers are places.
fn place<'a, T>(call: &Call, table: &'a [T]) -> Result<Option<(usize, &'a T)>, Reply> {
    let id = call.id(2)?.and_then(|id| usize::try_from(id).ok()).unwrap_or(0);
    Ok(id
        .checked_sub(1)
        .and_then(|place| table.get(place))
        .map(|row| (id, row)))
}

fn category_row(id: usize, category: &Category, database: &Database) -> Value {
    json!({
        "id": id,
        "name": category.name,
        "parent_id": category.parent,
        "level": usize::from(category.parent.is_some()),
        "sort_order": id,
        "slug": slug(category.name),
        "icon": category.icon,
        "created_at": date(database.midnight() - 90 * DAY),
    })
}

fn store_row(id: usize, store: &Store, database: &Database) -> Value {
    json!({
        "id": id,
        "name": store.name,
        "website": format!("https://www.{}", store.domain),
        "created_at": date(database.midnight() - 90 * DAY),
    })
}
