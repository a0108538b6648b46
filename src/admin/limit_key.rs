//! `/api/v1/limits/{limit}/keys/{part}…`: where one key of a limit stands, and a new beginning for it. What identifies a
//! client is told to who asked for it, and to no log.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::wire;
use crate::answer::Answer;
use crate::runtime::{KeyFault, KeyState, LimitKey, Live, SharedState};

/// Where it stands.
pub(super) async fn show(live: &Live, limit: &str, parts: &[String]) -> Answer {
    match find(live, limit, parts) {
        Ok(key) => {
            let state = key.state(live.registry.clock()).await;
            wire::json(StatusCode::OK, &describe(limit, parts, &state))
        }
        Err(answer) => answer,
    }
}

/// Begins it anew.
pub(super) async fn reset(live: &Live, limit: &str, parts: &[String]) -> Answer {
    let key = match find(live, limit, parts) {
        Ok(key) => key,
        Err(answer) => return answer,
    };
    let outcome = key.reset().await;
    tracing::info!(
        limit,
        in_store = outcome.is_ok(),
        "a key of a limit is reset by the operator"
    );
    match outcome {
        Ok(()) => wire::json(StatusCode::OK, &json!({ "limit": limit, "reset": parts })),
        Err(why) => {
            let detail = format!(
                "Redis cannot be asked: {why}. This gateway has forgotten the key; Redis and the other gateways have not."
            );
            wire::problem(StatusCode::SERVICE_UNAVAILABLE, &detail, Map::new())
        }
    }
}

fn find(live: &Live, limit: &str, parts: &[String]) -> Result<LimitKey, Answer> {
    live.peek().limit_key(limit, parts).map_err(|fault| match fault {
        KeyFault::Limit(known) => {
            let detail = format!("There is no limit `{limit}`.");
            wire::unknown(&detail, "limits", known.iter().map(|name| &**name))
        }
        KeyFault::Parts(wanted) => {
            let detail = format!(
                "`{limit}` is counted by {}: name one value for each.",
                wanted.join(", ")
            );
            wire::problem(StatusCode::BAD_REQUEST, &detail, Map::new())
        }
        KeyFault::Address(source) => {
            let detail = format!("What is named for `{source}` is no address.");
            wire::problem(StatusCode::BAD_REQUEST, &detail, Map::new())
        }
    })
}

fn describe(limit: &str, parts: &[String], state: &KeyState) -> Value {
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    let KeyState {
        capacity,
        level,
        shared,
    } = state;
    let mut shown = json!({
        "limit": limit,
        "key": parts,
        "capacity": capacity,
        "left": level.room,
        "next_in_seconds": seconds(level.next_in),
        "full_in_seconds": seconds(level.full_in),
        "counted_in": match shared {
            Some(SharedState::Store { .. }) => "redis",
            Some(SharedState::Unreachable(_)) | None => "process",
        },
    });
    match shared {
        Some(SharedState::Store { leased, refused_for }) => {
            shown["leased_here"] = (*leased).into();
            shown["refused_here_for_seconds"] = seconds(*refused_for).into();
        }
        Some(SharedState::Unreachable(why)) => shown["redis_error"] = why.as_str().into(),
        None => {}
    }
    shown
}
