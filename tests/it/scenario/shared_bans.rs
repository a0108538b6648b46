//! Bans that gateways share: processes and real servers.

use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use super::store_kinds::{cluster, urls};
use crate::support::client::{self, Response};
use crate::support::eventually;
use crate::support::port;
use crate::support::process::{Process, command};
use crate::support::redis::Redis;

const LIMIT: &str = "rate = \"1/d\"\nban = { after = 2, within = \"1h\", for = \"10min\" }";

/// Gateways that are processes and have one file.
struct Fleet {
    directory: TempDir,
    gateways: Vec<Process>,
}

impl Fleet {
    async fn start(count: usize, redis: &str, limit: &str) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[access_log]\nenabled = false\n[redis]\ntimeout = \"2s\"\n{redis}\n\
             [rate_limit.api]\n{limit}\n[[route]]\nname = \"free\"\npath = \"/free\"\nrate_limit = []\nrespond = {{}}\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nrate_limit = [\"api\"]\nrespond = {{}}\n"
        );
        std::fs::write(directory.path().join("gateway.toml"), text).expect("file");
        let mut fleet = Self {
            directory,
            gateways: Vec::new(),
        };
        for _ in 0..count {
            fleet.add().await;
        }
        fleet
    }

    async fn add(&mut self) {
        let file: PathBuf = self.directory.path().join("gateway.toml");
        self.gateways.push(Process::run_as(command(), &file).await);
    }

    async fn ask(&self, at: usize, client: &str, path: &str) -> Response {
        client::get(
            self.gateways[at].address,
            path,
            &format!("X-Forwarded-For: {client}\r\n"),
        )
        .await
    }

    async fn is_banned(&self, at: usize, client: &str) -> bool {
        let answer = self.ask(at, client, "/free").await;
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
        answer.status == 429
    }

    /// Has a client banned by this one.
    async fn ban(&self, at: usize, client: &str) {
        eventually("it is banned", async || {
            self.ask(at, client, "/x").await;
            self.is_banned(at, client).await
        })
        .await;
    }

    /// Waits until each of them says the same of a client.
    async fn agree(&self, client: &str, banned: bool) {
        for at in 0..self.gateways.len() {
            eventually("all gateways agree", async || {
                self.is_banned(at, client).await == banned
            })
            .await;
        }
    }

    async fn operate(&self, at: usize, arguments: &[&str]) -> String {
        let admin = self.gateways[at].admin.expect("an admin listener").to_string();
        let mut command = command();
        command.arg("limits").args(arguments).args(["--admin", &admin]);
        let told = command.output().await.expect("the binary");
        String::from_utf8(told.stdout).expect("text")
    }
}

