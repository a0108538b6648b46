//! Every metric and label that the rules and the dashboard name is one that a gateway shows, and every query of theirs is
//! one that Prometheus understands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::prometheus::Prometheus;
use super::{read, root};
use crate::support::origin::{Origin, reply};
use crate::support::port::Closed;
use crate::support::redis::Redis;
use crate::support::{client, eventually, gateway};

const TOKEN: &str = "a-token-of-twenty-4-bytes";

/// The families of a page, and the labels that their samples have.
fn families(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut families = BTreeMap::new();
    let label = Regex::new(r#"([a-z_]+)=""#).expect("good");
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let known: &mut BTreeSet<String> = families.entry(name.to_owned()).or_default();
        known.extend(label.captures_iter(labels).map(|label| label[1].to_owned()));
    }
    families
}

/// Every `expr` of the dashboard, and what its variables ask for; in place of variables, what they may be.
fn dashboard() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    match (&**key, value) {
                        ("expr" | "definition", Value::String(text)) => found.push(text.clone()),
                        _ => collect(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(
        &serde_json::from_str(&read("grafana/dashboards/gateway.json")).expect("JSON"),
        &mut found,
    );
    let plain = |text: String| {
        let text = text.replace("$__rate_interval", "5m").replace("$job", "gateway");
        let text = ["$instance", "$route", "$upstream"]
            .iter()
            .fold(text, |text, variable| text.replace(variable, ".*"));
        match text.strip_prefix("label_values(") {
            Some(rest) => {
                let (selector, label) = rest.trim_end_matches(')').rsplit_once(", ").expect("a label");
                format!("count by ({label}) ({selector})")
            }
            None => text,
        }
    };
    found.into_iter().map(plain).collect()
}

/// A gateway that has done everything once that shows in a metric.
async fn seasoned(redis: &Redis, origin: &Origin, closed: &Closed, disk: &Path) -> gateway::Running {
    let certificate = root().join("config/tls/localhost.pem");
    let text = format!(
        "[tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = {certificate:?}\nkey = {:?}\n\
         [telemetry]\nendpoint = \"http://{}\"\n[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n\
         [rate_limit.shared]\nrate = \"1/h\"\nban = {{ after = 2, within = \"1h\", for = \"1s\" }}\n\
         [cache.kept]\ndefault_ttl = \"1h\"\ndisk = {{ path = {disk:?}, size = \"16MB\" }}\n\
         [upstream.app]\nservers = [\"{}\", \"{}\"]\nbalance = \"round-robin\"\nretry = {{ attempts = 2, on = [\"connect\"] }}\n\
         [[route]]\nname = \"app\"\npath = \"/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"kept\"\npath = \"/kept/*\"\nupstream = \"app\"\ncache = \"kept\"\n\
         [[route]]\nname = \"limited\"\npath = \"/limited\"\nrate_limit = [\"shared\"]\nrespond = {{ body = \"x\" }}\n",
        certificate.with_extension("key"),
        closed.address,
        redis.url(),
        origin.address,
        closed.address,
    );
    let gateway = gateway::start_with_admin(&format!("token = \"{TOKEN}\""), &text).await;
    // The last one is refused and then banned: nothing is answered after it.
    for path in [
        "/a", "/b", "/c", "/fails", "/kept/a", "/kept/a", "/limited", "/limited", "/limited",
    ] {
        gateway.get(path).await;
    }
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rules_and_dashboard_name_exists() {
    let (redis, closed) = (Redis::start().await, Closed::new());
    let origin =
        Origin::start(|received| reply(if received.line().contains("fails") { 500 } else { 200 }, "", "x")).await;
    let disk = tempfile::tempdir().expect("directory");
    let gateway = seasoned(&redis, &origin, &closed, disk.path()).await;
    let prometheus = Prometheus::start(gateway.admin, TOKEN).await;

    let groups = prometheus.ask("rules").await;
    let groups = groups["groups"].as_array().expect("groups");
    let rules: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .collect();
    let recorded: BTreeSet<&str> = (rules.iter())
        .filter(|rule| rule["type"] == "recording")
        .filter_map(|rule| rule["name"].as_str())
        .collect();
    let mut queries = dashboard();
    queries.extend(
        rules
            .iter()
            .filter_map(|rule| rule["query"].as_str())
            .map(str::to_owned),
    );
    assert!(queries.len() > 90, "{}", queries.len());

    let page = client::ask(
        gateway.admin,
        format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            gateway.admin
        ),
    )
    .await;
    let shown = families(page.text());
    // The job and the instance are Prometheus' own.
    let selector = Regex::new(r"([a-z_][a-z0-9_]*(?::[a-z0-9_:]+)?)\s*(?:\{([^}]*)\})?").expect("good");
    let matcher = Regex::new(r#"([a-z_]+)\s*(?:=~|!=|!~|=)\s*""#).expect("good");
    let mut wrong = BTreeSet::new();
    for query in &queries {
        prometheus.query(query).await;
        for found in selector.captures_iter(query) {
            let name = &found[1];
            if name.contains(':') {
                if !recorded.contains(name) {
                    wrong.insert(format!("{name}: no rule records it"));
                }
            } else if name.starts_with("gateway_") || name.starts_with("process_") {
                let Some(labels) = shown.get(name) else {
                    wrong.insert(format!("{name}: the gateway does not show it"));
                    continue;
                };
                let asked = found.get(2).map_or("", |labels| labels.as_str());
                for label in matcher.captures_iter(asked).map(|label| label[1].to_owned()) {
                    if !labels.contains(&label) && label != "job" && label != "instance" {
                        wrong.insert(format!("{name}: it has no label {label}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", page.text());

    // And they find what happened.
    eventually("the rules' own queries see the requests", async || {
        prometheus
            .number("sum(gateway_requests_total{route=\"app\",status=\"5xx\"})")
            .await
            == Some(1.0)
    })
    .await;
}
