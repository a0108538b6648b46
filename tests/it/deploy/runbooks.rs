//! What runbooks tell people to type is typed here, against a gateway that runs: every block of `sh`, whole and in order.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use super::root;
use crate::support::origin::{Origin, reply};
use crate::support::port::{Closed, free};
use crate::support::process::{Process, command};

/// A site like the one that runbooks speak of, in a directory of its own.
struct Site {
    directory: TempDir,
    gateway: Process,
    admin: SocketAddr,
    servers: [Origin; 3],
    _redis: Closed,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let (admin, redis) = (free(), Closed::new());
        let server = async |name: &'static str| Origin::start(move |_| reply(200, "", name)).await;
        let servers = [server("one").await, server("blue").await, server("green").await];
        for file in ["localhost.pem", "localhost.key"] {
            std::fs::copy(root().join("config/tls").join(file), directory.path().join(file)).expect("copied");
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gateway"), directory.path().join("gateway")).expect("linked");
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n[admin]\nlisten = \"{admin}\"\n\
             [tls]\nlisten = [\"127.0.0.1:0\"]\n[[certificate]]\ncert = \"localhost.pem\"\nkey = \"localhost.key\"\n\
             [access_log]\npath = \"access.log\"\n[telemetry]\nendpoint = \"http://{}\"\n[redis]\nurl = \"redis://{0}\"\n\
             [rate_limit.api]\nrate = \"1000/s\"\non_store_error = \"local\"\n[cache.api]\ndefault_ttl = \"1s\"\n\
             [upstream.api]\nservers = [\"{}\"]\n[upstream.blue]\nservers = [\"{}\"]\n[upstream.green]\nservers = [\"{}\"]\n\
             [[route]]\nname = \"health\"\npath = \"/health\"\nrespond = {{ body = \"healthy\" }}\n\
             [[route]]\nname = \"api\"\npath = \"/api/deals/*\"\nupstream = \"api\"\nrate_limit = [\"api\"]\ncache = \"api\"\n\
             [[route]]\nname = \"live\"\npath = \"/*\"\nupstream = \"blue\" # this line\n\
             [[route]]\nname = \"preview\"\npath = \"/*\"\nwhen = {{ cookie = {{ preview = \"green\" }} }}\nupstream = \"green\"\n",
            redis.address, servers[0].address, servers[1].address, servers[2].address,
        );
        let file = directory.path().join("gateway.toml");
        // There was a configuration before this one.
        std::fs::write(&file, text.replace("\"1000/s\"", "\"900/s\"")).expect("file");
        let mut gateway = command();
        gateway
            .env("GATEWAY_RUN_DIR", directory.path().join("run"))
            .current_dir(directory.path());
        let gateway = Process::run_as(gateway, &file).await;
        let site = Self {
            directory,
            gateway,
            admin,
            servers,
            _redis: redis,
        };
        std::fs::write(&file, &text).expect("file");
        site.shell("gateway reload").await.expect("the second one is taken");
        // And somebody has just written a third.
        std::fs::write(&file, text.replace("\"1000/s\"", "\"800/s\"")).expect("file");
        site
    }

    /// Runs a script as it stands, but for the addresses. What it said; an error: what went wrong.
    async fn shell(&self, script: &str) -> Result<String, String> {
        let directory = self.directory.path();
        let script = script
            .replace("127.0.0.1:9900", &self.admin.to_string())
            .replace("127.0.0.1:8080", &self.gateway.address.to_string())
            .replace("api-1:5000", &self.servers[0].address.to_string());
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("PATH", format!("{}:{path}", directory.display()))
            .env("GATEWAY_RUN_DIR", directory.join("run"))
            .current_dir(directory)
            .output()
            .await
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(said),
            code => Err(format!("{script}\nended with {code:?}: {said}")),
        }
    }
}

/// The blocks of `sh` of a document, also those within lists.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut inside: Option<String> = None;
    for line in text.lines() {
        let line = line.trim_start();
        match &mut inside {
            Some(block) if line == "```" => {
                blocks.push(std::mem::take(block));
                inside = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == "```sh" => inside = Some(String::new()),
            None => {}
        }
    }
    blocks
}

fn runbooks() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(root().join("docs/runbooks")).expect("runbooks");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runbooks_say_works() {
    let (mut ran, mut wrong) = (0, Vec::new());
    for runbook in runbooks() {
        let text = std::fs::read_to_string(&runbook).expect("a runbook");
        let blocks = blocks(&text);
        if blocks.is_empty() {
            continue;
        }
        let site = Site::new().await;
        for block in blocks {
            ran += 1;
            if let Err(why) = site.shell(&block).await {
                wrong.push(format!("{}: {why}", runbook.display()));
                break; // what follows relies on it
            }
        }
        if runbook.ends_with("blue-green.md") {
            let live = site.shell("curl --fail --silent http://127.0.0.1:8080/").await;
            assert_eq!(live.as_deref(), Ok("blue"), "rolled back");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(ran > 20, "{ran} blocks");
}

/// Whoever reads the list finds every runbook.
#[test]
fn the_list_of_runbooks_is_whole() {
    let list = std::fs::read_to_string(root().join("docs/runbooks/README.md")).expect("the list");
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    for runbook in runbooks() {
        let name = name(&runbook);
        assert!(name == "README.md" || list.contains(&format!("]({name})")), "{name}");
    }
}
