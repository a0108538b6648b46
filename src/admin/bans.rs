//! `/api/v1/bans`: who is turned away from everything, and an end to it.

use std::net::IpAddr;

use http::StatusCode;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::wire;
use crate::answer::Answer;
use crate::limit::Ban;
use crate::runtime::Live;

/// Most bans that one page lists: those that end first.
const LISTED: usize = 10_000;

/// Every ban in force.
pub(super) fn list(live: &Live) -> Answer {
    let now = live.registry.clock();
    let bans = live.registry.bans().list(now);
    let listed = bans.iter().take(LISTED).map(|ban| describe(ban, now));
    let body = json!({ "count": bans.len(), "bans": listed.collect::<Vec<_>>() });
    wire::json(StatusCode::OK, &body)
}

fn describe(ban: &Ban, now: u64) -> Value {
    json!({
        "client": shown(ban.client),
        "policy": &*ban.policy,
        "ends_in_seconds": ban.left(now).as_secs_f64().ceil(),
        "lasts_seconds": ban.left(ban.since).as_secs_f64(),
    })
}

/// Lifts a ban: of an address whatever network it is banned with, or of a network.
pub(super) fn lift(live: &Live, client: &str) -> Answer {
    let now = live.registry.clock();
    let bans = live.registry.bans();
    let lifted: Vec<IpNet> = match (client.parse::<IpAddr>(), client.parse::<IpNet>()) {
        (Ok(client), _) => {
            let client = client.to_canonical();
            let banned = bans.list(now).into_iter().map(|ban| ban.client);
            let of_client = banned.filter(|network| network.contains(&client));
            of_client.filter(|network| bans.lift(*network, now)).collect()
        }
        (_, Ok(network)) => Vec::from_iter(bans.lift(network, now).then(|| network.trunc())),
        _ => {
            let detail = "Name an address or a network: 192.0.2.1, or 2001:db8::%2F64.";
            return wire::problem(StatusCode::BAD_REQUEST, detail, Map::new());
        }
    };
    if lifted.is_empty() {
        return wire::problem(StatusCode::NOT_FOUND, "This client is not banned.", Map::new());
    }
    for client in &lifted {
        tracing::info!(%client, "a ban is lifted by the operator");
    }
    let lifted: Vec<String> = lifted.into_iter().map(shown).collect();
    wire::json(StatusCode::OK, &json!({ "lifted": lifted }))
}

/// An address as itself, a network with its prefix.
fn shown(client: IpNet) -> String {
    if client.prefix_len() == client.max_prefix_len() {
        client.addr().to_string()
    } else {
        client.to_string()
    }
}
