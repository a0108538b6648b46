//! A gateway in this process, on free ports.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use deals247_gateway::config::model::LogTarget;
use deals247_gateway::config::{self, Config};
use deals247_gateway::gateway::{Gateway, StartError};
use deals247_gateway::runtime::Registry;
use tempfile::TempDir;

use super::client;

/// A running gateway, its log in a directory of its own.
pub(crate) struct Running {
    /// Of the clear-text listener; that of the TLS listener where there is no other.
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) gateway: Gateway,
    directory: TempDir,
}

/// Starts a gateway. The text needs no `[server] listen`, `[admin]` or `[access_log]`: further lines of the `[server]`
/// table may be given first, before the first table.
pub(crate) async fn start(text: &str) -> Running {
    start_with_admin("", text).await
}

/// The same with further lines of the `[admin]` table.
pub(crate) async fn start_with_admin(admin: &str, text: &str) -> Running {
    let directory = tempfile::tempdir().expect("directory");
    run(
        parse(&whole(admin, text, directory.path()), directory.path()),
        directory,
    )
    .await
}

/// The file of which [`start`] is given the part that matters.
fn whole(admin: &str, text: &str, directory: &Path) -> String {
    let tables = if text.starts_with('[') {
        0
    } else {
        text.find("\n[").expect("a table")
    };
    let (server, rest) = text.split_at(tables);
    let listen = if server.contains("listen = ") {
        ""
    } else {
        "listen = [\"127.0.0.1:0\"]\n"
    };
    format!(
        "[server]\n{listen}threads = 2\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n{admin}\n\
         [access_log]\npath = {:?}\n{rest}",
        directory.join("access.log")
    )
}

/// Starts a gateway from a whole file; its log goes where [`Running::log`] finds it.
pub(crate) async fn start_whole(text: &str) -> Running {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = parse(text, directory.path());
    if let Some(log) = &mut config.access_log {
        log.target = LogTarget::File(directory.path().join("access.log"));
    }
    run(config, directory).await
}

async fn run(config: Config, directory: TempDir) -> Running {
    let gateway = Gateway::start(config, Registry::new()).await.expect("a gateway");
    Running {
        address: gateway
            .addresses()
            .into_iter()
            .chain(gateway.tls_addresses())
            .next()
            .expect("a listener"),
        admin: gateway.admin_address().expect("admin"),
        gateway,
        directory,
    }
}

/// Whether the scenarios run in the fast lane, where they can.
pub(crate) fn fast_lane() -> bool {
    std::env::var_os("GATEWAY_TEST_LANE").is_none_or(|lane| lane != "pingora")
}

/// Reads a configuration that must be good.
pub(crate) fn parse(text: &str, directory: &Path) -> Config {
    match config::parse("test.toml", text, directory, &|_| None) {
        Ok(loaded) => {
            let mut config = loaded.config;
            // Every scenario holds in both lanes: `GATEWAY_TEST_LANE=pingora` runs them in Pingora's.
            config.server.fast_lane &= fast_lane();
            config
        }
        Err(report) => panic!("{}", report.render_text(false)),
    }
}

impl Running {
    /// Puts another text, as [`start`] takes it, into force.
    pub(crate) async fn reload(&self, text: &str) -> Result<u64, StartError> {
        self.reload_as(text, |_| {}).await
    }

    /// As [`Running::reload`], with something about it changed.
    pub(crate) async fn reload_as(&self, text: &str, change: impl FnOnce(&mut Config)) -> Result<u64, StartError> {
        let text = whole("", text, self.directory.path());
        let mut config = parse(&text, self.directory.path());
        change(&mut config);
        self.gateway.reload(config).await
    }

    pub(crate) async fn get(&self, path: &str) -> client::Response {
        client::get(self.address, path, "").await
    }

    /// The running gateway, for what is asked of it without a socket.
    pub(crate) fn live(&self) -> std::sync::Arc<deals247_gateway::runtime::Live> {
        std::sync::Arc::clone(&self.gateway.live)
    }

    pub(crate) async fn connect(&self) -> client::Connection {
        client::Connection::open(self.address).await
    }

    /// Of the TLS listener.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.gateway.tls_addresses()[0]
    }

    /// Takes changed certificates into use now, not in a second.
    pub(crate) async fn look_at_certificates(&self) {
        let tls = self.gateway.live.peek().tls.clone().expect("TLS");
        tokio::task::spawn_blocking(move || tls.look()).await.expect("looked");
    }

    /// Every line of the access log so far.
    pub(crate) async fn log(&self) -> Vec<serde_json::Value> {
        let registry = std::sync::Arc::clone(&self.gateway.live.registry);
        tokio::task::spawn_blocking(move || registry.flush_logs())
            .await
            .expect("flush");
        let text = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// The last line of the log, once there are `count`.
    pub(crate) async fn logged(&self, count: usize) -> serde_json::Value {
        // A line is written after the answer: the client may be faster.
        super::eventually("the log has its lines", async || self.log().await.len() >= count).await;
        let lines = self.log().await;
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines[count - 1].clone()
    }

    /// The value of a metric with these labels, as it stands in the text; 0 where it is not there.
    pub(crate) async fn metric(&self, name_and_labels: &str) -> f64 {
        let text = client::admin(self.admin, "/metrics").await;
        assert_eq!(text.status, 200);
        let line = text
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name_and_labels)?.strip_prefix(' '))
            .map(str::to_owned);
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    pub(crate) async fn drain(self, deadline: Option<Duration>) -> deals247_gateway::gateway::Drained {
        self.gateway.drain(deadline).await
    }
}
