//! Health as JSON, out of plain facts: `/livez` and `/readyz` of the admin listener, and what `serve = "health"` gives.
//!
//! Whether the gateway is ready depends on the gateway alone. Upstreams are shown and do not count: a balancer that took
//! all gateways out because one application is down would turn a fault into an outage.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::runtime::RefusedReload;

/// The most that is shown of what is wrong with a configuration, characters.
const MAX_FAULT: usize = 8 * 1024;

/// A status and a JSON body.
pub type Health = (StatusCode, Value);

/// What is known when someone asks.
#[derive(Debug, Clone)]
pub struct HealthFacts<'a> {
    /// Where the gateway is between start and stop.
    pub phase: Phase,
    /// Since the start.
    pub uptime: Duration,
    /// The version that runs.
    pub version: &'a str,
    /// Number of the configuration in effect.
    pub generation: u64,
    /// The configuration that was not taken since that one took effect.
    pub refused_reload: Option<RefusedReload>,
    /// Resident memory, bytes, where it is known.
    pub resident_memory: Option<u64>,
    /// Upstreams, in file order.
    pub upstreams: Vec<UpstreamFacts<'a>>,
    /// The Redis that limits share; `None`: they share none.
    pub redis: Option<RedisFacts>,
}

/// The Redis that limits share. Whether it answers does not count either: limits go on without it.
#[derive(Debug, Clone)]
pub struct RedisFacts {
    /// Why it cannot be asked; `None`: it can.
    pub degraded: Option<String>,
    /// Gateways that share it.
    pub gateways: u32,
}

/// Where the gateway is between start and stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not every listener is bound yet.
    Starting,
    /// Serving.
    Ready,
    /// Asked to stop; requests in flight are finished.
    Draining,
}

/// An upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its servers, in file order.
    pub servers: Vec<ServerFacts<'a>>,
}

/// A server of an upstream.
#[derive(Debug, Clone)]
pub struct ServerFacts<'a> {
    /// The entry as written in the file.
    pub server: &'a str,
    /// What it resolved to.
    pub address: Option<String>,
    /// Whether it is considered healthy.
    pub healthy: bool,
    /// Why it is not.
    pub reason: Option<String>,
}

/// `/livez`: the process answers.
#[must_use]
pub fn livez() -> Health {
    (StatusCode::OK, json!({ "status": "ok" }))
}

/// `/readyz`: whether requests should be sent here, and the state of every server.
#[must_use]
pub fn readyz(facts: &HealthFacts<'_>) -> Health {
    let mut body = json!({
        "status": facts.phase.word(),
        "generation": facts.generation,
        "upstreams": upstreams(&facts.upstreams, true),
    });
    if let Some(refused) = &facts.refused_reload {
        let why: String = refused.why.chars().take(MAX_FAULT).collect();
        body["refused_reload"] = json!({ "at": timestamp(refused.at), "why": why });
    }
    add_redis(&mut body, facts, true);
    (facts.phase.status(), body)
}

/// `serve = "health"`: the summary under the route's own path, and `live`, `ready` and `detailed` below it. `None`:
/// there is no such page.
///
/// `path` is the request's, as normalised; `base` is what the route's pattern fixes of it: the prefix of `/api/health/*`
/// without its slash, the whole path of an exact or a regular pattern. There the last segment decides, so that
/// `/api/health/live` may be a route of its own.
///
/// A route may be public: only `detailed` shows the servers of an upstream.
#[must_use]
pub fn serve(path: &str, base: &str, facts: &HealthFacts<'_>) -> Option<Health> {
    let below = path.strip_prefix(base)?.trim_matches('/');
    let page = match below {
        "" => base.rsplit('/').next().filter(|last| is_page(last)).unwrap_or_default(),
        below => below,
    };
    Some(match page {
        "" => summary(facts),
        "live" => livez(),
        "ready" => ready(facts),
        "detailed" => detailed(facts),
        _ => return None,
    })
}

fn is_page(segment: &str) -> bool {
    matches!(segment, "live" | "ready" | "detailed")
}

fn summary(facts: &HealthFacts<'_>) -> Health {
    let message = match facts.phase {
        Phase::Starting => "the gateway is starting",
        Phase::Ready => "the gateway is running",
        Phase::Draining => "the gateway is stopping",
    };
    let body = json!({ "status": facts.phase.word(), "message": message });
    (facts.phase.status(), body)
}

