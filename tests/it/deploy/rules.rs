//! The rules by Prometheus' own tool, and what people rely on in them.

use std::process::Command;

use super::{path, read, root};

fn promtool(arguments: &[&str]) -> String {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(path("prometheus"))
        .output()
        .expect("promtool: `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

/// The name of every alert, and its lines.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let alerts = rules.split("- alert: ").skip(1);
    alerts.map(|alert| alert.split_once('\n').expect("a name")).collect()
}

#[test]
fn prometheus_takes_rules_and_configuration() {
    promtool(&["check", "rules", "gateway.rules.yml"]);
    promtool(&["check", "config", "prometheus.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    promtool(&["test", "rules", "gateway.tests.yml"]);
    let (rules, tests) = (
        read("prometheus/gateway.rules.yml"),
        read("prometheus/gateway.tests.yml"),
    );
    let alerts = alerts(&rules);
    assert!(alerts.len() > 20, "{alerts:?}");
    for (name, _) in alerts {
        let asked = format!("count(ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}) or vector(0)");
        let expected: Vec<&str> = (tests.split(&asked).skip(1))
            .filter_map(|case| case.split_once("value: ")?.1.lines().next())
            .collect();
        assert!(
            expected.contains(&"0") && expected.contains(&"1"),
            "{name} is not tested both ways: {expected:?}"
        );
    }
}

/// Whoever is woken up is told what to do, in a file that is there.
#[test]
fn every_alert_has_a_runbook() {
    let rules = read("prometheus/gateway.rules.yml");
    for (name, text) in alerts(&rules) {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{name} has no {key}")).trim()
        };
        let severity = value("labels:");
        assert!(
            ["{ severity: page }", "{ severity: ticket }"].contains(&severity),
            "{name}"
        );
        value("summary:");
        value("description:");
        let runbook = value("runbook:");
        let text = std::fs::read_to_string(root().join(runbook)).unwrap_or_default();
        assert!(text.contains(name), "{name}: {runbook} does not say what to do");
    }
}
