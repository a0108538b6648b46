//! `POST /api/v1/upstreams/{upstream}/servers/{server}/drain` and `…/undrain`: the operator takes a server out of service,
//! and puts it back.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{upstreams, wire};
use crate::answer::Answer;
use crate::balance::Drain;
use crate::runtime::{Live, Upstream};

/// Carries out an order. The body may say `{"sessions": "keep"}`: clients whose cookie names the server stay until that
/// expires; without it they are given another server with their next request.
pub(super) fn order(live: &Live, upstream: &str, server: &str, out: bool, body: &Bytes) -> Answer {
    let snapshot = live.pin();
    let known = || snapshot.upstreams.iter().map(|upstream| &*upstream.name);
    let Some(found) = snapshot.upstreams.iter().find(|known| *known.name == *upstream) else {
        return wire::unknown("There is no upstream of this name.", "upstreams", known());
    };
    let servers = names(found);
    if !servers.iter().any(|name| name == server) {
        let known = servers.iter().map(String::as_str);
        return wire::unknown("The upstream has no server of this name or address.", "servers", known);
    }
    let how = match wanted(body) {
        Ok(_) if !out => Drain::Off,
        Ok(how) => how,
        Err(detail) => return wire::problem(StatusCode::BAD_REQUEST, detail, Map::new()),
    };
    match live.registry.unless_handed_over(|| found.pool.drain(server, how)) {
        Some(Ok(())) => {}
        Some(Err(error)) => return wire::problem(StatusCode::CONFLICT, &format!("{error}."), Map::new()),
        None => {
            return wire::problem_with(
                StatusCode::CONFLICT,
                "Another process is taking over: it would not know of this. Ask again, it will be there in a moment.",
                Map::new(),
                vec![(header::CONNECTION, HeaderValue::from_static("close"))],
            );
        }
    }
    let name = &found.name;
    if out {
        let sessions = if how == Drain::KeepSessions { "kept" } else { "moved" };
        tracing::info!(upstream = %name, server, sessions, "server is drained by the operator");
    } else {
        tracing::info!(upstream = %name, server, "server is no longer drained");
    }
    let mut answer = json!({ "upstream": &**name, "server": server, "draining": out });
    if out && nobody_is_left(found) {
        answer["warning"] = json!("no other server can take requests: they are answered with 503");
    }
    answer["servers"] = upstreams::servers(found, |view| *view.server == *server || *view.session == *server);
    wire::json(StatusCode::OK, &answer)
}

/// What can be drained: servers as the file names them, and the addresses of those that have several names for them.
fn names(upstream: &Upstream) -> Vec<String> {
    let mut names: Vec<String> = upstream.server_names().map(str::to_owned).collect();
    for endpoint in upstream.pool.endpoints().iter() {
        for name in [&**endpoint.server(), endpoint.session()] {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn nobody_is_left(upstream: &Upstream) -> bool {
    let views = upstream.pool.snapshot(std::time::Instant::now());
    !views.iter().any(|view| view.state.is_fit())
}

fn wanted(body: &Bytes) -> Result<Drain, &'static str> {
    const WRONG: &str = "The body may be empty or {\"sessions\": \"keep\"} or {\"sessions\": \"move\"}.";
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Drain::Everything);
    }
    let Ok(Value::Object(order)) = serde_json::from_slice::<Value>(body) else {
        return Err(WRONG);
    };
    let mut how = Drain::Everything;
    for (key, value) in &order {
        how = match (key.as_str(), value.as_str()) {
            ("sessions", Some("keep")) => Drain::KeepSessions,
            ("sessions", Some("move")) => Drain::Everything,
            _ => return Err(WRONG),
        };
    }
    Ok(how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        for (body, expected) in [
            ("", Some(Drain::Everything)),
            (" \n", Some(Drain::Everything)),
            ("{}", Some(Drain::Everything)),
            ("{\"sessions\": \"move\"}", Some(Drain::Everything)),
            ("{\"sessions\": \"keep\"}", Some(Drain::KeepSessions)),
            ("{\"sessions\": \"kepp\"}", None),
            ("{\"session\": \"keep\"}", None),
            ("[]", None),
            ("{", None),
        ] {
            assert_eq!(wanted(&Bytes::from(body)).ok(), expected, "{body}");
        }
    }
}