/// The same for everybody: how many servers are well, and no more.
#[must_use]
pub fn ready(facts: &HealthFacts<'_>) -> Health {
    let mut body = json!({ "status": facts.phase.word(), "upstreams": upstreams(&facts.upstreams, false) });
    add_redis(&mut body, facts, false);
    (facts.phase.status(), body)
}

fn detailed(facts: &HealthFacts<'_>) -> Health {
    let mut body = json!({
        "status": facts.phase.word(),
        "version": facts.version,
        "uptime_seconds": facts.uptime.as_secs(),
        "generation": facts.generation,
        "memory": { "resident_bytes": facts.resident_memory },
        "upstreams": upstreams(&facts.upstreams, true),
    });
    add_redis(&mut body, facts, true);
    (facts.phase.status(), body)
}

fn timestamp(time: SystemTime) -> Option<String> {
    let time = Timestamp::try_from(time).ok()?;
    Some(format!("{time:.3}"))
}

/// Tells of the Redis, if there is one; the reason names its address.
fn add_redis(body: &mut Value, facts: &HealthFacts<'_>, with_reason: bool) {
    let Some(redis) = &facts.redis else { return };
    let status = if redis.degraded.is_some() { "degraded" } else { "ok" };
    body["redis"] = json!({ "status": status, "gateways": redis.gateways });
    if let (Some(reason), true) = (&redis.degraded, with_reason) {
        body["redis"]["reason"] = reason.as_str().into();
    }
}

fn upstreams(facts: &[UpstreamFacts<'_>], with_servers: bool) -> Value {
    let upstream = |upstream: &UpstreamFacts<'_>| {
        let healthy = upstream.servers.iter().filter(|server| server.healthy).count();
        let mut body = json!({ "healthy": healthy, "total": upstream.servers.len() });
        if with_servers {
            body["servers"] = upstream.servers.iter().map(server).collect();
        }
        (upstream.name.to_owned(), body)
    };
    Value::Object(facts.iter().map(upstream).collect::<Map<_, _>>())
}

