//! The page as it is read, and as the documentation says it is.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::proto::MetricType;

use super::*;

/// Metrics of which every family has a sample.
fn touched() -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.telemetry().sent(1);
    metrics
        .route("api")
        .record(&Method::GET, StatusCode::OK, Duration::from_millis(3), 10, 20);
    metrics.upstream("api").answered(Duration::from_millis(2));
    metrics.server("api", "127.0.0.1:5000").picked();
    metrics.limit("api").decided(LimitVerdict::Allowed);
    metrics.sources("api").decided(DecisionSource::Lease);
    metrics.store().failed("timeout");
    drop(metrics.cache("api"));
    let report = crate::cache::Report {
        held: Some(crate::cache::Held::default()),
        ..crate::cache::Report::default()
    };
    metrics.show_tiers([("api", "disk", report)].into_iter());
    metrics.refusals.count(0, || "no_server");
    metrics.tls().certificate("site.pem").loaded(1_800_000_000);
    metrics.acme().next(1_800_000_000);
    metrics.config_loaded(1, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics
}

/// Type and labels by name, as the page of the documentation says.
fn documented() -> BTreeMap<String, (String, Vec<String>)> {
    include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let mut labels: Vec<String> = cells[2]
                .split(',')
                .map(|label| label.trim().trim_matches('`').to_owned())
                .filter(|label| !label.is_empty())
                .collect();
            labels.sort();
            (cells[0].to_owned(), (cells[1].to_owned(), labels))
        })
        .collect()
}

#[test]
fn every_metric_is_documented_as_it_is() {
    let mut shown = BTreeMap::new();
    for family in touched().registry.gather() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            other => panic!("{other:?}"),
        };
        let labels = family.get_metric()[0].get_label().iter().map(|l| l.name().to_owned());
        shown.insert(family.name().to_owned(), (kind.to_owned(), labels.collect()));
    }
    assert_eq!(shown, documented());
}

#[test]
fn the_page_has_help_type_and_samples() {
    let page = touched().render();
    for line in [
        "# TYPE gateway_requests_total counter",
        "gateway_requests_total{method=\"GET\",route=\"api\",status=\"2xx\"} 1",
        "gateway_request_bytes_total{route=\"api\"} 10",
        "gateway_response_bytes_total{route=\"api\"} 20",
        "gateway_request_duration_seconds_bucket{route=\"api\",le=\"0.0025\"} 0",
        "gateway_request_duration_seconds_bucket{route=\"api\",le=\"0.005\"} 1",
        "gateway_request_duration_seconds_bucket{route=\"api\",le=\"+Inf\"} 1",
        "gateway_upstream_picks_total{server=\"127.0.0.1:5000\",upstream=\"api\"} 1",
        "gateway_refusals_total{reason=\"no_server\"} 1",
        "gateway_config_generation 1",
        "gateway_config_last_reload_success 1",
        "gateway_config_last_reload_timestamp_seconds 1700000000",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
    for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert_eq!(line.ends_with(" counter"), name.ends_with("_total"), "{line}");
    }
}

#[test]
fn handles_of_one_name_count_together() {
    let metrics = Metrics::new();
    for _ in 0..2 {
        metrics.upstream("api").retried();
        metrics.server("api", "a:1").connected(true);
    }
    let page = metrics.render();
    assert!(
        page.contains("gateway_upstream_retries_total{upstream=\"api\"} 2\n"),
        "{page}"
    );
    let reused = "gateway_upstream_connections_total{reused=\"true\",server=\"a:1\",upstream=\"api\"} 2\n";
    assert!(page.contains(reused), "{page}");
}

#[test]
fn names_that_read_alike_when_joined_are_kept_apart() {
    let metrics = Metrics::new();
    metrics.server("api", "1web:80").picked();
    let _ = metrics.server("api1", "web:80");
    let page = metrics.render();
    assert!(page.contains("gateway_upstream_picks_total{server=\"1web:80\",upstream=\"api\"} 1\n"));
    assert!(page.contains("gateway_upstream_picks_total{server=\"web:80\",upstream=\"api1\"} 0\n"));
}

