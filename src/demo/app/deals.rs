//! `/api/deals`, and the click counter of `/api/engagement`.

use http::StatusCode;
use serde_json::json;

use super::answer::Reply;
use super::call::Call;
use super::refusal;
use crate::demo::data::{Database, Deal, Listing, Refused, date, seconds_now};

type Outcome = Result<Reply, Reply>;

pub(super) fn list(call: &Call, database: &Database) -> Outcome {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<f64>().ok());
    let sort_by = call.query("sortBy").unwrap_or("newest");
    if sort_by == "ending_soon" {
        // Its query is one that the database does not understand.
        return Err(Reply::broken());
    }
    let listing = Listing {
        category: call.query("category"),
        store: call.query("store"),
        price: (number("minPrice"), number("maxPrice")),
        discount: (number("minDiscount"), number("maxDiscount")),
        min_rating: number("minRating"),
        verified: call.query("verified") == Some("true"),
        has_comments: call.query("hasComments") == Some("true"),
        search: call.query("search").filter(|words| !words.is_empty()),
        deleted: false,
        sort_by,
        limit: call.count("limit", 12)?,
        offset: call.count("offset", 0)?,
    };
    let deals = database.deals.read();
    let (found, total) = deals.list(&listing);
    let (limit, offset) = (listing.limit, listing.offset);
    Ok(Reply::ok(
        &json!({ "deals": found, "total": total, "limit": limit, "offset": offset, "sortBy": sort_by }),
    ))
}

pub(super) fn one(call: &Call, database: &Database) -> Outcome {
    let deals = database.deals.read();
    let found = call
        .id(2)?
        .and_then(|id| deals.find(id))
        .filter(|deal| deal.deleted == 0);
    found.map(Reply::ok).ok_or_else(absent)
}

pub(super) fn create(call: &Call, database: &Database) -> Outcome {
    let id = database.deals.write().add(call.body()?).map_err(refused)?;
    Ok(Reply::json(
        StatusCode::CREATED,
        &json!({ "id": id, "message": "Deal created successfully" }),
    ))
}

pub(super) fn change(call: &Call, database: &Database) -> Outcome {
    let (body, id) = (call.body()?, call.id(2)?.ok_or_else(absent)?);
    database.deals.write().change(id, body).map_err(refused)?;
    Ok(message("Deal updated successfully"))
}

pub(super) fn delete(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    let id = call.id(2)?.ok_or_else(absent)?;
    database.deals.write().mark_deleted(id, true).map_err(refused)?;
    Ok(message("Deal deleted successfully"))
}

pub(super) fn restore(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    let id = call.id(2)?.ok_or_else(absent)?;
    database.deals.write().mark_deleted(id, false).map_err(refused)?;
    Ok(message("Deal restored successfully"))
}

pub(super) fn deleted(call: &Call, database: &Database) -> Outcome {
    call.admin(database)?;
    let listing = Listing {
        deleted: true,
        limit: call.count("limit", 50)?,
        offset: call.count("offset", 0)?,
        ..Listing::default()
    };
    let deals = database.deals.read();
    let (found, total) = deals.list(&listing);
    Ok(Reply::ok(
        &json!({ "deals": found, "total": total, "limit": listing.limit, "offset": listing.offset }),
    ))
}

pub(super) fn view(call: &Call, database: &Database) -> Outcome {
    if call.body()?["userId"].is_null() {
        return Err(refusal(StatusCode::BAD_REQUEST, "User ID is required"));
    }
    count(call, 2, database, |deal, now| {
        deal.total_views = deal.total_views.saturating_add(1);
        deal.last_viewed_at = Some(now);
    })?;
    Ok(message("Deal view recorded"))
}

pub(super) fn click(call: &Call, database: &Database) -> Outcome {
    count(call, 3, database, |deal, now| {
        deal.total_clicks = deal.total_clicks.saturating_add(1);
        deal.last_clicked_at = Some(now);
    })?;
    Ok(message("Click recorded successfully"))
}

/// Anybody's history, for anybody.
pub(super) fn history(call: &Call, database: &Database) -> Outcome {
    let uid = call.segment(3)?;
    let known = database.people.read().find(&uid).map(|user| user.id);
    let deals = database.deals.read();
    let first = known.unwrap_or(0);
    let rows: Vec<&Deal> = (first..first + 10)
        .filter_map(|id| deals.find(id))
        .take(if known.is_some() { 10 } else { 0 })
        .collect();
    Ok(Reply::ok(&json!({ "history": rows })))
}

fn count(call: &Call, segment: usize, database: &Database, change: impl Fn(&mut Deal, String)) -> Result<(), Reply> {
    let id = call.id(segment)?.ok_or_else(absent)?;
    let mut deals = database.deals.write();
    change(deals.find_mut(id).ok_or_else(absent)?, date(seconds_now()));
    Ok(())
}

fn message(text: &str) -> Reply {
    Reply::ok(&json!({ "message": text }))
}

fn absent() -> Reply {
    refusal(StatusCode::NOT_FOUND, "Deal not found")
}

fn refused(why: Refused) -> Reply {
    match why {
        Refused::Absent => absent(),
        // The database refuses: the application did not foresee it.
        Refused::Incomplete | Refused::Full => Reply::broken(),
    }
}