fn single(redis: &Redis) -> String {
    format!("url = \"{}\"", redis.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_holds_everywhere_survives_a_restart_and_is_lifted_everywhere() {
    let redis = Redis::start().await;
    let mut fleet = Fleet::start(2, &single(&redis), LIMIT).await;
    redis.knows_gateways(2).await;
    fleet.ban(0, "192.0.2.1").await;
    fleet.ban(1, "2001:db8:0:1::1").await;
    fleet.agree("192.0.2.1", true).await;
    fleet.agree("2001:db8:0:1::2", true).await;
    fleet.agree("192.0.2.2", false).await;
    let told = fleet.operate(1, &["bans"]).await;
    assert!(
        told.contains("192.0.2.1  by api, ") && told.contains("2001:db8:0:1::/64  by api, "),
        "{told}"
    );

    // Another process learns what was before its time.
    let first = fleet.gateways.remove(0);
    first.signal(Signal::KILL);
    first.ended().await;
    fleet.add().await;
    fleet.agree("192.0.2.1", true).await;

    let told = fleet.operate(1, &["unban", "192.0.2.1"]).await;
    assert_eq!(told, "192.0.2.1 is no longer banned\n");
    fleet.agree("192.0.2.1", false).await;
    fleet.agree("2001:db8:0:1::2", true).await;
    // And it may be banned again, by whom it was lifted or another.
    fleet.ban(0, "192.0.2.1").await;
    fleet.agree("192.0.2.1", true).await;
    let told = fleet.operate(0, &["unban", "2001:db8:0:1::/64"]).await;
    assert_eq!(told, "2001:db8:0:1::/64 is no longer banned\n");
    fleet.agree("2001:db8:0:1::2", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_ban_ends_and_leaves_nothing_behind() {
    let redis = Redis::start().await;
    let limit = "rate = \"1/d\"\nban = { after = 1, within = \"1h\", for = \"4s\" }";
    let fleet = Fleet::start(2, &single(&redis), limit).await;
    redis.knows_gateways(2).await;
    // On a busy machine a ban may be over before the other one has been asked: then another client is banned.
    let mut bans = 0;
    eventually("the other one knows", async || {
        bans += 1;
        let client = format!("192.0.2.{bans}");
        fleet.ban(0, &client).await;
        while fleet.is_banned(0, &client).await {
            if fleet.is_banned(1, &client).await {
                return true;
            }
        }
        false
    })
    .await;
    for client in 1..=bans {
        fleet.agree(&format!("192.0.2.{client}"), false).await;
    }
    eventually("the list is empty", async || {
        redis.ask::<usize>(&["ZCARD", "gw:{notices}said"]).await == 0
    })
    .await;
    assert_eq!(redis.ask::<usize>(&["HLEN", "gw:{notices}facts"]).await, 2, "its marks");
    assert!(redis.ask::<i64>(&["PTTL", "gw:{notices}facts"]).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_bans_hold_where_they_were_made_and_are_told_later() {
    let mut redis = Redis::start().await;
    let mut fleet = Fleet::start(2, &single(&redis), LIMIT).await;
    redis.knows_gateways(2).await;
    fleet.ban(0, "192.0.2.1").await;
    fleet.agree("192.0.2.1", true).await;
    redis.kill().await;
    fleet.ban(0, "192.0.2.2").await;
    fleet.ban(1, "192.0.2.3").await;
    assert!(fleet.is_banned(0, "192.0.2.1").await && fleet.is_banned(1, "192.0.2.1").await);
    assert!(!fleet.is_banned(1, "192.0.2.2").await);
    assert_eq!(
        fleet.operate(1, &["unban", "192.0.2.1"]).await,
        "192.0.2.1 is no longer banned\n"
    );

    // It has lost everything; the gateways have not.
    redis.restart().await;
    fleet.agree("192.0.2.2", true).await;
    fleet.agree("192.0.2.3", true).await;
    fleet.agree("192.0.2.1", false).await;
    redis.ask::<()>(&["FLUSHALL"]).await;
    redis.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    eventually("they say again what they know", async || {
        redis.ask::<usize>(&["ZCARD", "gw:{notices}said"]).await >= 2
    })
    .await;
    fleet.add().await;
    fleet.agree("192.0.2.2", true).await;
    fleet.agree("192.0.2.3", true).await;
    fleet.agree("192.0.2.1", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_rights_bans_for_itself_and_the_log_says_so() {
    let redis = Redis::start().await;
    let rights = "ACL SETUSER gateway on >secret ~gw:* +evalsha +script|load +time +hmget +hset +pexpire +zadd \
                  +zremrangebyscore +zcard +ping";
    redis.ask::<()>(&rights.split(' ').collect::<Vec<_>>()).await;
    let login = format!("{}\nusername = \"gateway\"\npassword = \"secret\"", single(&redis));
    let mut fleet = Fleet::start(1, &login, LIMIT).await;
    redis.knows_gateways(1).await;
    fleet.ban(0, "192.0.2.1").await;
    assert!(fleet.is_banned(0, "192.0.2.1").await);
    eventually("it has tried more than once", async || {
        let text: String = redis.ask(&["INFO", "commandstats"]).await;
        let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
        let failed = line.and_then(|line| line.rsplit_once("failed_calls="));
        failed.is_some_and(|(_, count)| count.trim().parse::<u32>().expect("a count") > 1)
    })
    .await;
    let keys: Vec<String> = redis.ask(&["KEYS", "gw:{*"]).await;
    assert!(!keys.is_empty(), "the limit is shared all the same");
    let gateway = fleet.gateways.pop().expect("a gateway");
    gateway.signal(Signal::TERM);
    let (_, said) = gateway.ended().await;
    assert!(
        said.contains("bans are not shared") && said.contains("shared-limits.md"),
        "{said}"
    );
    assert_eq!(said.matches("bans are not shared").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_shares_bans() {
    let nodes = cluster().await;
    let fleet = Fleet::start(2, &urls(&nodes), LIMIT).await;
    fleet.ban(0, "192.0.2.1").await;
    fleet.agree("192.0.2.1", true).await;
    fleet.operate(1, &["unban", "192.0.2.1"]).await;
    fleet.agree("192.0.2.1", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bans_are_shared_by_the_master_that_a_sentinel_names() {
    let master = Redis::start().await;
    let monitor = format!("sentinel monitor limits 127.0.0.1 {} 1", master.port);
    let sentinel = Redis::start_with("", &["--sentinel", &monitor]).await;
    let table = format!(
        "sentinel = {{ master = \"limits\", urls = [\"redis://127.0.0.1:{}\", \"redis://127.0.0.1:{}\"] }}",
        port::free().port(),
        sentinel.port
    );
    let fleet = Fleet::start(2, &table, LIMIT).await;
    fleet.ban(0, "192.0.2.1").await;
    fleet.agree("192.0.2.1", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_begins_anew_in_redis_and_at_every_gateway() {
    let redis = Redis::start().await;
    let fleet = Fleet::start(2, &single(&redis), "rate = \"3/d\"\nkey = \"header:X-Key\"").await;
    redis.knows_gateways(2).await;
    let ask = async |at: usize| {
        let gateway = fleet.gateways[at].address;
        client::get(gateway, "/x", "X-Key: s3cret\r\n").await.status
    };
    let mut passed = 0;
    for index in 0..8 {
        passed += usize::from(ask(index % 2).await == 200);
    }
    assert_eq!(passed, 3);
    assert_eq!((ask(0).await, ask(1).await), (429, 429), "both remember it for hours");
    let told = fleet.operate(0, &["show", "api", "s3cret", "--format", "json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        (&told["counted_in"], &told["left"]),
        (&"redis".into(), &0.into()),
        "{told}"
    );
    assert!(
        told["refused_here_for_seconds"].as_f64().expect("seconds") > 20_000.0,
        "{told}"
    );

    let told = fleet.operate(0, &["reset", "api", "s3cret"]).await;
    assert_eq!(told, "s3cret begins anew with api\n");
    assert_eq!(ask(0).await, 200);
    eventually("the other one has heard it", async || ask(1).await == 200).await;

    let told = fleet.operate(1, &["show", "api", "s3cret"]).await;
    assert!(told.starts_with("1 of 3 left"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_says_who_was_looked_at() {
    let mut redis = Redis::start().await;
    let mut fleet = Fleet::start(1, &single(&redis), "rate = \"3/d\"\nkey = \"header:X-Key\"").await;
    redis.knows_gateways(1).await;
    fleet.operate(0, &["show", "api", "s3cret"]).await;
    fleet.operate(0, &["reset", "api", "s3cret"]).await;
    redis.kill().await;
    eventually("it counts by itself", async || {
        let told = fleet.operate(0, &["show", "api", "s3cret"]).await;
        told.contains("3 of 3 left") && told.contains("by itself, for Redis cannot be asked")
    })
    .await;
    assert_eq!(
        fleet.operate(0, &["reset", "api", "s3cret"]).await,
        "",
        "it says that Redis has not heard it"
    );
    let gateway = fleet.gateways.pop().expect("a gateway");
    gateway.signal(Signal::TERM);
    let (_, said) = gateway.ended().await;
    assert_eq!(said.matches("a key of a limit is reset").count(), 2, "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
