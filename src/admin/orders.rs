//! What operators ask of the gateway as a whole: `/api/v1/reload`, `rollback`, `confirm`, `history`, `upgrade`. Carried out
//! elsewhere; what is here is how it is asked and how it is told.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use super::wire;
use crate::answer::Answer;
use crate::config::units;
use crate::runtime::Live;
use crate::runtime::orders::{Outcome, Told, What};

/// The orders, as paths name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Reload,
    Rollback,
    Confirm,
    History,
    Upgrade,
    Config,
}

/// Passes an order on and tells how it went. `for_people`: as text.
pub(super) async fn pass_on(live: &Live, order: Order, by: &str, body: &Bytes, for_people: bool) -> Answer {
    let what = match what(order, body) {
        Ok(what) => what,
        Err(detail) => return wire::problem(StatusCode::BAD_REQUEST, detail, Map::new()),
    };
    let told = live.registry.orders.give(what, by.to_owned()).await;
    tell(told, for_people)
}

fn tell(told: Told, for_people: bool) -> Answer {
    let Told { outcome, text, facts } = told;
    let status = match outcome {
        Outcome::Done if for_people => return wire::text(text),
        Outcome::Done => return wire::json(StatusCode::OK, &facts),
        Outcome::BadFile => StatusCode::UNPROCESSABLE_ENTITY,
        Outcome::Impossible => StatusCode::CONFLICT,
        Outcome::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    let Value::Object(members) = facts else {
        return wire::problem(status, &text, Map::new());
    };
    wire::problem(status, &text, members)
}

fn what(order: Order, body: &Bytes) -> Result<What, &'static str> {
    const RELOAD: &str = "The body may be empty or {\"plan\": true} or {\"confirm\": \"5min\"}.";
    const ROLLBACK: &str = "The body may be empty or {\"to\": NUMBER}.";
    let wrong = match order {
        Order::Reload => RELOAD,
        Order::Rollback => ROLLBACK,
        Order::Confirm | Order::History | Order::Upgrade | Order::Config => "The body must be empty.",
    };
    let members = if body.iter().all(u8::is_ascii_whitespace) {
        Map::new()
    } else {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => members,
            _ => return Err(wrong),
        }
    };
    let mut what = match order {
        Order::Reload => What::Reload {
            plan: false,
            confirm: None,
        },
        Order::Rollback => What::Rollback { to: None },
        Order::Confirm => What::Confirm,
        Order::History => What::History,
        Order::Upgrade => What::Upgrade,
        Order::Config => What::Config,
    };
    for (key, value) in &members {
        match (&mut what, key.as_str(), value) {
            (What::Reload { plan, .. }, "plan", Value::Bool(wanted)) => *plan = *wanted,
            (What::Reload { confirm, .. }, "confirm", Value::String(time)) => {
                *confirm = Some(units::timeout(time).ok_or(wrong)?);
            }
            (What::Rollback { to }, "to", Value::Number(number)) => *to = Some(number.as_u64().ok_or(wrong)?),
            _ => return Err(wrong),
        }
    }
    Ok(what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bodies() {
        let reload = |plan, confirm| Some(What::Reload { plan, confirm });
        for (order, body, expected) in [
            (Order::Reload, "", reload(false, None)),
            (Order::Reload, "{}", reload(false, None)),
            (Order::Reload, "{\"plan\": true}", reload(true, None)),
            (
                Order::Reload,
                "{\"confirm\": \"5min\"}",
                reload(false, Some(Duration::from_secs(300))),
            ),
            (Order::Reload, "{\"confirm\": \"0s\"}", None),
            (Order::Reload, "{\"confirm\": 5}", None),
            (Order::Reload, "{\"plan\": \"yes\"}", None),
            (Order::Reload, "[]", None),
            (Order::Reload, "{", None),
            (Order::Rollback, "{\"to\": 3}", Some(What::Rollback { to: Some(3) })),
            (Order::Rollback, "{\"to\": -3}", None),
            (Order::Rollback, "{\"plan\": true}", None),
            (Order::Confirm, "{\"plan\": true}", None),
            (Order::Confirm, "{}", Some(What::Confirm)),
        ] {
            assert_eq!(what(order, &Bytes::from(body)).ok(), expected, "{order:?} {body}");
        }
    }
}
