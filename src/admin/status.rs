//! `/api/v1/status`, `/api/v1/certificates`, `/api/v1/log`: the process as a whole.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::wire;
use crate::answer::Answer;
use crate::config::check_log_level;
use crate::observe::log;
use crate::runtime::Live;

/// `GET /api/v1/status`
pub(super) fn status(live: &Live) -> Answer {
    let snapshot = live.peek();
    let registry = &live.registry;
    let refused = registry.refused_reload();
    let texts =
        |addresses: &[std::net::SocketAddr]| -> Vec<String> { addresses.iter().map(ToString::to_string).collect() };
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": registry.started.elapsed().as_secs(),
        "stopping": registry.is_draining(),
        "generation": snapshot.generation,
        "refused_reload": refused.map(|refused| json!({ "at": rfc3339(refused.at), "why": refused.why })),
        "listen": texts(&snapshot.server.listen),
        "tls_listen": texts(snapshot.tls.as_ref().map_or(&[], |tls| &tls.settings.listen)),
        "threads": snapshot.server.threads,
        "routes": snapshot.routes().count(),
        "upstreams": snapshot.upstreams.len(),
        "log_level": log::level().level,
    });
    wire::json(StatusCode::OK, &body)
}

/// `GET /api/v1/certificates`: those in force.
pub(super) fn certificates(live: &Live) -> Answer {
    let snapshot = live.peek();
    let both = [&snapshot.tls, &snapshot.admin_tls];
    let hosts: Vec<_> = both.into_iter().flatten().map(|tls| tls.hosts()).collect();
    let now = Timestamp::now().as_second();
    let list: Vec<Value> = hosts
        .iter()
        .flat_map(|hosts| hosts.all())
        .map(|host| {
            let certificate = &host.certificate;
            json!({
                "certificate": &*host.label,
                "names": certificate.names,
                "not_before": moment(certificate.not_before),
                "not_after": moment(certificate.not_after),
                "valid": certificate.is_valid_at(now),
                "expires_in_seconds": certificate.not_after.saturating_sub(now),
                "asks_clients": host.client_auth != 0,
            })
        })
        .collect();
    wire::json(StatusCode::OK, &json!({ "certificates": list }))
}

/// `/api/v1/log`: how much is written; PUT changes it until the process ends, or back with `null`.
pub(super) fn log(method: &Method, body: &Bytes) -> Answer {
    if *method != Method::PUT {
        return shown(&log::level());
    }
    let wrong = |detail: &str| wire::problem(StatusCode::BAD_REQUEST, detail, Map::new());
    let asked = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(members)) if members.len() == 1 => members.get("level").cloned(),
        _ => None,
    };
    let level = match asked {
        Some(Value::String(level)) => Some(level),
        Some(Value::Null) => None,
        _ => return wrong("The body must be {\"level\": \"debug\"}, or {\"level\": null} for what the file says."),
    };
    if let Some(Err(why)) = level.as_deref().map(check_log_level) {
        return wrong(&why);
    }
    match log::set(level.as_deref()) {
        Some(level) => shown(&level),
        None => wire::problem(StatusCode::CONFLICT, "This process does not write the log.", Map::new()),
    }
}

fn shown(level: &log::Level) -> Answer {
    wire::json(StatusCode::OK, &json!({ "level": level.level, "by": level.by }))
}

fn rfc3339(at: SystemTime) -> Option<String> {
    Some(format!("{:.0}", Timestamp::try_from(at).ok()?))
}

fn moment(seconds: i64) -> Option<String> {
    Some(format!("{:.0}", Timestamp::from_second(seconds).ok()?))
}
