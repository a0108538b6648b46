//! A Redis of our own: started on a free port with a directory of its own, and made to fail in every way there is.

use std::process::Stdio;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, RedisResult, Value};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{PATIENCE, eventually, port};

/// A running Redis, or one that was killed.
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Child,
    directory: TempDir,
    options: Vec<String>,
    /// What stands before the `@` of its URL.
    login: String,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        Self::start_with("", &[]).await
    }

    /// With these options of the command line, and this login (`user:password@` or nothing) for our own commands.
    pub(crate) async fn start_with(login: &str, options: &[&str]) -> Self {
        for _ in 0..10 {
            let directory = tempfile::tempdir().expect("directory");
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let port = port::free().port();
            let mut redis = Self {
                port,
                child: spawn(port, &directory, &options),
                directory,
                options,
                login: login.to_owned(),
            };
            if redis.answers().await {
                return redis;
            } // somebody else took the port
        }
        panic!("redis-server does not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, after it was killed, on its port and without its data.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.options);
        assert!(self.answers().await, "it does not start again");
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGSTOP: it holds its connections, and the kernel accepts more.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("running")).expect("id");
        kill_process(Pid::from_raw(id).expect("id"), signal).expect("signal");
    }

    /// Whether it answers before it ends; waits until one of the two.
    async fn answers(&mut self) -> bool {
        loop {
            if self.child.try_wait().expect("status").is_some() {
                return false;
            }
            let answer = self.try_ask::<Value>(&["PING"]).await;
            match answer {
                Ok(_) => return true,
                Err(error) if error.code().is_some_and(|code| code != "LOADING") => return true,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    }

    /// Runs a command on a connection of its own.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        match self.try_ask(command).await {
            Ok(value) => value,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    pub(crate) async fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let mut connection = self.connect().await?;
        let mut call = redis::cmd(command[0]);
        call.arg(&command[1..]);
        call.query_async(&mut connection).await
    }

    /// Sets a value of bytes.
    pub(crate) async fn put(&self, key: &str, value: &[u8]) {
        let mut connection = self.connect().await.expect("redis");
        let set: RedisResult<()> = redis::cmd("SET").arg(key).arg(value).query_async(&mut connection).await;
        set.expect("set");
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://{}127.0.0.1:{}", self.login, self.port))?;
        // By itself the library waits for half a second: a busy machine may take longer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// How often scripts were called since the last `CONFIG RESETSTAT`.
    pub(crate) async fn script_calls(&self) -> u64 {
        let text: String = self.ask(&["INFO", "commandstats"]).await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let count = line.and_then(|line| line.split(',').next());
        count.map_or(0, |count| count.parse().expect("a count"))
    }

    /// Connections that are open, without the one that asks.
    pub(crate) async fn connections(&self) -> usize {
        let text: String = self.ask(&["CLIENT", "LIST"]).await;
        text.lines().filter(|line| !line.contains("cmd=client|list")).count()
    }

    /// Waits until so many gateways say that they live.
    pub(crate) async fn knows_gateways(&self, count: usize) {
        eventually("the gateways know each other", async || {
            self.ask::<usize>(&["ZCARD", "gw:gateways"]).await == count
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.thaw(); // a stopped process dies later than its directory
        }
    }
}

/// As a sentinel if the first option is `--sentinel`; the others are lines of its file then.
fn spawn(port: u16, directory: &TempDir, options: &[String]) -> Child {
    // Another server that speaks the same: `make test-valkey`.
    let program = std::env::var_os("GATEWAY_TEST_REDIS").unwrap_or_else(|| "redis-server".into());
    let mut command = Command::new(program);
    if let Some((_, lines)) = options.split_first().filter(|(first, _)| *first == "--sentinel") {
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n{}\n",
            directory.path().display(),
            lines.join("\n")
        );
        std::fs::write(&file, text).expect("file");
        command.arg(file).arg("--sentinel");
    } else {
        command
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--enable-debug-command", "yes", "--dir"])
            .arg(directory.path())
            .args(options);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server: `make setup` installs it")
}
