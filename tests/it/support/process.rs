//! The binary as a process: signals, exit codes, output.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::PATIENCE;

/// The binary under test.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .env_remove("GATEWAY_LOG");
    command
}

/// Whether a process has ended, be it that nobody has taken note yet. The last of its threads has its sockets: the first
/// one may have gone before.
pub(crate) fn has_ended(pid: Pid) -> bool {
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    let threads = std::fs::read_dir(format!("{place}/task")).map_or(0, Iterator::count);
    let stat = std::fs::read_to_string(format!("{place}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z ") && threads < 2)
}

/// What a command says to the gateway of [`Process::run_in`].
pub(crate) async fn command_in(directory: &Path, arguments: &[&str]) -> Output {
    command()
        .env("GATEWAY_RUN_DIR", directory.join("run"))
        .args(arguments)
        .arg("-c")
        .arg(directory.join("gateway.toml"))
        .output()
        .await
        .expect("the binary")
}

/// A gateway that serves, as a process.
pub(crate) struct Process {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    pub(crate) address: SocketAddr,
    /// The admin listener, where it is on.
    pub(crate) admin: Option<SocketAddr>,
}

impl Process {
    /// Runs this file and waits until it serves.
    pub(crate) async fn run(file: &Path) -> Self {
        Self::run_as(command(), file).await
    }

    /// Runs `gateway.toml` of this directory, with a run directory beside it.
    pub(crate) async fn run_in(directory: &Path) -> Self {
        let mut command = command();
        command.env("GATEWAY_RUN_DIR", directory.join("run"));
        Self::run_as(command, &directory.join("gateway.toml")).await
    }

    /// As [`Process::run`], with what the command brings along.
    pub(crate) async fn run_as(mut command: Command, file: &Path) -> Self {
        let mut child = command
            .args(["run", "-c"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let mut said = String::new();
        let (address, admin) = loop {
            let line = timeout(PATIENCE, stderr.next_line())
                .await
                .expect("in time")
                .expect("text")
                .unwrap_or_else(|| panic!("it does not serve: {said}"));
            said += &line;
            said.push('\n');
            if let Some((_, rest)) = line.split_once(" serves on http://") {
                let end = rest.find([' ', ',']).expect("an address");
                let admin = rest.split_once("admin on ").expect("where operators come");
                let admin = admin
                    .1
                    .split_once("://")
                    .filter(|(scheme, _)| scheme.starts_with("http"));
                let admin = admin.map(|(_, address)| address.trim().parse().expect("an address"));
                break (rest[..end].parse().expect("an address"), admin);
            }
        };
        Self {
            child,
            stderr,
            address,
            admin,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("running")).expect("id");
        kill_process(Pid::from_raw(id).expect("id"), signal).expect("signal");
    }

    /// Its memory, KiB.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id().expect("running"));
        let status = std::fs::read_to_string(status).expect("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("size").parse().expect("number")
    }

    /// From now on it can open so many descriptors more.
    pub(crate) fn leave_descriptors(&self, more: u64) {
        let id = i32::try_from(self.child.id().expect("running")).expect("id");
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("descriptors");
        let mut open: Vec<u64> = open
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        open.sort_unstable();
        let taken_below = |limit| open.iter().filter(|&&fd| fd < limit).count() as u64;
        let limit = (more..).find(|&limit| limit - taken_below(limit) == more);
        let limit = Rlimit {
            current: limit,
            maximum: limit,
        };
        prlimit(Pid::from_raw(id), Resource::Nofile, limit).expect("a limit");
    }

    /// SIGSTOP; returns when every thread has stopped.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id().expect("running"));
        super::eventually("it has stopped", async || {
            std::fs::read_dir(&tasks).expect("threads").flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
            })
        })
        .await;
    }

    /// Waits for the end. What it said is not to be had: the process that has taken over holds its standard error, too.
    pub(crate) async fn replaced(mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await;
        status.expect("it ends in time").expect("status")
    }

    /// Waits for the end; returns how it ended, and what it said meanwhile.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .expect("it ends in time")
            .expect("status");
        let mut said = String::new();
        while let Ok(Some(line)) = self.stderr.next_line().await {
            said.push_str(&line);
            said.push('\n');
        }
        (status, said)
    }
}
