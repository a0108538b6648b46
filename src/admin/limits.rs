//! `/api/v1/limits/report`: what came of the rate limits, what those that only report would have refused, and which limit
//! would suit their clients.

use std::fmt::Write as _;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::wire;
use crate::answer::Answer;
use crate::limit::report::Seen;
use crate::limit::{Mode, Summary};
use crate::runtime::{LimitFacts, Live};

/// The page: JSON, or text for who prefers it.
pub(super) fn report(live: &Live, headers: &HeaderMap) -> Answer {
    let facts = live.peek().limit_facts(live.registry.clock());
    if wire::wants_text(headers, true) {
        return wire::text(text(&facts));
    }
    let body = json!({
        "since_seconds": live.registry.started.elapsed().as_secs(),
        "limits": facts.iter().map(limit).collect::<Vec<_>>(),
    });
    wire::json(StatusCode::OK, &body)
}

fn limit(facts: &LimitFacts) -> Value {
    let mut shown = json!({
        "name": &*facts.name,
        "mode": facts.mode.word(),
        "rate": facts.rate.to_string(),
        "burst": facts.burst,
        "allowed": facts.allowed,
        "delayed": facts.delayed,
    });
    match (facts.mode, &facts.seen) {
        (Mode::Report, Some(seen)) => {
            shown["would_deny"] = facts.would_deny.into();
            shown["classes"] = json!({ "ipv4": class(&seen.ipv4), "ipv6": class(&seen.ipv6) });
            shown["units_a_minute"] = json!({
                "p50": seen.median,
                "p90": seen.p90,
                "p99": seen.p99,
                "most": seen.most,
            });
            shown["suggestion"] = seen.suggestion.map_or(
                Value::Null,
                |suggestion| json!({ "rate": format!("{}/min", suggestion.per_minute), "burst": suggestion.burst }),
            );
        }
        _ => {
            shown["denied"] = facts.denied.into();
            shown["bans"] = facts.bans.into();
        }
    }
    shown
}

fn class(seen: &Seen) -> Value {
    json!({ "requests": seen.requests, "would_deny": seen.refused, "clients": seen.clients })
}

fn text(facts: &[LimitFacts]) -> String {
    if facts.is_empty() {
        return "The file has no rate limits.\n".to_owned();
    }
    let mut out = String::new();
    for facts in facts {
        let LimitFacts { name, rate, burst, .. } = facts;
        let written = match (facts.mode, &facts.seen) {
            (Mode::Report, Some(seen)) => writeln!(out, "{name}  {rate}, burst {burst}, only reports")
                .and_then(|()| reported(facts, seen, &mut out)),
            _ => {
                let (allowed, delayed, denied) = (facts.allowed, facts.delayed, facts.denied);
                let share = share(denied, allowed + delayed + denied);
                let delayed = some(", after a wait: ", delayed);
                let bans = some(", bans: ", facts.bans);
                writeln!(
                    out,
                    "{name}  {rate}, burst {burst}\n  passed: {allowed}{delayed}, refused: {denied} ({share}){bans}"
                )
            }
        };
        written.expect("a String takes everything");
    }
    out
}

fn reported(facts: &LimitFacts, seen: &Summary, out: &mut String) -> std::fmt::Result {
    let all = facts.allowed + facts.delayed + facts.would_deny;
    let refused = facts.would_deny;
    let part = share(refused, all);
    writeln!(
        out,
        "  {all} requests, of which it would have refused {refused} ({part})"
    )?;
    for (class, seen) in [("IPv4", &seen.ipv4), ("IPv6", &seen.ipv6)] {
        let Seen {
            requests,
            refused,
            clients,
        } = seen;
        if *requests > 0 {
            let part = share(*refused, *requests);
            writeln!(
                out,
                "  {class}: {requests} requests of about {clients} clients, too many: {refused} ({part})"
            )?;
        }
    }
    let Summary {
        median,
        p90,
        p99,
        most,
        suggestion,
        ..
    } = seen;
    match suggestion {
        None => writeln!(out, "  rates and a suggestion: when a whole minute has been seen"),
        Some(suggestion) => writeln!(
            out,
            "  a client asks in a minute for: half of them at most {median}, 90 % {p90}, 99 % {p99}, the most {most}\n  \
             99 % would pass, with a quarter to spare: rate = \"{}/min\", burst = {}",
            suggestion.per_minute, suggestion.burst
        ),
    }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

fn some(what: &str, count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        format!("{what}{count}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::units::Rate;
    use crate::limit::report::Suggestion;

    fn facts(mode: Mode, seen: Option<Summary>) -> LimitFacts {
        LimitFacts {
            name: "api".into(),
            mode,
            rate: Rate {
                count: 30,
                per: Duration::from_secs(60),
            },
            burst: 29,
            allowed: 90,
            delayed: 0,
            denied: 10,
            would_deny: 10,
            bans: 1,
            seen,
        }
    }

    fn seen(suggestion: Option<Suggestion>) -> Summary {
        let class = |requests| Seen {
            requests,
            refused: requests / 10,
            clients: 7,
        };
        Summary {
            ipv4: class(100),
            ipv6: class(0),
            median: 3,
            p90: 10,
            p99: 21,
            most: 600,
            suggestion,
        }
    }

    #[test]
    fn people_read_sentences() {
        let suggestion = Suggestion {
            per_minute: 27,
            burst: 14,
        };
        let reporting = facts(Mode::Report, Some(seen(Some(suggestion))));
        assert_eq!(
            text(&[facts(Mode::Enforce, None), reporting]),
            "api  30/min, burst 29\n  passed: 90, refused: 10 (10.0 %), bans: 1\n\
             api  30/min, burst 29, only reports\n  \
             100 requests, of which it would have refused 10 (10.0 %)\n  \
             IPv4: 100 requests of about 7 clients, too many: 10 (10.0 %)\n  \
             a client asks in a minute for: half of them at most 3, 90 % 10, 99 % 21, the most 600\n  \
             99 % would pass, with a quarter to spare: rate = \"27/min\", burst = 14\n"
        );
        assert!(text(&[facts(Mode::Report, Some(seen(None)))]).contains("when a whole minute has been seen"));
        assert_eq!(text(&[]), "The file has no rate limits.\n");
    }

    #[test]
    fn programs_read_numbers() {
        let shown = limit(&facts(Mode::Report, Some(seen(None))));
        assert_eq!((&shown["rate"], &shown["would_deny"]), (&json!("30/min"), &json!(10)));
        assert_eq!(
            shown["classes"]["ipv4"],
            json!({ "requests": 100, "would_deny": 10, "clients": 7 })
        );
        assert!(shown["suggestion"].is_null() && shown.get("denied").is_none());
        assert_eq!(limit(&facts(Mode::Enforce, None))["denied"], json!(10));
    }
}
