//! Killed at whatever moment, a gateway leaves nothing behind that stops the next start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::client::{self, Connection};
use crate::support::eventually;
use crate::support::origin::{Origin, reply};
use crate::support::port::free;
use crate::support::process::{Process, command, has_ended};

const ROUNDS: usize = 30;
/// Another one is another sequence of moments.
const SEED: &str = "GATEWAY_TEST_SEED";

/// A gateway with everything that it keeps in files: its socket, its history, its logs, a cache on disk.
struct Site {
    directory: TempDir,
    origin: Origin,
    address: SocketAddr,
}

/// What is under way when the kill comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Start,
    Reload,
    Upgrade(Victims),
}

/// Who is killed during an upgrade.
#[derive(Debug, Clone, Copy)]
enum Victims {
    Old,
    New,
    Both,
}

impl Site {
    async fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().expect("directory"),
            origin: Origin::start(|_| reply(200, "Cache-Control: max-age=600\r\n", "hello")).await,
            address: free(),
        };
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a certificate");
        std::fs::write(site.place("cert.pem"), made.cert.pem()).expect("file");
        std::fs::write(site.place("key.pem"), made.signing_key.serialize_pem()).expect("file");
        site.write(0);
        site
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.place("gateway.toml")
    }

    fn write(&self, round: usize) {
        let rotate = "rotate = { size = \"1KB\", keep = 3 }";
        let text = format!(
            "[server]\nlisten = [\"{}\"]\nstate_dir = \"state\"\nmax_body = \"{}KB\"\nshutdown_timeout = \"2s\"\n\
             [tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
             [admin]\nlisten = \"unix:{}\"\naudit_log = {{ path = \"audit.log\", {rotate} }}\n\
             [log]\npath = \"all.log\"\n{rotate}\n[access_log]\npath = \"access.log\"\n{rotate}\n\
             [cache.pages]\ndisk = {{ path = \"cache\", size = \"32MB\" }}\n\
             [upstream.app]\nservers = [\"{}\"]\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"pages\"\n",
            self.address,
            100 + round,
            self.place("admin.sock").display(),
            self.origin.address,
        );
        std::fs::write(self.file(), text).expect("file");
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = command();
        command
            .env("GATEWAY_RUN_DIR", self.place("run"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    async fn gateway(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(arguments).arg("-c").arg(self.file());
        command.output().await.expect("the binary")
    }

    async fn start(&self) -> Process {
        Process::run_as(self.command(), &self.file()).await
    }

    /// Sees that what has started is whole.
    async fn is_whole(&self, round: usize, why: &str) {
        for path in ["/", &format!("/{round}")] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
            assert_eq!(client::ask(self.address, request).await.text(), "hello", "{why}");
        }
        for order in ["health", "history", "reload"] {
            let output = self.gateway(&[order]).await;
            assert_eq!(output.status.code(), Some(0), "{order}, {why}: {output:?}");
        }
    }

    /// The processes that serve the file, the oldest first.
    fn processes(&self) -> Vec<Pid> {
        let (file, run) = (self.file(), b"\0run\0".as_slice());
        let file = file.as_os_str().as_encoded_bytes();
        let has = |line: &[u8], part: &[u8]| line.windows(part.len()).any(|window| window == part);
        let entries = std::fs::read_dir("/proc").expect("processes").flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mut found: Vec<(u64, Pid)> = numbers
            .filter_map(|pid| {
                let place = Path::new("/proc").join(pid.to_string());
                // That of a process that has ended is empty.
                let line = std::fs::read(place.join("cmdline")).ok()?;
                let stat = std::fs::read_to_string(place.join("stat")).ok()?;
                let started = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
                (has(&line, file) && has(&line, run)).then_some((started, Pid::from_raw(pid)?))
            })
            .collect();
        found.sort_unstable_by_key(|&(started, pid)| (started, pid.as_raw_nonzero()));
        found.into_iter().map(|(_, pid)| pid).collect()
    }

    async fn kill(&self, victims: &[Pid]) {
        for &victim in victims {
            let _ = kill_process(victim, Signal::KILL);
        }
        eventually("the killed are gone", async || victims.iter().copied().all(has_ended)).await;
    }

    /// Lets something happen to the process, or to none, and kills it in the midst of that.
    async fn strike(&self, moment: Moment, after: Duration) {
        let spawn = |arguments: &[&str]| {
            let mut command = self.command();
            command.args(arguments).arg("-c").arg(self.file());
            command.spawn().expect("the binary")
        };
        let doing = match moment {
            Moment::Start => spawn(&["run"]),
            Moment::Reload => spawn(&["reload"]),
            Moment::Upgrade(_) => spawn(&["upgrade"]),
        };
        tokio::time::sleep(after).await;
        let processes = self.processes();
        let victims = match (moment, processes.as_slice()) {
            (Moment::Upgrade(Victims::Old), [old, ..]) => &[*old],
            (Moment::Upgrade(Victims::New), [.., new]) => &[*new],
            _ => &processes[..],
        };
        self.kill(victims).await;
        // A command whose gateway is gone ends by itself.
        if !matches!(moment, Moment::Start) {
            drop(doing.wait_with_output().await);
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for process in self.processes() {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_a_random_moment_stops_no_start() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = fastrand::Rng::with_seed(seed);
    let site = Site::new().await;
    let begun = Instant::now();
    let mut process = site.start().await;
    // About how long things take here: the moments lie within, and a little behind.
    let whole = begun.elapsed().mul_f64(1.5);
    site.is_whole(0, "the first start").await;
    for round in 1..=ROUNDS {
        let moment = match dice.u8(0..5) {
            0 | 1 => Moment::Start,
            2 => Moment::Reload,
            _ => Moment::Upgrade(dice.choice([Victims::Old, Victims::New, Victims::Both]).expect("one")),
        };
        let after = whole.mul_f64(dice.f64());
        let why = format!("{SEED}={seed}, round {round}: {moment:?} killed after {after:?}");
        if matches!(moment, Moment::Start) {
            site.kill(&site.processes()).await;
        }
        site.write(round);
        site.strike(moment, after).await;
        // Whoever is left serves, if not yet then in a moment.
        if !site.processes().is_empty() {
            eventually(&format!("who is left serves, {why}"), async || {
                site.processes().is_empty() || site.gateway(&["health"]).await.status.code() == Some(0)
            })
            .await;
            let left = site.processes();
            if let [serving] = left.as_slice() {
                assert!(process_answers(site.address).await, "{why}, {serving:?}");
            }
            site.kill(&left).await;
        }
        drop(process);
        process = site.start().await;
        site.is_whole(round, &why).await;
    }
    process.signal(Signal::TERM);
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

async fn process_answers(address: SocketAddr) -> bool {
    let mut connection = Connection::open(address).await;
    connection.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.status == 200
}
