//! `/s` and `/api/shortener`, one router under two names, without any identity.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use crate::demo::data::{Database, Rejected};

type Outcome = Result<Reply, Reply>;

pub(super) fn list(call: &Call, database: &Database) -> Outcome {
    Ok(Reply::ok(
        &json!({ "success": true, "data": database.links.lock().all(call.host()) }),
    ))
}

pub(super) fn create(call: &Call, database: &Database) -> Outcome {
    call.body()?;
    let Some(url) = call.text("longUrl").or_else(|| call.text("url")) else {
        return Err(failure(StatusCode::BAD_REQUEST, "A long URL is required"));
    };
    let wish = call.text("customCode");
    let link = database.links.lock().create(url, wish).map_err(|why| match why {
        Rejected::BadUrl => failure(StatusCode::BAD_REQUEST, "The URL is not valid"),
        Rejected::BadCode => failure(StatusCode::BAD_REQUEST, "The custom code is not valid"),
        Rejected::Taken => failure(StatusCode::CONFLICT, "The custom code is already in use"),
        Rejected::Full => Reply::broken(),
    })?;
    let mut row = link.row(call.host());
    row["success"] = Value::Bool(true);
    Ok(Reply::ok(&row))
}

/// Leads on, and counts: for HEAD, too.
pub(super) fn follow(call: &Call, database: &Database) -> Outcome {
    let code = call.segment(last(call))?;
    let url = database.links.lock().follow(&code);
    let gone = || {
        failure(
            StatusCode::NOT_FOUND,
            "This short link does not exist, or it has been deleted by its owner",
        )
    };
    url.map(Reply::Found).ok_or_else(gone)
}

pub(super) fn delete(call: &Call, database: &Database) -> Outcome {
    let id = call.id(last(call))?.unwrap_or(0);
    if database.links.lock().delete(id) {
        Ok(Reply::ok(&json!({ "success": true, "message": "Short link deleted" })))
    } else {
        Err(failure(StatusCode::NOT_FOUND, "Short link not found"))
    }
}

/// Where the code or the number stands: the router is mounted at two depths.
fn last(call: &Call) -> usize {
    if call.path.to_ascii_lowercase().starts_with("/api/") {
        2
    } else {
        1
    }
}

fn failure(status: StatusCode, text: &str) -> Reply {
    Reply::json(status, &json!({ "success": false, "message": text }))
}