fn server(facts: &ServerFacts<'_>) -> Value {
    json!({
        "server": facts.server,
        "address": facts.address,
        "healthy": facts.healthy,
        "reason": facts.reason,
    })
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ok",
            Self::Draining => "draining",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Ready => StatusCode::OK,
            Self::Starting | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(phase: Phase) -> HealthFacts<'static> {
        HealthFacts {
            phase,
            uptime: Duration::from_millis(61_900),
            version: "1.2.3",
            generation: 4,
            refused_reload: None,
            resident_memory: Some(12_345_678),
            upstreams: vec![
                UpstreamFacts {
                    name: "web",
                    servers: vec![ServerFacts {
                        server: "web:3000",
                        address: None,
                        healthy: false,
                        reason: Some("does not resolve".to_owned()),
                    }],
                },
                UpstreamFacts {
                    name: "api",
                    servers: vec![ServerFacts {
                        server: "127.0.0.1:5000",
                        address: Some("127.0.0.1:5000".to_owned()),
                        healthy: true,
                        reason: None,
                    }],
                },
            ],
            redis: None,
        }
    }

    #[test]
    fn a_redis_that_fails_shows_and_does_not_count() {
        let mut facts = facts(Phase::Ready);
        facts.redis = Some(RedisFacts {
            degraded: None,
            gateways: 4,
        });
        let (status, body) = readyz(&facts);
        assert_eq!(
            (status, &body["redis"]),
            (StatusCode::OK, &json!({"status": "ok", "gateways": 4}))
        );
        facts.redis = Some(RedisFacts {
            degraded: Some("10.0.0.1:6379: refused".to_owned()),
            gateways: 4,
        });
        let (status, body) = readyz(&facts);
        let told = json!({"status": "degraded", "gateways": 4, "reason": "10.0.0.1:6379: refused"});
        assert_eq!((status, &body["redis"]), (StatusCode::OK, &told));
        let (status, body) = serve("/h/ready", "/h", &facts).unwrap();
        assert_eq!(
            (status, &body["redis"]["reason"]),
            (StatusCode::OK, &Value::Null),
            "a route may be public"
        );
    }

    #[test]
    fn livez_says_that_the_process_answers() {
        assert_eq!(livez(), (StatusCode::OK, json!({ "status": "ok" })));
    }

    #[test]
    fn readyz_shows_every_server_in_file_order() {
        let (status, body) = readyz(&facts(Phase::Ready));
        assert_eq!(status, StatusCode::OK, "a degraded upstream does not count");
        let expected = concat!(
            r#"{"status":"ok","generation":4,"upstreams":{"#,
            r#""web":{"healthy":0,"total":1,"servers":[{"server":"web:3000","address":null,"healthy":false,"#,
            r#""reason":"does not resolve"}]},"#,
            r#""api":{"healthy":1,"total":1,"servers":[{"server":"127.0.0.1:5000","address":"127.0.0.1:5000","#,
            r#""healthy":true,"reason":null}]}}}"#,
        );
        assert_eq!(body.to_string(), expected);
    }

    #[test]
    fn readyz_says_why_a_reload_was_refused_and_stays_ready() {
        let refused = RefusedReload {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
            why: "error: unknown key".to_owned() + &"x".repeat(2 * MAX_FAULT),
        };
        let facts = HealthFacts {
            refused_reload: Some(refused),
            ..facts(Phase::Ready)
        };
        let (status, body) = readyz(&facts);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["refused_reload"]["at"], "1970-01-01T00:00:01.500Z");
        let why = body["refused_reload"]["why"].as_str().unwrap();
        assert!(why.starts_with("error: unknown key") && why.len() == MAX_FAULT, "{why}");
        let (_, public) = serve("/h/detailed", "/h", &facts).unwrap();
        assert!(!public.to_string().contains("unknown key"));
    }

    #[test]
    fn a_gateway_that_starts_or_stops_is_not_ready() {
        for (phase, word, code) in [
            (Phase::Starting, "starting", 503),
            (Phase::Ready, "ok", 200),
            (Phase::Draining, "draining", 503),
        ] {
            let facts = facts(phase);
            let pages = ["/api/health", "/api/health/ready", "/api/health/detailed"];
            let answers = pages.map(|path| serve(path, "/api/health", &facts).unwrap());
            for (status, body) in answers.into_iter().chain([readyz(&facts)]) {
                assert_eq!((status.as_u16(), &body["status"]), (code, &Value::from(word)), "{body}");
            }
            assert_eq!(serve("/api/health/live", "/api/health", &facts), Some(livez()));
        }
    }

    #[test]
    fn which_page_a_path_is() {
        let facts = facts(Phase::Ready);
        let page = |path, base| -> Option<&str> {
            let (_, body) = serve(path, base, &facts)?;
            Some(match body.as_object().unwrap().keys().nth(1).map(String::as_str) {
                Some("message") => "summary",
                None => "live",
                Some("upstreams") => "ready",
                Some("version") => "detailed",
                Some(other) => panic!("{other}"),
            })
        };
        for (path, base, expected) in [
            ("/api/health", "/api/health", Some("summary")),
            ("/api/health/", "/api/health", Some("summary")),
            ("/api/health/live", "/api/health", Some("live")),
            ("/api/health/ready", "/api/health", Some("ready")),
            ("/api/health/ready/", "/api/health", Some("ready")),
            ("/api/health/detailed", "/api/health", Some("detailed")),
            ("/api/health/live", "/api/health/live", Some("live")),
            ("/status", "/status", Some("summary")),
            ("/live", "", Some("live")),
            ("/", "", Some("summary")),
            ("/api/health/other", "/api/health", None),
            ("/api/health/live/x", "/api/health", None),
            ("/api/health/LIVE", "/api/health", None),
            ("/elsewhere", "/api/health", None),
        ] {
            assert_eq!(page(path, base), expected, "{path} below {base:?}");
        }
    }

    #[test]
    fn detailed_tells_everything_and_ready_no_server() {
        let (_, body) = serve("/h/detailed", "/h", &facts(Phase::Ready)).unwrap();
        assert_eq!(body["version"], "1.2.3");
        assert_eq!(body["uptime_seconds"], 61);
        assert_eq!(body["generation"], 4);
        assert_eq!(body["memory"]["resident_bytes"], 12_345_678);
        assert_eq!(body["upstreams"]["api"]["servers"][0]["server"], "127.0.0.1:5000");

        let (_, body) = serve("/h/ready", "/h", &facts(Phase::Ready)).unwrap();
        assert_eq!(
            body["upstreams"],
            json!({"web": {"healthy": 0, "total": 1}, "api": {"healthy": 1, "total": 1}})
        );
    }
}
