//! What belongs to a user: profile, favourites, notifications, subscription.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::refusal;
use crate::demo::data::{Database, Deal, date};

type Outcome = Result<Reply, Reply>;

/// As long as the column; Firebase's have 28.
const MAX_UID: usize = 128;
const NOTIFICATIONS: usize = 20;

pub(super) fn sign_up(call: &Call, database: &Database) -> Outcome {
    call.body()?;
    let (Some(uid), Some(email)) = (
        call.text("firebase_uid").filter(|uid| uid.len() <= MAX_UID),
        call.text("email"),
    ) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "Firebase UID and email are required"));
    };
    let name = call.text("display_name").unwrap_or_default();
    let (user, new) = database
        .people
        .write()
        .add(uid, email, name)
        .ok_or_else(Reply::broken)?;
    Ok(Reply::json(
        if new { StatusCode::CREATED } else { StatusCode::OK },
        &user,
    ))
}

/// Anybody's profile, for anybody.
pub(super) fn profile(call: &Call, database: &Database) -> Outcome {
    let uid = call.segment(3)?;
    let people = database.people.read();
    people
        .find(&uid)
        .map(Reply::ok)
        .ok_or_else(|| refusal(StatusCode::NOT_FOUND, "User not found"))
}

pub(super) fn favorites(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    let (people, deals) = (database.people.read(), database.deals.read());
    let rows: Vec<&Deal> = people
        .favorites(user.id)
        .iter()
        .filter_map(|id| deals.find(*id))
        .collect();
    Ok(Reply::ok(&rows))
}

pub(super) fn favor(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    let deal = call.body()?["dealId"].as_u64().and_then(|id| u32::try_from(id).ok());
    let Some(deal) = deal.filter(|id| database.deals.read().find(*id).is_some()) else {
        return Err(refusal(StatusCode::BAD_REQUEST, "Deal ID is required"));
    };
    if database.people.write().favor(user.id, deal) {
        Ok(Reply::json(
            StatusCode::CREATED,
            &json!({ "message": "Deal added to favorites" }),
        ))
    } else {
        Err(refusal(StatusCode::CONFLICT, "Deal already in favorites"))
    }
}

pub(super) fn unfavor(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    let deal = call.id(2)?.unwrap_or(0);
    database.people.write().unfavor(user.id, deal);
    Ok(Reply::ok(&json!({ "message": "Deal removed from favorites" })))
}

pub(super) fn is_favorite(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    let deal = call.id(2)?.unwrap_or(0);
    Ok(Reply::ok(
        &json!({ "isFavorite": database.people.read().favorites(user.id).contains(&deal) }),
    ))
}

pub(super) fn notifications(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    let (limit, offset) = (call.count("limit", NOTIFICATIONS)?, call.count("offset", 0)?);
    let row = |number: usize| {
        json!({
            "id": number,
            "user_id": user.id,
            "type": "price_drop",
            "title": "A deal you follow became cheaper",
            "message": "The price of a deal among your favorites has dropped. Have a look before it expires.",
            "deal_id": number * 7,
            "priority": "normal",
            "is_read": usize::from(number.is_multiple_of(2)),
            "created_at": date(database.midnight()),
        })
    };
    let rows: Vec<Value> = (1..=NOTIFICATIONS).skip(offset).take(limit).map(row).collect();
    Ok(Reply::ok(&json!({ "notifications": rows, "total": NOTIFICATIONS })))
}

pub(super) fn unread(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    Ok(Reply::ok(&json!({ "count": 10 + user.id % 10 })))
}

pub(super) fn subscription(call: &Call, database: &Database) -> Outcome {
    let user = call.user(database)?;
    Ok(Reply::ok(&json!({
        "user_id": user.id,
        "plan": "free",
        "status": "active",
        "started_at": date(database.midnight()),
        "expires_at": null,
        "auto_renew": false,
        "features": ["Browse all deals"],
    })))
}
