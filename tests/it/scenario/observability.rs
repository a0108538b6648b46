//! What is told about requests: the log, the metrics.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::client;
use crate::support::gateway;
use crate::support::origin::Origin;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_tells_what_happened_and_keeps_secrets() {
    let origin = Origin::fixed("hello").await;
    let gateway = gateway::start(&format!(
        "redact_below = 0\n[upstream.app]\nservers = [\"{}\"]\n[[route]]\nname = \"api\"\npath = \"/api/*\"\nupstream = \"app\"\n",
        origin.address
    )
    .replace("redact_below = 0\n", ""))
    .await;
    let answer = client::get(
        gateway.address,
        "/api/x?firebase_uid=abc&y=1",
        "User-Agent: a \"quoted\" \x01 agent\r\nAuthorization: Bearer secret\r\n",
    )
    .await;
    assert_eq!(answer.status, 400, "a control byte");
    gateway.logged(1).await;
    let answer = client::get(
        gateway.address,
        "/api/x?a=1",
        "User-Agent: a \"quoted\" agent\r\nAuthorization: Bearer secret\r\n",
    )
    .await;
    let line = gateway.logged(2).await;
    for (name, value) in [
        ("route", "api"),
        ("method", "GET"),
        ("host", "site.test"),
        ("path", "/api/x"),
        ("query", "a=1"),
        ("upstream", "app"),
        ("client", "127.0.0.1"),
        ("user_agent", "a \"quoted\" agent"),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!(line["status"], 200);
    assert_eq!(line["attempts"], 1);
    assert_eq!(line["server"], origin.address.to_string());
    assert_eq!(line["request_id"], answer.header("x-request-id").expect("id"));
    assert!(line["duration"].as_f64().expect("seconds") > 0.0);
    assert!(line["upstream_time"].as_f64().expect("seconds") > 0.0);
    assert!(line["bytes_out"].as_u64().expect("bytes") > 5);
    assert!(line["time"].as_str().expect("time").ends_with('Z'));
    assert!(
        !gateway
            .log()
            .await
            .iter()
            .any(|line| line.to_string().contains("secret"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_and_prometheus_accepts_them() {
    let origin = Origin::fixed("hello").await;
    let gateway = gateway::start(&format!(
        "[upstream.app]\nservers = [\"{}\"]\nhealth_check = {{ path = \"/\" }}\n[[route]]\nname = \"api\"\npath = \"/api/*\"\nupstream = \"app\"\n\
         [[route]]\nname = \"metrics\"\npath = \"/metrics\"\nserve = \"metrics\"\n",
        origin.address
    ))
    .await;
    for _ in 0..5 {
        gateway.get("/api/x").await;
    }
    gateway.get("/nothing").await;
    let server = format!("{{server=\"{}\",upstream=\"app\"}}", origin.address);
    crate::support::eventually("all are counted", async || {
        gateway
            .metric("gateway_requests_total{method=\"GET\",route=\"api\",status=\"2xx\"}")
            .await
            == 5.0
            && gateway
                .metric("gateway_requests_total{method=\"GET\",route=\"-\",status=\"4xx\"}")
                .await
                == 1.0
    })
    .await;
    assert_eq!(
        gateway.metric(&format!("gateway_upstream_picks_total{server}")).await,
        5.0
    );
    assert_eq!(
        gateway
            .metric(&format!("gateway_upstream_server_healthy{server}"))
            .await,
        1.0
    );
    let latency = gateway
        .metric(&format!("gateway_upstream_server_latency_seconds{server}"))
        .await;
    assert!(latency > 0.0, "{latency}");
    assert_eq!(
        gateway.metric("gateway_refusals_total{reason=\"not_found\"}").await,
        1.0
    );
    assert_eq!(gateway.metric("gateway_requests_in_flight{route=\"api\"}").await, 0.0);

    let text = gateway.get("/metrics").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: `make setup` installs it (Debian package prometheus)");
    promtool
        .stdin
        .take()
        .expect("stdin")
        .write_all(&text.body)
        .expect("write");
    let checked = promtool.wait_with_output().expect("promtool");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.trim().is_empty(), "{said}");
}