#[test]
fn a_forgotten_server_is_gone_and_may_come_back_from_zero() {
    let metrics = Metrics::new();
    let held = metrics.server("api", "a:1");
    held.picked();
    let guard = held.in_flight();
    metrics.server("api", "b:1").picked();
    metrics.retain_servers("api", |server| server != "a:1");
    metrics.retain_servers("web", |_| false);
    let page = metrics.render();
    assert!(!page.contains("a:1"), "{page}");
    assert!(page.contains("b:1"), "{page}");

    let _ = metrics.server("api", "a:1");
    drop(guard);
    let page = metrics.render();
    for sample in [
        "gateway_upstream_picks_total{server=\"a:1\",upstream=\"api\"} 0\n",
        "gateway_upstream_in_flight{server=\"a:1\",upstream=\"api\"} 0\n",
    ] {
        assert!(page.contains(sample), "{sample}{page}");
    }
}

#[test]
fn what_is_not_retained_is_gone_and_what_it_still_counts_is_not_shown() {
    let metrics = touched();
    let held = metrics.route("api");
    let _ = metrics.route(UNROUTED);
    metrics.retain(|_| false, |_| false, |_| false);
    held.record(&Method::GET, StatusCode::OK, Duration::ZERO, 1, 1);
    held.record(&Method::PUT, StatusCode::OK, Duration::ZERO, 1, 1);
    let page = metrics.render();
    for gone in ["route=\"api\"", "gateway_upstream_retries_total{", "policy=\"api\""] {
        assert!(!page.contains(gone), "{gone}\n{page}");
    }
    assert!(page.contains("route=\"-\""));
    metrics
        .route("api")
        .record(&Method::PUT, StatusCode::OK, Duration::ZERO, 0, 0);
    let back = "gateway_requests_total{method=\"PUT\",route=\"api\",status=\"2xx\"} 1\n";
    assert!(metrics.render().contains(back));
}

#[test]
fn a_file_of_servers_cannot_fill_the_page() {
    let metrics = Metrics::new();
    let names: Vec<String> = (0..SERVERS_MAX + 9)
        .map(|number| format!("server-{number}:80"))
        .collect();
    for name in &names {
        metrics.server("api", name).picked();
    }
    metrics.server("web", "one:80").picked();
    metrics.show_servers("api", names.iter().map(|name| (name.as_str(), "healthy", None)));
    let page = metrics.render();
    let shown = page
        .lines()
        .filter(|line| line.starts_with("gateway_upstream_picks_total{"));
    assert_eq!(shown.count(), SERVERS_MAX + 2);
    for sample in [
        "gateway_upstream_picks_total{server=\"others\",upstream=\"api\"} 9\n",
        "gateway_upstream_server_state{server=\"others\",state=\"healthy\",upstream=\"api\"} 9\n",
        "gateway_upstream_server_state{server=\"server-0:80\",state=\"healthy\",upstream=\"api\"} 1\n",
        "gateway_upstream_server_state{server=\"server-0:80\",state=\"ejected\",upstream=\"api\"} 0\n",
    ] {
        assert!(page.contains(sample), "{sample}{page}");
    }
}

#[test]
fn a_failed_reload_shows_and_keeps_the_generation() {
    let metrics = Metrics::new();
    metrics.config_loaded(7, UNIX_EPOCH + Duration::from_secs(5));
    metrics.reload_failed(UNIX_EPOCH + Duration::from_secs(9));
    let page = metrics.render();
    assert!(page.contains("gateway_config_generation 7\n"));
    assert!(page.contains("gateway_config_last_reload_success 0\n"));
    assert!(page.contains("gateway_config_last_reload_timestamp_seconds 9\n"));
}

#[test]
fn a_name_cannot_break_out_of_its_label() {
    let metrics = Metrics::new();
    let _ = metrics.upstream("a\"} 1\nevil{x=\"\\");
    let page = metrics.render();
    assert!(page.contains(r#"{upstream="a\"} 1\nevil{x=\"\\"} 0"#), "{page}");
    assert!(!page.lines().any(|line| line.starts_with("evil")));
}
