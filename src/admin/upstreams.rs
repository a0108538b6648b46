//! `/upstreams`: every server as it is now, for programs as JSON and for people as a table.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::wire;
use crate::answer::Answer;
use crate::balance::{Condition, Drain, EndpointView};
use crate::runtime::{Live, Upstream};

/// The page: all upstreams or one of them. `api`: JSON unless text is asked for.
pub(super) fn page(live: &Live, one: Option<&str>, api: bool, headers: &HeaderMap) -> Answer {
    let snapshot = live.pin();
    let upstreams = &snapshot.upstreams;
    let text = wire::wants_text(headers, api);
    let Some(name) = one else {
        if text {
            return wire::text(upstreams.iter().map(|upstream| table(upstream)).collect());
        }
        let all = upstreams
            .iter()
            .map(|upstream| (upstream.name.to_string(), describe(upstream)));
        let body = json!({ "generation": snapshot.generation, "upstreams": all.collect::<Map<_, _>>() });
        return wire::json(StatusCode::OK, &body);
    };
    match upstreams.iter().find(|upstream| *upstream.name == *name) {
        Some(upstream) if text => wire::text(table(upstream)),
        Some(upstream) => wire::json(StatusCode::OK, &describe(upstream)),
        None => wire::unknown(
            "There is no upstream of this name.",
            "upstreams",
            upstreams.iter().map(|upstream| &*upstream.name),
        ),
    }
}

fn describe(upstream: &Upstream) -> Value {
    let now = Instant::now();
    let views = upstream.pool.snapshot(now);
    let healthy = views.iter().filter(|view| view.state.is_fit()).count();
    json!({
        "name": &*upstream.name,
        "balance": upstream.model.balance.word(),
        "healthy": healthy,
        "total": views.len() + unresolved(upstream, &views).count(),
        "panicking": upstream.pool.is_panicking(),
        "breaker": upstream.pool.breaker(now).map(|breaker| breaker.word()),
        "retry_budget_left": upstream.pool.budget().left(now),
        "queue": { "waiting": upstream.queue.waiting(), "size": upstream.model.queue.size },
        "servers": servers(upstream, |_| true),
    })
}

/// The servers that `wanted` picks; those without an address at the moment are among them if all are.
pub(super) fn servers(upstream: &Upstream, wanted: impl Fn(&EndpointView) -> bool) -> Value {
    let views = upstream.pool.snapshot(Instant::now());
    let shown = views.iter().filter(|view| wanted(view)).count();
    let mut servers: Vec<Value> = views.iter().filter(|view| wanted(view)).map(server).collect();
    if shown == views.len() {
        servers.extend(unresolved(upstream, &views).map(|name| {
            json!({
                "server": name,
                "address": null,
                "state": "unresolved",
                "healthy": false,
                "reason": "its name does not resolve",
                "draining": upstream.pool.is_drained(name),
            })
        }));
    }
    Value::Array(servers)
}

/// Servers of the file that have no address at the moment.
fn unresolved<'a>(upstream: &'a Upstream, views: &'a [EndpointView]) -> impl Iterator<Item = &'a str> {
    let has_none = |name: &&str| views.iter().all(|view| *view.server != **name);
    upstream.server_names().filter(has_none)
}

fn server(view: &EndpointView) -> Value {
    let ejected = match view.state {
        Condition::Ejected { remaining } => Some(remaining.as_secs_f64().ceil()),
        _ => None,
    };
    json!({
        "server": &*view.server,
        "address": view.address.to_string(),
        "state": view.state.word(),
        "healthy": view.state.is_fit(),
        "reason": view.reason,
        "ejected_for_seconds": ejected,
        "draining": view.drain != Drain::Off,
        "sessions_kept": view.drain == Drain::KeepSessions,
        "backup": view.backup,
        "weight": view.weight,
        "weight_now": f64::from(view.weight) * f64::from(view.weight_percent) / 100.0,
        "in_flight": view.in_flight,
        "limit": view.limit,
        "latency_ms": view.latency_estimate.map(milliseconds),
        "picks": view.picks,
        "failures": view.failures,
        "connect_failures": view.connect_failures,
        "ejections": view.ejections,
    })
}

/// Rounded to a hundredth: the rest is noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

fn table(upstream: &Upstream) -> String {
    let now = Instant::now();
    let views = upstream.pool.snapshot(now);
    let mut rows = vec![
        [
            "SERVER",
            "ADDRESS",
            "STATE",
            "WEIGHT",
            "IN FLIGHT",
            "LATENCY",
            "PICKS",
            "FAILED",
            "EJECTED",
            "WHY",
        ]
        .map(str::to_owned),
    ];
    rows.extend(views.iter().map(row));
    rows.extend(unresolved(upstream, &views).map(|name| {
        let mut row = ["-"; 10].map(str::to_owned);
        row[0] = name.to_owned();
        row[2] = "unresolved".to_owned();
        row[9] = "its name does not resolve".to_owned();
        row
    }));
    let mut text = format!(
        "{}: {} of {} fit",
        upstream.name,
        views.iter().filter(|view| view.state.is_fit()).count(),
        rows.len() - 1
    );
    if let Some(breaker) = upstream.pool.breaker(now) {
        let _ = write!(text, ", breaker {}", breaker.word());
    }
    if upstream.pool.is_panicking() {
        text.push_str(", too few: ejected ones are used as well");
    }
    let _ = writeln!(
        text,
        ", {} retries left, {} waiting",
        upstream.pool.budget().left(now),
        upstream.queue.waiting()
    );
    text.push_str(&aligned(&rows));
    text.push('\n');
    text
}

fn row(view: &EndpointView) -> [String; 10] {
    let weight = if view.weight_percent == 100 {
        view.weight.to_string()
    } else {
        format!("{} at {} %", view.weight, view.weight_percent)
    };
    let in_flight = view.limit.map_or_else(
        || view.in_flight.to_string(),
        |limit| format!("{} of {limit}", view.in_flight),
    );
    let latency = view
        .latency_estimate
        .map_or_else(|| "-".to_owned(), |time| format!("{} ms", milliseconds(time)));
    [
        if view.backup {
            format!("{} (backup)", view.server)
        } else {
            view.server.to_string()
        },
        view.address.to_string(),
        view.state.to_string(),
        weight,
        in_flight,
        latency,
        view.picks.to_string(),
        view.failures.to_string(),
        view.ejections.to_string(),
        view.reason.clone().unwrap_or_default(),
    ]
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "  A     B\n  long  x\n");
    }
}
