//! A real Prometheus with the rules that are shipped, which scrapes a gateway.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{path, read};
use crate::support::eventually;
use crate::support::port::free;
use crate::support::{PATIENCE, client};

/// Runs as long as this lives.
pub(super) struct Prometheus {
    address: SocketAddr,
    _child: Child,
    _directory: TempDir,
}

impl Prometheus {
    /// Scrapes this admin listener twice a second.
    pub(super) async fn start(admin: SocketAddr, token: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        // Our own file, as it is shipped, but for the address and how often.
        let config = read("prometheus/prometheus.yml")
            .replace("127.0.0.1:9900", &admin.to_string())
            .replace(
                "scrape_interval: 15s",
                "scrape_interval: 500ms\n    scrape_timeout: 500ms",
            )
            .replace("    # authorization: ", "    authorization: ")
            .replace(
                "    #   credentials_file: /etc/prometheus/gateway.token",
                &format!("      credentials: {token}"),
            );
        assert!(config.contains("credentials: ") && config.contains("scrape_interval: 500ms"));
        std::fs::write(directory.path().join("prometheus.yml"), config).expect("written");
        std::fs::copy(
            path("prometheus/gateway.rules.yml"),
            directory.path().join("gateway.rules.yml"),
        )
        .expect("copied");
        let address = free();
        let child = Command::new("prometheus")
            .arg(format!("--web.listen-address={address}"))
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus: `make setup` installs it");
        let prometheus = Self {
            address,
            _child: child,
            _directory: directory,
        };
        eventually("Prometheus listens", async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        eventually("it scrapes the gateway", async || {
            prometheus.number("sum(up{job=\"gateway\"})").await == Some(1.0)
        })
        .await;
        prometheus
    }

    /// What it answers under `/api/v1`; every answer must be a success.
    pub(super) async fn ask(&self, path: &str) -> Value {
        let request = format!("GET /api/v1/{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        // It listens before it has read its storage.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = client::ask(self.address, &request).await;
            if answer.status == 503 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
            let answer = answer.json();
            assert_eq!(answer["status"], "success", "{path}: {answer}");
            return answer["data"].clone();
        }
    }

    /// The series that an expression gives now.
    pub(super) async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.ask(&format!("query?query={}", encoded(expression))).await;
        data["result"].as_array().expect("a vector").clone()
    }

    /// The one number that an expression gives now.
    pub(super) async fn number(&self, expression: &str) -> Option<f64> {
        let series = self.query(expression).await;
        assert!(series.len() < 2, "{expression}: {series:?}");
        series.first()?["value"][1].as_str()?.parse().ok()
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
